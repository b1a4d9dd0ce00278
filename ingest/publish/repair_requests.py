"""Repairs the store asks for over the bus: what the venue has is published to RAW, what it has not is told back."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
from nats.errors import Error as NatsError

from ingest import metrics
from ingest.http.errors import VenueRequestError, VenueUnavailable
from ingest.publish.gap_repair import is_another_count
from ingest.publish.trade_publisher import TradePublisher
from ingest.venue import HttpApi
from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.outgoing_queue import OutgoingMessage, publish_until_stored
from mesh.bus.reader import SELDOM_HEARTBEAT_S, Reader
from mesh.service.errors import BadMessage
from mesh.values import epochs
from mesh.values.id_ranges import IdRanges
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.trades import MAX_TRADE_ID, TradeColumns
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.publish.repair_requests")

DURABLE = "control-ingest-repair"
MAX_IDS = 10_000
"""The store asks for no more at a time."""


class RepairRequests:
    """Answers requests for repair, one at a time. Run `run` as a task.

    Args:
        bus: where requests come from and answers go.
        http_api: the venue over REST.
        trade_publisher: where the trades go.
        dead: where messages go that are no requests.

    """

    def __init__(self, bus: Bus, http_api: HttpApi, trade_publisher: TradePublisher, dead: DeadLetterQueue) -> None:
        self._bus = bus
        self._http_api = http_api
        self._trade_publisher = trade_publisher
        self._dead = dead

    async def run(self) -> None:
        """Answer requests, for ever."""
        durable = self._bus.own(DURABLE)
        reader = Reader(
            *(self._bus, subjects.CONTROL, durable),
            after=None,
            subjects=[subjects.REPAIR_ALL],
            heartbeat_s=SELDOM_HEARTBEAT_S,
        )
        async with reader:
            while True:
                # Of several requests for one symbol only the newest counts: the store asks again for what it misses.
                newest = {message.subject: message for message in await reader.next()}
                for message in newest.values():
                    try:
                        request = control.decode(control_pb2.RepairRequest, message.payload)
                        _check(request)
                    except BadMessage as exc:
                        self._dead.put(subjects.CONTROL, message, str(exc))
                    else:
                        if (
                            request.venue == self._trade_publisher.venue
                            and self._trade_publisher.holds(request.symbol)
                            and not await self._is_answered(request, message.sequence)
                        ):
                            await self._report(await self._repair(request))
                    await reader.ack(message)

    async def _repair(self, request: control_pb2.RepairRequest) -> control_pb2.RepairResult:
        symbol = request.symbol
        result = control_pb2.RepairResult(
            venue=request.venue,
            symbol=symbol,
            first_trade_id=request.first_trade_id,
            last_trade_id=request.last_trade_id,
        )
        await self._trade_publisher.follow(symbol)
        epoch = self._trade_publisher.epoch(symbol)
        if epochs.epoch_of(request.last_trade_id) < epoch:
            result.lost.add(first_trade_id=request.first_trade_id, last_trade_id=request.last_trade_id)
            result.problem = f"{request.venue} has begun its ids again since: nobody can ask for these"
            return result
        if epochs.epoch_of(request.first_trade_id) != epoch:
            result.problem = f"epoch {epochs.epoch_of(request.last_trade_id)} is not reached yet"
            return result
        next_id = self._trade_publisher.next_id(symbol)
        # What is not published yet comes by itself, in order.
        wanted_id = epochs.venue_id(request.last_trade_id)
        last_id = min(wanted_id, -1 if next_id is None else next_id - 1)
        if last_id < wanted_id:
            result.problem = f"trades from {last_id + 1} on are not reached yet"
        from_id = epochs.venue_id(request.first_trade_id)
        if from_id <= (ends_id := min(self._trade_publisher.begins_after_id(symbol), last_id)):
            # Absent in this epoch: they are published in the one before.
            self._note_absent(result, IdRanges.of(from_id, ends_id))
            from_id = ends_id + 1
        try:
            while from_id <= last_id:
                found = await self._http_api.trades_from(symbol, from_id)
                begun = await is_another_count(symbol, found, self._http_api, self._trade_publisher)
                if begun or self._trade_publisher.epoch(symbol) != epoch:
                    result.problem = f"{request.venue} has begun its ids again meanwhile"
                    break
                if found.unreachable and found.unreachable.lowest <= last_id:
                    first = next(iter(found.unreachable))
                    result.problem = (
                        f"trades {first.first_id} to {first.last_id} are not told one by one, or not legibly"
                    )
                self._note_absent(result, found.absent & IdRanges.of(from_id, last_id))
                for part in found.parts:
                    await self._publish(result, part.rows(part.trade_id <= last_id))
                if found.next_id is None:
                    result.problem = f"the venue has no answer for trades from {from_id} on"
                    break
                from_id = found.next_id
        except VenueRequestError as exc:
            result.problem = str(exc)
            if isinstance(exc, VenueUnavailable):
                await asyncio.sleep(min(exc.again_after_s, 60))  # the next request would meet the same answer
        log.info(
            "%s: asked for trades %d to %d: %d found, %d absent%s",
            symbol,
            request.first_trade_id,
            request.last_trade_id,
            result.found,
            sum(gap.last_trade_id - gap.first_trade_id + 1 for gap in result.absent),
            f"; {result.problem}" if result.problem else "",
        )
        return result

    async def _publish(self, result: control_pb2.RepairResult, trades: TradeColumns) -> None:
        wrong = self._trade_publisher.implausible(trades) if len(trades) else np.zeros(0, np.bool_)
        if wrong.any():
            result.problem = f"trade {trades.trade_id[wrong][0]} is told with a time that cannot be"
            trades = trades.rows(~wrong)
        if len(trades):
            raw_sequence = await self._trade_publisher.publish_again(trades)
            if not raw_sequence:
                return  # a new epoch has begun: what is asked for is answered as lost the next time
            result.raw_sequence = raw_sequence
            result.found += len(trades)
            metrics.REPAIRED.labels(self._trade_publisher.venue, trades.symbol).inc(len(trades))

    def _note_absent(self, result: control_pb2.RepairResult, absent: IdRanges) -> None:
        epoch = self._trade_publisher.epoch(result.symbol)
        for first_id, last_id in absent:
            result.absent.add(
                first_trade_id=epochs.key_of(epoch, first_id), last_trade_id=epochs.key_of(epoch, last_id)
            )
        if absent:
            metrics.ABSENT.labels(self._trade_publisher.venue, result.symbol).inc(absent.size)

    async def _is_answered(self, request: control_pb2.RepairRequest, sequence: int) -> bool:
        """Return whether this is an old request, read again after a start: an answer stands after it."""
        subject = subjects.repaired(request.venue, request.symbol)
        try:
            answer = await self._bus.js.get_last_msg(subjects.CONTROL, subject)
        except (NatsError, TimeoutError):  # none, or nobody knows: to answer twice does no harm
            return False
        return (answer.seq or 0) > sequence

    async def _report(self, result: control_pb2.RepairResult) -> None:
        subject = subjects.repaired(result.venue, result.symbol)
        await publish_until_stored(self._bus, OutgoingMessage(subject, control.encode(result)))


def _check(request: control_pb2.RepairRequest) -> None:
    count = request.last_trade_id - request.first_trade_id + 1
    if request.first_trade_id < 0 or request.last_trade_id > MAX_TRADE_ID or not 0 < count <= MAX_IDS:
        raise BadMessage(
            f"trades {request.first_trade_id} to {request.last_trade_id}, expected 1 to {MAX_IDS} ids from 0 on"
        )
    try:
        symbol = parse_symbol(request.symbol)
        parse_venue(request.venue)
    except ValueError as exc:
        raise BadMessage(f"a repair request whose {exc}") from exc
    if symbol != request.symbol:
        raise BadMessage(f"a repair request of {request.symbol!r}, expected {symbol!r}")
