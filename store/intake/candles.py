"""PROCESSED into the database: the candles that signal closed, with the position in the stream in the same transaction.

Most messages close nothing: those only move the position, now and then. Candles wait until the trades they are made of
are stored; then they need not be made again while those arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

import psycopg
from nats.errors import Error as NatsError

from libsignal import INDICATOR_OFFSETS, CandleBuffer, Periods, SignalGroups
from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.reader import Message, Reader
from mesh.service.errors import BadMessage
from mesh.values.candles import ClosedCandles
from mesh.values.trades import MAX_TIME_US, MAX_TRADE_ID
from store import metrics
from store.candles import rows as candle_rows
from store.database import Connection
from store.database.errors import first_line, write_or_reject
from store.intake.position import Positions, StreamIntake
from store.intake.trades import TradeIntake, waits_s
from store.ledger import rows as ledger_rows
from store.settings import StoreSettings
from tickcodec.batches import CandleLayout, ClosingFinder

log = logging.getLogger("store.intake.candles")

_MOVE_EVERY_S = 5.0
"""How often the position is moved when there are no candles."""
_MAX_CANDLES = 5_000
_LOOK_EVERY_S = 0.5
"""How often the bus is asked whether RAW goes so far at all, while candles wait for their trades to be stored."""


_Closed: TypeAlias = tuple[Message, ClosedCandles]
"""A batch that closed candles: as a message of its own, and what it closed."""


class _ClosingMessage(NamedTuple):
    """A message whose batches have closed candles.

    Attributes:
        message: the whole message.
        columns: what they have closed, where all are as they nearly always are, and else None.
        parts: each of them, where there are no columns.

    """

    message: Message
    columns: candle_rows.ClosedColumns | None
    parts: Sequence[_Closed] = ()

    @property
    def raw_sequence(self) -> int:
        """Of the last message in RAW that carried their trades."""
        if self.columns is not None:
            return max(self.columns.raw_sequences)
        return max(closed.raw_sequence for _, closed in self.parts)

    @property
    def candles(self) -> int:
        """How many they have closed."""
        if self.columns is not None:
            return sum(self.columns.batch_candles)
        return sum(len(closed.candles) for _, closed in self.parts)

    def read(self) -> Sequence[_Closed]:
        """Return each batch that has closed candles, and what it closed."""
        if self.columns is None:
            return self.parts
        batches = closing_batches(self.message.payload)
        return [
            (self.message._replace(payload=batch, part=part), closed)
            for part, batch, known in batches
            if (closed := known or wire.decode_closed(batch)) is not None
        ]


class CandleIntake(StreamIntake):
    """Takes in closed candles.

    Args:
        bus: where PROCESSED is.
        positions: those in the database.
        dead: where messages go that hold no signals.
        periods: of the candles' indicators.
        trades: of the same partition: says how far its RAW is stored.
        settings: how long a candle waits for its transaction.

    """

    durable = subjects.DURABLE_STORE_SIGNALS

    def __init__(
        self,
        bus: Bus,
        positions: Positions,
        dead: DeadLetterQueue,
        periods: Periods,
        trades: TradeIntake,
        settings: StoreSettings,
    ) -> None:
        super().__init__(bus, positions, dead)
        self.gather_s, self._max_age_s = waits_s(settings)
        self.stream = trades.partition.name(subjects.PROCESSED)
        self._periods = periods
        self._trades = trades

    async def _take_in(self, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        closing: list[_ClosingMessage] = []
        candles = 0
        last: Message | None = None
        next_write_s = loop.time() + _MOVE_EVERY_S
        while True:
            await self._positions.compare(self._position)
            for message in await reader.next(timeout_s=max(next_write_s - loop.time(), 0.0)):
                last = message
                if (closed := await self._read(message)) is not None:
                    if not closing:
                        next_write_s = min(next_write_s, loop.time() + self._max_age_s)
                    closing.append(closed)
                    candles += closed.candles
            if loop.time() < next_write_s and candles < _MAX_CANDLES:
                continue
            if last is not None:
                await self._until_stored(max((each.raw_sequence for each in closing), default=0))
                if closing:
                    await write_or_reject(closing, self._write, self._reject)
                if self._position.sequence != last.sequence:
                    await self._advance(last, _nothing)
                await reader.ack(last)
                metrics.CANDLES.inc(candles)
                closing, candles, last = [], 0, None
            next_write_s = loop.time() + _MOVE_EVERY_S

    async def _read(self, message: Message) -> _ClosingMessage | None:
        """Return what a message has closed, if anything; what is no batch of signals becomes a dead letter, alone."""
        is_of_one_symbol = subjects.is_of_one_symbol(message.subject)
        if not is_of_one_symbol and (columns := closed_columns(message.payload)) is not None:
            return _ClosingMessage(message, columns) if columns.names else None
        found = []
        try:
            batches: list[tuple[int, bytes, ClosedCandles | None]] = [(0, message.payload, None)]
            if not is_of_one_symbol:
                batches = closing_batches(message.payload)
        except BadMessage as exc:
            await self._dead.publish(self.stream, message, str(exc))
            return None
        for part, batch, known in batches:
            try:
                if (closed := known or wire.decode_closed(batch)) is not None:
                    found.append((message._replace(payload=batch, part=part), closed))
            except BadMessage as exc:
                await self._dead.publish(self.stream, message._replace(payload=batch, part=part), str(exc))
        return _ClosingMessage(message, None, found) if found else None

    async def _until_stored(self, wanted: int) -> None:
        while not await self._trades.reaches(wanted, within_s=_LOOK_EVERY_S):
            try:
                raw = await self._bus.stream_info(self._trades.stream)
                if raw is None or raw.state.last_seq < wanted:
                    return  # RAW was made anew since, and may never get there
            except (NatsError, TimeoutError) as exc:
                log.debug("the bus does not say where RAW ends: %s", exc)

    async def _write(self, closing: Sequence[_ClosingMessage]) -> None:
        last = closing[-1].message
        columns = [each.columns for each in closing if each.columns is not None]
        if len(columns) == len(closing):
            try:
                await self._advance(last, partial(self._add_new, columns))
                return
            except psycopg.errors.UniqueViolation:
                log.debug("some of the candles up to message %d are there already", last.sequence)
        await self._advance(last, partial(self._add, [closed for each in closing for _, closed in each.read()]))

    async def _add_new(self, columns: Sequence[candle_rows.ClosedColumns], connection: Connection) -> None:
        # No trades may come between looking at them and writing candles.
        await ledger_rows.lock(connection, [self._trades.partition])
        stored = partial(self._trades.seconds.stored, connection)
        await candle_rows.add_new(connection, columns, self._periods, stored=stored)

    async def _add(self, closed: Sequence[ClosedCandles], connection: Connection) -> None:
        await ledger_rows.lock(connection, [self._trades.partition])
        stored = partial(self._trades.seconds.stored, connection)
        await candle_rows.add(connection, closed, self._periods, stored=stored)

    async def _reject(self, closing: _ClosingMessage, exc: psycopg.Error) -> None:
        """Store those batches of a message that the database takes; the position moves only behind all of them."""
        parts = closing.read()
        if len(parts) > 1:
            await write_or_reject(parts, self._write_parts, self._reject_part)
        else:
            await self._reject_part(parts[0], exc)
        await self._advance(closing.message, _nothing)

    async def _write_parts(self, parts: Sequence[_Closed]) -> None:
        work = partial(self._add, [closed for _, closed in parts])
        await self._positions.advance(self._position, self._position, work)

    async def _reject_part(self, part: _Closed, exc: psycopg.Error) -> None:
        await self._dead.publish(self.stream, part[0], f"the database refuses its candles: {first_line(exc)}")


_room = CandleBuffer(SignalGroups.CANDLES, capacity=4096)
_finder = ClosingFinder(
    CandleLayout(INDICATOR_OFFSETS, _room.place),
    max_rows=wire.MAX_BATCH_TRADES,
    max_id=MAX_TRADE_ID,
    max_time_us=MAX_TIME_US,
    max_count=wire.MAX_CANDLE_TRADES,
)


def closed_columns(payload: bytes) -> candle_rows.ClosedColumns | None:
    """Return what the batches of a `SignalBatches` have closed; None where one is not as they nearly always are.

    Read in C++: with 300 symbols to find those that have closed nothing here took more than a third of store's time.
    """
    if (found := _finder.find(payload)) is None or (rows := _finder.rows(payload)) is None:
        return None
    names = [wire.valid_names_of(batch.names) for batch in found]
    known = [name for name in names if name is not None]
    if len(known) < len(names):
        return None
    counts = [batch.candles for batch in found]
    reached_us, raw_sequences = [batch.reached_us for batch in found], [batch.raw_sequence for batch in found]
    return candle_rows.ClosedColumns(known, counts, reached_us, raw_sequences, _room.taken_columns(sum(counts)), rows)


def closing_batches(payload: bytes) -> list[tuple[int, bytes, ClosedCandles | None]]:
    """Return the batches of a `SignalBatches` that may have closed candles, each on its own.

    Returns:
        Each with its number, from 1 on, and what `decode_closed` says of it; None where that has to be asked.

    Raises:
        BadMessage: it is none, or has none.

    """
    if (found := _finder.find(payload)) is None:
        return [(number, batch, None) for number, batch in enumerate(wire.batches_of(payload), 1)]
    candles = iter(_room.taken(sum(batch.candles for batch in found)))
    batches = []
    for batch in found:
        closed = tuple(candle.closed() for candle in islice(candles, batch.candles))
        names = wire.valid_names_of(batch.names) if closed else None
        known = names and ClosedCandles(*names, batch.raw_sequence, batch.reached_us, closed)
        batches.append((batch.number, batch.payload, known))
    return batches


async def _nothing(connection: Connection) -> None:
    """Move the position only."""
