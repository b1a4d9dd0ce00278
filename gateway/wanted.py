"""Which symbols a client of `/ws` wants: its parameters, read. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import access
from mesh.symbols import parse_symbol

EVERYTHING = "*"
MAX_SYMBOLS = 64


def wanted_symbols(pairs: Iterable[tuple[str, str]]) -> tuple[frozenset[str] | None, bool]:
    """Read the parameters of `/ws`, without the token: `symbols=btcusdt,ethusdt`, `symbols=*`, or none at all.

    Returns:
        The symbols, None when the selected one is meant; and whether every symbol is.

    Raises:
        ValueError: another parameter, a word that is no symbol, or too many of them.

    """
    words: list[str] = []
    for name, value in pairs:
        if name != "symbols":
            raise ValueError(f"unknown parameter {name[:40]!r}, expected symbols or {access.TOKEN_PARAMETER}")
        words += [word.strip() for word in value.split(",") if word.strip()]
    if EVERYTHING in words:
        return None, True
    if len(words) > MAX_SYMBOLS:
        raise ValueError(f"{len(words)} symbols, expected at most {MAX_SYMBOLS}, or {EVERYTHING} for all")
    return frozenset(map(parse_symbol, words)) or None, False
