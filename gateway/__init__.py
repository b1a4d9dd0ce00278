"""gRPC to REST and WebSocket: the mesh's face to programs, browsers and the terminal.

The gateway knows no NATS, no SQL and no trade logic. Routes, parameters, bodies and the OpenAPI document come from the
`google.api.http` options and the comments of the protos (`gateway.transcode`, pure); `gateway.live` fans one upstream
stream out to every WebSocket; `gateway.app` puts both behind FastAPI.
"""

from __future__ import annotations

__all__ = ["settings"]
