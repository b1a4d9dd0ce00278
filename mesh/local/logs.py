"""The programs' log files, for people: the last lines and what comes, by the system's `tail`."""

from __future__ import annotations

import contextlib
import selectors
import subprocess
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import IO

ORIGINAL_NAMES = {"ingestion": "ingest", "processing": "signal", "api": "gateway", "timescaledb": "postgres"}
"""What the original called its services."""


def select(directory: Path, service: str | None) -> dict[str, Path]:
    """Return the log files by the programs' names.

    Args:
        directory: where they lie.
        service: whose log, by our name or the original's; None is everybody's.

    Raises:
        FileNotFoundError: there is none; it names those that there are.

    """
    found = {path.stem: path for path in sorted(directory.glob("*.log"))}
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


def last_lines(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log; none where there is no such file.

    Args:
        path: the file, of 10 MB at most.
        lines: how many.

    """
    try:
        with path.open(errors="replace") as log:
            return [line.rstrip("\n") for line in deque(log, maxlen=lines)]
    except FileNotFoundError:
        return []


def read(logs: Mapping[str, Path], *, lines: int, follow: bool) -> Generator[str, None, None]:
    """Yield the last lines of each log, and then, for ever, those that come; of several logs each line names its own.

    Args:
        logs: as `select` gave them.
        lines: how many of the last lines of each.
        follow: whether to go on with what comes, also in the new file after a rotation.

    """
    width = max(map(len, logs))
    with contextlib.ExitStack() as stack:
        streams = stack.enter_context(selectors.DefaultSelector())
        for name, path in logs.items():
            command = ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", str(path)]
            # On stderr it says that a log was rotated, which nobody has to know.
            tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
            stack.callback(_end, tail)
            prefix = f"{name:<{width}} | " if len(logs) > 1 else ""
            if follow:
                streams.register(_output(tail), selectors.EVENT_READ, prefix)
            else:
                yield from (prefix + line for line in _decoded(_output(tail).read().splitlines()))
        rests: dict[str, bytes] = {}
        while streams.get_map():
            for key, _ in streams.select():
                stream: IO[bytes] = key.fileobj  # type: ignore[assignment]  # as registered
                part = stream.read(65536)
                if not part:
                    streams.unregister(stream)
                *whole, rests[key.data] = (rests.get(key.data, b"") + part).split(b"\n")
                yield from (key.data + line for line in _decoded(whole))


def _output(tail: subprocess.Popen[bytes]) -> IO[bytes]:
    assert tail.stdout is not None, "it was started with a pipe"
    return tail.stdout


def _decoded(lines: list[bytes]) -> Iterator[str]:
    return (line.decode(errors="replace") for line in lines)


def _end(tail: subprocess.Popen[bytes]) -> None:
    with tail:
        tail.terminate()
