"""What NATS_URL may say: one server or several, with a user and a password or a token, percent-encoded. Pure.

nats://127.0.0.1:4222
nats://ingest:p%40ss%2Fword@nats:4222
tls://token@a.example:4222,tls://token@b.example:4222
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

SCHEMES = ("nats", "tls")


@dataclass(frozen=True, slots=True)
class NatsServers:
    """The servers of a bus.

    Attributes:
        urls: without user and password, in the order to try.
        user: to log in as; None where nothing is said.
        password: of the user, as it is, not percent-encoded; None where nothing is said.
        token: to log in with instead; None where nothing is said.

    """

    urls: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The servers for people: `host:port`, separated by commas."""
        return ",".join(url.partition("://")[2] for url in self.urls)


def parse(text: str) -> NatsServers:
    """Read NATS_URL.

    Raises:
        ValueError: the words say what is wrong without showing any of it: nobody knows where the password is.

    """
    servers, logins = [], set()
    for url in text.split(","):
        if not (url := url.strip()):
            continue
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _wrong(": its port is none") from None
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise _wrong("")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise _wrong(": it goes on after the host (in a password / ? # @ : are %2F %3F %23 %40 %3A)")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        servers.append(f"{parts.scheme}://{host}:{port or 4222}")
        logins.add((parts.username, parts.password))
    if not servers:
        raise _wrong("")
    if len(logins) > 1:
        raise ValueError("its servers are given different users or passwords, expected the same for all")
    user, password = (None if part is None else unquote(part) for part in logins.pop())
    if password is None and user:
        return NatsServers(tuple(servers), token=user)
    return NatsServers(tuple(servers), user or None, password)


def _wrong(problem: str) -> ValueError:
    return ValueError(f"what it is set to is not a URL of {' or '.join(SCHEMES)}{problem}")
