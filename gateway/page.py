"""The page at `/`: the files that `make page` has built, each with a name that changes with its content."""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import PAGE_FILES
from gateway.resource import Handler

BUILT = Path(__file__).parent / "web" / "dist"

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_ABSENT = (
    "There is no page here, because it was not built, as npm's packages could not be downloaded: run `make page` where "
    "the npm registry can be reached, and start the gateway again. /docs documents the API.\n"
)


def answers(built: Path = BUILT) -> Iterator[tuple[str, Handler]]:
    """Yield each path of the page and what answers it; of a page that is not built, `/` says so.

    Args:
        built: the folder that the page was built into.

    """
    if not (built / "index.html").exists():
        yield "/", _absent
        return
    for path in sorted(built.iterdir()):
        is_page = path.name == "index.html"
        # Only a name with the content's hash in it always has the same content.
        forever = {} if is_page or path.suffix == ".txt" else _FOREVER
        yield "/" if is_page else PAGE_FILES + path.name, _file(path, _HEADERS | forever)


def _file(path: Path, headers: dict[str, str]) -> Handler:
    body = path.read_bytes()
    packed = gzip.compress(body, mtime=0)
    media_type = mimetypes.guess_type(path.name)[0]

    async def answer(request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
        return Response(body, headers=headers, media_type=media_type)

    return answer


async def _absent(_: Request) -> Response:
    return Response(_ABSENT, 503, media_type="text/plain")
