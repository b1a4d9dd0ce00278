"""Symbols and their names for people; the six coins of the original."""

from __future__ import annotations

import re

NAMES = {
    "btcusdt": "Bitcoin (BTC)",
    "ethusdt": "Ethereum (ETH)",
    "solusdt": "Solana (SOL)",
    "bnbusdt": "Binance Coin (BNB)",
    "xrpusdt": "Ripple (XRP)",
    "dogeusdt": "Dogecoin (DOGE)",
}
DEFAULT_SYMBOLS = tuple(NAMES)

# One token of a NATS subject, and what the venue uses in stream names.
_SYMBOL = re.compile(r"[a-z0-9]{2,32}")
_VENUE = re.compile(r"[a-z][a-z0-9]{0,15}")


def parse_symbol(text: object) -> str:
    """Return the symbol in lower case.

    Raises:
        ValueError: not 2 to 32 letters and digits; the message shows what was found.

    """
    symbol = text.strip().lower() if isinstance(text, str) else ""
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError(f"{str(text)[:40]!r} is not a symbol: expected 2 to 32 letters and digits, like 'btcusdt'")
    return symbol


def parse_venue(text: object) -> str:
    """Return the venue's name; raise `ValueError` when it is none."""
    if not isinstance(text, str) or not _VENUE.fullmatch(text):
        raise ValueError(f"{str(text)[:40]!r} is not a venue: expected a lower-case word, like 'binance'")
    return text


def name_of(symbol: str, *, base_asset: str = "") -> str:
    """Return the name for people: the original's for its six coins, else the base asset, else in capitals."""
    return NAMES.get(symbol) or base_asset or symbol.upper()
