"""The doing of issuing: lets time pass for the exchange, suffers its faults, writes its log, feeds its clients."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence

from sim.client_socket import Clients, ClientSocket
from sim.exchange import FLAT_OUT_BATCH, Exchange, IssuedBatch
from sim.fault_plan import FaultPlan, Sent
from sim.faults import BeginAgain, Disconnect, Expire, Fault, Refuse, Shutdown, Silence, SkippedIds, SlowFrames, Strike
from sim.frames import BatchFrames, TradeTexts, kline_frames, shutdown_frame
from sim.instruments import ListedInstrument
from sim.issue_log import IssueLog
from sim.klines import Kline

logger = logging.getLogger("sim.issuer")

TICK_S = 0.002  # trades due within one tick go out together
BUSY_TICK_S = 0.005  # from BUSY_RATE on: fewer, larger batches
BUSY_RATE = 5000
LONGEST_SLEEP_S = 0.02  # how late a change of rate may be noticed
HEARTBEAT_S = 0.25
KLINE_UPDATE_S = 1.0
PATIENCE_S = 5.0  # how long the flat-out market waits for a client that does not read
MOST_AT_ONCE = 10_000_000  # a minute's work and more, which nothing but the end of the exchange breaks off
LATE_BATCHES = 10_000  # of slow frames; more are sent before their time, so that memory is bounded


class Issuer:
    """Issues the trades of an exchange to its clients as time passes. Run `pump` and `beat` as tasks.

    Attributes:
        exchange: what is issued.
        plan: the faults that wait and have struck.

    Args:
        exchange: issues them.
        clients: get them.
        plan: says what goes wrong on the way.
        log: already open; trades it holds have been issued.
        faults: count from the first trade, and from the moment when the first may be issued.
        wait_for_client: `pump` issues nothing until a client follows a trade stream.

    Raises:
        ValueError: a fault names a symbol that is not traded.
    """

    def __init__(
        self,
        exchange: Exchange,
        clients: Clients,
        plan: FaultPlan,
        *,
        log: IssueLog | None = None,
        faults: Sequence[Fault] = (),
        wait_for_client: bool = False,
    ) -> None:
        self.exchange = exchange
        self._clients = clients
        self.plan = plan
        self._log = log
        self._first_faults: Sequence[Fault] | None = faults  # None once they wait in the plan
        self._check_symbols(faults)
        self._wait_for_client = wait_for_client
        self._slow = (0.0, 0.0)  # until when frames are late, and by how much
        self._late: deque[tuple[float, BatchFrames]] = deque()
        self._klines_told_s = 0.0
        self._texts: TradeTexts | None = None

    async def pump(self) -> None:
        """Issue what is due, for ever."""
        before_us = time.monotonic_ns() // 1000
        while True:
            now_us = time.monotonic_ns() // 1000
            elapsed_us, before_us = now_us - before_us, now_us
            self._wait_for_client = self._wait_for_client and not self._clients.following_trades
            if self._wait_for_client:
                await asyncio.sleep(TICK_S)
                continue
            self._strike()
            self._deliver_late()
            batch = self.exchange.advance(elapsed_us, _now_us(), most=self.plan.room(self.exchange.issued))
            if batch is not None:
                self._publish(batch)
                self.exchange.record()
                if self.exchange.pacer.flat_out:
                    await self._clients.wait_for_room(PATIENCE_S)
            wait_s = self.exchange.wait_us() / 1e6
            if wait_s:
                tick_s = TICK_S if self.exchange.pacer.rate < BUSY_RATE else BUSY_TICK_S
                wait_s = min(max(wait_s, tick_s), LONGEST_SLEEP_S)
            await asyncio.sleep(wait_s)

    async def beat(self) -> None:
        """Ping clients, hang up on the late, tell klines, for ever."""
        while True:
            now_s = time.monotonic()
            self._clients.poll(now_s)
            self.exchange.prepare_record()
            while self.exchange.record_piece():  # noqa: ASYNC110 - trades that are due go first
                await asyncio.sleep(0)
            self._tell_klines(updates=now_s - self._klines_told_s >= KLINE_UPDATE_S)
            await asyncio.sleep(HEARTBEAT_S)

    async def issue(self, count: int) -> None:
        """Issue and send `count` trades as fast as the clients read, whatever the rate. Fewer if there are no more.

        Raises:
            ValueError: count is negative, or above MOST_AT_ONCE.
        """
        if not 0 <= count <= MOST_AT_ONCE:
            raise ValueError(f"found count {count}, expected 0 to {MOST_AT_ONCE}")
        while count > 0:
            self._strike()
            room = self.plan.room(self.exchange.issued)
            batch = self.exchange.issue(min(count, FLAT_OUT_BATCH, room), _now_us())
            if batch is None:
                return
            count -= len(batch.trades)
            self._publish(batch)
            self.exchange.record()
            await self._clients.wait_for_room(PATIENCE_S)
            await asyncio.sleep(0)  # where everybody has room, the others have their turn all the same

    def add_faults(self, faults: Sequence[Fault]) -> None:
        """Take faults that count from now.

        Raises:
            ValueError: one names a symbol that is not traded; none is taken.
        """
        self._check_symbols(faults)
        self.plan.add(faults, number=self.exchange.issued, now_s=time.monotonic())
        self._strike()

    def end_faults(self) -> None:
        """End all faults, and forget those that wait."""
        self.plan.clear()
        self._first_faults = None
        self._slow = (0.0, 0.0)
        self._clients.admission.open_again()
        for socket in self._clients.sockets:
            socket.unmute()

    # Trades and klines

    def _publish(self, batch: IssuedBatch) -> None:
        if self._log is not None:
            self._log.write(batch.trades, self.exchange.instruments)
        now_s = time.monotonic()
        sent = self.plan.tamper(batch.first_number, batch.trades, now_s, self.exchange.instruments)
        self._deliver(self._frames_of(batch, sent), now_s)

    def _frames_of(self, batch: IssuedBatch, sent: Sent) -> BatchFrames:
        if self._texts is None or self._texts.instruments is not self.exchange.instruments:  # a tape names more
            self._texts = TradeTexts(self.exchange.instruments)
        return BatchFrames(batch, self.exchange, sent, self._texts)

    def _deliver(self, frames: BatchFrames, now_s: float) -> None:
        until_s, delay_s = self._slow
        if now_s >= until_s and not self._late:
            self._clients.deliver(frames)
            return
        # while some are late all others wait behind them: slow is not reordered
        due_s = now_s + delay_s if now_s < until_s else now_s
        self._late.append((max(due_s, self._late[-1][0]) if self._late else due_s, frames))
        if len(self._late) > LATE_BATCHES:
            self._clients.deliver(self._late.popleft()[1])

    def _deliver_late(self) -> None:
        now_s = time.monotonic()
        held = self.plan.release(now_s)
        if held is not None:
            self._deliver(self._frames_of(IssuedBatch(0, held.trades[:0]), held), now_s)
        while self._late and self._late[0][0] <= now_s:
            self._clients.deliver(self._late.popleft()[1])

    def _tell_klines(self, *, updates: bool) -> None:
        now_us = _now_us()
        self.exchange.close_klines(now_us)
        news: dict[str, list[tuple[ListedInstrument, Kline, bool]]] = {}
        for symbol, listing in self.exchange.listings.items():
            news[symbol] = [(listing.instrument, kline, True) for kline in listing.klines.pop_closed()]
            if updates and listing.klines.open is not None and listing.klines.open.count:
                news[symbol].append((listing.instrument, listing.klines.open, False))
        if updates:
            self._klines_told_s = time.monotonic()
        if any(news.values()):
            self._clients.send(lambda view: b"".join(kline_frames(news, now_us, view)))

    # Faults

    def _check_symbols(self, faults: Iterable[Fault]) -> None:
        traded = self.exchange.listings
        for fault in faults:
            symbol = getattr(fault, "symbol", None)
            if symbol is not None and symbol not in traded:
                raise ValueError(f"faults: found symbol {symbol!r} in {fault.kind}, expected one of {' '.join(traded)}")

    def _strike(self) -> None:
        now_s = time.monotonic()
        if self._first_faults is not None:
            self.plan.add(self._first_faults, number=0, now_s=now_s)
            self.plan.forget_before(self.exchange.issued)
            self._first_faults = None
        for fault in self.plan.strike(self.exchange.issued, now_s):
            logger.info("fault after %d trades: %s", self.exchange.issued, fault)
            self._suffer(fault, now_s)

    def _suffer(self, fault: Strike, now_s: float) -> None:
        sockets = list(self._clients.sockets)
        match fault:
            case SkippedIds():
                self.exchange.skip_ids(fault.symbol, fault.count)
            case BeginAgain():
                while self._late:  # they are told as they were issued
                    self._clients.deliver(self._late.popleft()[1])
                for symbol in [fault.symbol] if fault.symbol else list(self.exchange.listings):
                    self.exchange.begin_again(symbol)
            case SlowFrames():
                self._slow = (now_s + fault.for_s, fault.delay_s)
            case Refuse():
                self._clients.admission.refusal = (now_s + fault.for_s, fault.status)
            case Disconnect():
                self._clients.admission.down_until_s = now_s + fault.for_s
                for socket in sockets:
                    socket.cut()
            case Silence():
                for socket in sockets:
                    socket.mute(math.inf if fault.for_s is None else now_s + fault.for_s, pongs=fault.pongs)
            case Expire():
                _close(sockets, "connection reached its maximum age")
            case Shutdown():
                self._clients.send(lambda view: shutdown_frame(_now_us(), view))
                asyncio.get_running_loop().call_later(fault.lead_s, _close, sockets, "server is shutting down")


def _close(sockets: Iterable[ClientSocket], reason: str) -> None:
    for socket in sockets:
        socket.close(1001, reason)


def _now_us() -> int:
    return time.time_ns() // 1000
