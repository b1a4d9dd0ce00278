"""RAW into the database: take messages in order, write them in batches, acknowledge after the commit.

The position is in the database, beside the rows. So whatever breaks (bus, database, this process), reading goes on
exactly behind what is stored. While the database is away the same batch is tried again and nothing more is taken: what
waits is in the stream, not in memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import psycopg

from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.message import REPAIR, Message
from mesh.bus.position import Position
from mesh.bus.reader import Reader, StreamReplacedError
from mesh.service.errors import BadMessage
from mesh.service.lifecycle import Stop
from mesh.values import epochs
from mesh.values.trades import refusal
from store import metrics
from store.database.errors import Reaction, first_line, in_halves, reaction
from store.intake.batch import Batch, Taken, by_symbol
from store.intake.dead_letters import DeadLetters
from store.intake.streams import resume
from store.intake.writer import PositionMovedError, Writer
from store.settings import StoreSettings

log = logging.getLogger("store.intake")

_POLL_S = 0.5
OTHER_EPOCH = "told in an epoch that was over"
"""So begins the reason with which such trades are put aside; they are never stored under those ids."""
_MOST_REFUSED = 200
"""Messages in a row that the database refuses: more, and it is not the messages, so the service ends."""


class Intake:
    """The way of the trades from RAW into the database.

    Args:
        bus: where RAW is.
        writer: where the trades go.
        dead: where messages go that cannot be stored.
        settings: how large and how old a batch may get.
        stop: ends `run`.

    `position` tells how far RAW is stored, `pending` how many messages waited behind that.

    """

    def __init__(self, bus: Bus, writer: Writer, dead: DeadLetters, settings: StoreSettings, stop: Stop) -> None:
        self._bus = bus
        self._writer = writer
        self._dead = dead
        # Most of a trade's time it waits in the stream, the rest of it here.
        self._gather_s = 0.8 * settings.batch_max_age_ms / 1000
        self._batch = Batch(max_trades=settings.batch_max_trades, max_age_s=0.2 * settings.batch_max_age_ms / 1000)
        self._stop = stop
        self.position: Position | None = None
        self.pending = 0
        self._refused_in_a_row = 0
        self._epochs: dict[tuple[str, str], int] = {}  # the newest one of each venue and symbol, where it is not 0

    async def run(self) -> None:
        """Store until asked to stop; then store what was taken."""
        while not self._stop.asked:
            async with self._stop.interrupts():
                position = await resume(self._bus, self._writer, subjects.RAW)
            try:
                await self._take_in(position)
            except (StreamReplacedError, PositionMovedError) as exc:
                # Nothing is lost: what was taken and not stored is read again from the database's position.
                log.error("reading %s anew: %s", subjects.RAW, exc)
                self._batch.take()

    async def _take_in(self, position: Position) -> None:
        self.position = position
        self._epochs = await self._writer.epochs()
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            async with self._stop.interrupts():
                reader = await stack.enter_async_context(
                    Reader(
                        self._bus,
                        subjects.RAW,
                        subjects.DURABLE_STORE,
                        after=position.sequence,
                        after_us=position.taken_us,
                        gather_s=self._gather_s,
                    )
                )
            last: Message | None = None
            while not self._stop.asked:
                wait_s = self._batch.wait_s(loop.time()) if self._batch else _POLL_S
                for message in await reader.next(timeout_s=min(max(wait_s, 0.0), _POLL_S)):
                    taken = _take(message)
                    if last is not None and not self._batch.fits(taken):
                        await self._flush(reader, last)
                    self._batch.add(taken, now_s=loop.time())
                    last = message
                    if self._batch.due(loop.time()):
                        await self._flush(reader, last)
                if last is not None and self._batch.due(loop.time()):
                    await self._flush(reader, last)
            if last is not None and self._batch:
                await self._flush(reader, last)

    async def _flush(self, reader: Reader, last: Message) -> None:
        messages = self._batch.take()
        began_s = time.monotonic()
        await self._store(messages)
        metrics.COMMIT_S.observe(time.monotonic() - began_s)
        received_us = [message.trades.received_time_us for message in messages if message.trades is not None]
        if received_us:
            metrics.LAG_S.set(time.time() - min(received_us) / 1e6)
        self.pending = last.pending
        metrics.PENDING.set(last.pending)
        await reader.ack(last)

    async def _store(self, messages: Sequence[Taken]) -> None:
        """Store consecutive messages; those the database refuses are put aside, alone."""
        assert self.position is not None
        now_us = time.time_ns() // 1000
        if any(refusal(group, now_us=now_us) for group in by_symbol(messages)):
            messages = [_examined(message, now_us) for message in messages]
        messages = [await self._in_its_epoch(message) for message in messages]
        await self._dead.put_aside(subjects.RAW, [message for message in messages if message.dead])
        await in_halves(messages, self._write, self._write_alone)

    async def _in_its_epoch(self, message: Taken) -> Taken:
        """Refuse trades that are told in an epoch which is over, and that nobody asked for.

        ingest tells such ones when the disk of the bus was lost and it knows no better: they are of the newest epoch,
        where their ids are missing, so that they are asked for. Stored here they would be others than they are.
        """
        trades = message.trades
        if trades is None or not len(trades):
            return message
        name = (trades.venue, trades.symbol)
        newest, told = self._epochs.get(name, 0), epochs.epoch_of(int(trades.trade_id.min()))
        if told >= newest:
            if last := epochs.epoch_of(int(trades.trade_id.max())):
                self._epochs[name] = last
            return message
        if message.is_repair or await self._writer.holds(trades):  # read once more, as after a restore
            return message
        return message.killed(
            f"{OTHER_EPOCH}: epoch {told} of {trades.venue} {trades.symbol}, which is in epoch {newest}"
        )

    async def _write_alone(self, message: Taken, refused: psycopg.Error) -> None:
        """Store a message that the database has refused with its limits lifted; what that does not mend is put aside.

        Raises:
            psycopg.Error: everything is refused, so that putting aside is no way to go on.

        """
        assert self.position is not None
        if not message.dead:
            try:
                await self._write([message], lift_limits=True)
                return
            except psycopg.Error as exc:
                if reaction(exc) is Reaction.END or self._refused_in_a_row >= _MOST_REFUSED:
                    raise
                self._refused_in_a_row += 1
                message = message.killed(f"the database refuses it: {first_line(exc)}")
                await self._dead.put_aside(subjects.RAW, [message])
                await self._write([message])
                return
        raise refused

    async def _write(self, messages: Sequence[Taken], *, lift_limits: bool = False) -> None:
        assert self.position is not None
        to = self.position.moved(messages[-1].sequence, messages[-1].taken_us)
        written = await self._writer.store(self.position, to, by_symbol(messages), lift_limits=lift_limits)
        if written.stored:
            self._refused_in_a_row = 0
        self.position = to
        metrics.SEQUENCE.set(self.position.sequence)
        metrics.REPEATED.inc(written.repeated)
        metrics.BATCH.observe(sum(written.stored.values()))
        for (venue, symbol), trades in written.stored.items():
            metrics.STORED.labels(venue, symbol).inc(trades)


def _take(message: Message) -> Taken:
    trades, reason = None, ""
    try:
        trades = wire.decode_trades(message.payload)
    except BadMessage as exc:
        reason = str(exc)
    is_repair = REPAIR in message.message_id
    return Taken(message.sequence, message.subject, message.payload, trades, reason, message.taken_us, is_repair)


def _examined(message: Taken, now_us: int) -> Taken:
    reason = "" if message.trades is None else refusal(message.trades, now_us=now_us)
    return message.killed(reason) if reason else message
