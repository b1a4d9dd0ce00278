"""A client of `/ws` in a process of its own, so that nothing but the mesh makes it late: notes each trade's delay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from datetime import datetime

import msgspec
import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


class Told(msgspec.Struct):
    """What the client reads of a message."""

    timestamp: datetime | None = None


async def listen(url: str, delays_ms: list[float]) -> None:
    """Follow every symbol, for ever; a client that is too slow is let go by the gateway and comes back."""
    decode = msgspec.json.Decoder(Told).decode
    while True:
        async with connect(url, compression=None, max_queue=4096) as ws:
            print("ready", flush=True)
            with contextlib.suppress(ConnectionClosed):
                async for message in ws:
                    told = decode(message)
                    if told.timestamp is not None:
                        delays_ms.append((time.time() - told.timestamp.timestamp()) * 1000)


async def main(url: str) -> None:
    """Listen until stdin ends, then say how many trades came and how late."""
    delays_ms: list[float] = []
    listening = asyncio.create_task(listen(url, delays_ms))
    await asyncio.to_thread(sys.stdin.read)
    listening.cancel()
    await asyncio.wait([listening])
    p50_ms, p99_ms = np.percentile(delays_ms, [50, 99]).tolist() if delays_ms else (None, None)
    print(json.dumps({"trades": len(delays_ms), "p50_ms": p50_ms, "p99_ms": p99_ms}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
