"""PROCESSED into the database: the candles that signal closed, with the position in the stream in the same transaction.

Most messages close nothing: those only move the position, now and then. Candles wait until the trades they are made of
are stored; then they need not be made again while those arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import TypeAlias

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
        batches: list[list[_Closed]] = []
        candles = 0
        last: Message | None = None
        next_write_s = loop.time() + _MOVE_EVERY_S
        while True:
            await self._positions.compare(self._position)
            for message in await reader.next(timeout_s=max(next_write_s - loop.time(), 0.0)):
                last = message
                if closed := await self._read(message):
                    if not batches:
                        next_write_s = min(next_write_s, loop.time() + self._max_age_s)
                    batches.append(closed)
                    candles += sum(len(part.candles) for _, part in closed)
            if loop.time() < next_write_s and candles < _MAX_CANDLES:
                continue
            if last is not None:
                await self._until_stored([part for closed in batches for _, part in closed])
                if batches:
                    await write_or_reject(batches, self._write, self._reject)
                if self._position.sequence != last.sequence:
                    await self._advance(last, _nothing)
                await reader.ack(last)
                metrics.CANDLES.inc(candles)
                batches, candles, last = [], 0, None
            next_write_s = loop.time() + _MOVE_EVERY_S

    async def _read(self, message: Message) -> list[_Closed]:
        """Return the batches of a message that closed candles; what is none of them becomes a dead letter, alone."""
        found = []
        try:
            batches: list[tuple[int, bytes, ClosedCandles | None]] = [(0, message.payload, None)]
            if not subjects.is_of_one_symbol(message.subject):
                batches = closing_batches(message.payload)
        except BadMessage as exc:
            await self._dead.publish(self.stream, message, str(exc))
            return []
        for part, batch, known in batches:
            try:
                if (closed := known or wire.decode_closed(batch)) is not None:
                    found.append((message._replace(payload=batch, part=part), closed))
            except BadMessage as exc:
                await self._dead.publish(self.stream, message._replace(payload=batch, part=part), str(exc))
        return found

    async def _until_stored(self, batches: list[ClosedCandles]) -> None:
        wanted = max((batch.raw_sequence for batch in batches), default=0)
        while not await self._trades.reaches(wanted, within_s=_LOOK_EVERY_S):
            try:
                raw = await self._bus.stream_info(self._trades.stream)
                if raw is None or raw.state.last_seq < wanted:
                    return  # RAW was made anew since, and may never get there
            except (NatsError, TimeoutError) as exc:
                log.debug("the bus does not say where RAW ends: %s", exc)

    async def _write(self, batches: Sequence[list[_Closed]]) -> None:
        last, _ = batches[-1][-1]
        await self._advance(last, self._adding([part for closed in batches for part in closed]))

    def _adding(self, parts: Sequence[_Closed]) -> Callable[[Connection], Awaitable[None]]:
        async def work(connection: Connection) -> None:
            # No trades may come between looking at them and writing candles.
            await ledger_rows.lock(connection, [self._trades.partition])
            stored = partial(self._trades.seconds.stored, connection)
            await candle_rows.add(connection, [closed for _, closed in parts], self._periods, stored=stored)

        return work

    async def _reject(self, closed: list[_Closed], exc: psycopg.Error) -> None:
        """Store those batches of a message that the database takes; the position moves only behind all of them."""
        if len(closed) > 1:
            await write_or_reject(closed, self._write_parts, self._reject_part)
        else:
            await self._reject_part(closed[0], exc)
        await self._advance(closed[-1][0], _nothing)

    async def _write_parts(self, parts: Sequence[_Closed]) -> None:
        await self._positions.advance(self._position, self._position, self._adding(parts))

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


def closing_batches(payload: bytes) -> list[tuple[int, bytes, ClosedCandles | None]]:
    """Return the batches of a `SignalBatches` that may have closed candles.

    Those that nearly all are, which have closed none, are passed over in C++, and candles are read there: with 300
    symbols to find that out here took more than a third of store's time, and to read them here a sixth of the rest.

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
