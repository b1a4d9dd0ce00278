"""Clients of `/ws` that subscribe to what a page does, and do nothing with it: what pages cost the gateway alone.

    python -m tests.bench.page_clients ws://127.0.0.1:8080/ws?channels= [--clients 3]

The first line of stdin is what to say, as JSON: a list of messages. They write `ready`, ping each 5 s as a page does,
and at the end of stdin write as JSON how many messages and bytes of each type each of them was sent a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter

import uvloop

from tests.bench.clients import Client, Noted, connected

PING_EVERY_S = 5.0
_TYPE = re.compile(rb'"type": ?"(\w+)"')


class PageClient(Client):
    """One connection that counts what it is sent."""

    def __init__(self, url: str, noted: Noted, *, stalled: bool) -> None:
        super().__init__(url, noted, stalled=stalled)
        self.messages: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()

    def _read(self, data: bytes) -> list[bytes]:
        for _, payload in self._buffer.frames(data):
            found = _TYPE.search(payload)
            kind = found[1].decode() if found else "control"
            self.messages[kind] += 1
            self.sizes[kind] += len(payload)
        return []

    def say(self, message: object) -> None:
        """Send one message."""
        text = json.dumps(message).encode()
        assert len(text) < 1 << 16
        length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
        self._transport.write(b"\x81" + length + bytes(4) + text)  # masked with zeros


async def main(url: str, clients: int) -> None:
    """Follow until stdin ends, then write what was counted."""
    said = json.loads(await asyncio.to_thread(sys.stdin.readline))
    pages = [await connected(PageClient, url, Noted(), stalled=False) for _ in range(clients)]
    for page in pages:
        for message in said:
            page.say(message)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    began_s = time.monotonic()
    while not (await asyncio.wait([ended], timeout=PING_EVERY_S))[0]:
        for page in pages:
            page.say({"op": "ping", "id": "0"})
    each_s = clients * (time.monotonic() - began_s)
    messages, sizes = (sum(some, Counter()) for some in ([p.messages for p in pages], [p.sizes for p in pages]))
    counted = {kind: [count / each_s, sizes[kind] / each_s] for kind, count in messages.items()}
    sys.stdout.write(json.dumps(counted) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of /ws, with its query")
    parser.add_argument("--clients", type=int, default=3, help="how many (default 3)")
    given = parser.parse_args()
    uvloop.run(main(given.url, given.clients))
