"""What an export asks of the database: requests validated, tables and their columns, SQL that gives rows in bulk. Pure.

A part of the table comes as one row, each column of it in one value: big-endian numbers or lines of text, one after the
other. That costs the server 0.9 us a row and Python nothing, where a row at a time costs Python 2 us and more.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from mesh.values.candles import INDICATORS, CandleInterval
from store.database.times import FIRST_US, LAST_US, time_of
from store.queries import sql
from store.queries.candles import read_interval
from store.queries.fields import read_symbol, read_times, read_venue
from tickmesh.v1 import store_pb2

FORMATS = {
    "csv": "text/csv; charset=utf-8; header=present",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
"""The media type of each format."""
PART_ROWS = 10_000
"""Of one statement: some 0.5 MB, which takes 10 ms, so that an export is ended soon after it is asked to."""
_DEFAULT_FORMAT = "csv"
_IDS_MASK = 2**54 - 1  # of a key, the venue's own id: mesh/values/epochs.py


class Kind(Enum):
    """What a column holds."""

    NAME = auto()
    """Text that is the same in all rows."""
    SIDE = auto()
    INT32 = auto()
    INT64 = auto()
    TIME = auto()
    DOUBLE = auto()
    """NaN stands for NULL."""
    E8 = auto()
    """A decimal with 8 places that a 64-bit integer can hold."""
    SUM_E8 = auto()
    """A decimal with 8 places."""
    SUM_E16 = auto()
    """A decimal with 16 places."""


_LINES = "string_agg(trim_scale({})::text, E'\\n')"
_IN_BULK = {
    Kind.NAME: "min({})",
    Kind.SIDE: "string_agg(boolsend({}), '')",
    Kind.INT32: "string_agg(int4send({}), '')",
    Kind.INT64: "string_agg(int8send({}), '')",
    Kind.TIME: "string_agg(timestamptz_send({}), '')",
    Kind.DOUBLE: "string_agg(float8send(coalesce({}, 'NaN')), '')",
    Kind.E8: _LINES,
    Kind.SUM_E8: _LINES,
    Kind.SUM_E16: _LINES,
}
"""The SQL that gives many rows of a column as one value."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export.

    Attributes:
        name: as the API's JSON has it.
        kind: what it holds.
        sql: an expression over the columns of the table.

    """

    name: str
    kind: Kind
    sql: str


_RANGE = "venue = %(venue)s AND symbol = %(symbol)s AND time >= %(from_time)s AND time < %(before_time)s"


@dataclass(frozen=True, slots=True)
class Table:
    """What can be exported.

    Attributes:
        name: of the table, in the database and in addresses.
        columns: of the export.
        rows: SQL of the rows of a part, in their order.
        last: SQL over these rows: the time and the key after which the next part begins.
        estimate: SQL that tells quickly about how many rows there are in all.

    """

    name: str
    columns: tuple[Column, ...]
    rows: str
    last: str
    estimate: str

    @property
    def statement(self) -> str:
        """The SQL: one row with a value for each column, then how many rows, and `last`."""
        values = ", ".join(_IN_BULK[column.kind].format(column.sql) for column in self.columns)
        return f"SELECT {values}, count(*), {self.last} FROM ({self.rows}) AS part"


def _stored_rows(table: str, key: str, where: str = "") -> tuple[str, str]:
    """Return `rows` and `last` of a table as it is stored; the key orders rows of the same time."""
    rows = f"""
    SELECT * FROM {table}
    WHERE {_RANGE} {where} AND (time, {key}) > (%(from_time)s, %(after)s)
    ORDER BY time, {key} LIMIT {PART_ROWS}
