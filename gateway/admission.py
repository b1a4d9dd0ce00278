"""The one door every request and every WebSocket comes through: `access` decides, this answers."""

from __future__ import annotations

from time import monotonic

from prometheus_client import Counter
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway import access
from gateway.errors import refusal_body
from mesh.service.wrong_tokens import WrongTokens, too_many

REFUSED = Counter(
    "tickmesh_gateway_refused_total", "requests and WebSockets that were not admitted, by status", ["status"]
)


class AdmissionMiddleware:
    """Passes on what the rules admit, and refuses the rest before anything of it is read.

    Args:
        app: what is behind the door.
        admission: the rules.

    """

    def __init__(self, app: ASGIApp, *, admission: access.AdmissionRules) -> None:
        self._app = app
        self._admission = admission
        self._wrong_tokens = WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        refused = self._admission.denial(
            scope["type"], scope.get("method", ""), scope["path"], scope["headers"], _token(scope["query_string"])
        )
        if refused is None:
            await self._app(scope, receive, send)
            return
        if refused.wrong_token:
            host = (scope.get("client") or ("",))[0]
            if wait_s := self._wrong_tokens.count(host, now_s=monotonic()):
                # Closed, so that each guess costs a connection.
                refused = access.Denial(429, too_many(wait_s), {"Retry-After": str(wait_s), "Connection": "close"})
        REFUSED.labels(refused.status).inc()
        headers = {"Cache-Control": "no-store", **refused.headers}
        response = Response(
            refusal_body(refused.status, refused.problem), refused.status, headers, media_type="application/json"
        )
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)


def _token(query_string: bytes) -> str:
    try:
        return access.split_token(access.query_pairs(query_string))[0]
    except ValueError:  # whoever reads the parameters says so
        return ""
