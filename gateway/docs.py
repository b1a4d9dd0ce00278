"""The page at `/docs`: Swagger UI, which shows the OpenAPI document and sends requests. Nothing comes from elsewhere.

Every address in the page is relative, so that it works behind a proxy that serves the gateway under a path of its own.
"""

from __future__ import annotations

from importlib.resources import files
from urllib.parse import urlencode

from starlette.responses import Response

from gateway.access import TOKEN_PARAMETER

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI has its icons as `data:` in its style sheet."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tickmesh: documentation of the API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png{query}">
<link rel="stylesheet" href="docs/swagger-ui.css{query}">
<header class="swagger-ui"><div class="wrapper"><p>For programs:
<a href="openapi.json{query}">openapi.json</a> (OpenAPI 3.1) and
<a href="asyncapi.json{query}">asyncapi.json</a> (AsyncAPI 3, the messages of <code>/ws</code>).
Responses are shown here with the numbers of JavaScript, which keep 15 digits; curl shows them as they are.</p>
</div></header>
<noscript>This page needs JavaScript; openapi.json says the same.</noscript>
<main id="api"></main>
<footer class="swagger-ui"><div class="wrapper"><p>Shown with Swagger UI, copyright SmartBear Software Inc.,
licensed under the Apache License, Version 2.0.</p></div></footer>
<script src="docs/swagger-ui-bundle.js{query}"></script>
<script src="docs/start.js{query}"></script>
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

_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
FILES = frozenset({"/docs/start.js", *(f"/docs/{name}" for name in _MEDIA_TYPES)})
"""The paths of what the page loads."""


def page(token: str) -> Response:
    """Return the page.

    Args:
        token: the one it was asked for with, which what it loads needs too; "" when there was none.

    """
    query = f"?{urlencode({TOKEN_PARAMETER: token})}" if token else ""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return Response(_PAGE.format(query=query), headers=headers, media_type="text/html")


def file(path: str) -> Response:
    """Return one of `FILES`."""
    name = path.removeprefix("/docs/")
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    content = (files("fastapi_swagger.resources") / name).read_bytes()
    return Response(content, headers={"Cache-Control": "private, max-age=3600"}, media_type=_MEDIA_TYPES[name])
