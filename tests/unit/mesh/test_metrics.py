"""Liveness comes from the event loop: when it stands still, the thread beside it says so."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

from mesh.service import healthcheck
from mesh.service.health import Health
from mesh.service.metrics import served
from mesh.service.settings import MeshSettings
from tests.fixtures.waiting import eventually


def status_of(url: str) -> tuple[int, str]:
    """Ask while nothing else runs: the event loop of the test waits here."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def block_until(url: str, status: int) -> str:
    """Ask again and again without letting the event loop turn."""
    deadline_s = time.monotonic() + 20
    while (found := status_of(url))[0] != status:
        assert time.monotonic() < deadline_s, found
    return found[1]


async def test_a_service_is_alive_also_while_it_cannot_serve() -> None:
    health = Health("bus")
    health.set("bus", True)
    with served(MeshSettings(metrics_port=0), health, stands_after_s=60) as port:
        alive, metrics = f"http://127.0.0.1:{port}/healthz", f"http://127.0.0.1:{port}/metrics"
        assert status_of(alive)[0] == 200
        assert healthcheck.main(["metrics", metrics]) == 0

        health.set("bus", False)

        assert healthcheck.main(["metrics", metrics]) == 1
        assert status_of(alive)[0] == 200


async def test_a_service_whose_event_loop_is_blocked_is_neither_alive_nor_serving_until_it_turns_again() -> None:
    health = Health("bus")
    health.set("bus", True)
    with served(MeshSettings(metrics_port=0), health, stands_after_s=0.3) as port:
        alive, metrics = f"http://127.0.0.1:{port}/healthz", f"http://127.0.0.1:{port}/metrics"

        assert block_until(alive, 503).startswith("the event loop stands still")
        assert healthcheck.main(["http", alive]) == 1
        assert healthcheck.main(["metrics", metrics]) == 1

        async def well() -> bool:
            return status_of(alive)[0] == 200 and healthcheck.main(["metrics", metrics]) == 0

        await eventually(well)  # which lets the loop turn
