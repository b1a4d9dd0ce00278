"""What a client of the `/ws` protocol says, read from its messages and from the parameters of its handshake. Pure.

{"op":"subscribe","id":1,"channel":"trades","symbols":["btcusdt"],"mode":"every","resume_from":{"btcusdt":101}}
{"op":"unsubscribe","id":2,"subscription":1}
{"op":"ping","id":3}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway import access
from gateway.errors import shown
from gateway.live.subscription import MAX_SYMBOLS
from gateway.transcode.updates import LIVE_FIELDS, SIGNAL_FIELDS
from mesh.service.errors import TickmeshError
from mesh.values import epochs
from mesh.values.candles import parse_interval
from mesh.values.symbols import parse_symbol, parse_venue

CHANNELS = ("trades", "ticks", "candles", "coverage", "status")
OF_SERVICES = ("coverage", "status")
"""Those that tell of the mesh, not of the market: they go on while no trade comes."""
MODES = ("every", "newest")
MAX_ID_CHARS = 64
RATES = {"every": (1.0, 20.0), "newest": (0.1, 20.0)}
"""How often a second a symbol's trades may be sent, by mode."""
RATE = 4.0
"""Of the newest, where none is asked for."""
INTERVAL = "1m"
MAX_PARTS = 1440
"""Stored candles that a live candle may consist of; store answers the last ones of them on one page."""
_MAX_EPOCH = 255

_MEMBERS = {
    "subscribe": {"op", "id", "channel", "symbols", "fields", "interval", "mode", "rate", "resume_from"},
    "unsubscribe": {"op", "id", "subscription"},
    "ping": {"op", "id"},
}
_OF_CHANNELS = {
    "symbols": ("trades", "ticks", "candles", "coverage"),
    "fields": ("ticks",),
    "interval": ("candles",),
    "mode": ("trades", "ticks"),
    "rate": ("trades", "ticks"),
    "resume_from": ("trades", "ticks"),
}
"""The channels that have a member."""
CHANNELS_PARAMETER = "channels"
_PARAMETERS = (CHANNELS_PARAMETER, "symbols", "fields", "interval", "mode", "rate", access.TOKEN_PARAMETER)

Json = Mapping[str, Any]
"""A decoded JSON object."""


