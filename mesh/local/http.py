"""How the runner asks the parts of the mesh over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import httpx


def get(url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Ask over a connection of its own: who is asked may have been started anew since the last time.

    Args:
        url: of a part of the mesh on this machine.
        timeout_s: how long each step may take, in seconds.
        headers: of the request.

    Raises:
        httpx.HTTPError: no answer.

    """
    return _client().get(url, headers=headers, timeout=timeout_s)


@lru_cache(maxsize=1)
def _client() -> httpx.Client:
    # One for all, and without certificates: to make them ready takes 15 ms of CPU, and the gateway's own, where it has
    # one, is for the names of the world outside.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(trust_env=False, verify=False, limits=limits)  # noqa: S501 - it asks this machine alone
