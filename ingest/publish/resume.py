"""How far RAW is: the newest trade of a symbol that was published before, and the names of messages that tell it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from dataclasses import dataclass, replace

import numpy as np
from nats.errors import Error as NatsError
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.partitions import WHOLE, Partition
from mesh.bus.subjects import MESSAGE_ID
from mesh.service.errors import BadMessage
from mesh.service.logs import LogThrottle
from mesh.values import epochs
from mesh.values.trades import TradeColumns, concatenate

log = logging.getLogger("ingest.publish.resume")

_LOOK_BACK = 10_000  # messages, for one that is ours; farther back the ledger finds what is missing
_LOOK_AROUND = 64  # messages, for trades before the last ones
_ENOUGH = 16  # trades: a wrong one among them does not look as if the venue had begun its ids again


@dataclass(frozen=True, slots=True)
class LastPublished:
    """The newest trade published: its key (`mesh.epochs`), its time, and the trades before it that are known."""

    key: int
    time_us: int
    trades: TradeColumns | None


async def last_of_all(bus: Bus, venue: str, partition: Partition = WHOLE) -> dict[str, LastPublished]:
    """Return the newest trade of each symbol as RAW's messages of many symbols tell it; waits for the bus.

    The last message that tells the last trades again is read, and the thousand at most that stand behind it, each in
    some 0.5 ms. The leader of the stream is asked, as a replica may lag.

    Args:
        bus: whose stream RAW is read.
        venue: whose trades.
        partition: whose RAW.

    """
    log_throttle = LogThrottle(every_s=10)
    while True:
        try:
            return await _last_of_all(bus, partition.name(subjects.RAW), subjects.raw(venue, partition))
        except (NatsError, TimeoutError) as exc:
            if log_throttle.due(asyncio.get_running_loop().time()):
                log.warning("waiting for the bus to read the last trades of %s: %s", venue, str(exc) or "no answer")
            await asyncio.sleep(0.25)


async def _last_of_all(bus: Bus, stream: str, subject: str) -> dict[str, LastPublished]:
    sequence, told_again = await _last_told_again(bus, stream, subjects.last_trades(subject))
    parts: dict[str, list[TradeColumns]] = {}
    for trades in told_again:
        parts.setdefault(trades.symbol, []).append(trades)
    with contextlib.suppress(NotFoundError):
        while True:
            message = await bus.js.get_msg(stream, sequence + 1, subject=subject, next=True)
            sequence = message.seq or 0
            for trades in _trades_in(message):
                parts.setdefault(trades.symbol, []).append(trades)
    return {symbol: _last_of(told) for symbol, told in parts.items()}


async def _last_told_again(bus: Bus, stream: str, subject: str) -> tuple[int, list[TradeColumns]]:
    """Return the sequence and the trades of the last message of ours that tells trades again; 0 where there is none."""
    try:
        message = await bus.js.get_last_msg(stream, subject)
    except NotFoundError:
        return 0, []
    if found := _trades_in(message):
        return message.seq or 0, found
    sequence, end = 0, message.seq or 0  # that one somebody else wrote
    at = max(end - _LOOK_BACK, 0)
    while at + 1 < end:
        message = await bus.js.get_msg(stream, at + 1, subject=subject, next=True)
        at = message.seq or 0
        if trades := _trades_in(message):
            sequence, found = at, trades
    return sequence, found


def _trades_in(message: RawStreamMsg) -> list[TradeColumns]:
    try:
        return list(map(wire.decode_trades, wire.batches_of(message.data or b"")))
    except BadMessage as exc:
        log.error("message %d of RAW is not as ingest writes them: %s", message.seq, exc)
        return []


def _last_of(parts: list[TradeColumns]) -> LastPublished:
    trades = _told_last(parts[::-1])
    key = int(trades.trade_id[-1])
    return LastPublished(key, int(trades.time_us[-1]), trades.rows(trades.trade_id // epochs.IDS == key // epochs.IDS))


def _told_last(parts: list[TradeColumns]) -> TradeColumns:
    """Return the trades, their ids rising; of two with the same id the one in the earlier part."""
    trades = concatenate(parts)
    return trades.rows(np.unique(trades.trade_id, return_index=True)[1])  # the first one of each is what it takes


async def last_published(
    bus: Bus, venue: str, symbol: str, of_all: LastPublished | None = None, *, partition: Partition = WHOLE
) -> LastPublished | None:
    """Return the newest trade that RAW holds of a symbol, None when it holds none; waits for the bus.

    Args:
        bus: whose stream RAW is read.
        venue: whose trades.
        symbol: in lower case.
        of_all: what `last_of_all` says of it; the last message of the symbol's own is an older ingest's, or a repair.
        partition: the symbol's.

    """
    stream, subject = partition.name(subjects.RAW), subjects.raw_of_symbol(venue, symbol, partition)
    log_throttle = LogThrottle(every_s=10)
    foreign = 0  # the sequence of a message that somebody else wrote
    while True:
        try:
            if foreign:
                message = await _message_before(bus, stream, foreign, subject)
            else:
                message = await bus.js.get_last_msg(stream, subject)
        except NotFoundError:
            return of_all
        except (NatsError, TimeoutError) as exc:
            if log_throttle.due(asyncio.get_running_loop().time()):
                log.warning("waiting for the bus to read the last trade of %s: %s", symbol, str(exc) or "no answer")
            await asyncio.sleep(0.25)
            continue
        try:
            last = _newest(message)
        except BadMessage as exc:
            foreign = message.seq or 0
            log.error("%s: going on after what stands before message %d of RAW: %s", symbol, foreign, exc)
            if of_all is not None:
                return of_all
            continue
        if of_all is not None and of_all.key >= last.key:
            return of_all
        with contextlib.suppress(NatsError, TimeoutError):  # without them it goes on as well
            return replace(last, trades=await _trades_up_to(bus, stream, message, last.key))
        return last


async def _trades_up_to(bus: Bus, stream: str, message: RawStreamMsg, last_key: int) -> TradeColumns | None:
    """Return the last trades published, their ids rising; a later telling of one, as in a repair, counts."""
    parts: list[TradeColumns] = []
    subject, sequence = message.subject, message.seq or 0
    for candidate in range(sequence, max(sequence - _LOOK_AROUND, 0), -1):
        with contextlib.suppress(NotFoundError, BadMessage):
            if candidate != sequence:
                message = await bus.js.get_msg(stream, candidate)
            if message.subject == subject:
                parts.append(wire.decode_trades(message.data or b""))
        if sum(map(len, parts)) >= _ENOUGH:
            break
    if not parts:
        return None
    trades = _told_last(parts)  # the latest telling came first
    same_epoch = trades.trade_id // epochs.IDS == last_key // epochs.IDS
    return trades.rows(same_epoch & (trades.trade_id <= last_key))


async def published_epoch(bus: Bus, venue: str, symbol: str) -> int | None:
    """Return the epoch of a symbol as CONTROL tells it, None while store has not told of all; waits for the bus.

    Args:
        bus: whose stream CONTROL is read.
        venue: whose ids.
        symbol: in lower case.

    """
    while True:
        all_told = False
        try:
            with contextlib.suppress(NotFoundError):  # asked first, as it is told last
                await bus.js.get_last_msg(subjects.CONTROL, subjects.EPOCHS_TOLD)
                all_told = True
            message = await bus.js.get_last_msg(subjects.CONTROL, subjects.epoch(venue, symbol))
        except NotFoundError:
            return 0 if all_told else None
        except (NatsError, TimeoutError):
            await asyncio.sleep(0.25)
            continue
        try:
            return control.decode_epoch(message.data or b"").epoch
        except BadMessage as exc:
            log.error("%s: its epoch counts as 0: %s", symbol, exc)
            return 0


async def _message_before(bus: Bus, stream: str, sequence: int, subject: str) -> RawStreamMsg:
    for candidate in range(sequence - 1, max(sequence - _LOOK_BACK, 0), -1):
        with contextlib.suppress(NotFoundError):
            message = await bus.js.get_msg(stream, candidate)
            if message.subject == subject:
                return message
    raise NotFoundError


def repair_id(trades: TradeColumns, newest_id: int) -> str:
    """Name a message of trades of the past, so that whoever reads RAW's last message knows how far we had come.

    The time makes it another name than that of an earlier repair of the same ids, which JetStream would take for it.

    Args:
        trades: of the message, their keys rising.
        newest_id: the key of the newest trade that was published in order.

    """
    first_id, last_id = trades.trade_id[0], trades.trade_id[-1]
    now_us = time.time_ns() // 1000
    return f"{trades.venue}.{subjects.token(trades.symbol)}.{first_id}-{last_id}.repair.{newest_id}.{now_us}"


def newest_of_repair(message_id: str) -> int | None:
    """Read the newest id out of the name that `repair_id` gave; None for any other name."""
    match = re.fullmatch(r".*\.repair\.([0-9]+)\.[0-9]+", message_id)
    return int(match[1]) if match else None


def _newest(message: RawStreamMsg) -> LastPublished:
    """Return the newest trade that was published up to this message. Raises: BadMessage."""
    trades = wire.decode_trades(message.data or b"")
    newest_id = newest_of_repair((message.headers or {}).get(MESSAGE_ID, ""))
    if newest_id is not None:  # the message is one of the past: it says how far we had come
        return LastPublished(newest_id, trades.received_time_us, None)
    return LastPublished(int(trades.trade_id[-1]), int(trades.time_us[-1]), trades)
