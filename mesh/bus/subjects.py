"""Every subject, stream, durable and bucket name of the bus, and the names in its messages, in one place.

A `venue` is its name as rows are called, `binance`; a `symbol` is in lower case and of any script.
"""

from __future__ import annotations

import re
from typing import Final

from mesh.bus.partitions import WHOLE, Partition

RAW = "RAW"
PROCESSED = "PROCESSED"
CONTROL = "CONTROL"
CANDLES = "CANDLES"
DEAD = "DEAD"

CONTROL_ALL = "control.>"
CANDLES_ALL = "candles.>"
DEAD_ALL = "trades.dead.>"

ENGINE_BUCKET = "engine"
ENGINE_POSITION = "position"
"""The key up to where the engine's state counts; of several partitions `position_0` and so on."""
LEASE_BUCKET = "leases"

CONTROL_PARTITIONS = "control.partitions"
CONTROL_SYMBOL = "control.symbol"
CONTROL_CATALOG = "control.catalog"
CONTROL_LOOKUP = "control.lookup"
CONTROL_LOOKED_UP = "control.looked-up"
REPAIR_ALL = "control.repair.>"
EPOCH_ALL = "control.epoch.>"
EPOCHS_TOLD = "control.epoch.told"
"""Its last message says that store has told the epochs of everything it has stored since the bus was made."""
REPAIRED_ALL = "control.repaired.>"
STATUS_ALL = "control.status.*"

DURABLE_SIGNAL = "signal"
DURABLE_SIGNAL_AHEAD = "signal-ahead"
DURABLE_STORE = "store"
DURABLE_STORE_CANDLES = "store-candles"
DURABLE_STORE_SIGNALS = "store-signals"

MESSAGE_ID: Final = "Nats-Msg-Id"
"""The header in which a message carries its id."""
REPAIR: Final = ".repair."
"""In the id of a message of RAW: it holds trades of the past as REST tells them, which replace what has their ids.

store has asked for them, or ingest has found out that it published another trade with their id.
"""

_BEYOND_ASCII = "xn--"
"""No symbol of ASCII alone holds a hyphen, so none of them is taken for the token of another."""


def token(symbol: str) -> str:
    """Return a symbol as one token of a subject, a key of a bucket or a part of a message's id.

    One of ASCII is its own token; another one is written as domain names are, by Punycode: `xn--usdt-...`. Different
    symbols have different tokens.
    """
    return symbol if symbol.isascii() else _BEYOND_ASCII + symbol.encode("punycode").decode("ascii")


def symbol_of(token: str) -> str:
    """Return the symbol of a token. Raises: ValueError: it is none."""
    if not token.startswith(_BEYOND_ASCII):
        return token
    return token.removeprefix(_BEYOND_ASCII).encode("ascii").decode("punycode")


def raw(venue: str, partition: Partition = WHOLE) -> str:
    """Return the subject of the trades of all symbols of a venue as they came: `trades.raw.binance`.

    Args:
        venue: whose trades: `binance`; `>` for all there is.
        partition: of their symbols; of several the second one's subject is `trades.raw.1.binance`.

    """
    return f"trades.raw.{partition.prefix}{venue}"


def last_trades(raw: str) -> str:
    """Return the subject on which the last trades of all symbols are told again: `trades.raw.binance.last-trades`.

    For the next ingest, which goes on after them; no symbol holds a hyphen.

    Args:
        raw: the subject of those trades.

    """
    return f"{raw}.last-trades"


def is_last_trades(subject: str) -> bool:
    """Tell whether a message of RAW tells trades again that stand before it."""
    return subject.endswith(".last-trades")


def raw_of_symbol(venue: str, symbol: str, partition: Partition = WHOLE) -> str:
    """Return the subject of a symbol's repairs, and of its trades as an older ingest published them.

    `trades.raw.binance.btcusdt`

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case, of any script: `btcusdt`.
        partition: the symbol's.

    """
    return f"{raw(venue, partition)}.{token(symbol)}"


def processed(venue: str, partition: Partition = WHOLE) -> str:
    """Return the subject of the trades of all symbols of a venue with their signals: `trades.processed.binance`.

    Args:
        venue: whose trades: `binance`; `>` for all there is.
        partition: of their symbols; of several the second one's subject is `trades.processed.1.binance`.

    """
    return f"trades.processed.{partition.prefix}{venue}"


_OF_ONE_SYMBOL = re.compile(r"[^.]+\.[^.]+\.([0-9]+\.)?[^.0-9][^.]*\.[^.]+")  # no venue begins with a digit


def is_of_one_symbol(subject: str) -> bool:
    """Tell whether a message of RAW or PROCESSED is one batch, on `trades.raw.<venue>.<symbol>`, and not many."""
    return _OF_ONE_SYMBOL.fullmatch(subject) is not None


def candle(venue: str, symbol: str) -> str:
    """Return the subject of a symbol's closed minutes as the venue counts them: `candles.binance.btcusdt`.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case, of any script: `btcusdt`.

    """
    return f"candles.{venue}.{token(symbol)}"


def dead(stream: str) -> str:
    """Return the subject of what store could not take from a stream: `trades.dead.RAW`."""
    return f"trades.dead.{stream}"


def repair(venue: str, symbol: str) -> str:
    """Return the subject of the trades store misses: `control.repair.binance.btcusdt`.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case, of any script: `btcusdt`.

    """
    return f"control.repair.{venue}.{token(symbol)}"


def repaired(venue: str, symbol: str) -> str:
    """Return the subject of what became of a repair: `control.repaired.binance.btcusdt`.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case, of any script: `btcusdt`.

    """
    return f"control.repaired.{venue}.{token(symbol)}"


def instance(service: str, instance_id: str) -> str:
    """Return the subject on which an instance of a service answers that it is there: `instance.store.1f00...`.

    Args:
        service: the service's name.
        instance_id: drawn by the instance at its start.

    """
    return f"instance.{service}.{instance_id}"


def status(name: str) -> str:
    """Return the subject of what a service, or one of its instances (`store-3`), reports: `control.status.ingest`."""
    return f"control.status.{name}"


def epoch(venue: str, symbol: str) -> str:
    """Return the subject of how often a venue has begun a symbol's ids again: `control.epoch.binance.btcusdt`.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case, of any script: `btcusdt`.

    """
    return f"control.epoch.{venue}.{token(symbol)}"
