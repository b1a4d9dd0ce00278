"""Requests to a venue's REST hosts: which host is asked, within which limits, and what a refusal means for the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from ingest.http.errors import EndpointNotOffered, Reaction, VenueRefusal, VenueUnavailable
from ingest.http.host import Host
from ingest.http.rate_limit import RateLimit
from ingest.network import Network, words_of
from mesh.service.errors import BadMessage
from mesh.service.logs import LogThrottle

log = logging.getLogger("ingest.http.client")

_TIMEOUT = httpx.Timeout(10.0, connect=4.0)  # of each wait for the network
_WITHIN_S = 60.0  # of a whole answer: who sends a byte every nine seconds meets no other bound
_MAX_ERROR_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A path of a venue's REST: what a request of it costs, and how long its answer may be."""

    weight: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class HttpRules:
    """How a venue wants to be asked, and how its refusals read: what its adapter knows.

    Attributes:
        endpoints: by path.
        headers: of every request. They ask for `identity`: whatever is encoded may be small on the way and huge here,
            272 bytes of `gzip, gzip` are 64 MB.
        weight_per_minute: what one address may spend.
        used_weight: reads from an answer's headers what this address has spent in this minute; 0 where it is not said.
        refusal: reads an answer that is none: status, headers and body.

    """

    endpoints: Mapping[str, HttpEndpoint]
    headers: Mapping[str, str]
    weight_per_minute: int
    used_weight: Callable[[httpx.Headers], int]
    refusal: Callable[[int, httpx.Headers, bytes], VenueRefusal]


class VenueHttpClient:
    """A venue's REST hosts; made by `connect`.

    At most two requests are on their way at a time. Beyond the rate limit nothing is asked: VenueUnavailable says for
    how long.

    Args:
        venue: its name.
        urls: its hosts, in the order to try.
        client: who speaks HTTP.
        rules: the venue's.
        network: the way there; without any proxy by default.

    """

    def __init__(
        self,
        venue: str,
        urls: Sequence[str],
        client: httpx.AsyncClient,
        rules: HttpRules,
        network: Network | None = None,
    ) -> None:
        self.venue = venue
        self._hosts = [Host(url) for url in urls]
        self._client = client
        self._rules = rules
        self._network = network or Network()
        self._rate_limit = RateLimit(rules.weight_per_minute)
        self._turn = asyncio.Semaphore(2)
        self._log_throttle = LogThrottle(every_s=30)

    def stay_away(self, seconds: float) -> None:
        """Ask nothing for so long: the venue told this address so on another way in."""
        self._rate_limit.stay_away(seconds, asyncio.get_running_loop().time())

    async def get(self, path: str, **parameters: str | int) -> bytes:
        """Ask the hosts in turn until one answers; return the body.

        Args:
            path: one of the rules' endpoints.
            parameters: of the query.

        Raises:
            VenueUnavailable: none did, but one may later.
            RequestRejected: none will.

        """
        clock = asyncio.get_running_loop().time
        endpoint = self._rules.endpoints[path]
        async with self._turn:
            if (wait_s := self._rate_limit.wait_s(endpoint.weight, clock())) > 0:
                raise VenueUnavailable(f"the REST budget of {self.venue} lasts again in {wait_s:.0f} s", wait_s)
            reasons: list[str] = []
            offered = False
            for host in self._hosts:
                if not host.offers(path, clock()):
                    continue
                offered = True
                if host.is_shut(clock()):
                    continue
                self._rate_limit.spend(endpoint.weight, clock())
                answer = await self._answer_of(host, path, parameters, endpoint.max_bytes)
                if isinstance(answer, bytes):
                    return answer
                reasons.append(answer)
            if not offered:
                raise EndpointNotOffered(f"no host of {self.venue} offers {path}")
            others = [host for host in self._hosts if host.offers(path, clock())]
            # Hosts that keep us out may do so for ever: what the rest of them offer has to do.
            if len(others) < len(self._hosts) and all(host.is_shut(clock()) for host in others):
                raise EndpointNotOffered("; ".join(reasons) or f"no host of {self.venue} that lets us in offers {path}")
            raise VenueUnavailable(
                "; ".join(reasons) or f"no host of {self.venue} is asked for {path} now, after their refusals"
            )

    async def _answer_of(self, host: Host, path: str, parameters: dict[str, str | int], max_bytes: int) -> bytes | str:
        """Ask one host; return the body, or in plain words why there is none.

        Raises:
            VenueUnavailable: no host may be asked for a while.
            RequestRejected: the request itself is wrong.

        """
        try:
            async with asyncio.timeout(_WITHIN_S):
                status, headers, body = await self._fetch(host.url + path, parameters, max_bytes)
        except TimeoutError:
            return f"{host.name}: no whole answer within {_WITHIN_S:g} s"
        # ValueError: what the libraries below make of words that are no HTTP, where they do not name it.
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, BadMessage, ValueError) as exc:
            through = self._network.through(host.url)
            return f"{host.name}: {words_of(exc)}{through}"
        if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED and (through := self._network.through(host.url)):
            return f"{host.name}: a user and a password are wanted (407){through}"
        self._rate_limit.reported(self._rules.used_weight(headers))
        if status == httpx.codes.OK:
            host.answered()
            return body
        return self._refused(host, path, self._rules.refusal(status, headers, body))

    def _refused(self, host: Host, path: str, refusal: VenueRefusal) -> str:
        now_s = asyncio.get_running_loop().time()
        if refusal.reaction is Reaction.STAY_AWAY:
            self._rate_limit.stay_away(refusal.away_s, now_s)
            words = f"{host.name} {refusal.why} ({refusal.said}): asking nothing for {refusal.away_s:.0f} s"
            log.warning("%s", words)
            raise VenueUnavailable(words, refusal.away_s)
        words, matters = host.refused(path, refusal, now_s)
        if matters and self._log_throttle.due(now_s):
            others = ", ".join(other.name for other in self._hosts if other is not host)
            log.warning("%s; %s", words, f"others to ask: {others}" if others else "there is no other host to ask")
        return words

    async def _fetch(
        self, url: str, parameters: dict[str, str | int], max_bytes: int
    ) -> tuple[int, httpx.Headers, bytes]:
        """Return status, headers and body of an answer. Raises: BadMessage: it is too large, or encoded."""
        async with self._client.stream("GET", url, params=parameters, headers=self._rules.headers) as response:
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


@asynccontextmanager
async def connect(
    venue: str, urls: Sequence[str], rules: HttpRules, network: Network | None = None
) -> AsyncIterator[VenueHttpClient]:
    """Give a venue's REST hosts, to be asked while inside; nothing is sent before the first request.

    Args:
        venue: its name.
        urls: its hosts, in the order to try.
        rules: the venue's.
        network: the way there; without any proxy by default.

    """
    network = network or Network()
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=2)
    # No cookies: they would be kept for ever, as many as the venue cares to set.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(timeout=_TIMEOUT, cookies=cookies, **network.for_http(urls, limits)) as client:
        yield VenueHttpClient(venue, urls, client, rules, network)
