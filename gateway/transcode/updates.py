"""Trades as the `/ws` protocol sends them: items of a JSON list, the same as in the answers of REST.

{"venue":"sim","symbol":"btcusdt","price":61837.63,"quantity":0.00042,"trade_id":7,
 "epoch":0,"timestamp":"2024-01-31T12:34:56.789Z","side":"BUY"}
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.transcode import json
from mesh.values import epochs
from tickcodec.ticks import TickFrames
from tickmesh.v1.signal_pb2 import SignalBatch, WatchResponse
from tickmesh.v1.trade_pb2 import SIDE_BUY, SIDE_SELL, Trade

_CHUNK_ROWS = 128

_trade = json.encoder(Trade.DESCRIPTOR)


class TradeItems:
    """Writes trades of signal's batches and of the store; one serves one thread."""

    def __init__(self) -> None:
        self._frames = TickFrames([], max_rows=_CHUNK_ROWS, tail=b"},", as_list=True)

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
        return items(trades_of(WatchResponse.FromString(response).batch, first=first, rows=rows))


def items(trades: Iterable[Trade]) -> bytes:
    """Return trades, separated by commas.

    Raises:
        ValueError: one of them cannot be written.

    """
    return json.to_bytes([_trade(trade) for trade in trades])[1:-1]


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
