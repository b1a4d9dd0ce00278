"""Who may do what: the token, and which pages' scripts may talk to us. Pure.

Reading over HTTP is open. Changing something (POST) and `/ws` need the token where one is set, and no browser may do
either on behalf of a page from another host: a page anywhere can reach a server on its visitor's loopback. A page
whose own host's name was made to lead here is not told from ours; against that there is the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

TOKEN_PARAMETER = "token"  # noqa: S105 - the parameter's name

_MAX_PARAMETERS = 100


def query_pairs(query_string: bytes) -> list[tuple[str, str]]:
    """Decode a query string; raise `ValueError` when it is not UTF-8 or has too many parameters."""
    return parse_qsl(
        query_string.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
    )


def split_token(pairs: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Return the token among the parameters ("" when none) and the other parameters."""
    token = next((text for name, text in pairs if name == TOKEN_PARAMETER), "")
    return token, [pair for pair in pairs if pair[0] != TOKEN_PARAMETER]


def token_problem(expected: str | None, headers: Mapping[str, str], parameter: str) -> str | None:
    """Return what is wrong with the caller's token, None when nothing is.

    Args:
        expected: the token, None when none is needed.
        headers: of the request, names in any case as starlette's are.
        parameter: the token given as `?token=`, "" when none was.

    """
    if expected is None:
        return None
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    given = credentials.strip() if scheme.lower() == "bearer" else parameter
    if not given:
        return "this needs the token: send it as `Authorization: Bearer <token>` or as ?token="
    if not hmac.compare_digest(given.encode(), expected.encode()):
        return "wrong token"
    return None


def origin_problem(headers: Mapping[str, str]) -> str | None:
    """Return what is wrong with the page a browser asks for, None when nothing is or no browser asks."""
    origin = headers.get("origin")
    if origin is None:
        return None
    page, here = _hostname(origin), _hostname(f"//{headers.get('host', '')}")
    if page and page == here:
        return None
    return f"a page of {origin[:80]!r} may not use this from a browser; only pages of {here or 'this host'!r} may"


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # an address in brackets that is none
        return None
