"""What Binance says on its WebSocket, and what it is told: bytes <-> values.

Prices and quantities become integers scaled by 1e8 and never meet a float; times become microseconds, whichever unit
they came in. Fields we do not know are normal (before 2024-06 a trade also carried `b` and `a`) and passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.columns import Id, Time, columns, time_us
from mesh.errors import BadMessage
from mesh.fixed import parse_e8
from mesh.symbols import parse_symbol
from mesh.trades import TradeColumns

_SHOWN = 200  # bytes of a bad frame that its error shows


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
    f: int  # first trade id; -1 when there is none
    L: int  # last trade id
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - Binance's name
    v: str  # base asset traded
    n: int  # number of trades
    x: bool  # closed


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

    data: TradeEvent | CandleEvent | ShutdownEvent


class _Shape(msgspec.Struct, gc=False):
    """What tells the kinds of frames apart."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    e: str | msgspec.UnsetType = msgspec.UNSET
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    code: int | None = None
    msg: str = ""
    error: Answer | None = None


Event = TradeEvent | CandleEvent | ShutdownEvent | Answer | UnknownEvent

_combined = msgspec.json.Decoder(_Combined)
_bare: msgspec.json.Decoder[TradeEvent | CandleEvent | ShutdownEvent] = msgspec.json.Decoder(
    TradeEvent | CandleEvent | ShutdownEvent
)
_shape = msgspec.json.Decoder(_Shape)
_KNOWN = {"trade", "kline", "serverShutdown"}


@dataclass(frozen=True, slots=True)
class ClosedCandle:
    """A minute that the venue has closed: its own sum of that minute's trades; ids are -1 when nothing was traded."""

    symbol: str
    open_time_us: int
    first_trade_id: int
    last_trade_id: int
    trade_count: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """What some frames said: trades by symbol, minutes closed, everything else, and the frames that were refused."""

    trades: tuple[TradeColumns, ...]
    candles: tuple[ClosedCandle, ...]
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
        return Parsed(parsed.trades, parsed.candles, parsed.others, tuple(bad))


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


def streams(symbol: str) -> tuple[str, str]:
    """Return the names of a symbol's streams: `btcusdt@trade`, and `btcusdt@kline_1m` for the closed minutes."""
    return f"{symbol}@trade", f"{symbol}@kline_1m"


def _decode_all(frames: Sequence[bytes]) -> Sequence[Event]:
    # One call for all is twice as fast as one a frame; a frame with a line end of its own shows in the count.
    try:
        events = [message.data for message in _combined.decode_lines(b"\n".join(frames))]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        events = []
    return events if len(events) == len(frames) else [parse_frame(frame) for frame in frames]


def _parse(frames: Sequence[bytes], events: Sequence[Event], venue: str, received_time_us: int) -> Parsed:
    by_name: dict[str, list[TradeEvent]] = {}
    candles: list[ClosedCandle] = []
    others: list[Any] = []
    for event in events:
        if type(event) is CandleEvent:
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
    return Parsed(trades, tuple(candles), tuple(others), ())


def _closed(event: CandleEvent) -> ClosedCandle:
    candle = event.k
    return ClosedCandle(
        parse_symbol(event.s),
        time_us(candle.t),
        candle.f,
        candle.L,
        candle.n,
        parse_e8(candle.o),
        parse_e8(candle.h),
        parse_e8(candle.l),
        parse_e8(candle.c),
        parse_e8(candle.v),
    )
