"""The passwords of one local mesh: made once, and those a new version wants besides made when they are missing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mesh.local import nats


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords of the bus' users, and of the database's role and superuser."""

    nats: Mapping[str, str]
    database: str
    superuser: str

    def text(self) -> str:
        """Return them as JSON, for `complete`."""
        return json.dumps(asdict(self), indent=1)


def complete(text: str, *, database_made: bool) -> Passwords:
    """Return the passwords that the text tells, and new ones in the place of what it does not.

    The bus learns its passwords at every start; the database keeps those it was made with.

    Args:
        text: as `Passwords.text` made it, perhaps by another version; empty when there is none yet.
        database_made: whether the database's files are there, made with passwords that must not be lost.

    Raises:
        ValueError: the database is made, and its passwords are not there.

    """
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    said = _mapping(said)
    lost = [name for name in ("database", "superuser") if not _is_password(said.get(name))]
    if lost and database_made:
        raise ValueError(f"no password {' and '.join(map(repr, lost))}, with which the database was made")
    known = _mapping(said.get("nats"))
    return Passwords(
        # The leading letter matters: nats.conf reads a bare number as a number.
        {
            user: known[user] if _is_password(known.get(user)) else f"n{secrets.token_hex(16)}"
            for user in (*nats.USERS, nats.ROUTE)
        },
        **{name: secrets.token_hex(16) if name in lost else said[name] for name in ("database", "superuser")},
    )


def _mapping(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, dict) else {}


def _is_password(said: object) -> bool:
    return isinstance(said, str) and said != ""
