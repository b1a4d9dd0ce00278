"""uvicorn's HTTP connection with bounds: on the head in bytes, headers and time, on bodies, answers, and in number.

uvicorn with httptools takes a head of any size for any time, queues any number of pipelined requests, and waits for
ever for a client that does not read. Here each of these has an end, told in words where somebody may still read them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import httptools
from prometheus_client import Counter, Gauge
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.access import ALWAYS_OPEN
from gateway.errors import phrase, refusal_body
from gateway.limits import Connections, Overload
from gateway.resource import JSON, refusal

MAX_HEAD_BYTES = 32 * 1024
"""Of the request line and all headers together; also of what lies between two chunks of a body, and of trailers."""
MAX_TARGET_BYTES = 8 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 16
"""Requests that wait behind one that is being answered."""
HEAD_LIMIT_S = 10.0
"""From the first byte of a head, or from the connection's beginning, to the head's end."""
REST_LIMIT_S = 10.0
"""How long a body may go on coming after its request was answered."""
ANSWER_LIMIT_S = 60.0
"""How long a client may take to read so much of an answer that there is room again, or its rest before the close."""
MAX_UNREAD_BYTES = 64 * 2**20
"""Of answers that clients do not read, of all together; then those who have not read for longest are cut."""
LINGER_S = 2.0
"""How long what a refused client still sends is read and forgotten: else the kernel takes the refusal back."""
ABORT = "tickmesh.abort"
"""Extension of the ASGI scope: a function that ends the connection after what was sent, without the answer's end."""
_PIECE_BYTES = 8 * 1024  # so much is parsed between two looks at the bounds

OPEN = Gauge("tickmesh_gateway_connections", "TCP connections of clients now open, those of /ws too")
CUT = Counter("tickmesh_gateway_connections_cut_total", "connections ended by a limit, by limit", ["bound"])


