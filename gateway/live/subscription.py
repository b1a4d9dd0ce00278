"""Which trades a client of `/ws` subscribes to, read from its parameters. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway import access
from mesh.values.symbols import parse_symbol

EVERYTHING = "*"
MAX_SYMBOLS = 64
_YES_NO = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one client is sent.

    Attributes:
        symbols: the only symbols whose trades are wanted; None wants the selected one, whichever that is.
        everything: want every symbol, whatever `symbols` says.
        events: send, beside the trades, which symbol is selected and whether trades flow.

    """

    symbols: frozenset[str] | None = None
    everything: bool = False
    events: bool = False


def parse_subscription(pairs: Iterable[tuple[str, str]]) -> Subscription:
    """Read the parameters of `/ws`, without the token: `symbols=btcusdt,ethusdt`, `symbols=*`, `events=true`.

    Raises:
        ValueError: another parameter, a word that is no symbol, or too many of them.

    """
    words: list[str] = []
    events = False
    for name, value in pairs:
        if name == "symbols":
            words += [word.strip() for word in value.split(",") if word.strip()]
        elif name == "events":
            if value not in _YES_NO:
                raise ValueError(f"events is {value[:20]!r}, expected true or false")
            events = _YES_NO[value]
        else:
            raise ValueError(f"unknown parameter {name[:40]!r}, expected symbols, events or {access.TOKEN_PARAMETER}")
    if EVERYTHING in words:
        return Subscription(everything=True, events=events)
    if len(words) > MAX_SYMBOLS:
        raise ValueError(f"{len(words)} symbols, expected at most {MAX_SYMBOLS}, or {EVERYTHING} for all")
    return Subscription(frozenset(map(parse_symbol, words)) or None, events=events)
