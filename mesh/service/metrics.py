"""Prometheus metrics: one registry a process, served on `/metrics`, and beside it `/healthz`: whether it is alive.

Names begin with `tickmesh_`; a service keeps its own metrics beside the code that counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import Gauge, start_http_server

from mesh.service.health import Health
from mesh.service.settings import MeshSettings

log = logging.getLogger("mesh.service.metrics")

SERVING = Gauge("tickmesh_serving", "1 while the service has everything that it needs and its event loop runs, else 0")

LOOP_STANDS_AFTER_S = 10.0
"""So long after its last turn the event loop counts as standing still: whatever works in it does not."""

_TURN_EVERY_S = 1.0

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Heartbeat:
    """When the event loop last turned; told by the loop itself, asked for by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, every_s: float) -> None:
        self._loop = loop
        self._every_s = every_s
        self._turned_s = time.monotonic()
        self._timer = loop.call_later(every_s, self._turn)

    @property
    def age_s(self) -> float:
        """Seconds since the loop last turned."""
        return time.monotonic() - self._turned_s

    def stop(self) -> None:
        """Count turns no longer."""
        self._timer.cancel()

    def _turn(self) -> None:
        self._turned_s = time.monotonic()
        self._timer = self._loop.call_later(self._every_s, self._turn)


@contextmanager
def served(
    settings: MeshSettings, health: Health, *, stands_after_s: float = LOOP_STANDS_AFTER_S
) -> Iterator[int | None]:
    """Serve `/metrics` and `/healthz` on METRICS_PORT while inside, when that is set; gives the port.

    A thread answers, also while the event loop is busy, but it answers of the loop: when that stands still,
    `/healthz` is 503 and `tickmesh_serving` 0.

    Args:
        settings: where to listen.
        health: what `tickmesh_serving` tells.
        stands_after_s: how long a turn of the event loop may take.

    """
    heartbeat = Heartbeat(asyncio.get_running_loop(), every_s=min(_TURN_EVERY_S, stands_after_s / 3))

    def serving() -> float:
        return float(health.serving and heartbeat.age_s <= stands_after_s)

    SERVING.set_function(serving)
    try:
        if settings.metrics_port is None:
            yield None
            return
        server, thread = start_http_server(settings.metrics_port, addr=settings.metrics_host)
        server.set_app(_with_health(server.get_app(), heartbeat, stands_after_s))
        log.info("metrics on http://%s:%d/metrics", settings.metrics_host, server.server_port)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    finally:
        heartbeat.stop()
        SERVING.set_function(lambda: 0.0)


def _with_health(metrics: Any, heartbeat: Heartbeat, stands_after_s: float) -> Application:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/healthz":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        stands_s = heartbeat.age_s
        if stands_s <= stands_after_s:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b'{"status":"ok"}']
        start_response("503 Service Unavailable", [("Content-Type", "text/plain"), ("Retry-After", "1")])
        return [f"the event loop stands still: it last turned {stands_s:.0f} s ago\n".encode()]

    return app
