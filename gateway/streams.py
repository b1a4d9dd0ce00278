"""Answers that go on: the messages of a streaming RPC, sent as they come, until the RPC or its client ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from google.protobuf.message import Message
from prometheus_client import Gauge
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.connection import ABORT
from gateway.errors import HttpError, phrase, refusal_body
from gateway.transcode import json
from gateway.transcode.streams import StreamFormat
from gateway.upstreams import UpstreamError, UpstreamStream

log = logging.getLogger("gateway.streams")

MAX_STREAMS = 256
"""Of all clients together: half of the calls that a service takes on the gateway's one connection."""
HEARTBEAT_S = 15.0
FIRST_MESSAGE_S = 1.0
"""How long the head of an answer waits for the first message: an RPC that fails by then is answered with a status."""

OPEN = Gauge("tickmesh_gateway_streams", "streaming RPCs that are open for clients of REST")


class Streams:
    """The open streams of one gateway.

    Args:
        max_streams: how many there may be.
        heartbeat_s: after how long without a message a heartbeat is sent.

    """

    def __init__(self, *, max_streams: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.heartbeat_s = heartbeat_s
        self.stopping = asyncio.Event()
        self._max_streams = max_streams
        self._open: set[UpstreamStream] = set()

    async def answer(
        self, begin: Callable[[], UpstreamStream], encode: json.Encode, written: StreamFormat
    ) -> StreamAnswer:
        """Begin an RPC and return its answer, which has to be sent.

        Args:
            begin: calls the RPC.
            encode: from a message to what `json.to_bytes` takes.
            written: how the stream is written.

        Raises:
            HttpError: 429 too many streams are open, 503 the gateway stops.
            UpstreamError: the RPC failed before its first message.

        """
        stream = self._begin(begin)
        reading = asyncio.create_task(stream.read())
        try:
            await asyncio.wait([reading], timeout=FIRST_MESSAGE_S)
            if reading.done():
                reading.result()
        except BaseException:
            reading.cancel()
            self.leave(stream)
            raise
        return StreamAnswer(self, stream, reading, encode, written)

    async def answer_bytes(self, begin: Callable[[], UpstreamStream], receive: Receive) -> BytesAnswer:
        """Begin an RPC that gives `google.api.HttpBody`, and return its answer, which has to be sent.

        Args:
            begin: calls the RPC.
            receive: tells when the client is gone.

        Raises:
            HttpError: 429 too many streams are open, 503 the gateway stops.
            UpstreamError: the RPC failed before its first message.
            ClientDisconnect: the client is gone.

        """
        stream = self._begin(begin)
        reading, gone = asyncio.create_task(stream.read()), asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([reading, gone], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise ClientDisconnect
            return BytesAnswer(self, stream, reading.result(), gone)
        except BaseException:
            reading.cancel()
            gone.cancel()
            self.leave(stream)
            raise

    def _begin(self, begin: Callable[[], UpstreamStream]) -> UpstreamStream:
        if self.stopping.is_set():
            raise HttpError(503, "the gateway is stopping")
        if len(self._open) >= self._max_streams:
            message = f"{len(self._open)} streams are open, and no more are taken"
            raise HttpError(429, message, headers={"Retry-After": "1"})
        stream = begin()
        self._open.add(stream)
        OPEN.set(len(self._open))
        return stream

    def leave(self, stream: UpstreamStream) -> None:
        """Cancel an RPC, if it goes on, and count it out."""
        stream.cancel()
        self._open.discard(stream)
        OPEN.set(len(self._open))

    def drain(self) -> None:
        """Break off every stream with an error that says why; new ones are refused."""
        self.stopping.set()


class StreamAnswer(Response):
    """The answer of one stream, whose first message is being read."""

    def __init__(
        self,
        streams: Streams,
        stream: UpstreamStream,
        reading: asyncio.Task[Message | None],
        encode: json.Encode,
        written: StreamFormat,
    ) -> None:
        super().__init__(media_type=written.media_type, headers={"X-Accel-Buffering": "no"})  # nginx would gather
        del self.headers["content-length"]
        self._streams = streams
        self._stream = stream
        self._reading = reading
        self._encode = encode
        self._written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; returns when the RPC has ended, the client is gone, or the gateway stops."""
        gone = asyncio.create_task(_disconnected(receive))
        stopping = asyncio.create_task(self._streams.stopping.wait())
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            error = await self._send_messages(send, gone, stopping)
            if error is not None:
                before, after = self._written.error
                await _send(send, before + error + after)
                scope["extensions"][ABORT]()
        finally:
            for task in (gone, stopping, self._reading):
                task.cancel()
            self._streams.leave(self._stream)

    async def _send_messages(self, send: Send, gone: asyncio.Task[None], stopping: asyncio.Task[bool]) -> bytes | None:
        """Return the error that broke the stream off, None when it has ended or nobody is there to be told."""
        before, after = self._written.message
        while True:
            await asyncio.wait(
                [self._reading, gone, stopping],
                timeout=self._streams.heartbeat_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if gone.done():
                return None
            if stopping.done():
                return refusal_body(503, "the gateway is stopping; ask again")
            if not self._reading.done():
                await _send(send, self._written.heartbeat)
                continue
            try:
                message = self._reading.result()
                if message is None:
                    await _send(send, self._written.end, more=False)
                    return None
                frame = before + json.to_bytes(self._encode(message)) + after
            except UpstreamError as exc:
                return exc.body
            except Exception:
                log.exception("a message of a stream cannot be written")
                return refusal_body(500, f"{phrase(500)}: a mistake of the gateway's own; its log says more")
            self._reading = asyncio.create_task(self._stream.read())
            await _send(send, frame)


class BytesAnswer(Response):
    """The answer of a stream of bytes, whose first message has been read.

    One that breaks off never looks like a whole one: the final chunk of the transfer is missing.
    """

    def __init__(
        self, streams: Streams, stream: UpstreamStream, first: Message | None, gone: asyncio.Task[None]
    ) -> None:
        media_type = getattr(first, "content_type", "") or "application/octet-stream"
        super().__init__(headers={"Content-Type": media_type, "X-Accel-Buffering": "no"})  # nginx would gather
        del self.headers["content-length"]
        self._streams = streams
        self._stream = stream
        self._first = first
        self._gone = gone

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Send it; returns when the RPC has ended, the client is gone, or the gateway stops."""
        sending = asyncio.create_task(self._send_pieces(scope, send))
        stopping = asyncio.create_task(self._streams.stopping.wait())
        try:
            await asyncio.wait([sending, self._gone, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not self._gone.done() and not (sending.done() and sending.result()):
                scope["extensions"][ABORT]()
        finally:
            for task in (sending, stopping, self._gone):
                task.cancel()
            self._streams.leave(self._stream)

    async def _send_pieces(self, scope: Scope, send: Send) -> bool:
        """Return whether the answer is whole."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        message = None if scope["method"] == "HEAD" else self._first
        while message is not None:
            await _send(send, getattr(message, "data"))  # noqa: B009 - of an HttpBody, which a Message is not known to be
            try:
                message = await self._stream.read()
            except UpstreamError as exc:
                log.warning("%s broke off: %s", scope["path"], exc.body.decode())
                return False
        await _send(send, b"", more=False)
        return True


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