class HttpConnection(HttpToolsProtocol):
    """One connection; `python -m gateway` makes them with the connections they are counted among."""

    def __init__(self, *args: Any, connections: Connections[HttpConnection], **options: Any) -> None:
        super().__init__(*args, **options)
        self._counted = connections
        self._overload: Overload | None = None
        self._refusal: tuple[int, str] | None = None
        self._deaf = False  # nothing that comes is read any more
        self._asked = False  # `cycle` is there from the first request on
        self._reading_head = True
        self._head_bytes = 0
        self._between_bytes = 0  # since the last piece of a body
        self._timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        websocket: Any = self.ws_protocol_class  # Any: the one of `server_of`, called and no more
        self.ws_protocol_class = partial(websocket, on_lost=self._leave)  # type: ignore[assignment]

    # --- from the transport ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._overload, evicted = self._counted.admit(self, self.client[0] if self.client else "")
        if evicted is not None:
            evicted.give_way()
        OPEN.set(len(self._counted))
        self._limit(HEAD_LIMIT_S if self._overload is None else LINGER_S, "head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._unlimit()
        self._end_answer_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES] if len(data) > _PIECE_BYTES else data
            if self._reading_head:
                self._head_bytes += len(piece)
            else:
                self._between_bytes += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                if self._should_upgrade():
                    self._unlimit()
                    self.handle_websocket_upgrade()
                    return
            except httptools.HttpParserError as exc:
                self._refuse(*(self._refusal or (400, f"this is no HTTP request: {str(exc)[:80]}")))
                return
            if self._head_bytes > MAX_HEAD_BYTES or self._between_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"head has more than {MAX_HEAD_BYTES} bytes")
            if self._ended():
                return
        if self._reading_head and self._head_bytes and self._timer is None:
            self._limit(HEAD_LIMIT_S, "head")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit_answer()
        for slowest in self._counted.unread(self, MAX_UNREAD_BYTES, lambda one: one.transport.get_write_buffer_size()):
            slowest._cut("unread")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._counted.read(self)
        self._end_answer_limit()

    # --- from the parser ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes += 1  # begun, though perhaps in a piece that held another request's end

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._stop_parsing(414, f"target has more than {MAX_TARGET_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._reading_head:
            return  # a trailer: nobody wants it, and it must not pass for a header
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._stop_parsing(431, f"head has more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        self._unlimit()
        self._reading_head, self._head_bytes, self._between_bytes = False, 0, 0
        self._counted.busy(self)
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts and self.parser.get_http_version() == "1.1":
            # RFC 9112, 3.2: "MUST respond with a 400 to any HTTP/1.1 request message that lacks a Host header field"
            self._stop_parsing(400, "no Host header, which HTTP/1.1 wants")
        if not self.url.startswith(b"/"):
            self._take_absolute_target()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(429, f"more than {MAX_PIPELINED} requests were sent without waiting for an answer")
        if self._overload is not None and self.url.partition(b"?")[0].decode("latin-1") not in ALWAYS_OPEN:
            self.app = _refusing(self._overload)
        super().on_headers_complete()
        self._asked = bool(self.cycle)  # none is made for a WebSocket's handshake
        if self._asked:
            self.scope["extensions"] = {ABORT: partial(self._abort, self.cycle)}  # type: ignore[dict-item]  # ours
        if self._asked and self._overload is not None:
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """Tell of the next chunk of a body; what an endless extension of it is made of comes with no event."""

    def on_body(self, body: bytes) -> None:
        self._between_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reading_head, self._head_bytes = True, 0
        self._unlimit()

    # --- from the answers ---

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._limit_answer()  # the rest may never be read
        elif not self.pipeline:
            self._counted.waits(self)
            if not self._reading_head:
                self._limit(REST_LIMIT_S, "body")

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self._cut("answer")
        else:
            super().timeout_keep_alive_handler()

    # --- the end ---

    def give_way(self) -> None:
        """End a connection that waits, for the sake of another."""
        CUT.labels("number").inc()
        if not self._asked or self._head_bytes:
            self._write_refusal(503, "too many connections are open, and this one has sent no whole request")
        self._deaf = True
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _ended(self) -> bool:
        return self._deaf or self.transport.is_closing()

    def _should_upgrade(self) -> bool:
        return self._overload is None and super()._should_upgrade()

    def _take_absolute_target(self) -> None:
        # RFC 9112, 3.2.2: "the origin server MUST ignore the received Host header field (if any) and instead replace
        # it with the host information of the request-target"
        target = httptools.parse_url(self.url)
        if not target.host:
            return  # "*"
        host = b"[%b]" % target.host if b":" in target.host else target.host
        authority = b"%b:%d" % (host, target.port) if target.port else host
        self.headers[:] = [(b"host", authority), *(pair for pair in self.headers if pair[0] != b"host")]
        self.url = (target.path or b"/") + (b"?" + target.query if target.query else b"")

    def _stop_parsing(self, status: int, problem: str) -> None:
        self._refusal = (status, problem)
        raise ValueError(problem)  # httptools makes its own error of it, which `data_received` catches

    def _refuse(self, status: int, problem: str) -> None:
        CUT.labels(str(status)).inc()
        self._deaf = True
        if self._asked and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            if not self.cycle.more_body or self.cycle.response_started or self.pipeline:
                return  # what is being answered comes first, and after it the end
            self.cycle.disconnected = True  # whoever waits for this body waits in vain
            self.cycle.message_event.set()
        self._write_refusal(status, problem)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._limit(LINGER_S, "linger")

    def _write_refusal(self, status: int, problem: str) -> None:
        body = refusal_body(status, problem)
        self.transport.write(
            f"HTTP/1.1 {phrase(status)}\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
            f"cache-control: no-store\r\nconnection: close\r\n\r\n".encode()
            + body
        )

    def _limit(self, limit_s: float, bound: str) -> None:
        self._unlimit()
        self._timer = self.loop.call_later(limit_s, self._too_late, bound)

    def _unlimit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self, bound: str) -> None:
        self._timer = None
        if bound == "head" and self._head_bytes and not self._deaf:
            self._refuse(408, f"head did not come within {HEAD_LIMIT_S:g} s")
        else:
            self._cut(bound)

    def _limit_answer(self) -> None:
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(ANSWER_LIMIT_S, self._cut, "answer")

    def _end_answer_limit(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _abort(self, cycle: RequestResponseCycle) -> None:
        cycle.disconnected = True  # else uvicorn logs that the answer is not complete, which is meant
        self.transport.close()
        self._limit_answer()  # what has been sent may never be read

    def _cut(self, bound: str) -> None:
        CUT.labels(bound).inc()
        self.transport.abort()

    def _leave(self) -> None:
        self._counted.leave(self)
        OPEN.set(len(self._counted))


def _refusing(overload: Overload) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Retry-After": "1", "Connection": "close", "Cache-Control": "no-store"}
        await refusal(overload.status, overload.problem, headers=headers)(scope, receive, send)

    return app
