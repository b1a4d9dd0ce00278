"""StoreService: requests validated, answered from the database."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from google.api import httpbody_pb2

from mesh.service.errors import InvalidRequest, NotReady
from mesh.values import epochs
from mesh.values.candles import INTERVALS_US
from store.catalog_view import CatalogView
from store.database import Database, fetch_all, fetch_dicts
from store.database.times import time_of
from store.export import query as export_query
from store.export.jobs import ExportJobs
from store.queries import candles, sql, trades
from store.queries.coverage import read_coverage
from store.queries.fields import MAX_SIZE, read_size, read_symbol, read_times, read_venue
from store.queries.instruments import list_instruments
from store.queries.trade_by_id import read_next_trades, read_trade
from tickmesh.v1 import store_pb2, store_pb2_grpc, trade_pb2

_BUY, _SELL = trade_pb2.SIDE_BUY, trade_pb2.SIDE_SELL  # a module of protobuf looks its enums up each time


class StoreServicer(store_pb2_grpc.StoreServiceServicer):
    """Answers from the database.

    Args:
        database: the store's.
        catalog: fills in the symbol and the venue that a request leaves empty.
        exports: reads what is exported.

    """

    def __init__(self, database: Database, catalog: CatalogView, exports: ExportJobs) -> None:
        self._database = database
        self._catalog = catalog
        self._exports = exports

    async def ListTrades(  # noqa: N802 - the proto's name
        self, request: store_pb2.ListTradesRequest, context: Any
    ) -> store_pb2.ListTradesResponse:
        query = trades.read_query(request)
        symbol = query.symbol or self._catalog.symbol
        venue = query.venue or await self._venue()
        rows = await self._list_trades(query, venue, symbol)
        response = store_pb2.ListTradesResponse()
        for row in rows[: query.size]:
            response.trades.add(**_trade(row, venue, symbol))
        if len(rows) > query.size:
            last = rows[query.size - 1]
            response.next_page_token = query.next_token(
                venue=venue, symbol=symbol, time_us=last.time_us, trade_id=last.trade_id
            )
        return response

    async def GetTrade(  # noqa: N802
        self, request: store_pb2.GetTradeRequest, context: Any
    ) -> store_pb2.GetTradeResponse:
        symbol = read_symbol(request.symbol) or self._catalog.symbol
        venue = read_venue(request.venue) or await self._venue()
        epoch = request.epoch if request.HasField("epoch") else None
        row = await read_trade(self._database, venue, symbol, request.trade_id, epoch=epoch)
        return store_pb2.GetTradeResponse(trade=trade_pb2.Trade(**_trade(row, venue, symbol)))

    async def ListNextTrades(  # noqa: N802
        self, request: store_pb2.ListNextTradesRequest, context: Any
    ) -> store_pb2.ListNextTradesResponse:
        symbol = read_symbol(request.symbol) or self._catalog.symbol
        venue = read_venue(request.venue) or await self._venue()
        limit = read_size(request, default=trades.DEFAULT_SIZE)
        rows, newest = await read_next_trades(
            self._database, venue, symbol, request.trade_id, epoch=request.epoch, limit=limit
        )
        response = store_pb2.ListNextTradesResponse(
            newest_trade_id=epochs.venue_id(newest), newest_epoch=epochs.epoch_of(newest)
        )
        for row in rows:
            response.trades.add(**_trade(row, venue, symbol))
        return response

    async def ListCandles(  # noqa: N802
        self, request: store_pb2.ListCandlesRequest, context: Any
    ) -> store_pb2.ListCandlesResponse:
        query = candles.read_query(request)
        symbol = query.symbol or self._catalog.symbol
        venue = query.venue or await self._venue()
        rows = await self._list_candles(query, venue, symbol)
        return query.response(rows, venue=venue, symbol=symbol)

    async def ListSummaries(  # noqa: N802
        self, request: store_pb2.ListSummariesRequest, context: Any
    ) -> store_pb2.ListSummariesResponse:
        words = [word for words in request.symbols for word in words.split(",") if word.strip()]
        if len(words) > MAX_SIZE:
            raise InvalidRequest(f"{len(words)} symbols, expected at most {MAX_SIZE}", field="symbols")
        asked = dict.fromkeys(read_symbol(word.strip()) for word in words)
        venue = read_venue(request.venue) or await self._venue()
        symbols = list(asked) or self._catalog.followed(venue)[:MAX_SIZE]
        since = time_of(time.time_ns() // 1000 - INTERVALS_US["1d"])
        response = store_pb2.ListSummariesResponse(venue=venue)
        async with self._database.reading() as connection:
            parameters = {"venue": venue, "symbols": symbols, "since": since}
            for symbol, closes, day_open in await fetch_all(connection, sql.SUMMARIES, parameters):
                response.summaries.add(symbol=symbol, close_e8=reversed(closes), day_open_e8=day_open)
        return response

    async def ExportTrades(  # noqa: N802
        self, request: store_pb2.ExportTradesRequest, context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        async for piece in self._export(request, context):
            yield piece

    async def ExportCandles(  # noqa: N802
        self, request: store_pb2.ExportCandlesRequest, context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        async for piece in self._export(request, context):
            yield piece

    async def GetCoverage(  # noqa: N802
        self, request: store_pb2.GetCoverageRequest, context: Any
    ) -> store_pb2.GetCoverageResponse:
        symbol = read_symbol(request.symbol) or self._catalog.symbol
        venue = read_venue(request.venue) or await self._venue()
        start_us, end_us = read_times(request)
        response = await read_coverage(self._database, venue, symbol, start_us=start_us, end_us=end_us)
        response.followed = self._catalog.follows(venue, symbol)
        return response

    async def ListInstruments(  # noqa: N802
        self, request: store_pb2.ListInstrumentsRequest, context: Any
    ) -> store_pb2.ListInstrumentsResponse:
        return list_instruments(request, self._catalog.catalog, now_us=time.time_ns() // 1000)

    async def _export(
        self, request: store_pb2.ExportTradesRequest | store_pb2.ExportCandlesRequest, context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        query = export_query.read_query(request)
        async with self._database.reading():  # refused at once while the schema is not prepared
            venue = query.venue or await self._venue()
        query = replace(query, venue=venue, symbol=query.symbol or self._catalog.symbol)
        content_type = export_query.FORMATS[query.form]  # in the first message alone, which there always is
        async for piece in self._exports.stream(query, lambda end: context.add_done_callback(lambda _: end())):
            yield httpbody_pb2.HttpBody(content_type=content_type, data=piece)
            content_type = ""
        if content_type:
            yield httpbody_pb2.HttpBody(content_type=content_type)

    async def _list_trades(self, query: trades.TradeQuery, venue: str, symbol: str) -> list[sql.TradeRow]:
        """Return the page's rows and one more when there are more."""
        rows: list[sql.TradeRow] = []
        now_us = time.time_ns() // 1000
        async with self._database.reading() as connection:
            for part in query.parts(now_us):
                parameters = part.parameters(venue, symbol, query.size + 1 - len(rows))
                rows += map(sql.TradeRow._make, await fetch_all(connection, query.statement, parameters))
                if len(rows) > query.size:
                    break
        return rows

    async def _list_candles(self, query: candles.CandleQuery, venue: str, symbol: str) -> list[dict[str, Any]]:
        """Return the page's rows and one more or more when there are more."""
        if query.stored and not query.open:
            async with self._database.reading() as connection:
                asked = query.parameters(venue, symbol, closed_us=0)
                return await fetch_dicts(connection, query.statement, asked)
        async with self._database.reading() as connection, connection.transaction():
            [(closed_us,)] = await fetch_all(connection, sql.CLOSED_UNTIL, {"venue": venue, "symbol": symbol})
            if closed_us is None:
                return []
            asked = query.parameters(venue, symbol, closed_us=closed_us)
            rows = await fetch_dicts(connection, query.statement, asked)
            asked_open = query.open_parameters(venue, symbol, closed_us=closed_us)
            if asked_open is None or (query.forward and len(rows) > query.size):
                return rows
            unclosed = await fetch_dicts(connection, query.open_statement, asked_open)
        return rows + unclosed if query.forward else unclosed + rows

    async def _venue(self) -> str:
        if self._catalog.venue:
            return self._catalog.venue
        async with self._database.reading() as connection:
            row = await (await connection.execute(sql.NEWEST_VENUE)).fetchone()
        if row is None:
            raise NotReady("no venue is followed yet, and no trade is stored")
        return str(row[0])


def _trade(row: sql.TradeRow, venue: str, symbol: str) -> dict[str, Any]:
    """Return the fields of a Trade: to make messages of it and its time first, and copy them, takes twice as long."""
    key, price_e8, quantity_e8, time_us, is_buyer_maker = row
    seconds, micros = divmod(time_us, 1_000_000)
    return {
        "venue": venue,
        "symbol": symbol,
        "trade_id": epochs.venue_id(key),
        "epoch": epochs.epoch_of(key),
        "price_e8": price_e8,
        "quantity_e8": quantity_e8,
        "timestamp": {"seconds": seconds, "nanos": micros * 1000},
        "side": _SELL if is_buyer_maker else _BUY,
    }
