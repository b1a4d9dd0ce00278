"""Files of the gateway's pages, which go packed to whoever takes that."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response

from gateway.packing import takes_gzip

FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Of a name that changes with the content."""

_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


class StaticFile:
    """Answers with a file.

    Args:
        name: its end says its media type.
        content: what is in it.
        headers: of each answer.

    """

    def __init__(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        self._content = content
        self._packed: asyncio.Task[bytes] | None = None
        self._media_type = _MEDIA_TYPES[PurePath(name).suffix]
        self._headers = headers | {"Vary": "Accept-Encoding"}

    async def __call__(self, request: Request) -> Response:
        """Answer one request; the first one who takes gzip has it packed for all."""
        if not takes_gzip(request):
            return Response(self._content, headers=self._headers, media_type=self._media_type)
        if self._packed is None:  # in a thread: a megabyte takes 0.2 s, and trades do not wait for that
            self._packed = asyncio.create_task(asyncio.to_thread(gzip.compress, self._content, mtime=0))
        packed = await asyncio.shield(self._packed)
        return Response(packed, headers=self._headers | {"Content-Encoding": "gzip"}, media_type=self._media_type)
