"""How far PROCESSED goes: per symbol the last trade whose signals it holds, so that none is published twice.

By the ids of trades and not by RAW's sequences: RAW may have lost its end, and then holds the same trades elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from mesh.service.errors import BadMessage
from mesh.values.trades import SignalColumns

log = logging.getLogger("signal.published")


class Published:
    """See the module. `last_ids` is by venue and symbol, as PROCESSED was when it was read."""

    def __init__(self, last_ids: Mapping[tuple[str, str], int]) -> None:
        self.last_ids = last_ids

    @classmethod
    async def read(cls, bus: Bus) -> Published:
        """Read the last message of each symbol."""
        info = await bus.js.stream_info(subjects.PROCESSED, subjects_filter=">")
        last_ids: dict[tuple[str, str], int] = {}
        for subject in info.state.subjects or {}:
            last = await bus.js.get_last_msg(subjects.PROCESSED, subject)
            venue, token = subject.split(".")[-2:]
            try:
                last_ids[venue, subjects.symbol_of(token)] = wire.decode_end(last.data or b"")[1]
            except (BadMessage, ValueError) as exc:
                log.error(
                    "the last message of %s is none of ours, its symbol counts as not published: %s", subject, exc
                )
        return cls(last_ids)

    def rest(self, signals: SignalColumns) -> SignalColumns | None:
        """Return the rows that are not published yet; None when all are."""
        ids = signals.trades.trade_id
        last_id = self.last_ids.get((signals.trades.venue, signals.trades.symbol), -1)
        if ids[0] > last_id:
            return signals
        count = int(np.searchsorted(ids, last_id, "right"))
        if count == len(ids):
            return None
        reached_us = int(signals.trades.time_us[:count].max())
        candles = tuple(candle for candle in signals.candles if candle.end_us > reached_us)
        return signals.rows(slice(count, None), candles)
