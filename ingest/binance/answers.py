"""What Binance answers over REST about trades, and how it refuses: bodies -> values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import msgspec
import numpy as np

from ingest.binance.aggregates import Aggregates
from ingest.binance.columns import Id, IdOrNone, Time, columns
from ingest.messages import UNREADABLE, BadFrame, Instrument, NewestTrade, shallow
from mesh.service.errors import BadMessage
from mesh.values.fixed import parse_e8
from mesh.values.id_ranges import NO_IDS, IdRanges
from mesh.values.symbols import parse_symbol
from mesh.values.trades import TradeColumns

# --- a page of rows ---------------------------------------------------------------------------------------------------
# A page of rows as REST answers it: those that can be read, and where the illegible ones belong.
#
# A trade that stands there illegibly is there: its id must never be taken for one the venue has not.

_Read = TypeVar("_Read")
_Content_co = TypeVar("_Content_co", covariant=True)
_raws = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True, eq=False)
class Page(Generic[_Content_co]):
    """One answer.

    Attributes:
        content: what the rows that can be read say.
        bad: the others.
        spoiled: ids that may be those of bad rows.

    """

    content: _Content_co
    bad: tuple[BadFrame, ...] = ()
    spoiled: IdRanges = NO_IDS


def read_one_by_one(body: bytes, read: Callable[[bytes], _Read]) -> list[_Read | BadFrame]:
    """Read an answer row by row, a BadFrame in place of each that `read` refuses.

    Args:
        body: JSON, an array.
        read: reads one row; what it raises of UNREADABLE makes the row a bad one.

    Raises:
        MsgspecError, ValueError, RecursionError: no rows at all, or none that can be read: then not one row is odd, but
            the answer is not what was asked for.

    """
    rows = [_read(bytes(raw), read) for raw in _raws.decode(shallow(body))]
    bad = [row for row in rows if isinstance(row, BadFrame)]
    if len(bad) == len(rows) and bad:
        raise ValueError(f"none of {len(bad)} rows can be read, the first because of {bad[0].reason}")
    return rows


def parted(rows: Sequence[_Read | BadFrame]) -> tuple[list[_Read], tuple[BadFrame, ...]]:
    """Return the rows that can be read, and the others."""
    good = [row for row in rows if not isinstance(row, BadFrame)]
    return good, tuple(row for row in rows if isinstance(row, BadFrame))


def spoiled(rows: Iterable[tuple[int | None, bool]]) -> IdRanges:
    """Return which ids bad rows may have, as far as a good row follows: what comes after the last one stays unsaid.

    Args:
        rows: each one's id, None where not even that can be read, and whether the row is good.

    """
    places: list[tuple[int, int]] = []
    last_id, between = -1, []
    for row_id, is_good in rows:
        if not is_good:
            between.append(row_id)
        elif row_id is not None:
            places += _places(between, last_id + 1, row_id - 1)
            last_id, between = row_id, []
    return IdRanges.from_pairs(places)


def _read(raw: bytes, read: Callable[[bytes], _Read]) -> _Read | BadFrame:
    try:
        return read(raw)
    except UNREADABLE as exc:
        return BadFrame(str(exc), raw)


def _places(ids: Sequence[int | None], first_id: int, last_id: int) -> list[tuple[int, int]]:
    """Return the ids of bad rows that stand between two good ones: as they say, if that is possible there at all."""
    said = [row_id for row_id in ids if row_id is not None]
    if len(said) == len(ids) == len(set(said)) and all(first_id <= row_id <= last_id for row_id in said):
        return [(row_id, row_id) for row_id in said]
    return [(first_id, last_id)]


# ----------------------------------------------------------------------------------------------------------------------

TIME_UNIT = {"X-MBX-TIME-UNIT": "MICROSECOND"}
"""The header that asks for microseconds: the same unit as on the WebSocket, or one trade gets two keys."""

PAGE = 1000
"""The most rows one answer holds."""


class _Row(msgspec.Struct, gc=False):
    id: Id
    price: str
    qty: str
    time: Time
    isBuyerMaker: bool  # noqa: N815 - Binance's name


class _Identified(msgspec.Struct, gc=False):
    """What is left of a row that cannot be read."""

    id: Id


class _Aggregate(msgspec.Struct, gc=False):
    a: Id
    p: str
    q: str
    f: IdOrNone
    l: IdOrNone  # noqa: E741 - Binance's name
    T: Time
    m: bool


class _Ticker(msgspec.Struct, gc=False):
    symbol: str
    lastPrice: str  # noqa: N815 - Binance's name
    lastId: IdOrNone  # noqa: N815 - Binance's name


class _Error(msgspec.Struct, gc=False):
    code: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)] = 0
    msg: str = ""


_rows = msgspec.json.Decoder(list[_Row])
_row = msgspec.json.Decoder(_Row)
_identified = msgspec.json.Decoder(_Identified)
_aggregates = msgspec.json.Decoder(list[_Aggregate])
_aggregate = msgspec.json.Decoder(_Aggregate)
_ticker = msgspec.json.Decoder(_Ticker)
_error = msgspec.json.Decoder(_Error)


def parse_trades(body: bytes, *, venue: str, symbol: str, received_time_us: int) -> Page[TradeColumns]:
    """Read the answer of `/api/v3/trades` or `/api/v3/historicalTrades`; possibly no trades at all.

    `[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,
    "isBuyerMaker":true,"isBestMatch":true}]`

    Args:
        body: JSON.
        venue: the name that trades get.
        symbol: whose they are, in lower case.
        received_time_us: when the answer came, in microseconds since 1970.

    Raises:
        BadMessage: anything else, no row that can be read, or ids that do not rise.

    """

    def trades_of(rows: Sequence[_Row]) -> TradeColumns:
        words = [(row.id, row.price, row.qty, row.time, row.isBuyerMaker) for row in rows]
        return columns(words, venue=venue, symbol=symbol, received_time_us=received_time_us)

    def read(raw: bytes) -> _Row:
        row = _row.decode(raw)
        trades_of([row])
        return row

    try:
        page = Page(trades_of(_rows.decode(shallow(body))))
    except UNREADABLE:
        try:
            rows = read_one_by_one(body, read)
        except UNREADABLE as exc:
            raise BadMessage(f"trades of {symbol}: {exc} (in {body[:80]!r})") from exc
        good, bad = parted(rows)
        page = Page(trades_of(good), bad, spoiled((_id_of(row), isinstance(row, _Row)) for row in rows))
    ids = page.content.trade_id
    if (ids[1:] <= ids[:-1]).any():
        raise BadMessage(f"trades of {symbol}: ids do not rise from {ids[0]} to {ids[-1]}")
    return page


def parse_aggregates(body: bytes, *, venue: str, symbol: str, received_time_us: int) -> Page[Aggregates]:
    """Read the answer of `/api/v3/aggTrades`; possibly no aggregates at all.

    `[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,"M":true}]`

    An aggregate of no trades (`"f":-1,"l":-1`, which Binance has among its oldest) is left out. A bad one is missed by
    its aggregate id, so that nothing is proved absent in its place.

    Args:
        body: JSON.
        venue: the name that trades get.
        symbol: whose they are, in lower case.
        received_time_us: when the answer came, in microseconds since 1970.

    Raises:
        BadMessage: anything else, no row that can be read, or ids that do not rise.

    """

    def singles_of(rows: Sequence[_Aggregate]) -> TradeColumns:
        words = [(row.f, row.p, row.q, row.T, row.m) for row in rows if row.f == row.l]
        return columns(words, venue=venue, symbol=symbol, received_time_us=received_time_us)

    def read(raw: bytes) -> _Aggregate:
        row = _aggregate.decode(raw)
        singles_of([row] if row.f >= 0 else [])
        return row

    bad: tuple[BadFrame, ...] = ()
    try:
        rows = [row for row in _aggregates.decode(shallow(body)) if row.f >= 0]
        singles = singles_of(rows)
    except UNREADABLE:
        try:
            good, bad = parted(read_one_by_one(body, read))
        except UNREADABLE as exc:
            raise BadMessage(f"aggregates of {symbol}: {exc} (in {body[:80]!r})") from exc
        rows = [row for row in good if row.f >= 0]
        singles = singles_of(rows)
    aggregate_id, first_id, last_id = np.array([(row.a, row.f, row.l) for row in rows], np.int64).reshape(-1, 3).T
    disorder = (first_id > last_id).any() or (first_id[1:] <= last_id[:-1]).any()
    if disorder or (aggregate_id[1:] <= aggregate_id[:-1]).any():
        raise BadMessage(f"aggregates of {symbol}: ids do not rise from {aggregate_id[0]} to {aggregate_id[-1]}")
    return Page(Aggregates(aggregate_id, first_id, last_id, singles), bad)


def parse_newest(body: bytes) -> Page[dict[str, NewestTrade]]:
    """Read the answer of `/api/v3/ticker/24hr`: each symbol's newest trade; one that had none for a day is left out.

    `[{"symbol":"BTCUSDT","openPrice":"61837.63000000","highPrice":"61850.00000000","lowPrice":"61790.01000000",
    "lastPrice":"61800.00000000","volume":"1.00000000","quoteVolume":"61800.00","openTime":1723074855342,
    "closeTime":1723161255342,"firstId":3734900000,"lastId":3735683259,"count":783260}]`

    Raises:
        BadMessage: anything else, or no row that can be read.

    """

    def read(raw: bytes) -> tuple[str, NewestTrade | None]:
        row = _ticker.decode(raw)
        newest = NewestTrade(row.lastId, parse_e8(row.lastPrice)) if row.lastId >= 0 else None
        return parse_symbol(row.symbol), newest

    try:
        good, bad = parted(read_one_by_one(body, read))
    except UNREADABLE as exc:
        raise BadMessage(f"newest trades: {exc} (in {body[:80]!r})") from exc
    return Page({symbol: newest for symbol, newest in good if newest is not None}, bad)


def parse_error(body: bytes) -> tuple[int, str]:
    """Read `{"code": -1121, "msg": "Invalid symbol."}`; a body of another kind gives 0 and its first words.

    A number that is no code of Binance's, which are below zero, is 0 too.
    """
    try:
        error = _error.decode(shallow(body))
    except UNREADABLE:
        return 0, body[:80].decode(errors="replace")
    return min(error.code, 0), error.msg[:200]


def _id_of(row: _Row | BadFrame) -> int | None:
    if isinstance(row, _Row):
        return row.id
    try:
        return _identified.decode(row.frame).id
    except UNREADABLE:
        return None


# --- what is listed ---------------------------------------------------------------------------------------------------
# What Binance says can be traded: the answer of `/api/v3/exchangeInfo` -> values.

_Asset = Annotated[str, msgspec.Meta(max_length=40)]
_Status = Annotated[str, msgspec.Meta(pattern="^[A-Z_]{1,24}$")]


class _Filter(msgspec.Struct, gc=False):
    filterType: str = ""  # noqa: N815
    tickSize: str = ""  # noqa: N815
    stepSize: str = ""  # noqa: N815


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    status: _Status
    baseAsset: _Asset  # noqa: N815
    quoteAsset: _Asset  # noqa: N815
    filters: list[_Filter] = []


class _ExchangeInfo(msgspec.Struct, gc=False):
    symbols: list[_Symbol]


class _RawExchangeInfo(msgspec.Struct, gc=False):
    symbols: msgspec.Raw


_exchange_info = msgspec.json.Decoder(_ExchangeInfo)
_raw_exchange_info = msgspec.json.Decoder(_RawExchangeInfo)
_symbol = msgspec.json.Decoder(_Symbol)


def parse_exchange_info(body: bytes) -> Page[list[Instrument]]:
    """Read what is listed from `/api/v3/exchangeInfo`.

    `{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[
    {"filterType":"PRICE_FILTER","tickSize":"0.01000000"},{"filterType":"LOT_SIZE","stepSize":"0.00001000"}]}]}`

    A symbol whose name is none of ours or whose filters are no numbers is left out.

    Raises:
        BadMessage: not such an answer, or no symbol that can be read.

    """
    bad: tuple[BadFrame, ...] = ()
    try:
        symbols = _exchange_info.decode(shallow(body)).symbols
    except UNREADABLE:
        try:
            raw = _raw_exchange_info.decode(shallow(body)).symbols
            symbols, bad = parted(read_one_by_one(bytes(raw), _symbol.decode))
        except UNREADABLE as exc:
            raise BadMessage(f"exchangeInfo: {exc} (in {body[:80]!r})") from exc
    instruments = []
    for listed in symbols:
        by_type = {one.filterType: one for one in listed.filters}
        try:
            instruments.append(
                Instrument(
                    parse_symbol(listed.symbol),
                    listed.baseAsset,
                    listed.quoteAsset,
                    parse_e8(by_type.get("PRICE_FILTER", _Filter()).tickSize or "0"),
                    parse_e8(by_type.get("LOT_SIZE", _Filter()).stepSize or "0"),
                    listed.status,
                )
            )
        except ValueError:
            continue  # said in the docstring
    return Page(instruments, bad)
