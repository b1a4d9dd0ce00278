"""The programs' log files, for people: the last lines, and following them over rotation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

ORIGINAL_NAMES = {"ingestion": "ingest", "processing": "signal", "api": "gateway", "timescaledb": "postgres"}
"""What the original called its services."""
BLOCK_BYTES = 65536


class Tail:
    """One growing log file: `last` lines first, then whatever `more` came; goes on in the new file after a rotation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def last(self, lines: int) -> list[str]:
        """Return the last lines, and continue after them."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                start, text = end, b""
                while start > 0 and text.count(b"\n") <= lines:
                    size = min(BLOCK_BYTES, start)
                    start -= size
                    file.seek(start)
                    text = file.read(size) + text
                self._inode, self._offset = os.fstat(file.fileno()).st_ino, end
        except FileNotFoundError:
            return []
        return _decode(text.splitlines()[-lines:]) if lines else []

    def more(self) -> list[str]:
        """Return the whole lines written since."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    before = self._rotated()
                    self._inode, self._offset = status.st_ino, 0
                else:
                    before = b""
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(text)
        *whole, self._rest = (self._rest + before + text).split(b"\n")
        return _decode(whole)

    def _rotated(self) -> bytes:
        # supervisord moves the full file to `.1`: what was written there after our last look still counts.
        try:
            with self.path.with_name(self.path.name + ".1").open("rb") as file:
                if os.fstat(file.fileno()).st_ino == self._inode:
                    file.seek(self._offset)
                    return file.read()
        except FileNotFoundError:
            pass
        return b""


def select(directory: Path, service: str | None) -> dict[str, Tail]:
    """Return the logs of one service (by our name or the original's) or of all. Raises: FileNotFoundError."""
    found = {path.stem: Tail(path) for path in sorted(directory.glob("*.log"))}
    if service is None:
        if not found:
            raise FileNotFoundError(f"no logs in {directory}: nothing was started there yet")
        return found
    name = ORIGINAL_NAMES.get(service, service)
    if name not in found:
        raise FileNotFoundError(
            f"no log of {service!r} in {directory}: expected one of {', '.join(found) or 'none yet'}"
        )
    return {name: found[name]}


def last(tails: Mapping[str, Tail], lines: int) -> Iterator[str]:
    """Yield the last lines of each log."""
    for name, tail in tails.items():
        yield from _named(name, tail.last(lines), of=tails)


def more(tails: Mapping[str, Tail]) -> Iterator[str]:
    """Yield the lines that came since, of each log."""
    for name, tail in tails.items():
        yield from _named(name, tail.more(), of=tails)


def _named(name: str, lines: list[str], *, of: Mapping[str, Tail]) -> Iterator[str]:
    width = max(map(len, of))
    yield from (f"{name:<{width}} | {line}" for line in lines) if len(of) > 1 else lines


def _decode(lines: list[bytes]) -> list[str]:
    return [line.decode(errors="replace") for line in lines]
