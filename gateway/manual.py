"""What the API's document says that no proto does: the API as a whole, `/ws`, health. Pure."""

from __future__ import annotations

from gateway.transcode.openapi import Json

VERSION = "0.1.0"

DESCRIPTION = """\
Follow the trades of a crypto exchange: current prices and signals, every stored trade, and a live stream.

- Prices, quantities and volumes of candles are exact decimal numbers of any size. Use a decimal parser where the last \
digit matters. Statistics are doubles, in the fewest digits that read back as the same double. Numbers have no \
exponent: 6.38e-6 is written 0.00000638, and the smallest double takes 326 characters.
- Times are RFC 3339 in UTC. 64-bit integers are JSON numbers. Every field is always present. NaN is `null`.
- An error is `{"code", "message", "details"}`, with the HTTP status that corresponds to the gRPC code: 400 for a \
request that is wrong, 404 for something that does not exist, 429, 503 and 504 for a request that may succeed later \
(`Retry-After` says when).
- The body of a POST request is JSON in UTF-8, with `Content-Type: application/json` or no type. Every other type is \
refused with 415, because a page of another site could send it.
- Unknown parameters and fields are refused, so that a misspelled one has no silent effect.
- When the server has a token (`API_TOKEN`), POST requests, `/ws` and streams need it: \
`Authorization: Bearer <token>`, or `?token=<token>` for clients that cannot send headers. A second token \
(`READ_TOKEN`) allows `/ws` and streams but not POST. With `PROTECT_READS` everything except `/healthz` and `/readyz` \
needs one of the two.
- The server answers requests that name it by address, as `localhost`, or by a name in `ALLOWED_HOSTS`; others get \
421. A page in a browser may use POST, `/ws` and streams when it comes from the same host or from an origin in \
`ALLOWED_ORIGINS`."""

