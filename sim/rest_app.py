"""The REST port: Binance's paths go to `rest`, paths under /sim/ steer the simulator.

| request | answer |
| --- | --- |
| GET /sim/status | what was issued: in all, and per symbol the first and last id and the count |
| POST /sim/rate {"rate": 500} | the new rate in trades/s; 0 pauses, "max" is flat out |
| POST /sim/issue {"count": 10} | issues that many at once, whatever the rate; answers when they are sent |
| POST /sim/faults [...] | adds faults, see `faults` |
| GET /sim/faults | what has struck, and how many wait |
| DELETE /sim/faults | ends all faults |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from sim.faults import RestStatus, SlowRest, parse_faults, rest_body
from sim.issuer import Issuer
from sim.pacing import parse_rate
from sim.rest import Rest, RestAnswer

LARGEST_BODY_BYTES: Final = 1024 * 1024

# ASGI's own types are as loose as this
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _Rate(msgspec.Struct, forbid_unknown_fields=True):
    rate: float | str


class _Issue(msgspec.Struct, forbid_unknown_fields=True):
    count: int


class RestApp:
    """The ASGI application of the REST port; `status` says what /sim/status answers."""

    def __init__(self, issuer: Issuer, rest: Rest, status: Callable[[], dict[str, object]]) -> None:
        self._issuer = issuer
        self._rest = rest
        self._status = status

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        assert scope["type"] == "http"
        method, path = scope["method"], scope["path"]
        if path.startswith("/sim/"):
            answer = await self._steer(method, path, receive)
        else:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            address = (scope.get("client") or ("?", 0))[0]
            query = scope["query_string"].decode("latin-1")
            faults = self._issuer.plan.touch_rest(path, time.monotonic())
            await asyncio.sleep(sum(fault.delay_s for fault in faults if isinstance(fault, SlowRest)))
            refusal = next((fault for fault in faults if isinstance(fault, RestStatus)), None)
            if refusal is not None:
                answer = RestAnswer(refusal.status, *rest_body(refusal))
            else:
                now_us = time.time_ns() // 1000
                answer = self._rest.answer(method, path, query, headers=headers, address=address, now_us=now_us)
        fields = answer.headers | {"Content-Length": str(len(answer.body))}
        raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw_headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _steer(self, method: str, path: str, receive: Receive) -> RestAnswer:
        try:
            if (method, path) == ("GET", "/sim/status"):
                return _json(200, self._status())
            if path == "/sim/faults":
                if method == "DELETE":
                    self._issuer.end_faults()
                elif method == "POST":
                    self._issuer.add_faults(parse_faults(await _body(receive)))
                plan = self._issuer.plan
                return _json(200, {"waiting": plan.waiting, "struck": list(plan.struck)})
            if method == "POST":
                body = await _body(receive)
                if path == "/sim/rate":
                    self._issuer.exchange.pacer.rate = parse_rate(msgspec.json.decode(body, type=_Rate).rate)
                    return _json(200, self._status())
                if path == "/sim/issue":
                    await self._issuer.issue(msgspec.json.decode(body, type=_Issue).count)
                    return _json(200, self._status())
        except ValueError as exc:
            return _json(400, {"error": str(exc)})
        return _json(404, {"error": f"found {method} {path}, expected one of those in sim/README.md"})


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY_BYTES:
            raise ValueError(f"found a body above {LARGEST_BODY_BYTES} bytes")
    return body


def _json(status: int, value: object) -> RestAnswer:
    return RestAnswer(status, msgspec.json.encode(value), {"Content-Type": "application/json"})
