"""Trades and ticks as the `/ws` protocol sends them: items of a JSON list.

A trade is as in the answers of REST; a tick is a trade with the signals after it, or `null` where the store had to be
asked for it:

    {"venue":"sim","symbol":"btcusdt","price":61837.63,"quantity":0.00042,"trade_id":7,"epoch":0,
     "timestamp":"2024-01-31T12:34:56.789Z","side":"BUY","signals":{"moving_average":61836.9,"high":61840}}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.transcode import json
from gateway.transcode.fields import E8_SUFFIX, public_name
from gateway.transcode.numbers import plain_number
from gateway.transcode.ticks import member_of
from mesh.values import epochs
from mesh.values.fixed import format_e8
from mesh.values.signals import SIGNALS
from tickcodec.ticks import TickFrames
from tickmesh.v1.signal_pb2 import GetStatsResponse, SignalBatch, WatchResponse
from tickmesh.v1.trade_pb2 import SIDE_BUY, SIDE_SELL, Trade

_CHUNK_ROWS = 64

_STATS = GetStatsResponse.DESCRIPTOR.fields_by_name
SIGNAL_FIELDS = {
    public_name(_STATS[signal.stats_name]): signal
    for signal in sorted(SIGNALS, key=lambda signal: _STATS[signal.stats_name].number)
}
"""The signals by the names that `/api/stats` has for them, in its order."""
LIVE_FIELDS = tuple(name for name, signal in SIGNAL_FIELDS.items() if signal.live)
"""Those that go out with each trade where nobody chooses."""

_trade = json.encoder(Trade.DESCRIPTOR)


class TradeItems:
    """Writes trades of signal's batches and of the store; one serves one thread.

    Args:
        fields: the signals of a tick, in the order of `SIGNAL_FIELDS`; none for trades alone.

    """

    def __init__(self, fields: Sequence[str] = ()) -> None:
        self._fields = fields
        members = [member_of(SIGNAL_FIELDS[name]) for name in fields]
        if members:
            members[0] = replace(members[0], key=f',"signals":{{{members[0].key[1:]}')
        tail = b"}}," if members else b"},"
        # Room for twice as many rows as usual ones need: all signals at their longest fit, too.
        self._frames = TickFrames(members, max_rows=2 * _CHUNK_ROWS, tail=tail, as_list=True)

    def of_batch(self, response: bytes, *, first: int, rows: int) -> bytes:
        """Return trades, separated by commas.

        Args:
            response: a serialized `WatchResponse` with one batch.
            first: the row of the first of them.
            rows: how many.

        Raises:
            ValueError: one of them cannot be written: its time, say, is beyond the year 9999.

        """
        if found := self._frames.find(response):
            before = _head(found[0].venue, found[0].symbol)
            parts = []
            for begin in range(first, first + rows, _CHUNK_ROWS):
                count = min(_CHUNK_ROWS, first + rows - begin)
                if (part := self._frames.write(response, found[0], before, first=begin, rows=count)) is None:
                    break
                parts.append(part)
            else:
                return b"".join(parts)[:-1]
        batch = WatchResponse.FromString(response).batch
        signals = [self._signals(batch, row) for row in range(first, first + rows)] if self._fields else ()
        return self._listed(trades_of(batch, first=first, rows=rows), signals)

    def of_stored(self, trades: Iterable[Trade]) -> bytes:
        """Return trades of the store, separated by commas.

        Raises:
            ValueError: one of them cannot be written.

        """
        return self._listed(trades, ())

    def _listed(self, trades: Iterable[Trade], signals: Sequence[object]) -> bytes:
        listed: list[object] = [_trade(trade) for trade in trades]
        if self._fields:
            listed = [one | {"signals": signals[n] if signals else None} for n, one in enumerate(listed)]  # type: ignore[operator]  # it is an object
        return json.to_bytes(listed)[1:-1]

    def _signals(self, batch: SignalBatch, row: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in self._fields:
            signal = SIGNAL_FIELDS[name]
            column = getattr(batch, signal.name)
            value = column[row] if row < len(column) else None
            if value is not None and signal.name.endswith(E8_SUFFIX):
                value = msgspec.Raw(format_e8(value).encode())
            found[name] = plain_number(value) if isinstance(value, float) else value
        return found


@lru_cache(maxsize=64)
def writer_of(fields: tuple[str, ...]) -> TradeItems:
    """Return what writes ticks with these signals, or trades, for all who want the same."""
    return TradeItems(fields)


def trades_of(batch: SignalBatch, *, first: int, rows: int) -> list[Trade]:
    """Return some trades of a batch.

    Args:
        batch: of signal's.
        first: the row of the first of them.
        rows: how many.

    """
    columns = batch.trades
    return [
        Trade(
            venue=columns.venue,
            symbol=columns.symbol,
            trade_id=epochs.venue_id(columns.trade_id[row]),
            epoch=epochs.epoch_of(columns.trade_id[row]),
            price_e8=columns.price_e8[row],
            quantity_e8=columns.quantity_e8[row],
            timestamp=Timestamp(
                seconds=columns.time_us[row] // 1_000_000, nanos=columns.time_us[row] % 1_000_000 * 1000
            ),
            side=SIDE_SELL if columns.is_buyer_maker[row] else SIDE_BUY,
        )
        for row in range(first, first + rows)
    ]


@lru_cache(maxsize=4096)
def _head(venue: str, symbol: str) -> bytes:
    return b'{"venue":%b,"symbol":%b,"price":' % (msgspec.json.encode(venue), msgspec.json.encode(symbol))