WS_DESCRIPTION = """\
WebSocket: one JSON object per trade, as it happens.

    {"symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "sim", "price": 61837.63, "quantity": 0.00042,
     "trade_id": 7, "timestamp": "2024-01-31T12:34:56.789Z", "side": "BUY", "moving_average": 61836.9,
     "high": 61840, "low": 61830.01, "window_high": 61838, "window_low": 61836, "count": 7, "volume": 0.031,
     "open": 61835, "vwap": 61836.2, "exponential_average": 61836.7, "volatility": 0.00002}

When the venue has restarted the symbol's ids, `epoch` follows `trade_id`: how many times it had before this trade.

Without parameters these are the trades of the selected symbol; the stream changes when another symbol is selected. An \
object with a `type` is not a trade and has no `price`:

- `{"type": "lagged", "missed": n}`: n trades were left out, because this client read too slowly: too many waited for \
it, or they waited for more than a second. `/api/history` has them. With `"by": "gateway"` all clients missed them, \
and they may be of any symbol.

`?events=true` adds two more kinds:

- `{"type": "selected", "symbol", "name", "venue"}`: the selected symbol, at the start and whenever it changes. It has \
a `status` while the symbol is not traded: `BREAK`, `HALT` and so on.
- `{"type": "status", "state": "waiting", "reason"}`: trades have stopped, or those of some symbols, because a part of \
the mesh does not answer. `"live"`: they continue.

Where a trade had to be fetched from the store, because one instance of signal took over from another, its signals are \
`null`.

Close codes: 1001 when the server stops; 1008 when the request is wrong (the reason says why); 1013 when the client \
was too slow for too long, or while too much data waits for all clients together. The server sends a ping every \
20 s. A client that does not speak the protocol below is not answered, whatever it sends.

## Subscriptions

With `?channels=`, or from its first message with an `op` on, a client subscribes, is told where it begins, and can \
prove that it missed nothing. It gets no list of trades then, only messages with a `type`:

    {"op": "subscribe", "id": 1, "channel": "trades", "symbols": ["btcusdt"]}

    {"type": "subscribed", "id": 1, "subscription": 1, "channel": "trades", "symbols": ["btcusdt"], "mode": "every"}
    {"type": "snapshot", "subscription": 1, "sequence": 1, "channel": "trades", "symbol": "btcusdt", "last_id": 101, \
"trades": [...]}
    {"type": "trades", "subscription": 1, "sequence": 2, "symbol": "btcusdt", "first_id": 102, "last_id": 103, \
"trades": [...]}
    {"type": "heartbeat", "time": "2024-01-31T12:34:57.000Z", "subscriptions": [{"subscription": 1, "sequence": 2, \
"state": "live", "symbols": [{"symbol": "btcusdt", "last_id": 103}]}]}

- `trades` are as `/api/trades` has them. A `snapshot` has the last trade, and every trade after it follows. \
`last_id` is `null` when there was none yet; while the store does not answer, a snapshot waits for it or for a trade. \
A second snapshot of a symbol with `null` means that its ids began anew, or that another venue is followed: what \
follows has nothing to do with what came before.
- `sequence` rises by one with each message of a subscription. `first_id` and `last_id` are the ids that a message \
covers; each message begins after the one before has ended, except where a new `epoch` begins. `epoch` follows the ids \
when the venue has restarted them.
- A `heartbeat` comes every second and tells each subscription's last `sequence` and `last_id`. Its `state` is \
`catching_up` while trades are still fetched from the store, `waiting` while none come because a part of the mesh does \
not answer, else `live`.
- `"resume_from": {"btcusdt": 101}` in a request to subscribe begins after a trade that the client has, from the store \
and then live, without a hole and without a double. Write `{"btcusdt": {"trade_id": 101, "epoch": 1}}` for an id of a \
later epoch. With `"venue": "sim"` beside it the request is refused where another venue is followed by now, whose ids \
have nothing to do with that trade.
- The channel `ticks` is the same with the signals after each trade: `{"op": "subscribe", "channel": "ticks", \
"symbols": ["btcusdt"], "fields": ["moving_average", "vwap"]}` is answered with messages of the type `ticks`, whose \
`ticks` are trades with `"signals": {"moving_average": 61836.9, "vwap": 61836.2}`. `fields` are names of `/api/stats`; \
without them they are those of the list of trades. `signals` is `null` for a trade that came from the store, and a \
single one is `null` where it is not defined.
- The channel `candles` tells a symbol's candles as `/api/candles?open=true` has them: `{"op": "subscribe", "channel": \
"candles", "symbols": ["btcusdt"], "interval": "1m"}`. The interval is one \
of `/api/candles`, such as `1s`, `3m` or `1w`, of at most 1440 stored candles; `1m` by default. The snapshot has the \
newest candle. Messages of the type `candles` have each candle that closed (`"closed": true`) and the open one \
(`"closed": false`) as it is now, at most 5 times a second. A closed candle comes again when its `revision` rises: \
while it is one of the last four within a second, while it is one of the last 60 within 6 (of fewer where an interval \
takes more than 23 stored candles, for they are summed up each time). A trade that comes later still changes \
`/api/candles` only: ask again when a hole of the channel `coverage` has closed. `first_id` and `last_id` are the \
trades that the candles of the message consist of. There is no `mode`, `rate` or `resume_from`: `/api/candles` has \
what closed before. A client that is more than 256 closed candles behind is disconnected with 1013.
- The channel `coverage` tells what is stored and what is missing of each symbol: `{"op": "subscribe", "channel": \
"coverage", "symbols": ["btcusdt"]}`. The snapshot has what `/api/coverage` answers, as `coverage`. Messages of the \
type `coverage` have the members of it that have changed, each of them whole: `known = {...known, \
...message.coverage}` keeps it up to date. They come at most once a second. `last_id` is the highest stored id.
- The channel `status`, without symbols, tells the state of the mesh: the snapshot has what `/api/status` answers, as \
`status`, and messages of the type `status` have the members that have changed, within a second. A state, a text or a \
condition is a change; a report of a service, what waits for it, and the ids and times of last trades are in each \
message as they are then, but no message comes for them alone; for the delay from the venue one does when it has \
about doubled or halved. Both channels have no `mode`, `rate` or `resume_from`.
- `"mode": "newest", "rate": 4` sends only the last trade, 0.1 to 20 times a second (4 by default) when there is a new \
one; its message covers the ids since the one before. The mode `every` sends all; with `"rate": 10` those of a tenth \
of a second together (1 to 20 times a second), which costs the gateway and the client less.
- `{"type": "lagged", "subscription", "sequence", "symbol", "first_id", "last_id", "count", "fetch"}`: these ids are \
not sent. The client was too slow, by more than 10 s or 8192 trades; or they are not stored; or a client that does not \
resume would have had to wait for the store for more than 10 s or for more than 10,000 trades. `fetch` is the path of \
what is stored of them.
- `{"op": "unsubscribe", "id": 2, "subscription": 1}` is answered with `unsubscribed`, `{"op": "ping", "id": 3}` with \
`{"type": "pong", "id": 3}`. `id` is optional: an integer, or text of at most 64 characters.
- `{"type": "error", "id", "field", "found", "expected", "message"}`: what is wrong with a request. With a \
`subscription` it says why that one has ended: the trade to resume after is beyond the last one.

In the handshake `?channels=trades&symbols=btcusdt,ethusdt&mode=newest&rate=4` does the same as the message; \
`?channels=` subscribes to nothing yet.

`/asyncapi.json` describes all messages for programs (AsyncAPI 3).

A client may have 16 subscriptions of up to 64 symbols each. It may send 32 messages at once and 4 a second, of at \
most 4 KiB each."""

