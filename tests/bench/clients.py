"""Clients of `/ws`, in a process of their own so that nothing but the mesh makes them late.

    python -m tests.bench.clients ws://127.0.0.1:8080/ws?symbols=* [--clients 200] [--stalled 20]

They write `ready`, note each trade's delay until stdin ends, wait until nothing more comes, and write their figures as
JSON: `told`, how many trades all of them together were sent; `missed`, how many the gateway said it left out; `closed`,
how often it let one go (that one comes back); and the percentiles of the delays. A client here costs the machine about
a fifth of one that is made with a library, so what is measured is the mesh.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import uvloop

from tests.bench.figures import Figures, percentiles

QUIET_S: Final = 1.0
QUIET_AT_THE_LATEST_S: Final = 30.0
STALLED_BUFFER_BYTES: Final = 4096
CONNECTED_AT_ONCE: Final = 50
KNOWN: Final = 64

_TEXT, _PING = 0x81, 0x89
_STAMPS: Final = (b'"timestamp":', b'"T":')
"""What stands before the time of a trade; the latter in a frame of the venue, which the floor passes on."""
_STAMP_BYTES: Final = 30
_TIME = re.compile(rb' ?"([^"Z]+)Z"|(\d+)')  # what follows that
_LAGGED = re.compile(rb'"type": ?"lagged",(?:[^{}]*"count":| ?"missed": ?)(\d+)')


@dataclass(slots=True)
class Noted:
    """What all clients of this process have received."""

    times: list[tuple[float, list[bytes]]] = field(default_factory=list)  # when, and what begins with each timestamp
    told: int = 0
    missed: int = 0
    closed: int = 0
    several: bool = True
    """Whether several clients share this: one alone is never sent what another one has read."""
    known: dict[bytes, list[bytes]] = field(default_factory=dict)
    """The timestamps in bytes that some client was sent a moment ago, for the others that get the same: whole trades
    and nothing else. With 200 clients a delivery costs 5.9 us here instead of 8.6."""

    def delays_ms(self) -> npt.NDArray[np.float64]:
        """Return how late each trade was, in milliseconds."""
        found = [_TIME.match(stamp) for _, some in self.times for stamp in some]
        stamps = [each.groups() for each in found if each is not None]
        received_us = np.repeat([at_s * 1e6 for at_s, _ in self.times], [len(some) for _, some in self.times])
        assert len(stamps) == len(found), "a trade without a time"
        if stamps and stamps[0][1]:
            issued_us = np.array([int(number) for _, number in stamps])
        else:
            issued_us = np.array([text.decode() for text, _ in stamps], dtype="datetime64[us]").astype(np.int64)
        return np.asarray((received_us - issued_us) / 1e3)


class FrameBuffer:
    """The bytes of one connection, cut into the frames of a server (never masked); keeps what is not whole."""

    def __init__(self) -> None:
        self.held = b""

    def take(self, data: bytes) -> tuple[bytes, list[int]]:
        """Return what was held and `data` behind it, and where each whole frame in that ends; hold the rest."""
        data = self.held + data if self.held else data
        ends, position, size = [], 0, len(data)
        while size - position >= 4:
            length = data[position + 1]
            if length == 126:
                end = position + 4 + (data[position + 2] << 8 | data[position + 3])
            elif length == 127:
                end = position + 10 + int.from_bytes(data[position + 2 : position + 10])
            else:
                end = position + 2 + length
            if end > size:
                break
            ends.append(end)
            position = end
        self.held = data[position:]
        return data, ends

    def frames(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Give the first byte and the payload of each frame that `data` completes."""
        data, ends = self.take(data)
        for begin, end in itertools.pairwise([0, *ends]):
            yield data[begin], data[begin + {126: 4, 127: 10}.get(data[begin + 1], 2) : end]


def pong(payload: bytes) -> bytes:
    """Return the answer to a ping, masked with zeros: a client's frames have to be masked, with whatever."""
    return bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload


