"""What `python -m term` prints for scripts: coins, trades as they come, and stored trades; no escape codes."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from typing import Any

import msgspec

from tickmesh_client import Stats, Tickmesh, Trade, Unavailable

FORMATS = ("table", "json", "ndjson", "csv")
COIN_FIELDS = ("symbol", "venue", "price", "time", "open", "high", "low", "change_percent", "count", "volume")
TRADE_FIELDS = ("symbol", "venue", "trade_id", "price", "quantity", "side", "time")

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_WIDTHS = {"symbol": -12, "venue": -8, "time": -27, "side": -4, "change_percent": 14, "trade_id": 12}


def print_coins(mesh: Tickmesh, symbols: Sequence[str], kind: str) -> Iterator[str]:
    """Give the lines of the coins with their sessions; of all that are followed where none is named.

    Args:
        mesh: the gateway.
        symbols: the coins.
        kind: one of `FORMATS`.

    """
    named = symbols or [coin.symbol for coin in mesh.coins() if coin.followed]
    # All of them are known before the first is printed: a script gets either every coin or none.
    return formatted(list(_coins(mesh, named)), COIN_FIELDS, kind)


def watch(
    mesh: Tickmesh, symbols: Sequence[str], kind: str, *, every_s: float | None, count: int | None
) -> Iterator[str]:
    """Give a line for each trade, or of the coins again and again, until there were `count` of them.

    Args:
        mesh: the gateway.
        symbols: the coins; the selected one where none is named.
        kind: one of `FORMATS`.
        every_s: seconds between two looks at the coins; None for each trade.
        count: how many lines of data; None for ever.

    """
    named = symbols or [mesh.selected().symbol]
    rows: Iterable[Mapping[str, Any]]
    fields: Sequence[str]
    if every_s is None:
        rows, fields = map(_trade, mesh.live(named)), TRADE_FIELDS
    else:
        rows, fields = _coins_every(mesh, named, every_s), COIN_FIELDS
    return formatted(islice(rows, count), fields, "ndjson" if kind == "json" else kind)


def history(mesh: Tickmesh, symbol: str, kind: str, *, start: str, end: str, limit: int | None) -> Iterator[str]:
    """Give the lines of stored trades, newest first.

    Args:
        mesh: the gateway.
        symbol: empty for the selected one.
        kind: one of `FORMATS`.
        start: the first time, RFC 3339; empty for the beginning.
        end: the time before which to stop; empty for now.
        limit: how many; None for all.

    """
    trades = mesh.trades(symbol, start=start or None, end=end or None, limit=limit)
    return formatted(map(_trade, trades), TRADE_FIELDS, kind)


def formatted(rows: Iterable[Mapping[str, Any]], fields: Sequence[str], kind: str) -> Iterator[str]:
    """Write rows, one at a time, so that nothing waits for the last.

    Args:
        rows: values by field.
        fields: in their order.
        kind: one of `FORMATS`.

    """
    if kind == "ndjson":
        yield from (_ENCODER.encode(row).decode() for row in rows)
    elif kind == "json":
        before = "["
        for row in rows:
            yield before + _ENCODER.encode(row).decode()
            before = ","
        yield "]" if before == "," else "[]"
    else:
        rows = iter(rows)
        first = [*islice(rows, 1)]  # where it cannot be had, no titles are printed either
        yield ",".join(fields) if kind == "csv" else _table_line(fields, {field: field for field in fields})
        for row in chain(first, rows):
            yield _csv_line(_plain(row[field]) for field in fields) if kind == "csv" else _table_line(fields, row)


def _coins_every(mesh: Tickmesh, symbols: Sequence[str], every_s: float) -> Iterator[Mapping[str, Any]]:
    due = time.monotonic()
    while True:
        yield from _coins(mesh, symbols)
        due = max(due + every_s, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))


def _coins(mesh: Tickmesh, symbols: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Give a row a coin; one that has not traded yet has nothing but its symbol, unless that is all there is."""
    unknown: list[Unavailable] = []
    for symbol in symbols:
        try:
            yield _coin(mesh.stats(symbol), mesh.price(symbol).price)
        except Unavailable as exc:
            unknown.append(exc)
            if len(unknown) == len(symbols):
                raise
            yield dict.fromkeys(COIN_FIELDS) | {"symbol": symbol}


def _coin(stats: Stats, price: Decimal) -> Mapping[str, Any]:
    change = round(100 * (price - stats.open) / stats.open, 4) if stats.open else None
    known = {field: getattr(stats, field, None) for field in COIN_FIELDS}
    return known | {"price": price, "time": stats.timestamp, "change_percent": change}


def _trade(trade: Trade) -> Mapping[str, Any]:
    return {field: getattr(trade, field, None) for field in TRADE_FIELDS} | {"time": trade.timestamp}


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def _csv_line(values: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _table_line(fields: Sequence[str], row: Mapping[str, Any]) -> str:
    texts = ((_plain(row[field]) or "-", _WIDTHS.get(field, 16)) for field in fields)
    return "  ".join(f"{text:<{-width}}" if width < 0 else f"{text:>{width}}" for text, width in texts).rstrip()
