"""Trades by their ids: one of them, or those that follow it; what the ledger knows of one that is not stored."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

from psycopg.types.numeric import Int8

from mesh.service.errors import NotFound
from mesh.values import epochs
from mesh.values.id_ranges import IdRanges
from store.candles import rows as candle_rows
from store.database import Connection, Database, fetch_all
from store.ledger import rows
from store.queries import sql

_WHY = {
    "OPEN": "is missing, and the mesh asks the venue for it",
    "ABSENT": "was asked for, and the venue does not have it",
    "EXPIRED": "was removed, because it is older than RETENTION_DAYS",
    "LOST": "is missing forever, because the venue has restarted its ids since",
}


async def read_trade(
    database: Database, venue: str, symbol: str, trade_id: int, *, epoch: int | None = None
) -> sql.TradeRow:
    """Return a trade.

    Args:
        database: the store's.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.
        trade_id: the venue's own id.
        epoch: of the id; None for the newest epoch in which the trade is stored.

    Raises:
        NotFound: it is not stored; the text says what the ledger knows of the id in each of the epochs.
        NotReady: the database is unavailable.

    """
    # As one type whatever their size: a statement is planned anew for each, and that takes longer than all the rest.
    asked = {"venue": venue, "symbol": symbol, "id": Int8(trade_id), "epoch": None if epoch is None else Int8(epoch)}
    async with database.reading() as connection:
        known = await fetch_all(connection, sql.TRADE_BY_ID, asked)
    for key, _, stored, _, *row in known:
        if stored:
            return sql.TradeRow._make(row) if row[0] is not None else await _searched(database, venue, symbol, key)
    newest = known[0][1]
    where = "no trade of it is stored" if newest is None else f"stored are ids up to {epochs.venue_id(newest)}"
    if newest and (last_epoch := epochs.epoch_of(newest)):
        where += f" of epoch {last_epoch}"
    never = f"was never received; {where}"
    told = [(epochs.epoch_of(key), f"{state}: it {_WHY[state]}" if state else never) for key, _, _, state, *_ in known]
    text = "; ".join(f"epoch {each}: {why}" for each, why in told) if len(told) > 1 else told[0][1]
    raise NotFound(f"trade {trade_id} of {symbol} of {venue} is not stored: {text}")


async def _searched(database: Database, venue: str, symbol: str, key: int) -> sql.TradeRow:
    async with database.reading() as connection:
        found = await _rows_anywhere(connection, {"venue": venue, "symbol": symbol, "first": key, "last": key})
    if key not in found:
        raise NotFound(f"trade {epochs.venue_id(key)} of {symbol} of {venue} counts as stored, but no row has it")
    return found[key]


async def read_next_trades(
    database: Database, venue: str, symbol: str, trade_id: int, *, epoch: int, limit: int
) -> tuple[list[sql.TradeRow], int]:
    """Return the trades that follow an id, with rising ids, and the highest id that is stored, as a key; -1 for none.

    Args:
        database: the store's.
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.
        trade_id: the venue's own id that they come after, stored or not; -1 comes before the epoch's first.
        epoch: of the id.
        limit: how many trades at most.

    Raises:
        NotReady: the database is unavailable.

    """
    after = epoch * epochs.IDS + trade_id
    asked = {"venue": venue, "symbol": symbol, "id": after, "limit": limit}
    async with database.reading() as connection, connection.transaction():
        ends = await rows.stored_ends(connection, venue, symbol)
        ranges = await fetch_all(connection, sql.STORED_AFTER, asked)
        wanted = list(islice(chain(*(range(max(low, after + 1), high + 1) for low, high in ranges)), limit))
        if not wanted:
            return [], -1 if ends is None else ends.last_id
        bounds = asked | {"first": wanted[0], "last": wanted[-1]}
        found = await _rows_by_id(connection, sql.TRADES_NEAR_CANDLES, bounds)
        if len(found) < len(wanted):
            found |= await _rows_anywhere(connection, bounds)
    assert ends is not None, "a symbol with stored ranges has a highest id"
    return [found[key] for key in sorted(found)], ends.last_id


async def _rows_anywhere(connection: Connection, bounds: dict[str, Any]) -> dict[int, sql.TradeRow]:
    """Return trades by id, whatever their times: from every minute that may hold one of them."""
    found: dict[int, sql.TradeRow] = {}
    ids = IdRanges.of(bounds["first"], bounds["last"])
    for begin, end in await candle_rows.times_of(connection, bounds["venue"], bounds["symbol"], ids):
        found |= await _rows_by_id(connection, sql.TRADES_WITHIN, bounds | {"begin": begin, "end": end})
    return found


async def _rows_by_id(connection: Connection, statement: str, bounds: dict[str, Any]) -> dict[int, sql.TradeRow]:
    # By id: until its minute is verified, a trade that came with two times is in two rows.
    return {row[0]: sql.TradeRow._make(row) for row in await fetch_all(connection, statement, bounds)}
