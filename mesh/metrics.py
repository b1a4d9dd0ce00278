"""Prometheus metrics: one registry a process, served on `/metrics`.

Names begin with `tickmesh_`; a service keeps its own metrics beside the code that counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge, start_http_server

from mesh.health import Health
from mesh.settings import MeshSettings

log = logging.getLogger("mesh.metrics")

SERVING = Gauge("tickmesh_serving", "1 while everything the service needs is there, else 0")


@contextmanager
def served(settings: MeshSettings, health: Health) -> Iterator[None]:
    """Serve `/metrics` on METRICS_PORT while inside, when that is set."""
    health.listen(lambda serving: SERVING.set(serving))
    if settings.metrics_port is None:
        yield
        return
    server, thread = start_http_server(settings.metrics_port, addr=settings.metrics_host)
    log.info("metrics on http://%s:%d/metrics", settings.metrics_host, server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
