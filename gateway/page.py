"""The page at `/`: the files that `make page` has built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import PAGE_FILES
from gateway.resource import Handler
from gateway.static_files import FOREVER, StaticFile

BUILT = Path(__file__).parent / "web" / "dist"

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
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
        # esbuild has put the content's hash into every other name.
        forever = {} if is_page or path.suffix == ".txt" else FOREVER
        yield "/" if is_page else PAGE_FILES + path.name, StaticFile(path.name, path.read_bytes(), _HEADERS | forever)


async def _absent(_: Request) -> Response:
    return Response(_ABSENT, 503, media_type="text/plain")
