"""What Binance says on its WebSocket, and what it is told: bytes <-> values.

Prices and quantities become integers scaled by 1e8 and never meet a float; times become microseconds, whichever unit
they came in. Fields we do not know are normal (before 2024-06 a trade also carried `b` and `a`) and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from mesh.errors import BadMessage
from mesh.fixed import parse_e8
from mesh.symbols import parse_symbol
from mesh.trades import Int64s, TradeColumns

MICROSECONDS_FROM = 10**14
"""Times below are milliseconds (this number of them is the year 5138), times from here on are microseconds (1973)."""

_TIMES_END = 10**16  # microseconds in the year 2286; nanoseconds are far above
_EIGHT_DECIMALS = re.compile(r"(?:[0-9]{1,10}\.[0-9]{8},)*[0-9]{1,10}\.[0-9]{8}")
_SHOWN = 200  # bytes of a bad frame that its error shows

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, msgspec.Meta(ge=0, lt=_TIMES_END)]


class BadFrame(BadMessage):
    """A frame that is not what the venue promises; `frame` is the whole of it."""

    def __init__(self, reason: str, frame: bytes) -> None:
        super().__init__(f"{reason} (in {frame[:_SHOWN]!r})")
        self.reason = reason
        self.frame = frame


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


class ShutdownEvent(msgspec.Struct, tag_field="e", tag="serverShutdown", gc=False):
    """The server goes down soon, with no promised lead time: `{"e":"serverShutdown","E":1770123456789}`."""


class Answer(msgspec.Struct, gc=False):
    """The answer to a request.

    `{"result": null, "id": 1}`, or refused `{"code": 2, "msg": "Invalid request: ...", "id": 1}`, in some versions with
    the last two inside of an `error`.
    """

    id: int | str | None = None
    code: int | None = None
    msg: str = ""


class UnknownEvent(msgspec.Struct, gc=False):
    """An event that nobody asked for, by its name."""

    name: str


class _Combined(msgspec.Struct, gc=False):
    """The envelope of combined streams: `{"stream": "btcusdt@trade", "data": {"e": "trade", ...}}`."""

    data: TradeEvent | ShutdownEvent


class _Shape(msgspec.Struct, gc=False):
    """What tells the kinds of frames apart."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    e: str | msgspec.UnsetType = msgspec.UNSET
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    code: int | None = None
    msg: str = ""
    error: Answer | None = None


Event = TradeEvent | ShutdownEvent | Answer | UnknownEvent

