"""What the runner asks the gateway: are you ready, and which venue is it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Readiness:
    """The gateway's answer; `missing` says in its words what does not serve yet."""

    ready: bool
    missing: str = ""


def readiness(url: str, *, timeout_s: float = 2) -> Readiness:
    """Ask `/readyz`."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=timeout_s, trust_env=False)
    except httpx.HTTPError as exc:
        return Readiness(False, f"the gateway does not answer at {url} ({type(exc).__name__})")
    return Readiness(answer.status_code == 200, "" if answer.status_code == 200 else answer.text.strip()[:500])


def venue(url: str, *, timeout_s: float = 2) -> str | None:
    """Return the venue that is followed, None when the gateway cannot tell yet."""
    try:
        said = httpx.get(f"{url}/api/price", timeout=timeout_s, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    name = said.get("venue") if isinstance(said, dict) else None
    return name if isinstance(name, str) and name else None