class Client(asyncio.Protocol):
    """One connection; a stalled one reads nothing after the handshake."""

    def __init__(self, url: str, noted: Noted, *, stalled: bool) -> None:
        parts = urlsplit(url)
        self._handshake = (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._noted = noted
        self._stalled = stalled
        self._head: bytes | None = b""
        self._buffer = FrameBuffer()
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            self._head = None if found else head
            if not found:
                return
            assert b" 101 " in head.splitlines()[0], head
            self.open.set_result(None)
            if self._stalled:
                self._transport.pause_reading()
                return
        noted, received_s = self._noted, time.time()
        stamps = noted.known.get(data) if noted.several and not self._buffer.held else None
        if stamps is None:
            stamps = self._read(data)
        if stamps:
            noted.times.append((received_s, stamps))
            noted.told += len(stamps)

    def _read(self, data: bytes) -> list[bytes]:
        # Looked at all together, without a look at each: a client that is quicker leaves the mesh more of the machine.
        noted, begins = self._noted, not self._buffer.held
        received, ends = self._buffer.take(data)
        kinds = bytes(map(received.__getitem__, [0, *ends[:-1]] if ends else ()))
        if _PING in kinds:
            for (begin, end), kind in zip(itertools.pairwise([0, *ends]), kinds, strict=True):
                if kind == _PING:  # the same payload comes back, else nobody is taken to be there
                    self._transport.write(pong(received[begin + 2 : end]))
        whole = received[: ends[-1]] if ends else b""
        pieces = next((found for mark in _STAMPS if len(found := whole.split(mark)) > 1), [b""])
        stamps = [piece[:_STAMP_BYTES] for piece in pieces[1:]]
        if len(stamps) < len(kinds):
            noted.missed += sum(map(int, _LAGGED.findall(whole)))
        elif stamps and begins and not self._buffer.held and noted.several:
            if len(noted.known) >= KNOWN:
                noted.known.clear()
            noted.known[data] = stamps
        return stamps

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(ConnectionError(f"refused: {self._head!r}"))
        self.lost.set_result(None)


AnyClient = TypeVar("AnyClient", bound=Client)


async def connected(kind: type[AnyClient], url: str, noted: Noted, *, stalled: bool) -> AnyClient:
    """Connect one client, and return it when it follows the trades."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    plain = socket.socket()
    plain.setblocking(False)
    if stalled:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER_BYTES)
    await loop.sock_connect(plain, (parts.hostname, parts.port))
    _, client = await loop.create_connection(lambda: kind(url, noted, stalled=stalled), sock=plain)
    await client.open
    return client


async def follow(url: str, noted: Noted, client: Client, *, stalled: bool) -> None:
    """Stay connected: a client that was let go comes back."""
    while True:
        await client.lost
        noted.closed += not stalled
        client = await connected(Client, url, noted, stalled=stalled)


async def main(url: str, clients: int, stalled: int) -> None:
    """Follow until stdin ends and nothing more comes, then write what was noted."""
    noted = Noted(several=clients > 1)
    following = []
    kinds = [False] * clients + [True] * stalled
    for first in range(0, len(kinds), CONNECTED_AT_ONCE):
        some = kinds[first : first + CONNECTED_AT_ONCE]
        opened = await asyncio.gather(*(connected(Client, url, noted, stalled=kind) for kind in some))
        following += [
            asyncio.create_task(follow(url, noted, client, stalled=kind))
            for client, kind in zip(opened, some, strict=True)
        ]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    ended_s, seen = time.monotonic(), -1
    while noted.told > seen and time.monotonic() - ended_s < QUIET_AT_THE_LATEST_S:
        seen = noted.told
        await asyncio.sleep(QUIET_S)
    for task in following:
        task.cancel()
    figures: Figures = {"told": noted.told, "missed": noted.missed, "closed": noted.closed}
    figures |= percentiles(noted.delays_ms(), "delay_ms")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of /ws, with its query")
    parser.add_argument("--clients", type=int, default=1, help="how many read (default 1)")
    parser.add_argument("--stalled", type=int, default=0, help="how many read nothing (default 0)")
    given = parser.parse_args()
    uvloop.run(main(given.url, given.clients, given.stalled))
