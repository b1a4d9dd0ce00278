"""What can go wrong, and how to order it: the JSON of `--faults FILE` and `POST /sim/faults`.

A list of faults, or ``{"faults": [...]}``::

    [{"kind": "disconnect", "at_trade": 5000, "for_s": 3},
     {"kind": "drop", "at_trade": 8000, "count": 40, "symbol": "btcusdt", "every": 1000, "times": 20},
     {"kind": "rest", "at_s": 12.5, "status": 429, "retry_after_s": 2, "for_s": 5}]

When: `at_trade` strikes once that many trades have been issued, so it touches the next one; `at_s` after that many
seconds; without either at once. Both count from the first trade the exchange may issue, in a file, and from the
request, when posted. `every` (in trades or seconds, like the `at_`) and `times` repeat it. By trade number a run
repeats exactly, whatever the rate; what is random (the new order, the way of garbling) comes from the exchange's seed.

The docstrings below are the manual: one class a kind, its fields what may be said.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Number = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=10**6)]

Garbling = Literal["truncate", "price", "field", "html"]
GARBLINGS: Final[tuple[Garbling, ...]] = ("truncate", "price", "field", "html")


class FaultError(ValueError):
    """The faults cannot be read; the message says what was found and where."""


class _Fault(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", kw_only=True
):
    at_trade: Number | None = None
    at_s: Seconds | None = None
    every: Annotated[float, msgspec.Meta(ge=0.001, le=10**9)] | None = None
    times: Count = 1

    def __post_init__(self) -> None:
        if self.at_trade is not None and self.at_s is not None:
            raise ValueError("found both at_trade and at_s, expected at most one")
        if self.times > 1 and not self.every:
            raise ValueError("found times without every, expected how often")
        if self.every and self.at_trade is not None and self.every != int(self.every):
            raise ValueError(f"found every {self.every} beside at_trade, expected whole trades")

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


class _TradesFault(_Fault, frozen=True):
    """Touches `count` trades in a row on WebSockets, of them those of `symbol` if given. REST and the log have all."""

    count: Count = 1
    symbol: str | None = None


class Drop(_TradesFault, frozen=True, tag="drop"):
    """Trades are not sent."""


class Duplicate(_TradesFault, frozen=True, tag="duplicate"):
    """Each trade is sent `copies` more times."""

    copies: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class Reorder(_TradesFault, frozen=True, tag="reorder"):
    """The `count` (at least 2) trades are held back until all are there, then sent in a random other order."""

    count: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = 2


class Garble(_TradesFault, frozen=True, tag="garble"):
    """Frames arrive damaged: cut in half, a letter in the price, the trade id missing, or a proxy's HTML instead."""

    how: Garbling | None = None


class Misstate(_TradesFault, frozen=True, tag="misstate"):
    """Trades are told with another id or time: `id_by` is added to the one, `time_by_s` to the other.

    Not among the kinds that `random` chooses from.
    """

    id_by: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] = 0
    time_by_s: Annotated[float, msgspec.Meta(ge=-(2 * 10**9), le=10**10)] = 0


class SkippedIds(_Fault, frozen=True, tag="hole"):
    """The next `count` ids of `symbol` are never issued: not on WebSockets, not in REST, nowhere."""

    symbol: str
    count: Count = 1


class BeginAgain(_Fault, frozen=True, tag="begin_again"):
    """The ids of `symbol`, or of all symbols, begin again with 0, and all past trades are forgotten, also by REST.

    So does Binance's test network once a month. Not among the kinds that `random` chooses from.
    """

    symbol: str | None = None


class Disconnect(_Fault, frozen=True, tag="disconnect"):
    """Every WebSocket connection is dropped without a word, and new ones too, for `for_s` seconds."""

    for_s: Seconds = 0


class Refuse(_Fault, frozen=True, tag="refuse"):
    """New WebSocket connections are answered with an HTTP status, for `for_s` seconds."""

    for_s: Seconds
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503


