"""Asking the venue over REST: a ladder of hosts, the venue's limits obeyed, and plain words for its refusals."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from ingest.aside import Aside
from ingest.binance import answers, stay_away
from ingest.binance.aggregates import Aggregates
from ingest.binance.answers import PAGE, TIME_UNIT
from ingest.binance.instruments import Instrument, parse_exchange_info
from ingest.binance.page import Page
from ingest.outbox import Outbox
from ingest.rest.budget import Budget
from ingest.rest.found import Found, from_aggregates, from_history, from_newest, spoil
from ingest.rest.host import Host
from ingest.rest.refusal import RestAway, RestNotOffered
from ingest.rest.search import Search
from mesh.errors import BadMessage
from mesh.logs import Seldom
from mesh.trades import TradeColumns

log = logging.getLogger("ingest.rest")

MAX_BODY_BYTES = 64 * 2**20  # exchangeInfo of the real venue has some 15 MB
_TIMEOUT = httpx.Timeout(10.0, connect=4.0)
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
_LONGEST_SEARCH = 20  # pages
_ROWS_REMEMBERED = 256
_Answer = TypeVar("_Answer")
_WEIGHTS = {
    "/api/v3/ping": 1,
    "/api/v3/exchangeInfo": 20,
    "/api/v3/trades": 25,
    "/api/v3/historicalTrades": 25,
    "/api/v3/aggTrades": 4,
}


class Rest:
    """A venue's REST hosts; made by `connect`.

    At most two requests are on their way at a time. Beyond the budget nothing is asked: RestAway says how long.
    """

    def __init__(self, venue: str, urls: Sequence[str], client: httpx.AsyncClient) -> None:
        self._venue = venue
        self._hosts = [Host(url) for url in urls]
        self._client = client
        self._budget = Budget()
        self._turn = asyncio.Semaphore(2)
        self._seldom = Seldom(every_s=30)
        self._aside = Aside("rows", remembers=_ROWS_REMEMBERED)

    def keep_aside_in(self, outbox: Outbox) -> None:
        """Bring rows that cannot be read there from now on; until then they are only counted and told."""
        self._aside = Aside("rows", outbox, remembers=_ROWS_REMEMBERED)

    def stay_away(self, seconds: float) -> None:
        """Ask nothing for so long: the venue told this address so on another way in."""
        self._budget.stay_away(seconds, asyncio.get_running_loop().time())

    async def ping(self) -> None:
        """Ask whether anybody is there. Raises: RestError."""
        await self._get("/api/v3/ping")

    async def exchange_info(self) -> list[Instrument]:
        """Return what can be traded now. Raises: RestError."""
        return self._legible(parse_exchange_info(await self._get("/api/v3/exchangeInfo"))).told

    async def trades_from(self, symbol: str, from_id: int) -> Found:
        """Return what the venue has from an id on, that id included: up to PAGE trades.

        Where no host offers the history, the newest trades have to do, and what lies before them is taken from the
        aggregates as far as these prove it.

        Raises: RestError.
        """
        try:
            page = await self._trades("/api/v3/historicalTrades", symbol, fromId=from_id, limit=PAGE)
            found = from_history(page.told, from_id=from_id, limit=PAGE - len(page.bad))
            return spoil(found, page.spoiled)
        except RestNotOffered:
            pass
        try:
            page = await self._trades("/api/v3/trades", symbol, limit=PAGE)
        except RestNotOffered:
            aggregates = await self._aggregates_around(symbol, from_id)
            limit = PAGE - len(aggregates.bad)
            return from_aggregates(aggregates.told, from_id=from_id, until_id=None, limit=limit)
        newest = from_newest(page.told, from_id=from_id)
        if not newest.unreachable:
            return spoil(newest, page.spoiled)
        until_id = newest.unreachable[-1].last_id
        try:
            aggregates = await self._aggregates_around(symbol, from_id)
        except RestNotOffered:
            return spoil(newest, page.spoiled)
        found = from_aggregates(aggregates.told, from_id=from_id, until_id=until_id, limit=PAGE)
        return spoil(newest, page.spoiled) if found.next_id is None else found

    async def _aggregates_around(self, symbol: str, trade_id: int) -> Page[Aggregates]:
        """Return a page of aggregates that holds a trade's place, or as near to it as there are any."""
        search = Search(trade_id, PAGE)
        page = await self._aggregates(symbol)
        for _ in range(_LONGEST_SEARCH):
            if (aggregate_id := search.next_look(page.told)) is None:
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
        body = await self._get(path, symbol=symbol.upper(), **parameters)
        try:
            return self._legible(parse(body, venue=self._venue, symbol=symbol, received_time_us=time.time_ns() // 1000))
        except BadMessage as exc:
            raise RestAway(str(exc)) from exc

    def _legible(self, page: Page[_Answer]) -> Page[_Answer]:
        for bad in page.bad:
            self._aside.keep(bad)
        return page

    async def _get(self, path: str, **parameters: str | int) -> bytes:
        """Ask the hosts in turn until one answers.

        Raises:
            RestAway: none did, but one may later.
            RestRefused: none will.

        """
        clock = asyncio.get_running_loop().time
        async with self._turn:
            if (wait_s := self._budget.wait_s(_WEIGHTS[path], clock())) > 0:
                raise RestAway(f"the REST budget of {self._venue} lasts again in {wait_s:.0f} s", wait_s)
            reasons: list[str] = []
            offered = False
            for host in self._hosts:
                if not host.offers(path, clock()):
                    continue
                offered = True
                if host.is_shut(clock()):
                    continue
                self._budget.spend(_WEIGHTS[path], clock())
                try:
                    status, headers, body = await self._fetch(host.url + path, parameters)
                except (httpx.HTTPError, httpx.InvalidURL, BadMessage) as exc:
                    reasons.append(f"{host.name}: {str(exc) or type(exc).__name__}")
                    continue
                if used := headers.get(_USED_WEIGHT, ""):
                    self._budget.told(int(used) if used.isdecimal() else 0)
                if status == httpx.codes.OK:
                    host.answered()
                    return body
                reasons.append(self._judge(host, path, status, headers, body, clock()))
            if not offered:
                raise RestNotOffered(f"no host of {self._venue} offers {path}")
            others = [host for host in self._hosts if host.offers(path, clock())]
            # Hosts that keep us out may do so for ever: what the rest of them offer has to do.
            if len(others) < len(self._hosts) and all(host.is_shut(clock()) for host in others):
                raise RestNotOffered("; ".join(reasons) or f"no host of {self._venue} that lets us in offers {path}")
            raise RestAway(
                "; ".join(reasons) or f"no host of {self._venue} is asked for {path} now, after their refusals"
            )

    async def _fetch(self, url: str, parameters: dict[str, str | int]) -> tuple[int, httpx.Headers, bytes]:
        async with self._client.stream("GET", url, params=parameters, headers=TIME_UNIT) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise BadMessage(f"an answer of more than {MAX_BODY_BYTES} bytes")
            return response.status_code, response.headers, bytes(body)

    def _judge(self, host: Host, path: str, status: int, headers: httpx.Headers, body: bytes, now_s: float) -> str:
        """Turn a refusal into plain words, and into what it means for the next question.

        Raises:
            RestAway: nobody may be asked for a while.
            RestRefused: the question itself is wrong.

        """
        if status in stay_away.STATUSES:
            seconds = stay_away.stay_away_s(headers.get("Retry-After", ""))
            self._budget.stay_away(seconds, now_s)
            what = "banned this address" if status == 418 else "asks to slow down"
            words = f"{host.name} {what} ({status}): asking nothing for {seconds:.0f} s"
            log.warning("%s", words)
            raise RestAway(words, seconds)
        words, matters = host.refused(path, status, body, now_s)
        if matters and self._seldom.due(now_s):
            others = ", ".join(other.name for other in self._hosts if other is not host)
            log.warning("%s; %s", words, f"others to ask: {others}" if others else "there is no other host to ask")
        return words


@asynccontextmanager
async def connect(venue: str, urls: Sequence[str]) -> AsyncIterator[Rest]:
    """Give a venue's REST, to be asked while inside; nothing is sent before the first question."""
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=2)
    async with httpx.AsyncClient(timeout=_TIMEOUT, limits=limits, trust_env=not _loopback(urls)) as client:
        yield Rest(venue, urls, client)


def _loopback(urls: Sequence[str]) -> bool:
    # A proxy of the environment is for the world outside.
    return all(urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost") for url in urls)
