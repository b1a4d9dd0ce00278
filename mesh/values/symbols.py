"""Symbols and their names for people; the six coins of the original."""

from __future__ import annotations

import re
import unicodedata

NAMES = {
    "btcusdt": "Bitcoin (BTC)",
    "ethusdt": "Ethereum (ETH)",
    "solusdt": "Solana (SOL)",
    "bnbusdt": "Binance Coin (BNB)",
    "xrpusdt": "Ripple (XRP)",
    "dogeusdt": "Dogecoin (DOGE)",
}
DEFAULT_SYMBOLS = tuple(NAMES)

MAX_SYMBOL_CHARS = 32
_MAX_TEXT_CHARS = 100  # with blanks around it
MAX_SYMBOL_BYTES = 96
"""Of UTF-8: three bytes a character, which is what the scripts of the world's coins take."""

_ASCII_SYMBOL = re.compile(r"[a-z0-9]{2,32}")
_VENUE = re.compile(r"[a-z][a-z0-9]{0,15}")


def parse_symbol(text: object) -> str:
    """Return the symbol in lower case.

    A symbol is 2 to 32 letters and digits of any script, at most 96 bytes of UTF-8: `btcusdt`, `币安人生usdt`. So it
    holds no blank, no control character, nothing that has a meaning in an address, a subject or a shell. Beyond ASCII
    it has to be written in the one form that Unicode prefers (NFKC) and to come back from upper case as it went there:
    no two symbols look the same by a trick of writing, and the venue gets back the name that it gave.

    Raises:
        ValueError: anything else; the message shows what was found.

    """
    symbol = text.strip().lower() if isinstance(text, str) and len(text) <= _MAX_TEXT_CHARS else ""
    if not (_ASCII_SYMBOL.fullmatch(symbol) or _is_symbol_beyond_ascii(symbol)):
        raise ValueError(f"{str(text)[:40]!r} is not a symbol: expected 2 to 32 letters and digits, like 'btcusdt'")
    return symbol


def _is_symbol_beyond_ascii(symbol: str) -> bool:
    return (
        not symbol.isascii()
        and 2 <= len(symbol) <= MAX_SYMBOL_CHARS
        and symbol.isalnum()
        and len(symbol.encode(errors="replace")) <= MAX_SYMBOL_BYTES
        and unicodedata.is_normalized("NFKC", symbol)
        and symbol.upper().lower() == symbol
        and len(symbol.upper()) == len(symbol)
    )


def parse_venue(text: object) -> str:
    """Return the venue's name; raise `ValueError` when it is none."""
    if not isinstance(text, str) or not _VENUE.fullmatch(text):
        raise ValueError(f"{str(text)[:40]!r} is not a venue: expected a lower-case word, like 'binance'")
    return text


def name_of(symbol: str, *, base_asset: str = "") -> str:
    """Return the name for people: the original's for its six coins, else the base asset, else in capitals.

    Args:
        symbol: in lower case.
        base_asset: as the venue lists it; "" where it has not.

    """
    return NAMES.get(symbol) or base_asset or symbol.upper()
