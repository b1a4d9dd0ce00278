"""The floor: the same hops as a trade's way to the screen, with nothing done between them.

    venue's socket -> (ingest's place) -> NATS -> (signal's place) -> a socket -> (gateway's place) -> client's socket

Three processes pass on what they get, as it is. Nothing is parsed, stored, acknowledged or computed, and what arrives
together is passed on together. What the mesh costs more than this is work; what it costs less is more than its share
of waiting saved. `python -m tests.bench.floor ingest|signal|gateway ...` is one of the places.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import nats
import picows
import uvloop

from mesh.service.direct import DirectReceiver
from tests.bench.whole_mesh import Fed
from tests.fixtures.mesh import ROOT
from tests.fixtures.nats import NatsServer
from tests.fixtures.sim import running_sim

_SUBJECT: Final = "floor.trades"
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class VenueReader(picows.WSListener):
    """Ingest's place: publishes the frames that were read together, in one message."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._frames: list[bytes] = []

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frames.append(frame.get_payload_as_bytes())

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        task = asyncio.ensure_future(self._bus.publish(_SUBJECT, b"\n".join(frames)))
        task.add_done_callback(lambda done: done.result())


async def in_place_of_ingest(venue_url: str, bus_url: str) -> None:
    """Pass the venue's frames on to the bus."""
    bus = await nats.connect(bus_url)
    transport, _ = await picows.ws_connect(lambda: VenueReader(bus), venue_url)
    _say_ready()
    await transport.wait_disconnected()


async def in_place_of_signal(bus_url: str) -> None:
    """Pass the bus' messages on to who watches, each after its length."""
    bus = await nats.connect(bus_url)
    watching = Connected()

    async def take(message: Any) -> None:
        watching.write(len(message.data).to_bytes(4) + message.data)

    server = await watching.serve()
    await bus.subscribe(_SUBJECT, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    _say_ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def in_place_of_gateway(signal_port: str) -> None:
    """Pass on to every client."""
    clients = Connected(_SWITCHING)

    def take(messages: Sequence[bytes]) -> None:
        frames = b"\n".join(messages).split(b"\n")
        clients.write(b"".join(bytes((0x81, 126)) + len(frame).to_bytes(2) + frame for frame in frames))

    server = await clients.serve()
    loop = asyncio.get_running_loop()
    _, receiver = await loop.create_connection(lambda: DirectReceiver(take), "127.0.0.1", int(signal_port))
    _say_ready(server.sockets[0].getsockname()[1])
    await receiver.lost


class Connected:
    """All who are connected to one port.

    Args:
        first: what each is told first.

    """

    def __init__(self, first: bytes = b"") -> None:
        self._first = first
        self._transports: set[Any] = set()

    async def serve(self) -> asyncio.Server:
        """Listen on a free port of loopback."""
        everybody, first = self._transports, self._first

        class One(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self._transport = transport
                if first:
                    transport.write(first)
                everybody.add(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                everybody.discard(self._transport)

        return await asyncio.get_running_loop().create_server(One, "127.0.0.1", 0)

    def write(self, data: bytes) -> None:
        """Write to all of them."""
        for transport in self._transports:
            transport.write(data)


def _say_ready(port: int = 0) -> None:
    sys.stdout.write(json.dumps(port) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _place(name: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "tests.bench.floor", name, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()


@contextlib.contextmanager
def fed_floor(directory: Path, *, symbols: str) -> Iterator[Fed]:
    """Run an exchange that stands still, nats-server and the three places, while inside."""
    bus = NatsServer(directory)
    bus.start()
    try:
        with contextlib.ExitStack() as stack:
            sim = stack.enter_context(running_sim("--rate", "0", "--pace", "even", "--symbols", symbols))
            streams = "/".join(f"{symbol}@trade" for symbol in symbols.split(","))
            signal, signal_port = stack.enter_context(_place("signal", bus.url))
            gateway, port = stack.enter_context(_place("gateway", str(signal_port)))
            ingest, _ = stack.enter_context(
                _place("ingest", f"{sim.ws}/stream?streams={streams}&timeUnit=MICROSECOND", bus.url)
            )
            parents = [sim.process.pid, bus.process.pid, signal.pid, gateway.pid, ingest.pid]
            yield Fed(sim, f"ws://127.0.0.1:{port}/ws", parents, bus.monitor_port, database_url=None)
    finally:
        bus.kill()


def main() -> None:
    """Be one of the places."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floor", description=__doc__)
    parser.add_argument("place", choices=["ingest", "signal", "gateway"])
    parser.add_argument("addresses", nargs="+")
    given = parser.parse_args()
    places: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "ingest": in_place_of_ingest,
        "signal": in_place_of_signal,
        "gateway": in_place_of_gateway,
    }
    uvloop.run(places[given.place](*given.addresses))


if __name__ == "__main__":
    main()
