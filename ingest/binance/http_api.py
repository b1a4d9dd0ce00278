"""Binance's REST: what can be asked of it, and what to ask instead where a host does not offer that."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx

from ingest.binance import answers, refusals
from ingest.binance.aggregates import Aggregates, AggregateSearch, from_aggregates
from ingest.binance.answers import PAGE, TIME_UNIT, Page, parse_exchange_info
from ingest.http.backfill import BackfillResult, from_history, from_newest, without_spoiled
from ingest.http.client import HttpEndpoint, HttpRules, VenueHttpClient
from ingest.http.errors import EndpointNotOffered, Reaction, VenueRefusal, VenueUnavailable
from ingest.http.retry_after import retry_after_s
from ingest.messages import BadFrame, Instrument, NewestTrade
from mesh.service.errors import BadMessage
from mesh.values.trades import TradeColumns

WEIGHT_PER_MINUTE = 6000
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
_MAX_WEIGHT = 1_000_000  # no limit of Binance's is near it
_LONGEST_SEARCH = 20  # pages
_BANNED_UNTIL = re.compile(r"\bbanned until ([0-9]{13})\b")  # "IP banned until 1659146400000"
_Answer = TypeVar("_Answer")


def used_weight(headers: httpx.Headers) -> int:
    """Return the weight this address has spent in this minute; 0 when it is missing or no count that can be."""
    text = headers.get(_USED_WEIGHT, "")
    if not (0 < len(text) <= 7 and text.isascii() and text.isdigit()):
        return 0
    weight = int(text)
    return weight if weight <= _MAX_WEIGHT else 0


def read_refusal(status: int, headers: httpx.Headers, body: bytes) -> VenueRefusal:
    """Read an answer that is none: by its status, and by Binance's own code where that says more.

    Args:
        status: of HTTP.
        headers: where `Retry-After` may stand.
        body: in which Binance may name its code and a message.

    """
    code, message = answers.parse_error(body)
    reaction, why = refusals.reaction_to(status, code)
    said = " ".join(filter(None, (str(status), str(code or ""), message)))
    if reaction is not Reaction.STAY_AWAY:
        return VenueRefusal(reaction, why, said)
    banned = _BANNED_UNTIL.search(message)
    until_s = int(banned[1]) / 1000 if banned else None
    away_s = retry_after_s(headers.get("Retry-After", ""), now_s=time.time(), until_s=until_s)
    return VenueRefusal(reaction, why, str(status), away_s)


# A trade's row has some 190 bytes and an answer at most 1000 of them; exchangeInfo of the real venue has some 15 MB.
RULES = HttpRules(
    endpoints={
        "/api/v3/ping": HttpEndpoint(1, 2**16),
        "/api/v3/exchangeInfo": HttpEndpoint(20, 64 * 2**20),
        # Of up to 20 symbols; of more it is 40, of all 80.
        "/api/v3/ticker/24hr": HttpEndpoint(2, 2**20),
        "/api/v3/trades": HttpEndpoint(25, 2 * 2**20),
        "/api/v3/historicalTrades": HttpEndpoint(25, 2 * 2**20),
        "/api/v3/aggTrades": HttpEndpoint(4, 2 * 2**20),
    },
    headers=TIME_UNIT | {"Accept-Encoding": "identity"},
    weight_per_minute=WEIGHT_PER_MINUTE,
    used_weight=used_weight,
    refusal=read_refusal,
)


class BinanceHttpApi:
    """Binance's REST in the words of `ingest.venue.HttpApi`.

    Args:
        client: who asks its hosts, by RULES.
        on_bad_row: called with each row of an answer that cannot be read; the others are taken all the same.

    """

    def __init__(self, client: VenueHttpClient, *, on_bad_row: Callable[[BadFrame], None]) -> None:
        self._client = client
        self._on_bad_row = on_bad_row

    def stay_away(self, seconds: float) -> None:
        """Ask nothing for so long: the venue told this address so on another way in."""
        self._client.stay_away(seconds)

    async def ping(self) -> None:
        """Ask whether anybody is there.

        Raises:
            VenueRequestError: no host answered, or the request is rejected.

        """
        await self._client.get("/api/v3/ping")

    async def exchange_info(self) -> list[Instrument]:
        """Return what can be traded now.

        Raises:
            VenueRequestError: no host answered, or the request is rejected.

        """
        return self._legible(parse_exchange_info(await self._client.get("/api/v3/exchangeInfo"))).content

    async def newest_id(self, symbol: str) -> int | None:
        """Return the id of a symbol's newest trade, None when it never traded.

        Raises:
            VenueRequestError: no host answered, or the request is rejected.

        """
        ids = (await self._trades("/api/v3/trades", symbol, limit=1)).content.trade_id
        return int(ids[-1]) if len(ids) else None

    async def newest_of(self, symbols: Sequence[str]) -> dict[str, NewestTrade]:
        """Return the newest trades of many symbols, without those that had none for a day.

        Args:
            symbols: in lower case; `ingest.venue.MOST_AT_ONCE` at most.

        Raises:
            VenueRequestError: no host answered, or the request is rejected, as it is where one symbol is not listed.

        """
        names = ",".join(f'"{symbol.upper()}"' for symbol in symbols)
        body = await self._client.get("/api/v3/ticker/24hr", symbols=f"[{names}]", type="MINI")
        try:
            return self._legible(answers.parse_newest(body)).content
        except BadMessage as exc:
            raise VenueUnavailable(str(exc)) from exc

    async def trades_from(self, symbol: str, from_id: int) -> BackfillResult:
        """Return what the venue has from an id on, that id included: up to PAGE trades.

        Where no host offers the history, the newest trades have to do, and what lies before them is taken from the
        aggregates as far as these prove it.

        Args:
            symbol: in lower case.
            from_id: the venue's id, without the epoch.

        Raises:
            VenueRequestError: no host answered, or the request is rejected.

        """
        try:
            page = await self._trades("/api/v3/historicalTrades", symbol, fromId=from_id, limit=PAGE)
            found = from_history(page.content, from_id=from_id, limit=PAGE - len(page.bad))
            return without_spoiled(found, page.spoiled)
        except EndpointNotOffered:
            pass
        try:
            page = await self._trades("/api/v3/trades", symbol, limit=PAGE)
        except EndpointNotOffered:
            aggregates = await self._aggregates_around(symbol, from_id)
            limit = PAGE - len(aggregates.bad)
            return from_aggregates(aggregates.content, from_id=from_id, until_id=None, limit=limit)
        newest = from_newest(page.content, from_id=from_id)
        if not newest.unreachable:
            return without_spoiled(newest, page.spoiled)
        until_id = newest.unreachable.highest
        try:
            aggregates = await self._aggregates_around(symbol, from_id)
        except EndpointNotOffered:
            return without_spoiled(newest, page.spoiled)
        found = from_aggregates(aggregates.content, from_id=from_id, until_id=until_id, limit=PAGE)
        return without_spoiled(newest, page.spoiled) if found.next_id is None else found

    async def newest_trades(self, symbol: str) -> TradeColumns:
        """Return the venue's newest trades, up to PAGE; of hosts without them those that are an aggregate of their own.

        Raises:
            VenueRequestError: no host answered, or the request is rejected.

        """
        try:
            return (await self._trades("/api/v3/trades", symbol, limit=PAGE)).content
        except EndpointNotOffered:
            return (await self._aggregates(symbol)).content.singles

    async def _aggregates_around(self, symbol: str, trade_id: int) -> Page[Aggregates]:
        """Return a page of aggregates that holds a trade's place, or as near to it as there are any."""
        search = AggregateSearch(trade_id, PAGE)
        page = await self._aggregates(symbol)
        for _ in range(_LONGEST_SEARCH):
            if (aggregate_id := search.next_aggregate_id(page.content)) is None:
                break
            page = await self._aggregates(symbol, fromId=aggregate_id)
        return page

    async def _aggregates(self, symbol: str, **parameters: int) -> Page[Aggregates]:
        return await self._ask("/api/v3/aggTrades", answers.parse_aggregates, symbol, limit=PAGE, **parameters)

    async def _trades(self, path: str, symbol: str, **parameters: int) -> Page[TradeColumns]:
        return await self._ask(path, answers.parse_trades, symbol, **parameters)

    async def _ask(
        self, path: str, parse: Callable[..., Page[_Answer]], symbol: str, **parameters: int
    ) -> Page[_Answer]:
        body = await self._client.get(path, symbol=symbol.upper(), **parameters)
        try:
            return self._legible(
                parse(body, venue=self._client.venue, symbol=symbol, received_time_us=time.time_ns() // 1000)
            )
        except BadMessage as exc:
            raise VenueUnavailable(str(exc)) from exc

    def _legible(self, page: Page[_Answer]) -> Page[_Answer]:
        for bad in page.bad:
            self._on_bad_row(bad)
        return page
