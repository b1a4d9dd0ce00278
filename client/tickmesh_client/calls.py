"""What is asked of the gateway's REST API, what its answers mean, and when a call is made again. Touches no socket.

A `Call` is one request with the way to read its answer; a `Query` is a list that comes in pages, each of them a `Call`.
Whoever has a connection sends a call's request and gives the answer to `result_of`; after an error that may pass,
`Attempts` says how long to wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from random import Random
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from tickmesh_client.errors import (
    NotAllowed,
    NotFound,
    RequestRefused,
    TimedOut,
    Unavailable,
    Unreachable,
    WrongAnswer,
)
from tickmesh_client.network import backoff
from tickmesh_client.rows import Rows
from tickmesh_client.values import (
    Candle,
    Coin,
    Coverage,
    Instrument,
    NextTrades,
    Price,
    Stats,
    Status,
    Summaries,
    Symbol,
    Trade,
)

T = TypeVar("T")
Time = datetime | str
Order = Literal["asc", "desc"]

FULL_PAGE = 1000
EXPORT_FORMATS = ("csv", "ndjson", "parquet", "arrow")
MAX_WAIT_S = 10.0
"""A gateway that wants to be asked again later than this is not waited for."""
_MAY_PASS = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Answer:
    """An answer, whatever it says."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how to read its answer. All calls of this API may be made twice."""

    path: str
    read: Callable[[Answer], T]
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, str] | None = None
    """JSON; a call with a body is a POST."""

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.body is None else "POST"


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list."""

    rows: Rows[T]
    next_token: str
    """Asks for the next one; empty on the last."""


@dataclass(frozen=True)
class Query(Generic[T]):
    """A list that comes in pages."""

    path: str
    kind: type[T]
    parameters: Mapping[str, str]
    limit: int | None
    """How many rows to list in all; None for as many as there are."""
    newest_first: bool = False
    member: str = ""
    """Of the answer that has the rows and the next token as members: the one with the rows."""

    def page(self, token: str, listed: int, rows: int = FULL_PAGE) -> Call[Page[T]] | None:
        """Return the call for a page; None when nothing more is wanted.

        Args:
            token: of the page; empty for the first.
            listed: how many rows the pages before had.
            rows: how many it has at most.
        """
        wanted = rows if self.limit is None else min(rows, self.limit - listed)
        if wanted <= 0:
            return None
        listed_rows: Any = list[self.kind]  # type: ignore[name-defined]  # a type at run time
        members = [(self.member, listed_rows), ("next_page_token", str)]
        decoder = msgspec.json.Decoder(msgspec.defstruct("Listed", members) if self.member else listed_rows)

        def read(answer: Answer) -> Page[T]:
            found = _decoded(decoder, answer, self.path)
            rows = getattr(found, self.member) if self.member else found
            next_token = found.next_page_token if self.member else answer.headers.get("x-next-page-token", "")
            if next_token and next_token == token:
                raise WrongAnswer(f"found a page that leads to itself, expected another one at {self.path}")
            return Page(Rows(self.kind, rows[:wanted], newest_first=self.newest_first), next_token)

        return Call(self.path, read, {**self.parameters, "page_size": str(wanted), **_given(page_token=token)})


# --- the calls, of which `operations` makes the methods of both clients ----------------------------------------------


def price(symbol: str = "") -> Call[Price]:
    """Return the last trade's price; an empty symbol is the selected one."""
    return _get("/api/price", Price, symbol=symbol)


def stats(symbol: str = "") -> Call[Stats]:
    """Return the signals after the last trade; an empty symbol is the selected one."""
    return _get("/api/stats", Stats, symbol=symbol)


def selected() -> Call[Symbol]:
    """Return the selected symbol."""
    return _get("/api/symbol", Symbol)


def select(symbol: str) -> Call[Symbol]:
    """Select another symbol, for every program that reads this mesh."""
    return Call("/api/symbol", _reader(Symbol, "/api/symbol"), body={"symbol": symbol})


def coins() -> Call[tuple[Coin, ...]]:
    """Return the coins to choose from."""
    return _get("/api/coins", tuple[Coin, ...])


