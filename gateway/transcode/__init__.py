"""From protos to HTTP and back: routes, query parameters, JSON bodies, the OpenAPI document. Pure throughout.

rules    which HTTP requests mean which RPC (google.api.http)
query    query parameters and path variables -> request fields
json     messages <-> JSON, compiled once per message type
streams  how the messages of a streaming RPC are written
openapi  the same rules as an OpenAPI 3.1 document
asyncapi the messages of `/ws` as an AsyncAPI 3 document
"""

from __future__ import annotations

__all__ = ["asyncapi", "comments", "json", "openapi", "rules", "streams", "ticks", "updates"]
