"""supervisord that outlives a full disk: where it cannot write a log it complains on stderr, which may be full too."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from supervisor import supervisord


class _Patient:
    """A stream whose writes may fail."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


if __name__ == "__main__":
    sys.stderr = _Patient(sys.stderr)  # what supervisor uses of a stream is there
    supervisord.main()
