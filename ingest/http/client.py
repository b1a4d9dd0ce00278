"""Asking the venue over REST: a ladder of hosts, the venue's limits obeyed, and plain words for its refusals."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from ingest.binance import answers
from ingest.binance.aggregates import Aggregates
from ingest.binance.answers import PAGE, TIME_UNIT
from ingest.binance.exchange_info import Instrument, parse_exchange_info
from ingest.binance.page import Page
from ingest.binance.refusals import Refusal, refusal_of
from ingest.binance.stay_away import stay_away_s
from ingest.http.backfill import Found, from_aggregates, from_history, from_newest, spoil
from ingest.http.errors import RestAway, RestNotOffered
from ingest.http.host import Host
from ingest.http.rate_limit import Budget, used_weight
from ingest.http.search import Search
from ingest.network import Network
from ingest.publish.aside import Aside
from ingest.publish.outbox import Outbox
from mesh.service.errors import BadMessage
from mesh.service.logs import LogThrottle
from mesh.values.trades import TradeColumns

log = logging.getLogger("ingest.rest")

_TIMEOUT = httpx.Timeout(10.0, connect=4.0)  # of each wait for the network
_WITHIN_S = 60.0  # of a whole answer: who sends a byte every nine seconds meets no other bound
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
_LONGEST_SEARCH = 20  # pages
_ROWS_REMEMBERED = 256
_Answer = TypeVar("_Answer")
_HEADERS = TIME_UNIT | {"Accept-Encoding": "identity"}
"""Whatever is not asked for in plain may be small on the way and huge here: 272 bytes of `gzip, gzip` are 64 MB."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    weight: int
    max_bytes: int  # of an answer


# A trade's row has some 190 bytes and an answer at most 1000 of them; exchangeInfo of the real venue has some 15 MB.
_ENDPOINTS = {
    "/api/v3/ping": _Endpoint(1, 2**16),
    "/api/v3/exchangeInfo": _Endpoint(20, 64 * 2**20),
    "/api/v3/trades": _Endpoint(25, 2 * 2**20),
    "/api/v3/historicalTrades": _Endpoint(25, 2 * 2**20),
    "/api/v3/aggTrades": _Endpoint(4, 2 * 2**20),
}
_MAX_ERROR_BYTES = 2**16


class Rest:
    """A venue's REST hosts; made by `connect`.

    At most two requests are on their way at a time. Beyond the budget nothing is asked: RestAway says how long.
    """

    def __init__(
        self, venue: str, urls: Sequence[str], client: httpx.AsyncClient, network: Network | None = None
    ) -> None:
        self._venue = venue
        self._hosts = [Host(url) for url in urls]
        self._client = client
        self._network = network or Network()
        self._budget = Budget()
        self._turn = asyncio.Semaphore(2)
        self._log_throttle = LogThrottle(every_s=30)
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

    async def newest_id(self, symbol: str) -> int | None:
        """Return the id of a symbol's newest trade, None when it never traded. Raises: RestError."""
        ids = (await self._trades("/api/v3/trades", symbol, limit=1)).told.trade_id
        return int(ids[-1]) if len(ids) else None

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

    async def newest_trades(self, symbol: str) -> TradeColumns:
        """Return the venue's newest trades, up to PAGE; of hosts without them those that are an aggregate of their own.

        Raises: RestError.
        """
        try:
            return (await self._trades("/api/v3/trades", symbol, limit=PAGE)).told
        except RestNotOffered:
            return (await self._aggregates(symbol)).told.singles

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
        endpoint = _ENDPOINTS[path]
        async with self._turn:
            if (wait_s := self._budget.wait_s(endpoint.weight, clock())) > 0:
                raise RestAway(f"the REST budget of {self._venue} lasts again in {wait_s:.0f} s", wait_s)
            reasons: list[str] = []
            offered = False
            for host in self._hosts:
                if not host.offers(path, clock()):
                    continue
                offered = True
                if host.is_shut(clock()):
                    continue
                self._budget.spend(endpoint.weight, clock())
                try:
                    async with asyncio.timeout(_WITHIN_S):
                        status, headers, body = await self._fetch(host.url + path, parameters, endpoint.max_bytes)
                except TimeoutError:
                    reasons.append(f"{host.name}: no whole answer within {_WITHIN_S:g} s")
                    continue
                # ValueError: what the libraries below make of words that are no HTTP, where they do not name it.
                except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, BadMessage, ValueError) as exc:
                    through = self._network.through(host.url)
                    reasons.append(f"{host.name}: {str(exc) or type(exc).__name__}{through}")
                    continue
                if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED and (through := self._network.through(host.url)):
                    reasons.append(f"{host.name}: a user and a password are wanted (407){through}")
                    continue
                self._budget.told(used_weight(headers.get(_USED_WEIGHT, "")))
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

    async def _fetch(
        self, url: str, parameters: dict[str, str | int], max_bytes: int
    ) -> tuple[int, httpx.Headers, bytes]:
        """Return status, headers and body of an answer. Raises: BadMessage: it is too large, or encoded."""
        async with self._client.stream("GET", url, params=parameters, headers=_HEADERS) as response:
            if (encoding := response.headers.get("Content-Encoding", "identity").strip().lower()) not in (
                "",
                "identity",
            ):
                raise BadMessage(f"an answer encoded as {encoding[:40]!r}, expected identity, as was asked for")
            if response.status_code != httpx.codes.OK:
                max_bytes = min(max_bytes, _MAX_ERROR_BYTES)
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > max_bytes:
                    raise BadMessage(f"an answer of more than {max_bytes} bytes")
            return response.status_code, response.headers, bytes(body)

    def _judge(self, host: Host, path: str, status: int, headers: httpx.Headers, body: bytes, now_s: float) -> str:
        """Turn a refusal into plain words, and into what it means for the next question.

        Raises:
            RestAway: nobody may be asked for a while.
            RestRefused: the question itself is wrong.

        """
        code, message = answers.parse_error(body)
        refusal, why = refusal_of(status, code)
        if refusal is Refusal.STAY_AWAY:
            seconds = stay_away_s(headers.get("Retry-After", ""), now_s=time.time(), words=message)
            self._budget.stay_away(seconds, now_s)
            words = f"{host.name} {why} ({status}): asking nothing for {seconds:.0f} s"
            log.warning("%s", words)
            raise RestAway(words, seconds)
        words, matters = host.refused(path, status, body, now_s)
        if matters and self._log_throttle.due(now_s):
            others = ", ".join(other.name for other in self._hosts if other is not host)
            log.warning("%s; %s", words, f"others to ask: {others}" if others else "there is no other host to ask")
        return words


@asynccontextmanager
async def connect(venue: str, urls: Sequence[str], network: Network | None = None) -> AsyncIterator[Rest]:
    """Give a venue's REST, to be asked while inside; nothing is sent before the first question.

    Args:
        venue: its name.
        urls: its hosts, in the order to try.
        network: the way there; without any proxy by default.

    """
    network = network or Network()
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=2)
    # No cookies: they would be kept for ever, as many as the venue cares to set.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(timeout=_TIMEOUT, cookies=cookies, **network.for_http(urls, limits)) as client:
        yield Rest(venue, urls, client, network)
