"""How often something may be done: a bucket of tokens. Pure."""

from __future__ import annotations

from mesh.service.errors import TooMany


class Pace:
    """So many a minute, and a burst of them at once.

    Args:
        per_minute: how many in the long run.
        burst: how many at once after a pause.

    """

    def __init__(self, *, per_minute: int, burst: int = 20) -> None:
        self._per_s = per_minute / 60
        self._burst = float(min(burst, per_minute))
        self._left = self._burst
        self._last_s: float | None = None

    def take(self, what: str, *, now_s: float) -> None:
        """Take one.

        Args:
            what: what is done, for the message.
            now_s: by a clock that never steps back.

        Raises:
            TooMany: none is left; says when there is one again.

        """
        if self._last_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        if self._left < 1:
            raise TooMany(
                f"{what} more often than {self._per_s * 60:g} times a minute, which is all this mesh allows",
                retry_after_s=(1 - self._left) / self._per_s,
            )
        self._left -= 1
