"""A disk that is full for some seconds, for real on a small disk of its own; root only, as only root mounts.

What a whole mesh does then is in the table of `make chaos`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from nats import connect

from mesh.local import nats
from mesh.local.up import resolve
from tests.chaos import disk
from tests.fixtures.nats import PASSWORDS
from tests.fixtures.process import Process
from tests.fixtures.waiting import eventually

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(disk.why_not()), reason=disk.why_not() or "it can")]
RUN = ROOT / "deploy" / "nats" / "run.sh"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    with disk.small_disk(folder, mib=32):
        yield folder


@pytest.mark.skipif(shutil.which("wget") is None, reason="wget, which is in the image, is not here")
async def test_the_container_of_nats_ends_when_its_disk_was_full_and_has_room_again(
    small: Path, tmp_path: Path
) -> None:
    ports = resolve({"port": 0, "monitor": 0}, remembered={}, hosts={})
    argv = nats.command(store_dir=small / "store", port=ports["port"], monitor_port=ports["monitor"])
    monitor = f"http://127.0.0.1:{ports['monitor']}"
    server = Process(
        ["sh", str(RUN), *argv[1:]],
        environment={
            **nats.environment(PASSWORDS),
            "PATH": f"{nats.binary().parent}{os.pathsep}{os.environ['PATH']}",
            "DATA": str(small),
            "PORT": str(ports["port"]),
            "MONITOR_PORT": str(ports["monitor"]),
            "EVERY_S": "0.2",
        },
        log=tmp_path / "nats.log",
    )
    server.start()
    try:
        server.wait_for_line("Server is ready", timeout_s=20)
        bus = await connect(nats.url("admin", PASSWORDS["admin"], ports["port"]), allow_reconnect=False)
        await bus.jetstream().add_stream(name="RAW", subjects=["trades.>"])
        await bus.jetstream().publish("trades.one", b"x")

        disk.fill(small)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await bus.jetstream().publish("trades.one", b"x" * 100_000, timeout=0.5)
        health = httpx.get(f"{monitor}/healthz", trust_env=False)
        assert (health.status_code, server.running) == (503, True)
        disk.empty(small)

        await eventually(lambda: not server.running)
        assert "not well although its disk has room" in server.output()
        await bus.close()
    finally:
        server.kill()