"""
    return rows, f"max(time), (array_agg({key}))[count(*)]"


def _epoch(key: str) -> Column:
    return Column("epoch", Kind.INT32, f"({key} >> 54)::integer")


def _id(key: str) -> Column:
    return Column(key, Kind.INT64, f"{key} & {_IDS_MASK}")


_NAMES = (Column("venue", Kind.NAME, "venue"), Column("symbol", Kind.NAME, "symbol"))
TRADES = Table(
    "trades",
    (
        *_NAMES,
        _id("trade_id"),
        Column("price", Kind.E8, "price"),
        Column("quantity", Kind.E8, "quantity"),
        Column("timestamp", Kind.TIME, "time"),
        Column("side", Kind.SIDE, "is_buyer_maker"),
        _epoch("trade_id"),
    ),
    *_stored_rows("trades", "trade_id"),
    f"SELECT sum(count) FROM candles WHERE {_RANGE} AND interval = '1m'",
)
CANDLES = Table(
    "candles",
    (
        *_NAMES,
        Column("interval", Kind.NAME, "interval"),
        Column("time", Kind.TIME, "time"),
        *(Column(name, Kind.E8, name) for name in ("open", "high", "low", "close")),
        Column("volume", Kind.SUM_E8, "volume"),
        Column("quote_volume", Kind.SUM_E16, "quote_volume"),
        Column("taker_buy_volume", Kind.SUM_E8, "taker_buy_volume"),
        Column("count", Kind.INT64, "count"),
        _id("first_trade_id"),
        _id("last_trade_id"),
        Column("revision", Kind.INT32, "revision"),
        *(Column(name, Kind.DOUBLE, name) for name in INDICATORS),
        _epoch("last_trade_id"),
    ),
    *_stored_rows("candles", "first_trade_id", "AND interval = %(interval)s"),
    f"SELECT count(*) FROM candles WHERE {_RANGE} AND interval = %(interval)s",
)
# Where there are as many parts as were asked for, the last candle may lack some, and is made by the next statement.
_MADE_ROWS = f"""
    WITH parts AS MATERIALIZED (
        {sql.PARTS_BETWEEN} AND time < date_bin(%(length)s, {sql.CLOSED_TIME}, %(origin)s)
        ORDER BY time LIMIT %(parts)s
    )
    SELECT made.*, %(venue)s::text AS venue, %(symbol)s::text AS symbol, %(interval)s::text AS interval,
        {", ".join(f"NULL::float8 AS {name}" for name in INDICATORS)}
    FROM ({sql.made_of("TABLE parts")}) AS made
    WHERE time < coalesce(
        (SELECT date_bin(%(length)s, max(time), %(origin)s) FROM parts HAVING count(*) = %(parts)s), 'infinity'
    )
    ORDER BY time
"""
MADE_CANDLES = Table(
    CANDLES.name,
    CANDLES.columns,
    _MADE_ROWS,
    "max(time) + %(length)s, -1",
    f"""
    SELECT extract(epoch FROM max(time) - min(time)) / extract(epoch FROM %(length)s) + 1 FROM candles
    WHERE {_RANGE} AND interval = %(part)s
""",
)
"""Candles of an interval that is not stored: exact sums of shorter ones, without indicators."""


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What an export asks for.

    Attributes:
        table: which.
        venue: empty where the request leaves it to the store.
        symbol: in lower case; empty where the request leaves it to the store.
        interval: of candles; of the default length for trades.
        from_us: the rows' time is this one or later, in microseconds since 1970 UTC.
        before_us: and before this one.
        form: a name of FORMATS.

    """

    table: Table
    venue: str
    symbol: str
    interval: CandleInterval
    from_us: int
    before_us: int
    form: str

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the first part; for the next one `from_time` and `after` are its last row's."""
        from_us, before_us = self.from_us, self.before_us
        if self.table is MADE_CANDLES:  # of whole candles
            from_us, before_us = (min(self.interval.ceil(each), LAST_US) for each in (from_us, before_us))
        return {
            "venue": self.venue,
            "symbol": self.symbol,
            "interval": self.interval.name,
            "part": self.interval.part,
            "parts": max(PART_ROWS, self.interval.parts + 1),
            "length": dt.timedelta(microseconds=self.interval.length_us),
            "origin": time_of(self.interval.origin_us),
            "from_time": time_of(from_us),
            "before_time": time_of(before_us),
            "after": -1,
        }


def read_query(request: store_pb2.ExportTradesRequest | store_pb2.ExportCandlesRequest) -> ExportQuery:
    """Return what a request asks for.

    Raises:
        InvalidRequest: no interval, or one of too many candles, no symbol, no venue, a time that is none, an end before
            the start.

    """
    form = request.format.lower() or _DEFAULT_FORMAT
    table, interval = TRADES, read_interval("")
    if isinstance(request, store_pb2.ExportCandlesRequest):
        interval = read_interval(request.interval)
        table = CANDLES if interval.parts == 1 else MADE_CANDLES
    start_us, end_us = read_times(request)
    return ExportQuery(
        table=table,
        venue=read_venue(request.venue),
        symbol=read_symbol(request.symbol),
        interval=interval,
        from_us=FIRST_US if start_us is None else start_us,
        before_us=LAST_US if end_us is None else end_us,
        form=form,
    )