class Silence(_Fault, frozen=True, tag="silence"):
    """The connections there are stay open and hear nothing more, for `for_s` seconds or until they go. Trades go on.

    With `pongs` the server still answers pings and closings, as a machine does whose feed is stuck; without, nothing.
    """

    for_s: Seconds | None = None
    pongs: bool = False


class Shutdown(_Fault, frozen=True, tag="shutdown"):
    """Clients hear serverShutdown; those connections are closed `lead_s` seconds later."""

    lead_s: Seconds = 10


class Expire(_Fault, frozen=True, tag="expire"):
    """Every WebSocket connection is closed as if it were 24 hours old."""


class SlowFrames(_Fault, frozen=True, tag="slow_frames"):
    """For `for_s` seconds trades are sent `delay_s` late. Times are of the issue, so the delay can be seen."""

    for_s: Seconds
    delay_s: Annotated[float, msgspec.Meta(gt=0, le=60)]


class _RestFault(_Fault, frozen=True, kw_only=True):
    """Touches requests for `for_s` seconds, or the next `requests`, or one; only paths ending with `path` if given."""

    for_s: Seconds | None = None
    requests: Count | None = None
    path: str | None = None


class RestStatus(_RestFault, frozen=True, tag="rest"):
    """Requests are refused as Binance does: 429 and 418 with Retry-After, 403 by the firewall, 451, 5xx."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 429
    retry_after_s: Annotated[int, msgspec.Meta(ge=0, le=10**6)] | None = None


class SlowRest(_RestFault, frozen=True, kw_only=True, tag="slow_rest"):
    """Requests are answered `delay_s` later."""

    delay_s: Annotated[float, msgspec.Meta(gt=0, le=600)]


Kind = Literal[
    "drop", "duplicate", "reorder", "garble", "hole", "disconnect", "refuse", "silence", "shutdown", "expire",
    "slow_frames", "rest", "slow_rest",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Random(_Fault, frozen=True, tag="random"):
    """Strikes as one of the kinds `of`, chosen by the seed, up to `most_trades` and `most_s` large.

    With `every` and `times` this is chaos that repeats. Holes are made in the ids of `symbol`.
    """

    of: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)] = KINDS
    most_trades: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    most_s: Seconds = 2
    symbol: str = "btcusdt"


WindowFault = Drop | Duplicate | Reorder | Garble | Misstate
RestFault = RestStatus | SlowRest
Strike = SkippedIds | BeginAgain | Disconnect | Refuse | Silence | Shutdown | Expire | SlowFrames
Certain = WindowFault | RestFault | Strike
Fault = Certain | Random

_decoder: msgspec.json.Decoder[list[Fault]] = msgspec.json.Decoder(list[Fault])


def parse_faults(text: str | bytes) -> list[Fault]:
    """Read faults.

    Raises:
        FaultError: the text is no JSON, or says something that no fault has.
    """
    try:
        plain: Any = msgspec.json.decode(text)
        if isinstance(plain, dict) and set(plain) == {"faults"}:
            text = msgspec.json.encode(plain["faults"])
        elif isinstance(plain, dict):
            text = msgspec.json.encode([plain])
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise FaultError(f"faults: {exc}") from exc


def rest_body(fault: RestStatus) -> tuple[bytes, dict[str, str]]:
    """Word the refusal of a request: body and headers."""
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    if fault.status == 403:  # the firewall answers, not the API
        return b"<html><head><title>403 Forbidden</title></head></html>", {"Content-Type": "text/html"}
    if fault.status in (418, 429):
        headers["Retry-After"] = str(1 if fault.retry_after_s is None else fault.retry_after_s)
        said = {"code": -1003, "msg": "Too much request weight used; please use WebSocket Streams for live updates."}
    elif fault.status == 451:
        said = {
            "code": 0,
            "msg": "Service unavailable from a restricted location according to 'b. Eligibility' in the terms of use.",
        }
    elif fault.status >= 500:
        said = {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}
    else:
        said = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
    return msgspec.json.encode(said), headers