_combined = msgspec.json.Decoder(_Combined)
_bare: msgspec.json.Decoder[TradeEvent | ShutdownEvent] = msgspec.json.Decoder(TradeEvent | ShutdownEvent)
_shape = msgspec.json.Decoder(_Shape)
_KNOWN = {"trade", "serverShutdown"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What some frames said: trades by symbol, everything else one by one, and the frames that were refused."""

    trades: tuple[TradeColumns, ...]
    others: tuple[ShutdownEvent | Answer | UnknownEvent, ...]
    bad: tuple[BadFrame, ...]


def parse_frames(frames: Sequence[bytes], *, venue: str, received_time_us: int) -> Parsed:
    """Read frames that came together, combined or bare; a bad one is refused alone.

    Args:
        frames: text frames as they came, in order.
        venue: the name the trades get.
        received_time_us: when the first of them came.

    Returns:
        one TradeColumns a symbol, its rows in the order of the frames.

    """
    try:
        return _parse(frames, _decode_all(frames), venue, received_time_us)
    except (BadFrame, ValueError):
        good, events, bad = [], [], []
        for frame in frames:
            try:
                event = parse_frame(frame)
                _parse([frame], [event], venue, received_time_us)
            except BadFrame as exc:
                bad.append(exc)
            except ValueError as exc:
                bad.append(BadFrame(str(exc), frame))
            else:
                good.append(frame)
                events.append(event)
        parsed = _parse(good, events, venue, received_time_us)
        return Parsed(parsed.trades, parsed.others, tuple(bad))


def parse_frame(frame: bytes) -> Event:
    """Read one frame.

    Raises:
        BadFrame: no JSON, or none of the shapes we know.

    """
    try:
        return _combined.decode(frame).data
    except msgspec.MsgspecError as exc:
        why = str(exc)
    try:
        shape = _shape.decode(frame)
        if shape.data is not msgspec.UNSET:
            name = _shape.decode(shape.data).e
        elif (name := shape.e) in _KNOWN:
            return _bare.decode(frame)
        elif shape.id is not msgspec.UNSET or shape.error is not None or shape.code is not None:
            refusal = shape.error or shape
            answered = None if shape.id is msgspec.UNSET else shape.id
            return Answer(id=answered, code=refusal.code, msg=refusal.msg)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise BadFrame(str(exc), frame) from exc
    if name is msgspec.UNSET:
        raise BadFrame("neither an event nor an answer", frame)
    if name in _KNOWN:
        raise BadFrame(why, frame)
    return UnknownEvent(name)


def request(method: str, streams: Iterable[str], request_id: int) -> bytes:
    """Word a request: `{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}`."""
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id})


def trade_stream(symbol: str) -> str:
    """Return the name of a symbol's stream of trades: `btcusdt@trade`."""
    return f"{symbol}@trade"


def columns(
    *,
    venue: str,
    symbol: str,
    received_time_us: int,
    ids: Sequence[int],
    prices: Sequence[str],
    quantities: Sequence[str],
    times: Sequence[int],
    makers: Sequence[bool],
) -> TradeColumns:
    """Put trades, as the venue words them, into columns.

    Raises:
        ValueError: a price that is none or not above zero, a quantity that is none; times in either unit are fine.

    """
    price_e8 = _scaled(prices)
    if not price_e8.all():
        at = int(np.flatnonzero(price_e8 == 0)[0])
        raise ValueError(f"price {prices[at]!r} of trade {ids[at]}, expected more than 0")
    if times and min(times) < MICROSECONDS_FROM:
        times = [time if time >= MICROSECONDS_FROM else time * 1000 for time in times]
    return TradeColumns(
        venue,
        symbol,
        received_time_us,
        np.array(ids, np.int64),
        price_e8,
        _scaled(quantities),
        np.array(times, np.int64),
        np.array(makers, np.bool_),
    )


def _decode_all(frames: Sequence[bytes]) -> Sequence[Event]:
    # One call for all is twice as fast as one a frame; a frame with a line end of its own shows in the count.
    try:
        events = [message.data for message in _combined.decode_lines(b"\n".join(frames))]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        events = []
    return events if len(events) == len(frames) else [parse_frame(frame) for frame in frames]


def _parse(frames: Sequence[bytes], events: Sequence[Event], venue: str, received_time_us: int) -> Parsed:
    by_name: dict[str, list[TradeEvent]] = {}
    others: list[Any] = []
    for event in events:
        if type(event) is not TradeEvent:
            others.append(event)
        elif (mates := by_name.get(event.s)) is not None:
            mates.append(event)
        else:
            by_name[event.s] = [event]
    trades = tuple(
        columns(
            venue=venue,
            symbol=parse_symbol(name),
            received_time_us=received_time_us,
            ids=[event.t for event in mates],
            prices=[event.p for event in mates],
            quantities=[event.q for event in mates],
            times=[event.T for event in mates],
            makers=[event.m for event in mates],
        )
        for name, mates in by_name.items()
    )
    return Parsed(trades, tuple(others), ())


def _scaled(texts: Sequence[str]) -> Int64s:
    # Eight decimals each is what Binance sends: such a column is checked and read as one text, at a third of the cost.
    # Everything else takes the long way, which also says what is wrong.
    joined = ",".join(texts)
    if _EIGHT_DECIMALS.fullmatch(joined) and joined.count(",") == len(texts) - 1:
        return np.fromstring(joined.replace(".", ""), np.int64, sep=",")
    return np.array([parse_e8(text) for text in texts], np.int64)
