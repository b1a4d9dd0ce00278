"""The signal service: RAW in order through the engine to PROCESSED, watchers and SignalService beside it.

Where it begins: PROCESSED says up to which RAW sequence the signals are published. What RAW still holds before that is
run through the engine once more without publishing, so that windows and sessions are as if the service had never
stopped; from there on every batch is published and only then acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from prometheus_client import Counter, Gauge

from mesh import control, metrics, rpc, subjects, wire
from mesh.bus import CONTROL_STREAM, Bus, connect, processed_stream
from mesh.errors import BadMessage, InvalidRequest, NotReady
from mesh.health import Health
from mesh.publisher import Publisher
from mesh.reader import Message, Reader
from mesh.service import Stop
from mesh.settings import SignalSettings
from signalsvc.engine import Engine
from signalsvc.rpc import SignalServicer
from signalsvc.selection import Selection
from signalsvc.watchers import Watchers
from tickmesh.v1 import control_pb2, signal_pb2_grpc

log = logging.getLogger("signal.service")

SERVICE = "tickmesh.v1.SignalService"
_POLL_S = 0.5
_ACK_EVERY_S = 0.5

TRADES = Counter("tickmesh_signal_trades_total", "Trades that went through libsignal and were published", ["symbol"])
REPEATS = Gauge("tickmesh_signal_repeated_trades", "Trades left out because their id was not new")
REFUSED = Gauge("tickmesh_signal_refused_trades", "Trades libsignal refused")
BAD = Counter("tickmesh_signal_bad_messages_total", "RAW messages that are no batch of trades")
POSITION = Gauge("tickmesh_signal_raw_sequence", "Sequence in RAW of the last batch taken in")
WATCHERS = Gauge("tickmesh_signal_watchers", "Open Watch streams")


async def main(settings: SignalSettings, stop: Stop) -> None:
    """Live as the signal service until asked to stop; then publish what was taken, and drain."""
    health = Health("bus", "stream")
    service = SignalService(settings, health)
    async with AsyncExitStack() as stack:
        stack.enter_context(metrics.served(settings, health))
        await stack.enter_async_context(
            rpc.serving(settings.signal_addr, services=[SERVICE], register=service.register, health=health)
        )
        stack.callback(service.watchers.end)
        async with stop.interrupts():
            bus = await stack.enter_async_context(connect(settings, name="signal", health=health))
            await bus.declare(CONTROL_STREAM)
            await bus.declare(processed_stream(settings.processed_max_bytes))
            await service.begin(bus)
        async with asyncio.TaskGroup() as tasks:
            endless = [tasks.create_task(service.publisher.run()), tasks.create_task(service.follow_control())]
            await service.follow_trades(stop)
            for task in endless:
                task.cancel()


class SignalService:
    """Engine, selection and watchers, tied to the bus."""

    def __init__(self, settings: SignalSettings, health: Health) -> None:
        self._health = health
        self._engine = Engine(window=settings.sma_window)
        self._selection = Selection(settings.symbol)
        self._bus: Bus | None = None
        self._stored: Message | None = None
        self._published_sequence = 0
        self.watchers = Watchers()

    def register(self, server: object) -> None:
        """Add SignalService to a gRPC server."""
        servicer = SignalServicer(self._engine, self._selection, self.watchers, select=self.select)
        signal_pb2_grpc.add_SignalServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]

    async def begin(self, bus: Bus) -> None:
        """Read what the bus remembers: the selected symbol, and how far the signals are published."""
        self._bus = bus
        self.publisher = Publisher(bus, subjects.PROCESSED)
        await self.publisher.open()
        self._published_sequence = await _published_sequence(bus)
        try:
            await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_SYMBOL)
        except NotFoundError:
            await self._announce(self._selection.symbol)

    async def select(self, symbol: str) -> None:
        """Make a checked symbol the selected one everywhere.

        Raises:
            NotReady: the bus is away.

        """
        await self._announce(symbol)
        self._take_selection(symbol)

    async def follow_control(self) -> None:
        """Take in what `control.symbol` and `control.catalog` say, for ever."""
        assert self._bus is not None
        async with Reader(self._bus, subjects.CONTROL, "control-signal", after=None) as reader:
            while True:
                for message in await reader.next():
                    try:
                        await self._take_control(message)
                    except BadMessage as exc:
                        log.warning("%s is ignored: %s", message.subject, exc)

    async def follow_trades(self, stop: Stop) -> None:
        """Take in RAW from its start, in order; publish what is not published yet; return when asked to stop."""
        assert self._bus is not None
        loop = asyncio.get_running_loop()
        next_ack_s = 0.0
        acked: Message | None = None
        async with AsyncExitStack() as stack:
            async with stop.interrupts():
                reader = Reader(self._bus, subjects.RAW, subjects.DURABLE_SIGNAL, after=0)
                await stack.enter_async_context(reader)
            while not stop.asked:
                messages = await reader.next(timeout_s=_POLL_S)
                for message in messages:
                    await self._take_trades(message)
                caught_up = not messages or messages[-1].sequence >= self._published_sequence
                self._health.set("stream", caught_up)
                if self._stored is not acked and loop.time() >= next_ack_s:
                    acked, next_ack_s = self._stored, loop.time() + _ACK_EVERY_S
                    assert acked is not None
                    await reader.ack(acked)
                WATCHERS.set(len(self.watchers))
            await self.publisher.settle()
            if self._stored is not None:
                await reader.ack(self._stored)

    async def _take_trades(self, message: Message) -> None:
        try:
            trades = wire.decode_trades(message.payload)
        except BadMessage as exc:
            BAD.inc()
            log.error("message %d of RAW is left out: %s", message.sequence, exc)
            return
        signals = self._engine.process(trades, raw_sequence=message.sequence)
        POSITION.set(message.sequence)
        REPEATS.set(self._engine.repeats)
        REFUSED.set(self._engine.refused)
        if signals is None or message.sequence <= self._published_sequence:
            return
        payload = wire.encode_signals(signals)
        if self.watchers:
            self.watchers.tell_batch(
                payload, symbol=trades.symbol, trades=len(signals.trades), selected=self._selection.symbol
            )
        TRADES.labels(trades.symbol).inc(len(signals.trades))
        await self.publisher.publish(
            subjects.processed(trades.venue, trades.symbol),
            payload,
            message_id=f"{trades.venue}.{trades.symbol}.{signals.trades.trade_id[0]}-{signals.trades.trade_id[-1]}",
            on_stored=lambda _: self._keep_stored(message),
        )

    def _keep_stored(self, message: Message) -> None:
        self._stored = message

    async def _take_control(self, message: Message) -> None:
        if message.subject == subjects.CONTROL_CATALOG:
            self._selection.learn(control.decode(control_pb2.Catalog, message.payload))
            self._tell_selected()
        elif message.subject == subjects.CONTROL_SYMBOL:
            symbol = control.decode_selection(message.payload)
            if symbol == self._selection.symbol:
                return
            try:
                self._take_selection(self._selection.check(symbol))
            except InvalidRequest as exc:
                log.warning("control.symbol is refused, %s stays selected: %s", self._selection.symbol, exc)
                await self._announce(self._selection.symbol)

    def _take_selection(self, symbol: str) -> None:
        if symbol != self._selection.symbol:
            log.info("selected %s", symbol)
            self._selection.symbol = symbol
            self._tell_selected()

    def _tell_selected(self) -> None:
        if self.watchers:
            self.watchers.tell_selected(self._selection.response())

    async def _announce(self, symbol: str) -> None:
        if self._bus is None or not self._bus.connected:
            raise NotReady("the bus is away, so nobody would hear of another symbol")
        payload = control.encode(control_pb2.SymbolSelection(symbol=symbol))
        try:
            await self._bus.js.publish(subjects.CONTROL_SYMBOL, payload)
        except (NatsError, TimeoutError) as exc:
            raise NotReady(f"the bus did not take control.symbol: {str(exc) or type(exc).__name__}") from exc


async def _published_sequence(bus: Bus) -> int:
    """Return the RAW sequence of the last message of PROCESSED; 0 when there is none or RAW was made anew since."""
    processed = await bus.js.stream_info(subjects.PROCESSED)
    if not processed.state.messages:
        return 0
    last = await bus.js.get_msg(subjects.PROCESSED, processed.state.last_seq)
    sequence = wire.decode_signals(last.data or b"").raw_sequence
    raw = await bus.stream_info(subjects.RAW)
    if raw is not None and raw.state.last_seq < sequence:
        log.error("PROCESSED goes up to RAW %d but RAW ends at %d: it was made anew", sequence, raw.state.last_seq)
        return 0
    return sequence
