"""A venue in memory: it behaves until a script makes it say something else. The far ends of WebSocket and REST."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fixtures.venue_words import LISTED
from tests.fuzz.memory_loop import MemoryTransport, Peer

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
WS_PORT, REST_PORT = 9443, 80
_KEPT = 20_000


class MemoryVenue:
    """What the venue has traded, and how it answers now.

    Attributes:
        mode: of REST: `sound`, `empty`, `broken` (500), `no history`, `only aggregates`, `away` or `silent`.
        handshakes: raw answers to the next handshakes, in place of 101.
        answers: raw answers to the next requests over REST.

    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self.traded: dict[str, list[tuple[int, int]]] = {symbol: [] for symbol in SYMBOLS}
        self.mode = "sound"
        self.answers_requests = True
        self.answers_pings = True
        self.refuses = False
        self.handshakes: deque[bytes] = deque(maxlen=16)
        self.answers: deque[bytes] = deque(maxlen=16)
        self.sockets: list[Socket] = []
        for symbol in SYMBOLS:
            self.trade(symbol, 20)

    def connect(self, host: str, port: int, transport: MemoryTransport) -> Peer:
        """Take a connection."""
        if self.refuses:
            raise ConnectionRefusedError(f"{host}:{port} refuses")
        return Socket(self, transport) if port == WS_PORT else _Rest(self, transport)

    def trade(self, symbol: str, count: int) -> list[dict[str, Any]]:
        """Let so many trades happen; return them as the WebSocket tells them."""
        trades = self.traded[symbol]
        told = []
        for _ in range(count):
            trade_id = trades[-1][0] + 1 if trades else 0
            trades.append((trade_id, self._now_us()))
            told.append(told_live(symbol, trade_id, self._now_us()))
        del trades[:-_KEPT]
        return told

    def begin_again(self, symbol: str) -> None:
        """Forget all trades: the ids begin at 0."""
        self.traded[symbol].clear()

    def send(self, frame: bytes, *, opcode: int = 1) -> None:
        """Send a frame on every WebSocket that is open."""
        for socket in list(self.sockets):
            socket.send(frame, opcode=opcode)

    def answer(self, target: str) -> tuple[int, bytes]:
        """Return status and body."""
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.rpartition("/")[2]
        missing = {"no history": ("historicalTrades",), "only aggregates": ("historicalTrades", "trades")}
        if self.mode == "broken":
            return 500, b""
        if path in missing.get(self.mode, ()):
            return 404, b"no"
        if path == "exchangeInfo":
            return 200, json.dumps({"symbols": [LISTED | {"symbol": symbol} for symbol in SYMBOLS]}).encode()
        if path == "ping":
            return 200, b"{}"
        if asked.get("symbol") not in self.traded:
            return 400, b'{"code":-1121,"msg":"Invalid symbol."}'
        trades, limit = self.traded[asked["symbol"]], int(asked.get("limit", 500))
        if self.mode == "empty":
            trades = []
        if path == "trades":
            rows = trades[-limit:]
        else:
            from_id = int(asked.get("fromId", max(0, len(trades) - limit)))
            rows = [trade for trade in trades if trade[0] >= from_id][:limit]
        word = _aggregate if path == "aggTrades" else _row
        return 200, json.dumps([word(*row) for row in rows]).encode()


def price(trade_id: int) -> str:
    """Return the price of a trade."""
    return f"{4 + trade_id % 7}.00000100"


def told_live(symbol: str, trade_id: int, time_us: int) -> dict[str, Any]:
    """Return a trade as the WebSocket tells it."""
    return {
        "e": "trade",
        "E": time_us,
        "s": symbol,
        "t": trade_id,
        "p": price(trade_id),
        "q": "2.00000000",
        "T": time_us,
        "m": trade_id % 2 == 0,
        "M": True,
    }


def _row(trade_id: int, time_us: int) -> dict[str, Any]:
    maker = trade_id % 2 == 0
    return {"id": trade_id, "price": price(trade_id), "qty": "2.00000000", "time": time_us, "isBuyerMaker": maker}


def _aggregate(trade_id: int, time_us: int) -> dict[str, Any]:
    row = _row(trade_id, time_us)
    ids = {"a": trade_id, "f": trade_id, "l": trade_id}
    return ids | {"p": row["price"], "q": row["qty"], "T": time_us, "m": row["isBuyerMaker"]}


class _Rest:
    """One connection over which REST is asked."""

    def __init__(self, venue: MemoryVenue, transport: MemoryTransport) -> None:
        self._venue = venue
        self._transport = transport
        self._data = b""

    def received(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            if self._venue.answers:
                self._transport.deliver(self._venue.answers.popleft())
                self._transport.hang_up()
                return
            if self._venue.mode == "away":
                self._transport.hang_up()
                return
            if self._venue.mode != "silent":
                status, body = self._venue.answer(head.split(b" ", 2)[1].decode("latin-1"))
                self._transport.deliver(answered(status, b"", body))


def answered(status: int, headers: bytes, body: bytes) -> bytes:
    """Word an answer of HTTP."""
    return b"HTTP/1.1 %d x\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


class Socket:
    """One WebSocket."""

    def __init__(self, venue: MemoryVenue, transport: MemoryTransport) -> None:
        self._venue = venue
        self.transport = transport
        self._data = b""
        self._is_open = False

    def received(self, data: bytes) -> None:
        """Take a handshake, then frames."""
        self._data += data
        if not self._is_open:
            if b"\r\n\r\n" not in self._data:
                return
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            if self._venue.handshakes:
                self.transport.deliver(self._venue.handshakes.popleft())
                self.transport.hang_up()
                return
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            digest = hashlib.sha1(key.split(b": ")[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            self.transport.deliver(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            self._is_open = True
            self._venue.sockets.append(self)
        while (frame := self._next()) is not None:
            self._take(*frame)

    def send(self, payload: bytes, *, opcode: int = 1) -> None:
        """Send a frame."""
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | opcode, length))
        elif length < 65536:
            head = bytes((0x80 | opcode, 126)) + struct.pack("!H", length)
        else:
            head = bytes((0x80 | opcode, 127)) + struct.pack("!Q", length)
        self.transport.deliver(head + payload)

    def drop(self) -> None:
        """End without a word."""
        if self in self._venue.sockets:
            self._venue.sockets.remove(self)
        self.transport.hang_up()

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        length, at = data[1] & 127, 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + 4 + length:
            return None
        mask = data[at : at + 4]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[at + 4 : at + 4 + length]))
        self._data = data[at + 4 + length :]
        return data[0] & 15, payload

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 8:
            self.send(payload, opcode=8)
            self.drop()
        elif opcode == 9 and self._venue.answers_pings:
            self.send(payload, opcode=10)
        elif opcode == 1 and self._venue.answers_requests:
            self.send(json.dumps({"result": None, "id": json.loads(payload)["id"]}).encode())
