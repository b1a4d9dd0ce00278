"""StoreService: requests in, rows out."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.errors import NotReady
from mesh.values import epochs
from store.catalog_view import Following
from store.database.connection import Database
from store.queries import candles, sql, trades
from store.queries.coverage import read_coverage
from store.queries.sql import TradeRow
from tickmesh.v1 import store_pb2, store_pb2_grpc, trade_pb2


class StoreServicer(store_pb2_grpc.StoreServiceServicer):
    """Answers from the database; `following` fills in what a request leaves empty."""

    def __init__(self, database: Database, following: Following) -> None:
        self._database = database
        self._following = following

    async def ListTrades(  # noqa: N802 - the proto's name
        self, request: store_pb2.ListTradesRequest, context: Any
    ) -> store_pb2.ListTradesResponse:
        question = trades.read(request)
        symbol = question.symbol or self._following.symbol
        venue = question.venue or await self._venue()
        rows = await self._list(question, venue, symbol)
        response = store_pb2.ListTradesResponse()
        for row in rows[: question.size]:
            _add(response, row, venue, symbol)
        if len(rows) > question.size:
            last = rows[question.size - 1]
            response.next_page_token = question.next_token(
                venue=venue, symbol=symbol, time_us=last.time_us, trade_id=last.trade_id
            )
        return response

    async def ListCandles(  # noqa: N802
        self, request: store_pb2.ListCandlesRequest, context: Any
    ) -> store_pb2.ListCandlesResponse:
        question = candles.read(request)
        symbol = question.symbol or self._following.symbol
        venue = question.venue or await self._venue()
        async with self._database.reading() as connection:
            cursor = await connection.execute(question.statement, question.parameters(venue, symbol))
            rows = list(map(candles.CandleRow._make, await cursor.fetchall()))
        return question.answer(rows, venue=venue, symbol=symbol)

    async def GetCoverage(  # noqa: N802
        self, request: store_pb2.GetCoverageRequest, context: Any
    ) -> store_pb2.GetCoverageResponse:
        symbol = trades.read_symbol(request.symbol) or self._following.symbol
        venue = trades.read_venue(request.venue) or await self._venue()
        return await read_coverage(self._database, venue, symbol)

    async def _list(self, question: trades.Question, venue: str, symbol: str) -> list[TradeRow]:
        """Return the page's rows and one more when there are more."""
        rows: list[TradeRow] = []
        now_us = time.time_ns() // 1000
        async with self._database.reading() as connection:
            for span in sql.spans(question.span, now_us):
                limit = question.size + 1 - len(rows)
                cursor = await connection.execute(sql.LIST_TRADES, span.parameters(venue, symbol, limit))
                rows += map(TradeRow._make, await cursor.fetchall())
                if len(rows) > question.size:
                    break
        return rows

    async def _venue(self) -> str:
        if self._following.venue:
            return self._following.venue
        async with self._database.reading() as connection:
            row = await (await connection.execute(sql.NEWEST_VENUE)).fetchone()
        if row is None:
            raise NotReady("no venue is followed yet, and no trade is stored")
        return str(row[0])


def _add(response: store_pb2.ListTradesResponse, row: TradeRow, venue: str, symbol: str) -> None:
    seconds, rest_us = divmod(row.time_us, 1_000_000)
    response.trades.add(
        venue=venue,
        symbol=symbol,
        trade_id=epochs.venue_id(row.trade_id),
        epoch=epochs.epoch_of(row.trade_id),
        price_e8=row.price_e8,
        quantity_e8=row.quantity_e8,
        timestamp=Timestamp(seconds=seconds, nanos=rest_us * 1000),
        side=trade_pb2.SIDE_SELL if row.is_buyer_maker else trade_pb2.SIDE_BUY,
    )