def reset_session(symbol: str = "") -> Call[str]:
    """Begin a new session: a symbol's open, high, low, count, volume and VWAP start again with its next trade.

    An empty symbol is the selected one.

    Returns:
        The symbol.
    """
    path = "/api/session:reset"
    read = _reader(msgspec.defstruct("Reset", [("symbol", str)]), path)
    return Call(path, lambda answer: read(answer).symbol, body={"symbol": symbol})


def instruments(query: str = "", *, limit: int | None = None) -> Query[Instrument]:
    """List what the venue trades: first what is named so, then what begins so, then the others.

    Args:
        query: words, each of them a part of the symbol or of one of its assets: `btc`, `btc usdt`; empty for all.
        limit: at most so many; None for all.

    Raises:
        ValueError: the limit is negative.
    """
    return Query("/api/instruments", Instrument, _given(q=query), _limit(limit), member="instruments")


def status(*, without_symbols: bool = False) -> Call[Status]:
    """Return the state of the mesh and of the feed from the venue.

    Args:
        without_symbols: whether the feeds of the symbols are left out, of which there may be hundreds.

    """
    return _get("/api/status", Status, without_symbols="true" if without_symbols else "")


def summaries(symbols: str | Sequence[str] = (), *, venue: str = "") -> Call[Summaries]:
    """Return how the prices of many symbols have moved within a day, in one answer.

    Args:
        symbols: at most 1000; none for those that are followed.
        venue: empty for the one that is followed.

    Raises:
        ClientError: the gateway cannot be asked, or it refuses; `errors` has the kinds.
    """
    named = symbols if isinstance(symbols, str) else ",".join(symbols)
    return _get("/api/summaries", Summaries, symbols=named, venue=venue)


def coverage(
    symbol: str = "", *, start: Time | None = None, end: Time | None = None, venue: str = ""
) -> Call[Coverage]:
    """Return which trade ids are stored, and which are missing.

    Args:
        symbol: empty for the selected one.
        start: only minutes at or after this time, at most 1440; a datetime with a zone or RFC 3339 text.
        end: only minutes before this time; without it and `start` the last ones are listed.
        venue: empty for the one that is followed.

    Raises:
        ClientError: the gateway cannot be asked, or it refuses; `errors` has the kinds.
    """
    times = {"start_time": _time("start", start), "end_time": _time("end", end)}
    return _get("/api/coverage", Coverage, symbol=symbol, venue=venue, **times)


def trade(symbol: str, trade_id: int, *, venue: str = "", epoch: int | None = None) -> Call[Trade]:
    """Return one trade.

    Args:
        symbol: the symbol.
        trade_id: the venue's id of the trade.
        venue: empty for the one that is followed.
        epoch: how many times the venue had restarted the symbol's ids before; None for the newest with this id.

    Raises:
        ValueError: the symbol is empty, or the id is no number.
        NotFound: the trade is not stored; the text says what is known of its id.
        ClientError: the gateway cannot be asked, or it refuses.
    """
    if not symbol or not isinstance(trade_id, int):
        raise ValueError(f"found the symbol {symbol!r} and the trade id {trade_id!r}, expected a symbol and a number")
    path = f"/api/trades/{quote(symbol, safe='')}/{trade_id}"
    return _get(path, Trade, venue=venue, epoch="" if epoch is None else str(epoch))


def next_trades(symbol: str, after: tuple[int, int], rows: int = FULL_PAGE, *, venue: str = "") -> Call[NextTrades]:
    """Ask for the trades that follow a trade.

    Args:
        symbol: the symbol.
        after: epoch and id of the trade, stored or not.
        rows: how many at most.
        venue: empty for the one that is followed.
    """
    path = f"/api/trades/{quote(symbol, safe='')}/{after[1]}/next"
    return _get(path, NextTrades, page_size=str(rows), epoch=str(after[0]), venue=venue)


def trades(
    symbol: str = "",
    *,
    start: Time | None = None,
    end: Time | None = None,
    order: Order = "desc",
    venue: str = "",
    limit: int | None = None,
) -> Query[Trade]:
    """List trades, newest first unless told otherwise.

    Args:
        symbol: empty for the selected one.
        start: only trades at or after this time, a datetime with a zone or RFC 3339 text.
        end: only trades before this time.
        order: `desc` for the newest first, `asc` for the oldest first.
        venue: empty for the one that is followed.
        limit: at most so many; None for all that are stored.

    Raises:
        ValueError: a time has no zone, the order is none of these, or the limit is negative.
    """
    asked = _given(symbol=symbol, venue=venue, start_time=_time("start", start), end_time=_time("end", end))
    asked |= _given(order=_order(order))
    return Query("/api/history", Trade, asked, _limit(limit), newest_first=order == "desc")


