"""One trade by its id; when it is not stored, what the ledger knows of the id."""

from __future__ import annotations

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
    if not 0 <= trade_id < epochs.IDS:
        raise InvalidRequest(f"trade_id is {trade_id}, expected 0 to {epochs.IDS - 1}")
    if epoch is not None and not 0 <= epoch < 256:
        raise InvalidRequest(f"epoch is {epoch}, expected 0 to 255")
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
