"""Epochs: each time a venue begins a symbol's ids again, the mesh counts one epoch more. Pure.

Inside the mesh (bus, ledger, table, saved state) a trade's id is a key that never falls:
`epoch * 2**54 + the venue's id`. In epoch 0, which nearly every symbol stays in for ever, it is the venue's id. People
and programs are told both numbers.
"""

from __future__ import annotations

IDS = 2**54
"""So many ids an epoch has; 256 epochs fit below the highest id there may be."""


def epoch_of(key: int) -> int:
    """Return the epoch of a key; 0 of -1, which stands for no trade."""
    return max(key, 0) // IDS


def venue_id(key: int) -> int:
    """Return the id that the venue gave the trade; -1 of -1."""
    return key if key < 0 else key % IDS


def key_of(epoch: int, trade_id: int) -> int:
    """Return the key of a venue's id.

    Args:
        epoch: how often the venue has begun the symbol's ids again.
        trade_id: the venue's own id.

    """
    return trade_id if trade_id < 0 else epoch * IDS + trade_id