TAG = {"name": "Gateway", "description": "Answered by the gateway itself."}

INFO: Json = {"title": "tickmesh", "version": VERSION, "description": DESCRIPTION, "license": {"name": "MIT"}}

EXAMPLES: Json = {"symbol": "ethusdt", "trade_id": 7}


WS_INFO: Json = INFO | {
    "title": "tickmesh /ws",
    "description": "Live trades over one WebSocket, by subscriptions that can prove that nothing is missing.",
}


def own_paths(*, token_needed: bool) -> Json:
    """Return the OpenAPI path items of what the gateway answers by itself."""
    ws = _get("ws", WS_DESCRIPTION, {"101": {"description": "The connection is a WebSocket from now on."}})
    ws["get"]["responses"]["default"] = {
        "description": "An error before the handshake: 400, 401, 403, 404, 421, 429 or 503.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
    }
    ws["get"]["parameters"] = [
        _parameter(
            "symbols", "Only these symbols, separated by commas: `btcusdt,ethusdt`. `*` means all followed symbols."
        ),
        _parameter(
            "channels",
            "Subscribe to these channels, separated by commas: `trades`, `ticks`, `candles`, `coverage`, `status`. "
            "Without `events`.",
        ),
        _parameter("fields", "With `channels=ticks`: signals by their names in `/api/stats`, separated by commas."),
        _parameter("interval", "With `channels=candles`: such as `1s`, `3m` or `1w`; `1m` by default."),
        _parameter("mode", "With `channels`: `every` or `newest`."),
        _parameter("rate", "How often a second: 0.1 to 20 with `mode=newest`, else 1 to 20, or as trades come."),
        _parameter("events", "`true`: also send messages about the selected symbol and the flow of trades."),
    ]
    if token_needed:
        ws["get"]["parameters"].append(_parameter("token", "The token, for clients that cannot send headers."))
        ws["get"]["security"] = [{"token": []}]
    upstreams = {"type": "object", "additionalProperties": {"type": "string"}}
    warnings = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Reasons why a price may not change although the gateway is ready.",
    }
    ready = {
        "type": "object",
        "properties": {"status": {"type": "string"}, "upstreams": upstreams, "warnings": warnings},
    }
    return {
        "/ws": ws,
        "/healthz": _get(
            "healthz",
            "Whether the gateway process is alive.",
            {"200": _json("It is alive.", {"type": "object", "properties": {"status": {"type": "string"}}})},
        ),
        "/readyz": _get(
            "readyz",
            "Whether the gateway can serve live prices. `/api/status` has the state of the whole mesh.",
            {"200": _json("It can.", ready), "503": _json("It cannot; the message says why.", ready)},
        ),
        "/metrics": _get(
            "metrics",
            "Metrics in the text format of Prometheus.",
            {"200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
        ),
    }


def websocket_query() -> Json:
    """Return the parameters of the handshake that subscribes: name -> schema."""
    parameters = own_paths(token_needed=False)["/ws"]["get"]["parameters"]
    return {
        one["name"]: one["schema"] | {"description": one["description"]}
        for one in parameters
        if one["name"] != "events"
    }


def _get(operation_id: str, description: str, responses: Json) -> Json:
    summary = description.partition("\n")[0].rstrip(".")
    operation = {"operationId": operation_id, "tags": [TAG["name"]], "summary": summary, "description": description}
    return {"get": operation | {"responses": responses}}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": "string"}}
