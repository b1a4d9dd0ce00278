"""One HTTP path: which verbs it knows, and how every failure becomes an answer of the same shape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import RETRY_AFTER, BadInput, HttpError, phrase, refusal_body

log = logging.getLogger("gateway.resource")

MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 2**20
"""A client that is answered while it still sends may never see the answer, so this much is read and forgotten."""
BODY_LIMIT_S = 10.0

REQUESTS = Counter("tickmesh_gateway_http_requests_total", "HTTP requests by path and status", ["path", "status"])
SECONDS = Histogram("tickmesh_gateway_http_seconds", "time to answer an HTTP request, by path", ["path"])

Handler = Callable[[Request], Awaitable[Response]]

JSON = "application/json"
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Resource:
    """An ASGI app for one path.

    Args:
        path: its name in metrics.
        answers: verb -> what answers it; HEAD comes with GET, OPTIONS with everything.

    """

    def __init__(self, path: str, answers: Mapping[str, Handler]) -> None:
        self._path = path
        self._answers = dict(answers)
        if "GET" in answers:
            self._answers["HEAD"] = answers["GET"]  # uvicorn leaves out the body
        self._allow = ", ".join(sorted([*self._answers, "OPTIONS"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started_s = perf_counter()
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return  # nobody is left to be declared
        for name, value in (_ALWAYS | RETRY_AFTER if response.status_code == 503 else _ALWAYS).items():
            response.headers.setdefault(name, value)
        SECONDS.labels(self._path).observe(perf_counter() - started_s)
        REQUESTS.labels(self._path, response.status_code).inc()
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        verb = request.method
        answer = self._answers.get(verb)
        try:
            if answer is not None:
                return await answer(request)
            if verb == "OPTIONS":
                return Response(status_code=204, headers={"Allow": self._allow})
            message = f"{verb[:20]} is not for {self._path}, which knows {self._allow}"
            raise HttpError(405, message, headers={"Allow": self._allow})
        except HttpError as exc:
            return refusal(exc.status, str(exc), headers=exc.headers)
        except BadInput as exc:
            return Response(refusal_body(400, str(exc), exc.details), 400, media_type=JSON)
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("%s %s, request %s", verb, self._path, request.state.request_id)
            return refusal(500, f"{phrase(500)}: a mistake of the gateway's own; its log says more")


def refusal(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal of the gateway's own as a response.

    Args:
        status: HTTP status.
        message: for people.
        headers: further headers.

    """
    return Response(refusal_body(status, message), status, dict(headers or {}), media_type=JSON)


async def read_body(request: Request) -> bytes:
    """Read a body of JSON.

    Its type must say so, or nothing: any other is one that a page of another site may send without being asked about.

    Raises:
        HttpError: 415 of another type, 413 too large, 408 too slow.

    """
    for kind in request.headers.getlist("content-type"):
        media = kind.partition(";")[0].strip().lower()
        if not (media == JSON or (media.startswith("application/") and media.endswith("+json"))):
            message = f"body is {media[:60]!r}, expected {JSON}: send it with `Content-Type: {JSON}`"
            raise HttpError(415, message, headers={"Accept-Post": JSON})
    declared = request.headers.get("content-length", "0")
    if (
        "expect" in request.headers
        and declared.isascii()
        and declared.isdigit()
        and int(declared[:19]) > MAX_BODY_BYTES
    ):
        raise _too_large(declared)  # the client asks before it sends
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            async for piece in request.stream():
                size += len(piece)
                if size <= MAX_BODY_BYTES:
                    body += piece
                elif size > MAX_DISCARDED_BYTES:
                    break
    except TimeoutError:
        raise HttpError(408, f"body did not come within {BODY_LIMIT_S:g} s", headers={"Connection": "close"}) from None
    if size > MAX_BODY_BYTES:
        raise _too_large(f"{size} or more" if size > MAX_DISCARDED_BYTES else str(size))
    return bytes(body)


def _too_large(found: str) -> HttpError:
    return HttpError(413, f"body has {found} bytes, expected at most {MAX_BODY_BYTES}", headers={"Connection": "close"})
