"""Which streams of Binance's hold a symbol's trades and minutes, and how one subscribes to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from urllib.parse import quote

import msgspec

MAX_SYMBOLS = 500
"""The venue allows 1024 streams a connection, and each symbol has two."""


def request(method: str, streams: Iterable[str], request_id: int) -> bytes:
    """Word a request: `{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}`.

    Args:
        method: SUBSCRIBE or UNSUBSCRIBE.
        streams: their names.
        request_id: by which the reply is known.

    """
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id})


def streams(symbol: str, *, minutes: bool) -> tuple[str, ...]:
    """Return the names of a symbol's streams: `btcusdt@trade`, and `btcusdt@kline_1m` for the closed minutes.

    Args:
        symbol: in lower case.
        minutes: whether the closed minutes are wanted beside the trades.

    """
    trades = f"{symbol}@trade"
    return (trades, f"{symbol}@kline_1m") if minutes else (trades,)


def streams_of(symbols: Iterable[str], *, minutes: bool) -> list[str]:
    """Return the names of all streams of these symbols.

    Args:
        symbols: in lower case.
        minutes: whether the closed minutes are wanted beside the trades.

    """
    return list(chain.from_iterable(streams(symbol, minutes=minutes) for symbol in symbols))


def target(symbols: Iterable[str], *, plain: bool) -> str:
    """Return the path and query that open combined streams of symbols.

    Args:
        symbols: in lower case; as many as an address may hold.
        plain: whether to ask for trades alone, without minutes and in whichever unit the venue gives times in.

    """
    # The streams come first: there are servers that look for just this beginning.
    combined = f"/stream?streams={quote('/'.join(streams_of(symbols, minutes=not plain)), safe='/@')}"
    return combined if plain else f"{combined}&timeUnit=MICROSECOND"
