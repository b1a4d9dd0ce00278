"""The folder `signal/` must never shadow the standard library's `signal`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_asyncio_runs_from_the_root_of_the_project() -> None:
    program = "import asyncio, signal; asyncio.run(asyncio.sleep(0)); print(signal.SIGTERM.name)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "SIGTERM\n"


def test_there_is_no_header_called_signal_h() -> None:
    assert [path for path in (ROOT / "libsignal").rglob("signal.h") if "build" not in path.parts] == []
