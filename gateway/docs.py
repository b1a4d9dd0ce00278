"""The page at `/docs`: Swagger UI, which shows the OpenAPI document and sends requests. Nothing comes from elsewhere.

Every address in the page is relative, so that it works behind a proxy that serves the gateway under a path of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from importlib.resources import files
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import PAGE_FILES, TOKEN_PARAMETER
from gateway.resource import Handler
from gateway.static_files import FOREVER, StaticFile

# Swagger UI has its icons as `data:` in its style sheet.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tickmesh: documentation of the API</title>
<link rel="icon" type="image/png" href="page/{files[favicon-32x32.png]}">
<link rel="stylesheet" href="page/{files[swagger-ui.css]}">
<header class="swagger-ui"><div class="wrapper"><p>For programs:
<a href="openapi.json{query}">openapi.json</a> (OpenAPI 3.1) and
<a href="asyncapi.json{query}">asyncapi.json</a> (AsyncAPI 3, the messages of <code>/ws</code>).
Responses are shown here with the numbers of JavaScript, which keep 15 digits; curl shows them as they are.</p>
</div></header>
<noscript>This page needs JavaScript; openapi.json says the same.</noscript>
<main id="api"></main>
<footer class="swagger-ui"><div class="wrapper"><p>Shown with Swagger UI, copyright SmartBear Software Inc.,
licensed under the Apache License, Version 2.0.</p></div></footer>
<script src="page/{files[swagger-ui-bundle.js]}"></script>
<script src="page/{files[start.js]}"></script>
</html>
"""

_START = b"""\
"use strict";
const token = new URLSearchParams(location.search).get("token");
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  requestInterceptor(request) {
    if (token !== null) request.headers.Authorization ??= `Bearer ${token}`;
    return request;
  },
});
"""
"""The token of the page's own address is that of its requests, unless one was entered in the page."""

_CONTENTS = {"start.js": _START} | {
    name: (files("fastapi_swagger.resources") / name).read_bytes()
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
}
_FILES = {name: f"{blake2b(content, digest_size=6).hexdigest()}-{name}" for name, content in _CONTENTS.items()}


def answers() -> Iterator[tuple[str, Handler]]:
    """Yield each path of the page and what answers it."""
    yield "/docs", _page
    for name, content in _CONTENTS.items():
        yield PAGE_FILES + _FILES[name], StaticFile(name, content, FOREVER)


async def _page(request: Request) -> Response:
    # The token that the page was asked for with, which the documents need too.
    token = request.query_params.get(TOKEN_PARAMETER, "")
    query = f"?{urlencode({TOKEN_PARAMETER: token})}" if token else ""
    return Response(_PAGE.format(query=query, files=_FILES), headers=_HEADERS, media_type="text/html")
