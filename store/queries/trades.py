"""Pages of trades (AIP-158): requests checked, page tokens that only continue the question they belong to. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.errors import InvalidRequest
from mesh.values.symbols import parse_symbol, parse_venue
from store.queries.page_tokens import Token, Tokens, hold_to_question
from store.queries.sql import FIRST_US, LAST_ID, LAST_US, Span
from tickmesh.v1 import store_pb2

DEFAULT_SIZE = 100
MAX_SIZE = 1000


class _Token(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    from_us: int
    end_us: int
    before_us: int
    before_id: int

    def __post_init__(self) -> None:
        Token.__post_init__(self)
        if not FIRST_US <= self.before_us <= LAST_US or not -1 <= self.before_id <= LAST_ID:
            raise ValueError("out of range")


_tokens = Tokens(_Token)


@dataclass(frozen=True, slots=True)
class Question:
    """What a ListTradesRequest asks: the newest `size` trades of `span`.

    `venue` and `symbol` are empty where the request leaves them to the store.
    """

    venue: str
    symbol: str
    end_us: int
    span: Span
    size: int

    def next_token(self, *, venue: str, symbol: str, time_us: int, trade_id: int) -> str:
        """Return the token of the page that follows a trade, for the venue and symbol this page was about."""
        return _tokens.write(_Token(venue, symbol, self.span.from_us, self.end_us, time_us, trade_id))


def read(request: store_pb2.ListTradesRequest) -> Question:
    """Return what is asked.

    A token carries the venue and symbol that its first page was about, so that a request that leaves them empty goes
    on with the same ones even when another symbol has been selected since.

    Raises:
        InvalidRequest: a size below zero, no symbol, no venue, a time that is none, a span that ends before it begins,
            a token that is none or belongs to another question.

    """
    venue, symbol = read_venue(request.venue), read_symbol(request.symbol)
    from_us = read_time(request.start_time, "start_time") if request.HasField("start_time") else FIRST_US
    end_us = read_time(request.end_time, "end_time") if request.HasField("end_time") else LAST_US
    if end_us < from_us:
        raise InvalidRequest("end_time is before start_time")
    size = _read_size(request)
    if not request.page_token:
        # Strictly before end_time: ids begin at 0, so no trade at that time comes before (end_us, -1).
        before_id = -1 if request.HasField("end_time") else LAST_ID
        return Question(venue, symbol, end_us, Span(from_us, end_us, before_id), size)
    token = _tokens.read(request.page_token)
    hold_to_question(
        (
            ("venue", venue or token.venue, token.venue),
            ("symbol", symbol or token.symbol, token.symbol),
            ("start_time", from_us, token.from_us),
            ("end_time", end_us, token.end_us),
        )
    )
    return Question(token.venue, token.symbol, end_us, Span(from_us, token.before_us, token.before_id), size)


def read_symbol(text: str) -> str:
    """Return a request's symbol in lower case, empty when it names none. Raises: InvalidRequest."""
    try:
        return parse_symbol(text) if text else ""
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from exc


def read_venue(text: str) -> str:
    """Return a request's venue, empty when it names none. Raises: InvalidRequest."""
    try:
        return parse_venue(text) if text else ""
    except ValueError as exc:
        raise InvalidRequest(str(exc)) from exc


def read_time(time: Timestamp, name: str) -> int:
    """Return a time as microseconds, rounded up: trades have whole ones. Raises: InvalidRequest."""
    if not (0 <= time.nanos < 10**9 and FIRST_US <= time.seconds * 10**6 <= LAST_US):
        raise InvalidRequest(f"{name} is {time.seconds} s and {time.nanos} ns, expected a time of the years 1 to 9999")
    return min(time.seconds * 10**6 - (-time.nanos // 1000), LAST_US)


def _read_size(request: store_pb2.ListTradesRequest) -> int:
    for name, value in (("page_size", request.page_size), ("limit", request.limit)):
        if value < 0:
            raise InvalidRequest(f"{name} is {value}, expected 0 or more")
    return min(request.page_size or request.limit or DEFAULT_SIZE, MAX_SIZE)
