"""One client's WebSocket conversation with Binance, without the socket.

`ClientSession` is told which address was opened and what the client sent, and when; it answers with texts to send, and
raises `HangUp` when Binance would hang up. `view` says what the client follows right now.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from sim.frames import FollowedStreams

METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class TargetError(ValueError):
    """The address opened is none of Binance's; the handshake is answered with `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HangUp(Exception):
    """The venue hangs up."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VenueLimits:
    """What Binance allows a connection, and an address."""

    messages_per_s: int = 5
    streams: int = 1024
    max_connection_s: float = 24 * 3600
    ping_every_s: float = 20
    pong_within_s: float = 60
    connections_per_5m: int = 300


class _BadRequestError(Exception):
    def __init__(self, code: int, msg: str) -> None:
        super().__init__(code, msg)
        self.answer = {"code": code, "msg": msg}


class ClientSession:
    """What is said on one connection, and what the client follows. Feed it with what arrives; call `poll` regularly.

    Args:
        target: path and query of the handshake, like ``/stream?streams=btcusdt@trade/ethusdt@trade``.
        now_s: seconds of a steady clock, the same for all calls.
        limits: what the venue allows.

    Raises:
        TargetError: the venue has no such address.
    """

    def __init__(self, target: str, now_s: float, limits: VenueLimits) -> None:
        self._limits = limits
        self._opened_s = now_s
        self._message_times: deque[float] = deque(maxlen=limits.messages_per_s)
        self._next_ping_s = now_s + limits.ping_every_s
        self._pings: dict[bytes, float] = {}  # unanswered, oldest first
        self.combined, streams, self.microseconds = parse_target(target)
        self.streams: dict[str, None] = dict.fromkeys(streams)  # in the order subscribed
        if len(self.streams) > limits.streams:
            raise TargetError(400, f"found {len(self.streams)} streams, expected at most {limits.streams}")
        self.view = self._view()

    # What the client sends

    def receive_text(self, text: str | bytes, now_s: float) -> str:
        """Take a request, return the answer.

        Args:
            text: the request, JSON.
            now_s: seconds of the steady clock.

        Raises:
            HangUp: more messages a second than allowed.

        """
        self._count(now_s)
        request_id: int | str | None = None
        try:
            request = _decode(text)
            request_id = _id_of(request)
            _check_method(request, text)
            result = self._obey(request)
        except _BadRequestError as refusal:
            return json.dumps(refusal.answer | {"id": request_id}, separators=(",", ":"))
        return json.dumps({"result": result, "id": request_id}, separators=(",", ":"))

    def receive_ping(self, now_s: float) -> None:
        """Take a ping; the pong is the socket's business.

        Raises:
            HangUp: more messages a second than allowed.
        """
        self._count(now_s)

    def receive_pong(self, payload: bytes, now_s: float) -> None:
        """Take a pong, asked for or not.

        Args:
            payload: of the ping that it answers.
            now_s: seconds of the steady clock.

        Raises:
            HangUp: more messages a second than allowed.

        """
        self._count(now_s)
        if payload in self._pings:
            for older in list(self._pings):
                del self._pings[older]
                if older == payload:
                    break

    # What time does

    def poll(self, now_s: float) -> bytes | None:
        """Return the payload of a ping that is due, if one is. Call it a few times a second.

        Raises:
            HangUp: the pong is overdue, or the connection is too old.
        """
        if now_s - self._opened_s >= self._limits.max_connection_s:
            raise HangUp(1001, "connection reached its maximum age")
        if self._pings and now_s - next(iter(self._pings.values())) >= self._limits.pong_within_s:
            raise HangUp(1008, "pong timeout")
        if now_s < self._next_ping_s:
            return None
        self._next_ping_s = now_s + self._limits.ping_every_s
        payload = str(int(now_s * 1000)).encode()
        self._pings[payload] = now_s
        return payload

    # Inside

    def _count(self, now_s: float) -> None:
        # "5 incoming messages per second. A message is considered: A PING frame, A PONG frame, A JSON controlled
        # message [...] A connection that goes beyond the limit will be disconnected"
        times = self._message_times
        if len(times) == times.maxlen and now_s - times[0] < 1:
            raise HangUp(1008, "Too many requests")
        times.append(now_s)

    def _obey(self, request: dict[str, object]) -> object:
        method, params = request["method"], request.get("params", [])
        if not isinstance(params, list):
            raise _BadRequestError(2, "Invalid request: params must be a list")
        if method == "LIST_SUBSCRIPTIONS":
            if params:
                raise _BadRequestError(2, "Invalid request: too many parameters")
            return list(self.streams)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(str(method), params)
        if not params or not all(isinstance(stream, str) for stream in params):
            raise _BadRequestError(2, "Invalid request: params must be a list of stream names")
        # A stream of an unknown symbol is acknowledged like any other, and then stays silent.
        if method == "SUBSCRIBE":
            streams = self.streams | dict.fromkeys(params)
            if len(streams) > self._limits.streams:
                raise _BadRequestError(2, "Invalid request: too many parameters")
            self.streams = streams
        else:
            self.streams = {stream: None for stream in self.streams if stream not in params}
        self.view = self._view()
        return None

    def _property(self, method: str, params: list[object]) -> object:
        if not params or not isinstance(params[0], str):
            raise _BadRequestError(2, "Invalid request: property name must be a string")
        if len(params) > (2 if method == "SET_PROPERTY" else 1):
            raise _BadRequestError(2, "Invalid request: too many parameters")
        if params[0] != "combined":
            raise _BadRequestError(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.combined
        if len(params) < 2 or not isinstance(params[1], bool):
            raise _BadRequestError(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        self.view = self._view()
        return None

    def _view(self) -> FollowedStreams:
        kinds: dict[str, set[str]] = {"trade": set(), "aggTrade": set(), "kline_1m": set()}
        for stream in self.streams:
            symbol, _, kind = stream.partition("@")
            # all symbols in stream names are lower case: BTCUSDT@trade says nothing
            if kind in kinds and symbol == symbol.lower():
                kinds[kind].add(symbol)
        return FollowedStreams(
            trades=frozenset(kinds["trade"]),
            aggregates=frozenset(kinds["aggTrade"]),
            klines=frozenset(kinds["kline_1m"]),
            combined=self.combined,
            microseconds=self.microseconds,
        )


def parse_target(target: str) -> tuple[bool, list[str], bool]:
    """Split a handshake's path and query into: combined, stream names, microseconds.

    Raises:
        TargetError: see `ClientSession`.
    """
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    unit = query.get("timeUnit", "MILLISECOND")
    if unit.upper() not in ("MILLISECOND", "MICROSECOND"):
        raise TargetError(400, f"found timeUnit {unit!r}, expected MILLISECOND or MICROSECOND")
    if parts.path == "/stream":
        combined, names = True, query.get("streams", "")
    elif parts.path == "/ws" or parts.path.startswith("/ws/"):
        combined, names = False, parts.path.removeprefix("/ws").removeprefix("/")
    else:
        raise TargetError(404, f"found path {parts.path!r}, expected /ws, /ws/<stream> or /stream?streams=")
    return combined, [name for name in names.split("/") if name], unit.upper() == "MICROSECOND"


def _decode(text: str | bytes) -> dict[str, object]:
    try:
        request = json.loads(text)
    except json.JSONDecodeError as exc:
        raise _BadRequestError(3, f"Invalid JSON: expected value at line {exc.lineno} column {exc.colno}") from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise _BadRequestError(3, "Invalid JSON: expected value at line 1 column 1") from exc
    if not isinstance(request, dict):
        raise _BadRequestError(2, "Invalid request: expected a JSON object")
    return request


def _id_of(request: dict[str, object]) -> int | str | None:
    request_id = request.get("id", ())
    if request_id is None:
        return None
    if isinstance(request_id, int) and not isinstance(request_id, bool) and -(2**63) <= request_id < 2**63:
        return request_id
    if isinstance(request_id, str) and len(request_id) <= 36:
        return request_id
    raise _BadRequestError(2, "Invalid request: request ID must be an unsigned integer")


def _check_method(request: dict[str, object], text: str | bytes) -> None:
    where = f"at line 1 column {len(text)}"
    if "method" not in request:
        raise _BadRequestError(2, f"Invalid request: missing field `method` {where}")
    if request["method"] not in METHODS:
        variants = ", ".join(f"`{method}`" for method in METHODS)
        found = f"unknown variant `{request['method']}`"
        raise _BadRequestError(2, f"Invalid request: {found}, expected one of {variants} {where}")
