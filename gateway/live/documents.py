"""The channels `status` and `coverage`: an answer of REST, and from then on what has changed of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.live.feeds import ChannelFeed, Told
from gateway.live.history import StoredTrades
from gateway.transcode import json
from mesh.values import epochs
from tickmesh.v1.status_pb2 import GetStatusResponse

STATUS_EVERY_S = 0.5
COVERAGE_EVERY_S = 1.0
_MAX_BODIES = 8


class DocumentFeed(ChannelFeed):
    """One JSON object, member by member: an update has the members that have changed, each of them whole.

    Args:
        key: the channel, and what of it.

    """

    def __init__(self, *key: str) -> None:
        super().__init__(*key)
        self._members: dict[str, tuple[int, bytes, object]] = {}  # name -> when it changed last, it, what is compared
        self._raw = b""  # what was compared last
        self._bodies: dict[int, bytes] = {}
        self._last_key: int | None = None

    def newest(self) -> Told:
        """Return the whole object."""
        return self.since(0)

    def since(self, number: int) -> Told:
        """Return the members that have changed after a change, by its number."""
        if (body := self._bodies.get(number)) is None:
            changed = (b'"%b":%b' % (name.encode(), one) for name, (at, one, _) in self._members.items() if at > number)
            body = b"{%b}" % b",".join(changed)
            if len(self._bodies) < _MAX_BODIES:
                self._bodies[number] = body
        return Told(body, last_key=self._last_key)

    def take(self, found: Message, compared: Message, *, always: str = "") -> None:
        """Note what has changed, and wake who watches if anything has.

        Args:
            found: the answer as it is now.
            compared: the same without what no message is sent for.
            always: the name of a member that is in every update.

        """
        self.answered = self.current = True
        if (raw := compared.SerializeToString(deterministic=True)) == self._raw:
            return
        number, changed = self.number + 1, {}
        for name, field, encode in json.member_encoders(found.DESCRIPTOR):
            # Only what has changed is written: the symbols, where there are 300, take 1 ms.
            same = _value_of(compared, field)
            if name == always or name not in self._members or self._members[name][2] != same:
                changed[name] = number, json.to_bytes(encode(found)), same
        self._raw, self.number = raw, number
        self._members |= changed
        self._bodies.clear()
        self.wake()


def _value_of(message: Message, field: FieldDescriptor) -> object:
    """Return what tells one value of a field from another."""
    value = getattr(message, field.name)
    if field.message_type is None:
        return tuple(value) if field.is_repeated else value
    if field.is_repeated:
        return [one.SerializeToString(deterministic=True) for one in value]
    return value.SerializeToString(deterministic=True) if message.HasField(field.name) else None


class StatusFeed(DocumentFeed):
    """The state of the mesh: a message for each change of a state, a condition or a text for people.

    What moves with every trade or report is in each message as it is then, and calls for none of its own; the delay
    from the venue does where it has about doubled, or halved.

    Args:
        ask: returns the status as it is now.

    """

    def __init__(self, *, ask: Callable[[], Awaitable[GetStatusResponse]]) -> None:
        super().__init__("status")
        self._ask = ask

    async def follow(self) -> None:
        """Ask again and again until cancelled."""
        while True:
            found = await self._ask()
            status = GetStatusResponse()
            status.CopyFrom(found)
            status.ClearField("time")
            for symbol in status.symbols:
                symbol.ClearField("last_trade_time")
                symbol.ClearField("last_trade_id")
            for service in status.services:
                service.ClearField("report_age_s")
                service.report.ClearField("reported_time")
                service.report.ClearField("backlogs")
                feed = service.report.feed
                feed.ClearField("last_trade_time")
                if feed.HasField("lag_p50_s"):
                    feed.lag_p50_s, feed.lag_p99_s = _about(feed.lag_p50_s), _about(feed.lag_p99_s)
            self.take(found, status, always="time")
            await asyncio.sleep(STATUS_EVERY_S)


def _about(value: float) -> float:
    """Return a power of two that is near a value, or 0."""
    return 2.0 ** round(math.log2(value)) if value > 0 else 0.0


class CoverageFeed(DocumentFeed):
    """What is stored and what is missing of a symbol.

    Args:
        symbol: in lower case.
        stored: where it is asked for.

    """

    def __init__(self, symbol: str, *, stored: StoredTrades) -> None:
        super().__init__("coverage", symbol)
        self._symbol = symbol
        self._stored = stored

    async def follow(self) -> None:
        """Ask again and again until cancelled."""
        while True:
            if (found := await self._stored.coverage(self._symbol)) is None:
                self.current = False
            else:
                if found.epochs:
                    self._last_key = epochs.key_of(found.epochs[-1].epoch, found.epochs[-1].last_trade_id)
                self.take(found, found)
            await asyncio.sleep(COVERAGE_EVERY_S)
