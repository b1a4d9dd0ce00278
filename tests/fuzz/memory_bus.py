"""A bus in memory that takes what ingest publishes only when those who read it could take it in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

from nats.js.errors import NotFoundError

from mesh.bus import control, subjects, wire
from mesh.bus.partitions import partition_of
from mesh.bus.reader import Message
from mesh.bus.subjects import REPAIR
from mesh.values import epochs
from mesh.values.trades import refusal
from signalsvc.selection import Selection
from store.ledger import minutes
from store.ledger.repair import HoleRepair
from tickcodec.copy_rows import trade_rows
from tickmesh.v1 import control_pb2

_MAX_PAYLOAD = 2**20


class MemoryBus:
    """The bus, and the publisher of RAW in all partitions.

    Args:
        partitions: how many there are.

    Attributes:
        keys: by symbol: the keys of the trades published, in order; repairs aside.
        told: by symbol and key: the time and the price of each trade, as it was published last.

    """

    def __init__(self, partitions: int = 1) -> None:
        self._partitions = partitions
        self.js = self
        self.client = SimpleNamespace(subscribe=self._subscribe)
        self.connected = True
        self.pending = 0
        self.unanswered_s = 0.0
        self.keys: dict[str, list[int]] = {}
        self.told: dict[str, dict[int, tuple[int, int]]] = {}
        self._names: set[str] = set()
        self._newest: dict[tuple[str, str], SimpleNamespace] = {}
        self._of_all: list[SimpleNamespace] = []  # the messages of many symbols
        self._queues: dict[str, asyncio.Queue[Message]] = {}
        self._lookups: list[Callable[[Any], Awaitable[None]]] = []
        self._sequence = 0

    async def get_last_msg(self, stream: str, subject: str) -> Any:
        """Return the newest message of a subject."""
        try:
            return self._newest[stream, subject]
        except KeyError:
            raise NotFoundError from None

    async def get_msg(self, stream: str, sequence: int, *, subject: str, **_: Any) -> Any:
        """Return the first message of a subject from a sequence on."""
        assert stream.startswith(subjects.RAW)
        for message in self._of_all:
            if message.seq >= sequence and message.subject == subject:
                return message
        raise NotFoundError

    async def publish(self, subject: str, payload: bytes, **options: Any) -> None:
        """Take a message, and look whether its readers can."""
        self.offer(subject, payload, **options)

    def offer(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: dict[str, str] | None = None,
        message_id: str = "",
        on_stored: Callable[[int], None] | None = None,
    ) -> bool:
        """Take a message, for which there is room, and look whether its readers can."""
        self._sequence += 1
        assert len(payload) <= _MAX_PAYLOAD
        assert subject.isascii()
        assert subject.isprintable()
        for name, value in (headers or {}).items():
            assert value.isascii(), f"{name} is no header: {value!r}"
            assert value.isprintable(), f"{name} is no header: {value!r}"
        stream = subjects.CONTROL
        if subject.startswith("trades.raw."):
            number = subject.split(".")[2]
            stream = f"{subjects.RAW}_{number}" if number.isdigit() else subjects.RAW
            self._take_message(subject, payload, message_id)
        elif subject.startswith("candles."):
            minutes.read_minute(control.decode(control_pb2.VenueCandle, payload))
        elif subject.startswith("trades.dead."):
            if subject == subjects.dead("quarantine"):
                json.loads(payload)
        elif subject == subjects.CONTROL_CATALOG:
            Selection("btcusdt").learn(control.decode_catalog(payload))
        elif subject.startswith("control.epoch."):
            control.decode_epoch(payload)
        elif subject.startswith("control.repaired."):
            nothing: Any = None
            repair = HoleRepair(nothing, nothing, nothing, stored=nothing, venue=lambda: "binance")
            repair.take(Message(1, subject, payload, "", 0, 0))
        else:
            assert subject == subjects.CONTROL_LOOKED_UP, f"nobody reads {subject}"
        message = SimpleNamespace(subject=subject, data=payload, seq=self._sequence, headers=headers, time=None)
        self._newest[stream, subject] = message
        if subject.startswith("trades.raw.") and not subjects.is_of_one_symbol(subject):
            self._of_all.append(message)
        if on_stored is not None:
            on_stored(self._sequence)
        return True

    def own(self, durable: str) -> str:
        """Return the name of a durable: it is the only instance."""
        return durable

    async def settle(self) -> None:
        """Wait for nothing: all is taken at once."""

    def put(self, subject: str, payload: bytes) -> None:
        """Bring a control message to whoever reads its subject."""
        self._sequence += 1
        pattern = subjects.REPAIR_ALL if subject.startswith("control.repair.") else subject
        self._queue(pattern).put_nowait(Message(self._sequence, subject, payload, "", 0, 0))

    async def look_up(self, payload: bytes) -> None:
        """Bring a lookup."""
        for call in self._lookups:
            await call(SimpleNamespace(data=payload))

    def reader(self, *_: Any, subjects: Sequence[str], **__: Any) -> _Reader:
        """Return what reads a subject: in place of `mesh.reader.Reader`."""
        return _Reader(self._queue(subjects[0]))

    def _queue(self, subject: str) -> asyncio.Queue[Message]:
        return self._queues.setdefault(subject, asyncio.Queue())

    async def _subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> Any:
        self._lookups.append(cb)

        async def unsubscribe() -> None:
            self._lookups.remove(cb)

        return SimpleNamespace(unsubscribe=unsubscribe)

    def _take_message(self, subject: str, payload: bytes, message_id: str) -> None:
        assert message_id.isascii()
        assert len(message_id) < 1000
        assert message_id not in self._names, f"{message_id} is published twice"
        self._names.add(message_id)
        if subjects.is_of_one_symbol(subject) and not subjects.is_last_trades(subject):
            self._take_trades(subject, payload, message_id)
            return
        batches = wire.batches_of(payload)
        if subjects.is_last_trades(subject):
            told: dict[str, int] = {}
            for trades in map(wire.decode_trades, batches):
                told[trades.symbol] = max(told.get(trades.symbol, -1), int(trades.trade_id[-1]))
            assert told.items() <= {symbol: keys[-1] for symbol, keys in self.keys.items()}.items()
            return
        for batch in batches:
            self._take_trades(subject, batch, message_id)

    def _take_trades(self, subject: str, payload: bytes, message_id: str) -> None:
        trades = wire.decode_trades(payload)
        assert refusal(trades) == ""
        trade_rows([trades])
        partition = partition_of(trades.venue, trades.symbol, self._partitions)
        of_all = subjects.raw(trades.venue, partition)
        assert subject in (of_all, subjects.raw_of_symbol(trades.venue, trades.symbol, partition))
        assert subjects.is_of_one_symbol(subject) == (REPAIR in message_id)
        ids = trades.trade_id.tolist()
        assert ids == sorted(set(ids)), "ids of a message do not rise"
        assert epochs.epoch_of(ids[0]) == epochs.epoch_of(ids[-1]), "a message of two epochs"
        rows = zip(ids, trades.time_us.tolist(), trades.price_e8.tolist(), strict=True)
        self.told.setdefault(trades.symbol, {}).update((key, (time_us, price)) for key, time_us, price in rows)
        published = self.keys.setdefault(trades.symbol, [])
        if REPAIR in message_id:
            assert published, "a repair of what was never published"
            assert ids[-1] <= published[-1], "a repair of what was never published"
            return
        assert not published or ids[0] > published[-1], f"{ids[0]} is published after {published[-1]}"
        published += ids


class _Reader:
    def __init__(self, queue: asyncio.Queue[Message]) -> None:
        self._queue = queue

    async def __aenter__(self) -> _Reader:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def next(self) -> list[Message]:
        return [await self._queue.get()]

    async def ack(self, message: Message) -> None:
        pass
