"""Memory of the mesh's programs while a fault strikes: the peak of each, in MB."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from mesh.local.state import StateDirectory

EVERY_S = 0.5


class Peaks:
    """Watches in a thread while inside; `peaks_mb` has the highest seen of each program.

    PostgreSQL is many processes over one shared memory: each page is counted once (PSS).
    """

    def __init__(self, state_dir: Path) -> None:
        self._state = StateDirectory(state_dir)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peaks_mb: dict[str, float] = defaultdict(float)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            record = self._state.read()
            for name, pid in (record.processes if record else {}).items():
                process = pid.process()
                if process is not None:
                    with contextlib.suppress(psutil.Error):
                        self.peaks_mb[name] = max(self.peaks_mb[name], _bytes_of(process, name) / 1e6)


def _bytes_of(process: psutil.Process, name: str) -> float:
    if name != "postgres":
        return float(process.memory_info().rss)
    everyone = [process, *process.children(recursive=True)]
    return float(sum(one.memory_full_info().pss for one in everyone))
