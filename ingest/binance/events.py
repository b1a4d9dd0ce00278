"""The frames of Binance's WebSocket one by one: bytes -> what each is, its numbers still as they stand there.

Fields we do not know are normal (before 2024-06 a trade also carried `b` and `a`) and passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from ingest.binance.columns import Count, Id, IdOrNone, Time
from ingest.binance.unreadable import UNREADABLE
from mesh.service.errors import BadMessage

_SHOWN = 200  # bytes of a bad frame that its error shows
_LONGEST_WORDS = 200  # characters of the venue's own words that are passed on

_Code = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_RequestId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


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


class Answer(msgspec.Struct, gc=False):
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
    error: Answer | None = None


Event = TradeEvent | CandleEvent | ShutdownEvent | Answer | UnknownEvent

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
        events = [message.data for message in _combined.decode_lines(b"\n".join(frames))]
    except UNREADABLE:
        events = []
    return events if len(events) == len(frames) else [decode_frame(frame) for frame in frames]


def decode_frame(frame: bytes) -> Event:
    """Read one frame.

    Raises:
        BadFrame: no JSON, or none of the shapes we know.

    """
    try:
        return _combined.decode(frame).data
    except UNREADABLE as exc:
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
            if isinstance(answered, str):
                answered = answered[:_LONGEST_WORDS]
            return Answer(id=answered, code=refusal.code, msg=refusal.msg[:_LONGEST_WORDS])
    except UNREADABLE as exc:
        raise BadFrame(str(exc), frame) from exc
    if name is msgspec.UNSET:
        raise BadFrame("neither an event nor an answer", frame)
    if name in _KNOWN:
        raise BadFrame(why, frame)
    return UnknownEvent(name[:_LONGEST_WORDS])
