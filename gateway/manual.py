"""What the API's document says that no proto does: the API as a whole, `/ws`, health. Pure."""

from __future__ import annotations

from gateway.transcode.openapi import Json

VERSION = "0.1.0"

DESCRIPTION = """\
Follow a crypto exchange trade by trade: prices and signals of now, every trade from history, and a live stream.

- Prices, quantities and volumes of candles are exact decimal numbers of any size; read them with a decimal parser \
where the last digit matters. Statistics are doubles, in the fewest digits that read back as the same double. No \
number has an exponent: 6.38e-6 is 0.00000638, and the smallest double takes 326 characters.
- Times are RFC 3339 in UTC. Integers of 64 bits are JSON numbers. Every field is always there; NaN is `null`.
- An error is `{"code", "message", "details"}` with the HTTP status that belongs to the gRPC code: 400 for what will \
never do, 404 for what is not there, 429, 503 and 504 for what may do later (`Retry-After` says when).
- A POST body is JSON in UTF-8, with `Content-Type: application/json` or none; any other type is refused with 415, as \
those are that a page of another site can send.
- Parameters and fields that are not known are refused, so that a misspelt one cannot mean something else.
- Where the server was given a token (`API_TOKEN`), POST requests and `/ws` need it: `Authorization: Bearer <token>`, \
or `?token=<token>` for clients that cannot send headers. A second one (`READ_TOKEN`) may listen to `/ws`, not POST. \
With `PROTECT_READS` everything but `/healthz` and `/readyz` needs one of the two.
- It answers when asked by address, as `localhost` or by a name in `ALLOWED_HOSTS`, else 421. Browsers may POST and \
use `/ws` from pages of the same host, or of an origin in `ALLOWED_ORIGINS`."""

WS_DESCRIPTION = """\
WebSocket: one JSON object a trade, as it happens.

    {"symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "sim", "price": 61837.63, "quantity": 0.00042,
     "trade_id": 7, "timestamp": "2024-01-31T12:34:56.789Z", "side": "BUY", "moving_average": 61836.9,
     "high": 61840, "low": 61830.01, "window_high": 61838, "window_low": 61836, "count": 7, "volume": 0.031,
     "open": 61835, "vwap": 61836.2, "exponential_average": 61836.7, "volatility": 0.00002}

Where the venue has begun the symbol's ids again, `epoch` stands behind `trade_id`: how often before this trade.

Without parameters these are the trades of the selected symbol, also after another one is selected. An object with a \
`type` is no trade and has no `price`:

- `{"type": "lagged", "missed": n}`: n trades were left out because this client read too slowly; they are in \
`/api/trades`. With `"by": "gateway"` all clients missed them, of whatever symbol.

With `?events=true` two more come:

- `{"type": "selected", "symbol", "name", "venue"}`: the selected symbol; at the start, and whenever it changes. With \
`status` while it is not traded: `BREAK`, `HALT`, ...
- `{"type": "status", "state": "waiting"}`: trades have stopped because a part of the mesh is away; `"live"`: they go \
on.

Close codes: 1001 the server stops; 1008 the request will never do (the reason says why); 1013 too slow, for too long \
or while too much waits for all clients together. \
The server pings every 20 s. What a client sends is ignored, and limited to a few messages of 4 KiB."""

TAG = {"name": "Gateway", "description": "What the gateway itself answers."}

INFO: Json = {"title": "tickmesh", "version": VERSION, "description": DESCRIPTION, "license": {"name": "MIT"}}


def own_paths(*, token_needed: bool) -> Json:
    """Return the OpenAPI path items of what the gateway answers by itself."""
    ws = _get("ws", WS_DESCRIPTION, {"101": {"description": "The connection is a WebSocket from now on."}})
    ws["get"]["responses"]["default"] = {
        "description": "An error before the handshake: 400, 401, 403, 404, 421, 429 or 503.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
    }
    ws["get"]["parameters"] = [
        _parameter(
            "symbols", "These symbols only, separated by commas: `btcusdt,ethusdt`; `*` for all that are followed."
        ),
        _parameter("events", "`true`: tell the selected symbol and whether trades flow, too."),
    ]
    if token_needed:
        ws["get"]["parameters"].append(_parameter("token", "The token, for clients that cannot send headers."))
        ws["get"]["security"] = [{"token": []}]
    upstreams = {"type": "object", "additionalProperties": {"type": "string"}}
    warnings = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Why a price may stand still all the same.",
    }
    ready = {
        "type": "object",
        "properties": {"status": {"type": "string"}, "upstreams": upstreams, "warnings": warnings},
    }
    return {
        "/ws": ws,
        "/healthz": _get(
            "healthz",
            "Whether the gateway is alive.",
            {"200": _json("It is.", {"type": "object", "properties": {"status": {"type": "string"}}})},
        ),
        "/readyz": _get(
            "readyz",
            "Whether the gateway can answer with live prices; `/api/status` tells how the whole mesh is.",
            {"200": _json("It can.", ready), "503": _json("The message says what is away.", ready)},
        ),
        "/metrics": _get(
            "metrics",
            "Metrics in Prometheus' text format.",
            {"200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
        ),
    }


def _get(operation_id: str, description: str, responses: Json) -> Json:
    summary = description.partition("\n")[0].rstrip(".")
    operation = {"operationId": operation_id, "tags": [TAG["name"]], "summary": summary, "description": description}
    return {"get": operation | {"responses": responses}}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": "string"}}