def candles(
    symbol: str = "",
    *,
    interval: str = "1m",
    start: Time | None = None,
    end: Time | None = None,
    order: Order | None = None,
    open: bool = False,  # noqa: A002  # the gateway's own name
    venue: str = "",
    limit: int | None = None,
) -> Query[Candle]:
    """List candles with their indicators: from `start` on the oldest first, without it the newest first.

    Args:
        symbol: empty for the selected one.
        interval: the length of a candle: a number and `s`, `m`, `h`, `d` or `w`, such as `1m` or `3h`.
        start: only candles that begin at or after this time, a datetime with a zone or RFC 3339 text.
        end: only candles that begin before this time.
        order: `desc` for the newest first, `asc` for the oldest first, whether there is a `start` or not.
        open: also candles that are not closed yet, as the stored trades make them.
        venue: empty for the one that is followed.
        limit: at most so many; None for all that are stored.

    Raises:
        ValueError: the interval is empty, a time has no zone, the order is none of these, or the limit is negative.
    """
    asked = _given(symbol=symbol, venue=venue, start_time=_time("start", start), end_time=_time("end", end))
    if order is None:
        order = "desc" if start is None else "asc"
    if not interval:
        raise ValueError(f"interval is {interval!r}, expected a length such as '1m'")
    asked |= _given(interval=interval, order=_order(order), open="true" if open else "")
    return Query("/api/candles", Candle, asked, _limit(limit), newest_first=order == "desc")


@dataclass(frozen=True)
class Export:
    """A file of the gateway's making."""

    path: str
    parameters: Mapping[str, str]
    target: Path
    progress: Callable[[int], object] | None


def export(
    kind: str,
    file: str | Path,
    *,
    symbol: str = "",
    start: Time | None = None,
    end: Time | None = None,
    venue: str = "",
    interval: str = "",
    file_format: str = "",
    progress: Callable[[int], object] | None = None,
) -> Export:
    """Write all trades or all closed candles of a range into a file, made by the gateway and of any length.

    The file has its name when it is whole: one that is there already is replaced then, and stays if this fails.
    What may pass is tried again from the beginning.

    Args:
        kind: `trades` or `candles`.
        file: where to write.
        symbol: empty for the selected one.
        start: only what is at or after this time, a datetime with a zone or RFC 3339 text.
        end: only what is before this time.
        venue: empty for the one that is followed.
        interval: of candles, their length, such as `3m` or `1w`; empty for `1m`.
        file_format: `csv`, `ndjson`, `parquet` or `arrow`; empty for what the file's name ends with.
        progress: is called with the number of bytes so far.

    Returns:
        The file.

    Raises:
        ValueError: the kind or the format is none of these, trades have an interval, or a time has no zone.
        OSError: the file cannot be written.
        ClientError: the gateway cannot be asked, or it refuses.
    """
    target = Path(file)
    if kind not in ("trades", "candles"):
        raise ValueError(f"kind is {kind!r}, expected 'trades' or 'candles'")
    if interval and kind != "candles":
        raise ValueError(f"interval is {interval!r} with {kind}, expected it with candles only")
    wanted = file_format or target.suffix[1:].lower()
    if wanted not in EXPORT_FORMATS:
        raise ValueError(f"the format of {target.name!r} is {wanted!r}, expected one of {', '.join(EXPORT_FORMATS)}")
    asked = _given(symbol=symbol, venue=venue, start_time=_time("start", start), end_time=_time("end", end))
    return Export(f"/api/export/{kind}", asked | _given(interval=interval, format=wanted), target, progress)


def _get(path: str, kind: Any, **parameters: str) -> Call[Any]:  # Any: tuple[...] is no type to the type checker
    return Call(path, _reader(kind, path), _given(**parameters))


