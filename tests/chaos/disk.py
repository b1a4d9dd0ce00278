"""A small disk of its own for a part of STATE_DIR, so that it can be filled: a tmpfs, which only root may mount."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FILLER = "filler"
_BLOCK = b"\0" * 65536


def why_not() -> str:
    """Return why this machine cannot mount a small disk, empty when it can."""
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    if shutil.which("mount") is None or shutil.which("unshare") is None:
        return "mount or unshare is not on the PATH"
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"this machine mounts no tmpfs: {tried.stderr.decode().strip()}"


@contextlib.contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[None]:
    """Let a folder be a disk of its own, with so many MiB, while inside."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Take whatever room is left; call it again for what became free since."""
    with contextlib.suppress(OSError), (folder / _FILLER).open("ab", buffering=0) as file:
        while True:
            file.write(_BLOCK)


def empty(folder: Path) -> None:
    """Give the room back."""
    (folder / _FILLER).unlink(missing_ok=True)
