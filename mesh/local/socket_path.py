"""Where the runner and supervisord meet: a unix socket, in a short folder of its own outside of STATE_DIR.

A socket's path may have 107 bytes (103 on macOS). supervisord makes it absolute and binds it with its own pid behind,
so in a STATE_DIR of some 85 characters there is no room for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

ROOM_BYTES = 103 - len("/tickmesh-xxxxxxxx/supervisor.sock.4194304")


def make() -> Path:
    """Make a folder that only its owner may enter, and return the path of a socket in it; call `remove` at the end."""
    usual = tempfile.gettempdir()
    # supervisord's configuration takes a comment sign after a space for one, and the end of a line.
    suits = len(os.fsencode(usual)) <= ROOM_BYTES and usual.isprintable() and not re.search(r"\s", usual)
    parent = usual if suits else "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own
    return Path(tempfile.mkdtemp(prefix="tickmesh-", dir=parent)) / "supervisor.sock"


def remove(path: Path) -> None:
    """Remove the socket and its folder, as far as they are there. Whatever else is in the folder stays, and so it."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
