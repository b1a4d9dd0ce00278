"""The file in which the program remembers itself: read at its start, written when something worth it has changed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from term import settings
from term.model import Model

MAX_BYTES = 1 << 20


class StateFile:
    """What outlives the program, also one that is killed.

    Args:
        path: where it is; its folder is made when it is first written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: bytes | None = None

    def read(self) -> bytes:
        """Return what was remembered, for `settings.remembered`; empty where there is nothing, or it cannot be read."""
        try:
            with self._path.open("rb") as file:
                return file.read(MAX_BYTES)
        except OSError:
            return b""

    def keep(self, model: Model) -> None:
        """Write what a model has worth remembering, if that is not what it had the last time.

        The first time nothing is written: what this program has not changed, another terminal may have. What that one
        has changed meanwhile stays, too.

        Args:
            model: of the running program.

        """
        state = settings.written(model)
        before, self._known = self._known, state
        if before is None or before == state:
            return
        with contextlib.suppress(OSError):  # a home that cannot be written: the next start begins anew
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(f".{os.getpid()}")
            part.write_bytes(settings.merged(before, state, self.read()))
            part.replace(self._path)
