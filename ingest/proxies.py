"""Which proxy of the environment leads to a URL, one answer for REST and for WebSocket. Pure.

Libraries differ: httpx knows no WSS_PROXY, websockets no ALL_PROXY and no proxy without a scheme, and each has its own
NO_PROXY. So they are told what was found here.

    HTTPS_PROXY=proxy.example:3128              # http:// is meant
    ALL_PROXY=socks5://me:secret@127.0.0.1:1080
    NO_PROXY=localhost,.example.org,10.0.0.0/8
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from mesh.service.errors import TickmeshError

_BY_SCHEME = {
    # RFC 6455, section 4.1: SOCKS before the proxy for HTTPS, and that before the one for HTTP.
    "wss": ("wss", "socks", "https", "all"),
    "ws": ("ws", "socks", "https", "http", "all"),
    "https": ("socks", "https", "all"),
    "http": ("socks", "http", "all"),
}
VARIABLES = tuple(f"{name}_proxy" for name in ("wss", "ws", "socks", "https", "http", "all", "no"))
"""Their names in lower case; each counts in upper case too, where it is not set in lower case."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5h": 1080}
# Names are looked up by the proxy, whichever the spelling: where a proxy is needed, that often fails here.
_MEANT = {"socks": "socks5h", "socks5": "socks5h"}
_EXPECTED = "expected http://, https:// or socks5:// with host:port"


class UnusableProxyError(TickmeshError, OSError):
    """A proxy of the environment cannot be used; the message names variable and value, and what to do."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: with its port, and user and password percent-encoded where there are any.
        shown: variable and value for people, without the password.

    """

    url: str
    shown: str


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of an environment.

    Attributes:
        values: variable as it is spelt and its value, by the name in lower case without `_proxy`.

    """

    values: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        """Read an environment; an empty variable in lower case takes away what one in upper case says."""
        found = {}
        for variable in VARIABLES:
            name = variable if variable in environ else variable.upper()
            if value := environ.get(name, "").strip():
                found[variable.removesuffix("_proxy")] = (name, value)
        return cls(found)

    def to(self, url: str) -> Proxy | None:
        """Return the proxy that leads to a URL of http, https, ws or wss; None when none does.

        Raises:
            UnusableProxyError: the variable names no proxy that can be used.

        """
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        if is_loopback(host) or is_excepted(host, port, self.values.get("no", ("", ""))[1]):
            return None
        for kind in _BY_SCHEME[parts.scheme]:
            if kind in self.values:
                return parse(*self.values[kind])
        return None


def parse(variable: str, value: str) -> Proxy:
    """Read the value of a proxy's variable.

    Args:
        variable: its name, for messages.
        value: what it is set to, perhaps with a password.

    Raises:
        UnusableProxyError: it names no proxy that can be used.

    """
    shown = f"{variable}={masked(value)}"

    def unusable(why: str) -> UnusableProxyError:
        return UnusableProxyError(f"{shown} cannot be used: {why}; set it right, or unset it to do without a proxy")

    text = value if "://" in value else f"http://{value.removeprefix('//')}"
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise unusable(f"it holds a space, a backslash or a control character, {_EXPECTED}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # its words hold what was found, which may be a password without its @
        raise unusable(
            f"its port or its brackets are none ({_EXPECTED}; in a password # / ? : @ are %23 and so on)"
        ) from None
    scheme = _MEANT.get(parts.scheme, parts.scheme)
    if scheme not in _DEFAULT_PORTS:
        raise unusable(f"{parts.scheme!r} is no kind of proxy that is known, {_EXPECTED}")
    if not host or port == 0:
        raise unusable(f"it names no {'port' if host else 'host'}, {_EXPECTED}")
    try:
        host = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise unusable(f"its host is none, {_EXPECTED}") from None
    login = ""
    if parts.username is not None:
        # With an empty password where there is none: websockets refuses a user alone.
        login = f"{quote(unquote(parts.username), safe='')}:{quote(unquote(parts.password or ''), safe='')}@"
    place = f"[{host}]" if ":" in host else host
    return Proxy(f"{scheme}://{login}{place}:{port or _DEFAULT_PORTS[scheme]}", shown)


def masked(value: str) -> str:
    """Return a proxy's value in one line, without what may be a password."""
    value = re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", value)
    head, at, place = value.rpartition("@")
    if at:
        scheme, separator, _ = head.partition("://")
        return f"{scheme}{separator}***@{place}" if separator else f"***@{place}"
    place, colon, port = value.rpartition(":")
    # Without its @ a login looks like a host, and its password like a port.
    return value if not colon or port.startswith("//") or port.rstrip("/").isdigit() else f"{place}:***"


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a proxy is for the world outside."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY names a host: by name, by the end of its name, by network, or all by `*`.

    What cannot be read in it names nobody.

    Args:
        host: a name or an address.
        port: on that host.
        no_proxy: names, networks and addresses, separated by commas.

    """
    return any(_names(entry, host, port) for entry in re.split(r"[,;\s]+", no_proxy.lower()) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            entry = entry.partition("/")[0]
    if (wanted := _address(entry)) is not None:
        return wanted == address
    name, colon, wanted_port = entry.rpartition(":")
    if colon:
        if wanted_port != str(port):
            return False
        entry = name
    if (wanted := _address(entry)) is not None:
        return wanted == address
    entry = entry.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
