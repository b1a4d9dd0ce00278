"""The way out to a venue: by the proxies and with the certificates of the environment, REST and WebSocket alike."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import httpx

from ingest.proxies import Proxies, UnusableProxyError

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What programs call the file or folder of the authorities to trust."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer in plain HTTP, depending on its version."""


def _trusting_the_usual() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.load_verify_locations(cafile=certifi.where())
    return context


@cache
def _usual() -> ssl.SSLContext:
    return _trusting_the_usual()  # reading all authorities takes some 20 ms


@dataclass(frozen=True, slots=True)
class Network:
    """How hosts are reached.

    Attributes:
        proxies: which proxy leads where; none by default.
        tls: whom to trust; made of this machine's authorities by default.
        problems: what of the environment cannot be used, a line each that names variable and value.

    """

    proxies: Proxies = field(default_factory=lambda: Proxies({}))
    tls: ssl.SSLContext = field(default_factory=_usual)
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Network:
        """Read an environment; what is wrong in it is among the problems, and done without."""
        problems: list[str] = []
        return cls(Proxies.of(environ), _trusting(environ, problems), tuple(problems))

    def problems_to(self, *urls: str) -> list[str]:
        """Return what keeps these URLs from being reached, or from being reached as the environment wants it."""
        found = dict.fromkeys(self.problems)
        for url in urls:
            try:
                self.proxies.to(url)
            except UnusableProxyError as exc:
                found[str(exc)] = None
        return list(found)

    def through(self, url: str) -> str:
        """Return in words by which proxy a URL is reached, to be put behind why it was not; empty when by none."""
        try:
            proxy = self.proxies.to(url)
        except UnusableProxyError:
            return ""
        return f" (through the proxy of {proxy.shown}: is it up, and may we use it?)" if proxy else ""

    def for_websocket(self, url: str) -> dict[str, Any]:
        """Return what `picows.ws_connect` wants to hear.

        Raises:
            UnusableProxyError: the variable names no proxy that can be used.

        """
        proxy = self.proxies.to(url)
        # Its socks5 lets the proxy look up names, which others call socks5h.
        options: dict[str, Any] = {"proxy": proxy.url.replace("socks5h:", "socks5:", 1) if proxy else None}
        if url.startswith("wss:"):
            options["ssl_context"] = self.tls
        if proxy is not None and proxy.url.startswith("https:"):
            options["proxy_ssl_context"] = self.tls
        return options

    def for_http(self, urls: Sequence[str], limits: httpx.Limits) -> dict[str, Any]:
        """Return what `httpx.AsyncClient` wants to hear; a host whose proxy cannot be used raises ConnectError.

        Args:
            urls: the hosts that will be asked.
            limits: of the connections to each of them.

        """
        mounts: dict[str, httpx.AsyncBaseTransport] = {}
        for url in urls:
            parts = urlsplit(url)
            try:
                proxy = self.proxies.to(url)
            except UnusableProxyError as exc:
                mounts[f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"] = _Unreachable(str(exc))
                continue
            if proxy is not None:
                tls = self.tls if proxy.url.startswith("https:") else None
                mounts[f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"] = _ThroughProxy(
                    verify=self.tls, limits=limits, proxy=httpx.Proxy(proxy.url, ssl_context=tls), trust_env=False
                )
        return {"trust_env": False, "verify": self.tls, "limits": limits, "mounts": mounts}


def words_of(exc: BaseException) -> str:
    """Say what went wrong on the way, so that a person knows what to do about a certificate."""
    cause: BaseException | None = exc
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {cause.verify_message}; where a proxy or a firewall signs certificates "
            "itself, name the file with its authority's in SSL_CERT_FILE"
        )
    if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
        return f"no TLS is spoken there ({cause.reason}): is the URL's scheme right, http or https, ws or wss?"
    return str(exc) or type(exc).__name__


class _ThroughProxy(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.HTTPError:
            raise
        except Exception as exc:  # what socksio makes of a proxy that is none is no error of httpx's
            raise httpx.ProxyError(f"{type(exc).__name__}: {exc}", request=request) from exc


class _Unreachable(httpx.AsyncBaseTransport):
    def __init__(self, why: str) -> None:
        self._why = why

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(self._why, request=request)


def _trusting(environ: Mapping[str, str], problems: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted = False
    for variable in _CERTIFICATES:
        if not (value := environ.get(variable, "").strip()):
            continue
        try:
            if Path(value).is_dir():
                list(Path(value).iterdir())  # OpenSSL looks into it later, and says nothing when it may not
                context.load_verify_locations(capath=value)
            elif variable == "SSL_CERT_DIR":
                raise NotADirectoryError(f"no folder is at {value!r}")
            else:
                context.load_verify_locations(cafile=value)
            trusted = True
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError: no certificates in it
            why = (exc.strerror if isinstance(exc, OSError) else "") or str(exc)
            problems.append(
                f"{variable}={value} cannot be used: {why}; name a file (or folder) of PEM certificates, or unset it"
            )
    if not trusted:
        context = _trusting_the_usual()
    if log_file := environ.get("SSLKEYLOGFILE", ""):  # as every default context does; `mesh.surroundings` looked at it
        context.keylog_filename = log_file
    return context
