"""Who may ask the gateway: by which host's name, for which page, with which token. Pure.

A page anywhere can reach a server on its visitor's loopback. Two things keep it out. Its browser says the page's origin
with whatever changes something and with what goes on (`/ws`, streams), and only pages of the asked host, or of an
origin that is allowed, may. And the host asked for must be ours: the owner of a name can make it lead to any address
(DNS rebinding), and then the page and the asked host are one. An address cannot be made to lead elsewhere, so asking by
address is always allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from mesh.service.access import WRONG_TOKEN, Access, Right, bearer

TOKEN_PARAMETER = "token"  # noqa: S105 - the parameter's name
ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/"})
"""What whoever watches over a process asks, without a token; and the page, which asks for one."""
PAGE_FILES = "/page/"
"""Where the page's files lie, which a browser asks for without a token."""

_MAX_PARAMETERS = 100
_OWN_NAMES = ("localhost", "*.localhost")  # RFC 6761, 6.3: they lead to loopback and nowhere else


def query_pairs(query_string: bytes) -> list[tuple[str, str]]:
    """Decode a query string; raise `ValueError` when it is not UTF-8 or has too many parameters."""
    return parse_qsl(
        query_string.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
    )


def split_token(pairs: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Return the token among the parameters ("" when none) and the other parameters."""
    token = next((text for name, text in pairs if name == TOKEN_PARAMETER), "")
    return token, [pair for pair in pairs if pair[0] != TOKEN_PARAMETER]


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request is not admitted."""

    status: int
    problem: str
    headers: Mapping[str, str] = field(default_factory=dict)
    wrong_token: bool = False
    """Whether the reason is a token that is none of ours."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """The rules of one gateway.

    Attributes:
        tokens: the tokens and what they are needed for.
        hosts: names it may be asked by, beside addresses and those of loopback: `a.example`, `*.example`, `*`.
        origins: origins whose pages may act, beside those of the asked host.

    """

    tokens: Access = field(default_factory=Access)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def denial(
        self, kind: str, verb: str, path: str, headers: Iterable[tuple[bytes, bytes]], token: str
    ) -> Denial | None:
        """Return why a request is refused, None when it is admitted.

        Args:
            kind: `http`, `websocket`, or `stream` for an HTTP request whose answer goes on.
            verb: GET and so on; of a WebSocket any.
            path: decoded, without the query.
            headers: names in lower case.
            token: the token among the parameters, "" when none was.

        """
        given = _Given(headers)
        if problem := self.host_problem(given.all("host")):
            return problem
        if kind != "websocket" and (path in ALWAYS_OPEN or path.startswith(PAGE_FILES) or verb == "OPTIONS"):
            return None
        right = Right.READ if kind == "websocket" or verb in ("GET", "HEAD") else Right.WRITE
        acts = kind != "http" or right is Right.WRITE
        if acts and (problem := self.origin_problem(given.all("origin"), given.first("host"))):
            return problem
        authorization = given.first("authorization")
        said = bearer(authorization) if bearer(authorization) else token
        # /ws and streams cost more than an answer, so they need a token wherever there is one.
        wrong = (self.tokens.token_problem if acts else self.tokens.problem)(right, said)
        if wrong is None:
            return None
        if not said:
            wrong += f" or as ?{TOKEN_PARAMETER}="
        elif wrong != WRONG_TOKEN:
            return Denial(403, f"{wrong}; {verb} needs the other one")
        return Denial(401, wrong, {"WWW-Authenticate": "Bearer"}, wrong_token=bool(said))

    def host_problem(self, hosts: list[str]) -> Denial | None:
        """Return what is wrong with the Host headers of a request; None when nothing is, or there is none."""
        if not hosts:
            return None  # HTTP/1.0, which no browser speaks; without a Host 1.1 is refused earlier
        if len(hosts) > 1:
            return Denial(400, f"{len(hosts)} Host headers, expected one")
        name = _hostname(f"//{hosts[0]}")
        if name is None or not _is_authority(hosts[0]):
            return Denial(400, f"{hosts[0][:80]!r} is no host, expected a name or an address, and perhaps a port")
        if _is_address(name) or any(_fits(name, pattern) for pattern in (*_OWN_NAMES, *self.hosts)):
            return None
        # RFC 9110, 15.5.20: "not configured to produce responses for the combination of scheme and authority"
        return Denial(421, f"this is not {name[:80]!r}: ask by address, or set ALLOWED_HOSTS to the names it has")

    def origin_problem(self, origins: list[str], host: str) -> Denial | None:
        """Return what is wrong with the page a browser asks for; None when nothing is, or no browser asks.

        Args:
            origins: values of the Origin headers; none when no browser asks.
            host: value of the Host header, perhaps with a port.

        """
        if not origins:
            return None
        page, here = _hostname(origins[0]), _hostname(f"//{host}")
        if len(origins) == 1 and ((page and page == here) or origins[0].lower() in self.origins):
            return None
        here = here or "this host"
        return Denial(403, f"a page of {origins[0][:80]!r} may not use this from a browser; only pages of {here!r} may")


class _Given:
    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = [(name.decode("latin-1"), value.decode("latin-1").strip()) for name, value in headers]

    def all(self, name: str) -> list[str]:
        return [value for other, value in self._headers if other == name]

    def first(self, name: str) -> str:
        return next(iter(self.all(name)), "")


def _hostname(url: str) -> str | None:
    try:
        name = urlsplit(url).hostname
    except ValueError:  # an address in brackets that is none
        return None
    return name.rstrip(".") or None if name else None


def _is_authority(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return False
    return parts.netloc == host and "@" not in host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return pattern in ("*", name)
