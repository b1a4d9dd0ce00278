"""What a request says about its call beside its words: how long it may take, and which name it has. Pure.

`Grpc-Timeout` is gRPC's own header (`500m`, `2S`); `X-Request-Id` is what proxies send, `traceparent` is W3C's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import Headers

from gateway.errors import BadField, shown
from mesh.service.rpc import REQUEST_ID

TIMEOUT = "grpc-timeout"

# gRPC over HTTP/2: "positive integer as ASCII string of at most 8 digits", then the unit
_TIMEOUT = re.compile(r"(?!0+[A-Za-z])(\d{1,8})([HMSmun])", re.ASCII)
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_LONGEST_S = 366 * 86_400.0
"""From some 292 years on gRPC counts a time as over that has just begun."""
_REQUEST_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_TRACE = re.compile(r"[ -~]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How one RPC is called.

    Attributes:
        timeout_s: how long its client waits for it; None when that was not said.
        metadata: names and values that the service is told.

    """

    timeout_s: float | None = None
    metadata: tuple[tuple[str, str], ...] = ()


def request_id_of(headers: Headers) -> str:
    """Return the name of a request: its own, or a new one where that has not 1 to 128 visible characters of ASCII."""
    given = headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def call_options(headers: Headers, request_id: str) -> CallOptions:
    """Return how the RPC of a request is called.

    Args:
        headers: of the request.
        request_id: its name.

    Raises:
        BadField: the time is none.

    """
    timeout_s = None
    if (text := headers.get(TIMEOUT)) is not None:
        match = _TIMEOUT.fullmatch(text.strip())
        if match is None:
            problem = f"expected 1 to 8 digits and one of H, M, S, m, u, n (500m is half a second), found {shown(text)}"
            raise BadField("Grpc-Timeout", problem)
        timeout_s = min(int(match[1]) * _UNIT_S[match[2]], _LONGEST_S)
    traces = [(name, headers.get(name, "")) for name in ("traceparent", "tracestate")]
    metadata = ((REQUEST_ID, request_id), *(pair for pair in traces if _TRACE.fullmatch(pair[1])))
    return CallOptions(timeout_s, metadata)
