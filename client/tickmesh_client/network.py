"""Addresses, proxies and what went wrong on the way, in words; and how long to wait before the next attempt."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from socket import gaierror
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from tickmesh_client.errors import WrongAddress


def checked_url(url: Any) -> str:  # Any: checked here
    """Return the address of a gateway if it can be one.

    Raises:
        WrongAddress: it is none.
    """
    try:
        parts = urlsplit(str(url))
        fits = str(url).isprintable() and " " not in str(url)  # some who read it would leave them out, others not
        fits = fits and parts.scheme in ("http", "https") and bool(parts.hostname)
        fits = fits and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna")  # as it is done to look the name up
    except ValueError:
        fits = False
    if not fits:
        shown = str(url).rpartition("@")[2]  # what is before may be a password
        raise WrongAddress(f"found the address {shown!r}, expected one such as http://127.0.0.1:8080")
    if parts.query or parts.fragment:  # neither would be sent; a token in it must not be shown
        raise WrongAddress("found a query or fragment in the address of the gateway, expected it without")
    return str(url)


def http_options(url: str, *, token: Any, timeout_s: float) -> dict[str, object]:
    """Return what an HTTP client of httpx is made with.

    Args:
        url: where the gateway is.
        token: what the gateway asks for; empty for none.
        timeout_s: for a connection, and for each part of an answer.

    Raises:
        WrongAddress: the token cannot be sent.
    """
    if not isinstance(token, str):
        raise WrongAddress(f"found {type(token).__name__} as the token, expected text, empty for none")
    if not token.isascii() or not token.isprintable() or token != token.strip():
        # It is a secret: the message must not show it.
        raise WrongAddress("found a character in the token that no header can carry, expected visible ASCII")
    return {
        "base_url": url,
        "headers": headers_with(token),
        "timeout": timeout_s,
        # A proxy from the environment must not come between us and this very machine.
        "trust_env": not is_loopback(url),
        # Without need no certificates, which an environment may say wrong things of.
        "verify": not url.lower().startswith("http:") and _trusted(),
    }


def _trusted() -> ssl.SSLContext | Literal[True]:
    """Return whose certificates count: those the environment names, of this very machine, too; else httpx's own."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        return True
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except OSError as exc:
        raise WrongAddress(f"found no certificates in SSL_CERT_FILE={file}: {exc.strerror or exc}") from None


def headers_with(token: str) -> dict[str, str]:
    """Return the headers that show a token; none for an empty one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def proxy_to(url: str) -> str | Literal[True] | None:
    """Return what `websockets` wants to hear: it finds proxies itself, but knows no ALL_PROXY, which httpx takes."""
    if is_loopback(url):
        return None
    parts, proxies = urlsplit(url), getproxies()
    nearer = ("wss", "socks", "https") if parts.scheme == "wss" else ("ws", "socks", "https", "http")
    everything = proxies.get("all", "")
    if not everything or any(name in proxies for name in nearer) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return True
    return everything if "://" in everything else f"http://{everything}"


def stream_url(url: str, query: str = "") -> str:
    """Return where the live stream of a gateway is: `http://host:8080` has it at `ws://host:8080/ws`.

    Args:
        url: where the gateway is.
        query: of the stream: `events=true`.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws", query, ""))


def shown_url(url: str) -> str:
    """Return the URL as people may see it: without a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_loopback(url: str) -> bool:
    """Tell whether the gateway runs on this machine."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def reason_of(error: BaseException) -> str:
    """Say in a few words what went wrong."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, TimeoutError | asyncio.TimeoutError | httpx.TimeoutException):
            return "no answer in time"
        if isinstance(below, ssl.SSLError):  # an OSError whose number counts something else
            return str(below)
        if isinstance(below, gaierror):  # likewise
            return (below.strerror or "no such host").lower()
        if isinstance(below, OSError) and below.errno:
            return os.strerror(below.errno).lower()
        if isinstance(below, UnicodeError):  # of a label that is empty or too long; each Python has other words for it
            return "no name that a host can have"
        below = below.__cause__ or below.__context__  # what the system said is below what the libraries say
    return str(error) or type(error).__name__


def backoff(random: Random, *, first_s: float, most_s: float) -> Iterator[float]:
    """Give seconds to wait: doubling, each shortened by chance so that clients do not come back together.

    Args:
        random: gives the chance.
        first_s: the longest first wait.
        most_s: the longest wait.
    """
    delay_s = first_s
    while True:
        yield delay_s * (0.5 + random.random() / 2)
        delay_s = min(2 * delay_s, most_s)