def _given(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _time(name: str, time: Any) -> str:  # Any: checked here
    if time is None:
        return ""
    if not isinstance(time, datetime | str) or time == "":
        raise ValueError(f"{name} is {time!r}, expected a datetime with a zone, or text such as 2024-01-31T00:00:00Z")
    if isinstance(time, str):
        return time
    if time.tzinfo is None:
        raise ValueError(f"{name} is {time!s} without a zone, expected one, such as datetime(..., tzinfo=timezone.utc)")
    return time.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _limit(limit: Any) -> int | None:  # Any: checked here
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError(f"limit is {limit!r}, expected a whole number of 0 or more")
    return limit


def _order(order: str) -> str:
    if order not in ("asc", "desc"):
        raise ValueError(f"order is {order!r}, expected 'asc' or 'desc'")
    return order


# --- what an answer means --------------------------------------------------------------------------------------------


class _Violation(msgspec.Struct):
    field: str = ""
    description: str = ""


class _Detail(msgspec.Struct):
    field_violations: list[_Violation] = []


class _Refusal(msgspec.Struct):
    code: int = 0
    message: str = ""
    details: list[_Detail] = []


_REFUSAL = msgspec.json.Decoder(_Refusal)
_FOUND = re.compile(r"found (?P<found>.+?), expected (?P<expected>.+)|(?:\w+ is) (?P<is>.+?), expected (?P<else>.+)")
_EXPECTED = re.compile(r"expected (?P<expected>.+?), found (?P<found>.+?)(?: - at .+)?$")


def result_of(call: Call[T], answer: Answer) -> T:
    """Read the answer to a call.

    Args:
        call: what was asked.
        answer: what came back.

    Raises:
        RequestRefused: the gateway refuses the request.
        Unavailable: the gateway cannot answer now.
        WrongAnswer: it is no answer of a gateway.
    """
    if 200 <= answer.status < 300:
        return call.read(answer)
    raise refusal_of(answer, call.path)


def refusal_of(answer: Answer, path: str) -> RequestRefused | Unavailable | WrongAnswer:
    """Return the error that an answer without success stands for.

    Args:
        answer: its status is not 2xx.
        path: what was asked for.
    """
    status_code = answer.status
    try:
        refusal = _REFUSAL.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of a proxy, say
        refusal = _Refusal()
    message = refusal.message or f"found status {status_code} at {path}, expected 200"
    if status_code == 429 or status_code >= 500:
        return Unavailable(message, status=status_code, retry_after_s=_retry_after_s(answer))
    if not 400 <= status_code < 500:
        return WrongAnswer(f"{message}: is this the address of a gateway?")
    if not refusal.message:
        message += ": is this the address of a gateway?"
    violations = [violation for detail in refusal.details for violation in detail.field_violations]
    wrong = violations[0] if violations else _Violation(description=message)
    said = _EXPECTED.search(wrong.description) or _FOUND.search(wrong.description)
    words = said.groupdict() if said else {}
    return {404: NotFound, 401: NotAllowed, 403: NotAllowed}.get(status_code, RequestRefused)(
        message,
        status=status_code,
        code=refusal.code,
        field=wrong.field,
        found=words.get("found") or words.get("is") or "",
        expected=words.get("expected") or words.get("else") or "",
    )


def _retry_after_s(answer: Answer) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if re.fullmatch(r"\d{1,9}", said) else None  # a date is a proxy's: then our own delays count


def _reader(kind: Any, path: str) -> Callable[[Answer], Any]:
    decoder = msgspec.json.Decoder(kind)
    return lambda answer: _decoded(decoder, answer, path)


def _decoded(decoder: msgspec.json.Decoder[T], answer: Answer, path: str) -> T:
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise WrongAnswer(f"found no answer of a gateway at {path}: {exc}") from exc


class Attempts:
    """Says when a call is made again.

    Args:
        retries: how often at most.
        random: for the delays.
    """

    def __init__(self, retries: int, random: Random) -> None:
        self._left = retries
        self._delays = backoff(random, first_s=0.2, most_s=5)

    def delay_after(self, error: Unreachable | Unavailable) -> float:
        """Return after how many seconds the call is made again.

        Raises:
            Unreachable, Unavailable: the error, when it is not.
        """
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, Unavailable) else 0.0
        passes = error.status in _MAY_PASS if isinstance(error, Unavailable) else not isinstance(error, TimedOut)
        if not passes or not self._left or asked_s > MAX_WAIT_S:
            raise error
        self._left -= 1
        return max(asked_s, next(self._delays))