class MalformedRequest(TickmeshError):
    """A request that cannot be understood.

    Args:
        field: where it is wrong: `symbols[0]`; empty for the message as a whole.
        found: what stands there, short enough to be shown.
        expected: what may stand there.

    """

    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(f"{field or 'message'}: found {found}, expected {expected}")
        self.field = field
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Asks for a channel.

    Attributes:
        channel: one of `CHANNELS`.
        symbols: whose, in lower case, each once; none for `status`.
        mode: `every` update, or the `newest` one at a rate.
        fields: of `ticks`, the signals that are wanted.
        rate: how often a second at most; 0 where every trade is sent as it comes.
        resume_after: symbol -> key of the last trade that the client has.
        resume_venues: symbol -> venue of that trade, where the client says it.
        interval: of `candles`, their length, the stored one of the same length where there is one; empty otherwise.

    """

    channel: str
    symbols: tuple[str, ...]
    fields: tuple[str, ...] = ()
    mode: str = "every"
    rate: float = 0.0
    resume_after: Mapping[str, int] = field(default_factory=dict)
    resume_venues: Mapping[str, str] = field(default_factory=dict)
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Ends a subscription, by the number that its acknowledgement had."""

    subscription: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong."""


Request = Subscribe | Unsubscribe | Ping


def begins_protocol(text: str | None) -> bool:
    """Tell whether a client that was sent the list of trades speaks the protocol from this message on."""
    if text is None or '"op"' not in text:
        return False
    try:
        message = read_json(text)
    except MalformedRequest:
        return False
    return isinstance(message, dict) and "op" in message


def read_json(text: str) -> object:
    """Return the value of a message.

    Raises:
        MalformedRequest: it is not JSON.

    """
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as exc:
        raise MalformedRequest("", shown(text), f"a JSON object ({exc})") from None


def request_id(message: object) -> int | str | None:
    """Return the id of a message where it has a usable one, so that even a wrong message can be answered with it."""
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, str):
        return found if len(found) <= MAX_ID_CHARS else None
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63 else None


def parse_request(message: object) -> Request:
    """Read a message.

    Raises:
        MalformedRequest: naming what is wrong, what was found, and what is expected.

    """
    if not isinstance(message, dict):
        raise MalformedRequest("", shown(message), "a JSON object")
    op = _one_of("op", message.get("op"), _MEMBERS)
    if message.get("id") is not None and request_id(message) is None:
        raise MalformedRequest(
            "id", shown(message["id"]), f"an integer of 64 bits, or text of at most {MAX_ID_CHARS} characters"
        )
    _no_others(message, _MEMBERS[op], f"of {op}")
    if op == "subscribe":
        return _subscribe(message)
    if op == "unsubscribe":
        return Unsubscribe(_integer("subscription", message.get("subscription"), 1, 2**31 - 1))
    return Ping()


def parse_channels(pairs: Iterable[tuple[str, str]]) -> list[Subscribe] | None:
    """Read the parameters of a handshake, without the token; None when they do not ask for the protocol.

    Raises:
        MalformedRequest: as `parse_request`.

    """
    found = list(pairs)
    if all(name != CHANNELS_PARAMETER for name, _ in found):
        return None
    said: dict[str, str] = {}
    for name, value in found:
        if name not in _PARAMETERS:
            raise MalformedRequest(
                name[:40], shown(value), f"no such parameter; with channels there are {', '.join(_PARAMETERS)}"
            )
        if name in said:
            raise MalformedRequest(name, shown(value), "it once")
        said[name] = value
    channels = _listed(said.pop(CHANNELS_PARAMETER))
    message: dict[str, Any] = {"symbols": _listed(said["symbols"])} if "symbols" in said else {}
    message |= {"fields": _listed(said["fields"])} if "fields" in said else {}
    message |= {"interval": said["interval"]} if "interval" in said else {}
    message |= {"mode": said["mode"]} if "mode" in said else {}
    if "rate" in said:
        try:
            message["rate"] = float(said["rate"])
        except ValueError:
            raise MalformedRequest("rate", shown(said["rate"]), _rates("newest")) from None
    for channel in channels:
        _one_of("channel", channel, CHANNELS)
    for name in message:
        if not set(channels) & set(_OF_CHANNELS[name]) and not _is_default(name, said[name]):
            raise _misplaced(name, said[name])
    return [
        _subscribe(
            {name: value for name, value in message.items() if channel in _OF_CHANNELS[name]} | {"channel": channel}
        )
        for channel in dict.fromkeys(channels)
    ]


def _subscribe(message: Json) -> Subscribe:
    channel = _one_of("channel", message.get("channel"), CHANNELS)
    mode = _one_of("mode", message.get("mode", "every"), MODES)
    for name, having in _OF_CHANNELS.items():
        if name in message and channel not in having and not _is_default(name, message[name]):
            raise _misplaced(name, message[name])
    symbols = _symbols(message.get("symbols")) if channel in _OF_CHANNELS["symbols"] else ()
    fields = _fields(message.get("fields", list(LIVE_FIELDS))) if channel == "ticks" else ()
    interval = _interval(message.get("interval", INTERVAL)) if channel == "candles" else ""
    rate = message.get("rate", RATE if mode == "newest" else None)
    low, high = RATES[mode]
    if "rate" in message and (isinstance(rate, bool) or not isinstance(rate, int | float) or not low <= rate <= high):
        raise MalformedRequest("rate", shown(rate), _rates(mode))
    resume = message.get("resume_from", {})
    if resume and mode != "every":
        raise MalformedRequest("resume_from", shown(resume), 'it with "mode":"every" only')
    after, venues = _resume_from(resume, symbols)
    return Subscribe(channel, symbols, fields, mode, float(rate or 0), after, venues, interval)


def _is_default(name: str, value: object) -> bool:
    """Tell whether a member says what each acknowledgement says: with any channel a client may send that back."""
    return name == "mode" and value == "every"


def _misplaced(name: str, value: object) -> MalformedRequest:
    having = _OF_CHANNELS[name]
    channels = f"channel {having[0]}" if len(having) == 1 else f"channels {', '.join(having[:-1])} and {having[-1]}"
    return MalformedRequest(name, shown(value), f"it with the {channels} only")


def _symbols(words: object) -> tuple[str, ...]:
    if not isinstance(words, list) or not 1 <= len(words) <= MAX_SYMBOLS:
        found = f"{len(words)} symbols" if isinstance(words, list) else _found(words)
        raise MalformedRequest("symbols", found, f"a list of 1 to {MAX_SYMBOLS} symbols")
    symbols = []
    for n, word in enumerate(words):
        try:
            symbols.append(parse_symbol(word if isinstance(word, str) else ""))
        except ValueError:
            raise MalformedRequest(f"symbols[{n}]", shown(word), "a symbol, as btcusdt") from None
    return tuple(dict.fromkeys(symbols))


def _fields(words: object) -> tuple[str, ...]:
    if not isinstance(words, list) or not words or len(words) > len(SIGNAL_FIELDS):
        found = f"{len(words)} fields" if isinstance(words, list) else _found(words)
        raise MalformedRequest("fields", found, f"a list of 1 to {len(SIGNAL_FIELDS)} signals")
    for n, word in enumerate(words):
        _one_of(f"fields[{n}]", word, SIGNAL_FIELDS)
    return tuple(name for name in SIGNAL_FIELDS if name in words)  # in one order, so that what is equal is made once


def _interval(name: object) -> str:
    try:
        return parse_interval(name if isinstance(name, str) else "", max_parts=MAX_PARTS).name
    except ValueError as exc:
        expected = str(exc).rpartition(", expected ")[2]
        raise MalformedRequest("interval", _found(name), expected) from None


def _resume_from(resume: object, symbols: Collection[str]) -> tuple[dict[str, int], dict[str, str]]:
    if not isinstance(resume, dict):
        raise MalformedRequest("resume_from", _found(resume), 'an object: {"btcusdt":101}')
    keys, venues = {}, {}
    for name, value in resume.items():
        where = f"resume_from.{name[:40]}"
        if name.lower() not in symbols:
            raise MalformedRequest(where, shown(value), "one of the symbols that are subscribed to")
        words: Json = value if isinstance(value, dict) else {"trade_id": value}
        _no_others(words, {"trade_id", "epoch", "venue"}, f"of {where}")
        epoch = _integer(f"{where}.epoch", words.get("epoch", 0), 0, _MAX_EPOCH)
        place = f"{where}.trade_id" if isinstance(value, dict) else where
        keys[name.lower()] = epochs.key_of(epoch, _integer(place, words.get("trade_id"), 0, epochs.IDS - 1))
        if (venue := words.get("venue")) is not None:
            venues[name.lower()] = _venue(f"{where}.venue", venue)
    return keys, venues


def _venue(where: str, word: object) -> str:
    try:
        return parse_venue(word)
    except ValueError:
        raise MalformedRequest(where, shown(word), "a venue, as binance") from None


def _integer(where: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise MalformedRequest(where, _found(value), f"a whole number from {low} to {high}")
    return value


def _one_of(where: str, value: object, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise MalformedRequest(where, _found(value), f"one of {', '.join(known)}")
    return value


def _no_others(message: Json, known: Collection[str], whose: str) -> None:
    for name, value in message.items():
        if name not in known:
            raise MalformedRequest(
                name[:40], shown(value), f"no such member; those {whose} are {', '.join(sorted(known))}"
            )


def _rates(mode: str) -> str:
    low, high = RATES[mode]
    return f"a number from {low:g} to {high:g}"


def _found(value: object) -> str:
    return "nothing" if value is None else shown(value)


def _listed(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]
