"""Whom to follow: Binance when it can be reached, else the simulated exchange, and that said loudly."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import connect as connect_websocket

from ingest.binance import stay_away
from ingest.rest.client import connect as connect_rest
from ingest.rest.refusal import RestError
from mesh.settings import IngestSettings

log = logging.getLogger("ingest.venue")


@dataclass(frozen=True, slots=True)
class Venue:
    """Whom we follow, and where; each ladder of URLs in the order to try, without `/ws` or `/stream` at their ends."""

    name: str
    ws_urls: tuple[str, ...]
    rest_urls: tuple[str, ...]


async def choose(settings: IngestSettings) -> Venue:
    """Return the venue that the settings name; `auto` asks all hosts of Binance at once and takes the first answer."""
    binance = Venue("binance", tuple(map(base_url, settings.binance_ws_url)), settings.binance_rest_url)
    sim = Venue("sim", tuple(map(base_url, settings.sim_ws_url)), settings.sim_rest_url)
    if settings.venue != "auto":
        return binance if settings.venue == "binance" else sim
    log.info("asking whether Binance can be reached, for at most %g s", settings.venue_timeout_s)
    if await _answers(binance, settings.venue_timeout_s):
        return binance
    log.warning(
        "NO BINANCE HOST ANSWERS: following the SIMULATED exchange at %s; its trades are not real",
        ", ".join(sim.ws_urls),
    )
    return sim


def base_url(url: str) -> str:
    """Return a WebSocket URL without the `/ws` or `/stream` that people copy with it."""
    return url.rstrip("/").removesuffix("/ws").removesuffix("/stream").rstrip("/")


def proxy_for(url: str) -> Literal[True] | None:
    """Return what `websockets` wants to hear about proxies: the environment's are for the world outside."""
    return None if urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost") else True


async def _answers(venue: Venue, within_s: float) -> bool:
    attempts = [asyncio.create_task(_rest_answers(venue.name, url)) for url in venue.rest_urls]
    attempts += [asyncio.create_task(_websocket_answers(url, within_s)) for url in venue.ws_urls]
    try:
        async with asyncio.timeout(within_s):
            for attempt in asyncio.as_completed(attempts):
                if await attempt:
                    return True
    except TimeoutError:
        pass
    finally:
        for task in attempts:
            task.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    return False


async def _rest_answers(name: str, url: str) -> bool:
    async with connect_rest(name, [url]) as client:
        try:
            await client.ping()
        except RestError as exc:
            log.info("%s", exc)
            return False
    return True


async def _websocket_answers(url: str, within_s: float) -> bool:
    try:
        async with connect_websocket(f"{url}/ws", compression=None, open_timeout=within_s, proxy=proxy_for(url)):
            return True
    except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidURI) as exc:
        log.info("%s: %s", url, plain_words(exc, [url]))
        return False


def asked_away_s(exc: Exception) -> float:
    """Return for how long no WebSocket may be opened after one that did not; 0 when nobody said so."""
    if not isinstance(exc, websockets.InvalidStatus) or exc.response.status_code not in stay_away.STATUSES:
        return 0.0
    # Not `get`, which raises for a header that stands there twice.
    header = ", ".join(exc.response.headers.get_all("Retry-After"))
    return stay_away.stay_away_s(header, now_s=time.time())


def plain_words(exc: Exception, urls: Sequence[str]) -> str:
    """Say why a WebSocket did not open, so that a person knows what to do; `urls` is the whole ladder."""
    if isinstance(exc, websockets.InvalidStatus):
        status = exc.response.status_code
        if status == 451:
            return f"refused for this location (status 451); the hosts to try are {', '.join(urls)}"
        if status in stay_away.STATUSES:
            return f"asked to stay away (status {status}): no handshake for {asked_away_s(exc):.0f} s"
        return f"status {status}"
    return str(exc) or type(exc).__name__
