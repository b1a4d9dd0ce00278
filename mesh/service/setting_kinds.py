"""What a setting may be: ports, symbols, addresses and URLs, each checked in words that say what was found. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from mesh.service import nats_url
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.venue_hosts import SIM


def _real_venue(name: str) -> str:
    if name == SIM:
        raise ValueError(
            f"{name!r} is the simulated exchange's name, and its rows may not be mixed with a real venue's"
        )
    return name


Port = Annotated[int, Field(ge=0, le=65535)]
Symbol = Annotated[str, BeforeValidator(parse_symbol)]
VenueName = Annotated[str, BeforeValidator(parse_venue), AfterValidator(_real_venue)]
Window = Annotated[int, Field(ge=1, le=100_000)]
Period = Annotated[int, Field(ge=1, le=4096)]


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _url(*schemes: str) -> Any:
    def check(url: str) -> str:
        problem = _url_problem(url, schemes)
        if problem is not None:
            raise ValueError(f"{url.rpartition('@')[2]!r} is not a URL of {' or '.join(schemes)}{problem}")
        return url.rstrip("/")

    return AfterValidator(check)


def _nats_url(secret: SecretStr) -> SecretStr:
    nats_url.parse(secret.get_secret_value())
    return secret


NatsUrl = Annotated[SecretStr, AfterValidator(_nats_url)]


def _url_problem(url: str, schemes: tuple[str, ...]) -> str | None:
    """Return what is wrong with a URL, "" when it is no such URL at all, None when nothing is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its words hold what was found, which may be a password without its @
        return ": its port is none"
    return None if parts.scheme in schemes and parts.hostname else ""


def _token(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value()
    if not all("!" <= character <= "~" for character in token):  # nothing of it is shown
        raise ValueError(
            "what it is set to can never match: it has a space, a control character or one that is not ASCII, which "
            "no `Authorization` header can carry"
        )
    if len(token) > _MAX_TOKEN_CHARS:
        raise ValueError(f"what it is set to has {len(token)} characters, expected at most {_MAX_TOKEN_CHARS}")
    return secret


_MAX_TOKEN_CHARS = 1024  # requests carry it in their head, which is bounded
Token = Annotated[SecretStr, AfterValidator(_token)]


def _host_pattern(text: str) -> str:
    pattern = text.lower().rstrip(".")
    if not _HOST_PATTERN.fullmatch(pattern):
        raise ValueError(f"{text!r} is not the name of a host: expected one as `ticks.example.org`, without port")
    return pattern


_HOST_PATTERN = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is no address and no network: {exc}") from None


def _origin(text: str) -> str:
    if _url_problem(text, ("http", "https")) is not None or urlsplit(text).path not in ("", "/"):
        raise ValueError(f"{text!r} is not an origin: expected one as `https://ticks.example.org`")
    return text.lower().rstrip("/")


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{text!r} is not an address: expected host:port")
    return text


def _address_or_name(text: str) -> str:
    _address(text.removeprefix("dns:///"))
    return text


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address_or_name)], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(min_length=1),
    AfterValidator(_distinct),
]
WsUrls = Annotated[
    tuple[Annotated[str, _url("ws", "wss")], ...], NoDecode, BeforeValidator(_split), Field(min_length=1)
]
HttpUrls = Annotated[
    tuple[Annotated[str, _url("http", "https")], ...], NoDecode, BeforeValidator(_split), Field(min_length=1)
]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)
]
HostPatterns = Annotated[tuple[Annotated[str, AfterValidator(_host_pattern)], ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
Symbols = Annotated[
    tuple[Symbol, ...], NoDecode, BeforeValidator(_split), Field(min_length=1), AfterValidator(_distinct)
]
