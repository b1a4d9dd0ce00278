"""Trades by their ids: one of them, or those that follow it; what the ledger knows of one that is not stored."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

from mesh.service.errors import InvalidRequest, NotFound
from mesh.values import epochs
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
        InvalidRequest: the id or the epoch is out of range.
        NotFound: it is not stored; the text says what the ledger knows of the id in each of the epochs.
        NotReady: the database is unavailable.

    """
    _require_ids(trade_id, epoch or 0, lowest=0)
    async with database.reading() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ends = await rows.stored_ends(connection, venue, symbol)
        newest = 0 if ends is None else epochs.epoch_of(ends.last_id)
        asked = range(newest, -1, -1) if epoch is None else [epoch]
        keys = [epochs.key_of(each, trade_id) for each in asked]
        known = await fetch_all(connection, sql.LEDGER_OF_IDS, {"venue": venue, "symbol": symbol, "ids": keys})
        for key, stored, _ in known:
            if stored:
                return await _stored_trade(connection, venue, symbol, key)
    where = "no trade of it is stored" if ends is None else f"stored are ids up to {epochs.venue_id(ends.last_id)}"
    never = f"was never received; {where}" + (f" of epoch {newest}" if newest else "")
    told = [(epochs.epoch_of(key), f"{state}: it {_WHY[state]}" if state else never) for key, _, state in known]
    text = "; ".join(f"epoch {each}: {why}" for each, why in told) if len(told) > 1 else told[0][1]
    raise NotFound(f"trade {trade_id} of {symbol} of {venue} is not stored: {text}")


async def _stored_trade(connection: Connection, venue: str, symbol: str, key: int) -> sql.TradeRow:
    parameters = {"venue": venue, "symbol": symbol, "id": key}
    # The closed candles bound the time nearly always: only a trade whose time is far from its neighbours', or whose
    # candles are not made yet, has to be looked for among all.
    found = await fetch_all(connection, sql.TRADE_NEAR_CANDLES, parameters)
    found = found or await fetch_all(connection, sql.TRADE_ANYWHERE, parameters)
    return sql.TradeRow._make(found[0])


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
        InvalidRequest: the id or the epoch is out of range.
        NotReady: the database is unavailable.

    """
    _require_ids(trade_id, epoch, lowest=-1)
    after = epoch * epochs.IDS + trade_id
    asked = {"venue": venue, "symbol": symbol, "id": after, "limit": limit}
    async with database.reading() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ends = await rows.stored_ends(connection, venue, symbol)
        ranges = await fetch_all(connection, sql.STORED_AFTER, asked)
        wanted = list(islice(chain(*(range(max(low, after + 1), high + 1) for low, high in ranges)), limit))
        if not wanted:
            return [], -1 if ends is None else ends.last_id
        bounds = asked | {"first": wanted[0], "last": wanted[-1]}
        found = await _rows_by_id(connection, sql.TRADES_NEAR_CANDLES, bounds)
        if len(found) < len(wanted):  # a time that is far from its neighbours': see _stored_trade
            found = await _rows_by_id(connection, sql.TRADES_ANYWHERE, bounds)
    assert ends is not None, "a symbol with stored ranges has a highest id"
    return list(found.values()), ends.last_id


async def _rows_by_id(connection: Connection, statement: str, bounds: dict[str, Any]) -> dict[int, sql.TradeRow]:
    # By id: until its minute is verified, a trade that came with two times is in two rows.
    return {row[0]: sql.TradeRow._make(row) for row in await fetch_all(connection, statement, bounds)}


def _require_ids(trade_id: int, epoch: int, *, lowest: int) -> None:
    if not lowest <= trade_id < epochs.IDS:
        raise InvalidRequest(f"trade_id is {trade_id}, expected {lowest} to {epochs.IDS - 1}", field="trade_id")
    if not 0 <= epoch < 256:
        raise InvalidRequest(f"epoch is {epoch}, expected 0 to 255", field="epoch")
