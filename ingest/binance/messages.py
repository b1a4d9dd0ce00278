"""What Binance says on its WebSocket: bytes -> values. Pure.

Prices and quantities become integers scaled by 1e8 and never meet a float; times become microseconds, whichever unit
they came in. Fields we do not know are normal (before 2024-06 a trade also carried `b` and `a`) and passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ingest.binance.columns import Count, Id, IdOrNone, Time, columns, time_us
from ingest.messages import UNREADABLE, BadFrame, ClosedCandle, shallow
from mesh.values import epochs
from mesh.values.fixed import parse_e8
from mesh.values.symbols import parse_symbol
from mesh.values.trades import TradeColumns
from tickcodec.frames import FrameReader, ReadBatches

MAX_VOLUME_E8 = 10**30
"""A minute's volume is a sum: of a coin that costs nothing it may be more than 64 bits hold."""

_MINUTE_US = 60_000_000
_LONGEST_WORDS = 200  # characters of the venue's own words that are passed on

_Code = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_RequestId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class TradeEvent(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    """One trade.

    `{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
    "T":1723161255342,"m":true,"M":true}`
    """

    s: str  # symbol
    t: Id
    p: str  # price
    q: str  # quantity
    T: Time
    m: bool  # the buyer was the maker


class CandleEvent(msgspec.Struct, tag_field="e", tag="kline", gc=False):
    """The state of a minute, once a second and when it closes (`x`).

    `{"e":"kline","E":1770123660001,"s":"BTCUSDT","k":{"t":1770123600000,"T":1770123659999,"s":"BTCUSDT","i":"1m",
    "f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":true,"q":"1.0000",
    "V":"500","Q":"0.500","B":"0"}}`
    """

    s: str
    k: _Candle


class _Candle(msgspec.Struct, gc=False):
    t: Time  # when it begins
    f: IdOrNone  # first trade id; -1 when there is none
    L: IdOrNone  # last trade id
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - Binance's name
    v: str  # base asset traded
    n: Count  # number of trades
    x: bool  # closed
    i: Literal["1m"] = "1m"


class ShutdownEvent(msgspec.Struct, tag_field="e", tag="serverShutdown", gc=False):
    """The server goes down soon, with no promised lead time: `{"e":"serverShutdown","E":1770123456789}`."""


class SubscriptionReply(msgspec.Struct, gc=False):
    """The answer to a request.

    `{"result": null, "id": 1}`, or refused `{"code": 2, "msg": "Invalid request: ...", "id": 1}`, in some versions with
    the last two inside of an `error`.
    """

    id: _RequestId | str | None = None
    code: _Code | None = None
    msg: str = ""


class UnknownEvent(msgspec.Struct, gc=False):
    """An event that nobody asked for, by its name."""

    name: str


class _Combined(msgspec.Struct, gc=False):
    """The envelope of combined streams: `{"stream": "btcusdt@trade", "data": {"e": "trade", ...}}`."""

    data: TradeEvent | CandleEvent | ShutdownEvent


class _Shape(msgspec.Struct, gc=False):
    """What tells the kinds of frames apart."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    e: str | msgspec.UnsetType = msgspec.UNSET
    id: _RequestId | str | msgspec.UnsetType | None = msgspec.UNSET
    code: _Code | None = None
    msg: str = ""
    error: SubscriptionReply | None = None


MAX_CARRIED = 4096
"""So many frames are read in C++ in one call; more are read in Python."""

Event = TradeEvent | CandleEvent | ShutdownEvent | SubscriptionReply | UnknownEvent

_combined = msgspec.json.Decoder(_Combined)
_bare: msgspec.json.Decoder[TradeEvent | CandleEvent | ShutdownEvent] = msgspec.json.Decoder(
    TradeEvent | CandleEvent | ShutdownEvent
)
_shape = msgspec.json.Decoder(_Shape)
_KNOWN = {"trade", "kline", "serverShutdown"}


def decode_frames(frames: Sequence[bytes]) -> Sequence[Event]:
    """Read frames that came together, an event a frame.

    Raises:
        BadFrame: one of them is no JSON, or none of the shapes we know.

    """
    # One call for all is twice as fast as one a frame; a frame with a line end of its own shows in the count.
    try:
        events = [message.data for message in _combined.decode_lines(b"\n".join(map(shallow, frames)))]
    except UNREADABLE:
        events = []
    return events if len(events) == len(frames) else [decode_frame(frame) for frame in frames]


def decode_frame(frame: bytes) -> Event:
    """Read one frame.

    Raises:
        BadFrame: no JSON, or none of the shapes we know.

    """
    try:
        return _combined.decode(shallow(frame)).data
    except UNREADABLE as exc:
        why = str(exc)
    try:
        shape = _shape.decode(shallow(frame))
        if shape.data is not msgspec.UNSET:
            name = _shape.decode(shape.data).e
        elif (name := shape.e) in _KNOWN:
            return _bare.decode(frame)
        elif shape.id is not msgspec.UNSET or shape.error is not None or shape.code is not None:
            refusal = shape.error or shape
            answered = None if shape.id is msgspec.UNSET else shape.id
            if isinstance(answered, str):
                answered = answered[:_LONGEST_WORDS]
            return SubscriptionReply(id=answered, code=refusal.code, msg=refusal.msg[:_LONGEST_WORDS])
    except UNREADABLE as exc:
        raise BadFrame(str(exc), frame) from exc
    if name is msgspec.UNSET:
        raise BadFrame("neither an event nor an answer", frame)
    if name in _KNOWN:
        raise BadFrame(why, frame)
    return UnknownEvent(name[:_LONGEST_WORDS])


class Parsed(NamedTuple):
    """What some frames said.

    Attributes:
        trades: of all symbols together, or of each by itself.
        candles: minutes that are closed.
        others: everything else.
        bad: frames that were refused.
        minutes: by symbol the last trade of the newest minute told of, closed or not; -1 when it has none.

    """

    trades: Sequence[TradeColumns | ReadBatches] = ()
    candles: tuple[ClosedCandle, ...] = ()
    others: tuple[ShutdownEvent | SubscriptionReply | UnknownEvent, ...] = ()
    bad: tuple[BadFrame, ...] = ()
    minutes: Mapping[str, int] = MappingProxyType({})


def parse_frames(frames: Sequence[bytes], *, venue: str, received_time_us: int) -> Parsed:
    """Read frames that came together, combined or bare; a bad one is refused alone.

    Trades in the form in which Binance nearly always writes them are read in C++, all in one call.

    Args:
        frames: text frames as they came, in order.
        venue: the name the trades get.
        received_time_us: when the first of them came.

    Returns:
        the trades of each symbol, in the order of the frames.

    """
    if not 0 < len(frames) <= MAX_CARRIED:
        return parse_frames_singly(frames, venue=venue, received_time_us=received_time_us)
    read, left = _reader(venue).read(frames, received_time_us)
    trades = () if read is None else (read,)
    if not left:
        return Parsed(trades)
    parsed = parse_frames_singly([frames[at] for at in left], venue=venue, received_time_us=received_time_us)
    if not trades or not parsed.trades:
        return parsed._replace(trades=trades or parsed.trades)
    # Some are written otherwise, and only all together have they an order.
    return parse_frames_singly(frames, venue=venue, received_time_us=received_time_us)


def parse_frames_singly(frames: Sequence[bytes], *, venue: str, received_time_us: int) -> Parsed:
    """Read frames as `parse_frames` does, whatever their form is, in Python.

    Args:
        frames: text frames as they came, in order.
        venue: the name the trades get.
        received_time_us: when the first of them came.

    """
    try:
        return _parse(decode_frames(frames), venue, received_time_us)
    except (BadFrame, ValueError):
        events, bad = [], []
        for frame in frames:
            try:
                event = decode_frame(frame)
                _parse([event], venue, received_time_us)
            except BadFrame as exc:
                bad.append(exc)
            except ValueError as exc:
                bad.append(BadFrame(str(exc), frame))
            else:
                events.append(event)
        parsed = _parse(events, venue, received_time_us)
        return parsed._replace(bad=tuple(bad))


@lru_cache(maxsize=4)
def _reader(venue: str) -> FrameReader:
    return FrameReader(venue, max_frames=MAX_CARRIED, max_id=epochs.IDS - 1)


def _parse(events: Sequence[Event], venue: str, received_time_us: int) -> Parsed:
    by_name: dict[str, list[TradeEvent]] = {}
    candles: list[ClosedCandle] = []
    others: list[Any] = []
    minutes: dict[str, int] = {}
    for event in events:
        if type(event) is CandleEvent:
            minutes[parse_symbol(event.s)] = event.k.L
            if event.k.x:
                candles.append(_closed(event))
        elif type(event) is not TradeEvent:
            others.append(event)
        elif (mates := by_name.get(event.s)) is not None:
            mates.append(event)
        else:
            by_name[event.s] = [event]
    trades = tuple(
        columns(
            [(event.t, event.p, event.q, event.T, event.m) for event in mates],
            venue=venue,
            symbol=parse_symbol(name),
            received_time_us=received_time_us,
        )
        for name, mates in by_name.items()
    )
    return Parsed(trades, tuple(candles), tuple(others), (), minutes)


def _closed(event: CandleEvent) -> ClosedCandle:
    """Return the minute of an event. Raises: ValueError: numbers no closed minute can have."""
    minute = event.k
    candle = ClosedCandle(
        parse_symbol(event.s),
        time_us(minute.t),
        minute.f,
        minute.L,
        minute.n,
        parse_e8(minute.o),
        parse_e8(minute.h),
        parse_e8(minute.l),
        parse_e8(minute.c),
        parse_e8(minute.v, most=MAX_VOLUME_E8),
    )
    first_id, last_id, count = candle.first_trade_id, candle.last_trade_id, candle.trade_count
    empty = (first_id, last_id, count) == (-1, -1, 0)
    if not empty and not (0 <= first_id <= last_id and 1 <= count <= last_id - first_id + 1):
        raise ValueError(f"a minute of {count} trades with ids {first_id} to {last_id}")
    if candle.open_time_us % _MINUTE_US:
        raise ValueError(f"a minute that begins at {candle.open_time_us} us, which is no whole minute")
    return candle
