"""A batch of trades with their signals -> one JSON object a trade, as `/ws` sends them.

    {"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","price":61837.63,"quantity":0.00042,"trade_id":7,
     "timestamp":"2024-01-31T12:34:56.789Z","side":"BUY","moving_average":61836.9,"high":61840,"low":61830.01,
     "window_high":61838,"window_low":61836,"count":7,"volume":0.031,"open":61835,"vwap":61836.2,
     "exponential_average":61836.7,"volatility":0.00002}

The same names and number formats as the REST answers have, but written column by column: the way through one message
a trade costs several times as much. Prices repeat from trade to trade, highs and lows most of all, so their texts are
kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import msgspec

from gateway.transcode.numbers import plain_texts
from gateway.transcode.times import format_seconds
from mesh.values import epochs
from mesh.values.fixed import format_e8
from tickmesh.v1.signal_pb2 import SignalBatch

_KEPT_TEXTS = 32_768
_encode = msgspec.json.Encoder().encode


class Texts(dict[int, str]):
    """Numbers and their texts, made when first asked for; forgets all when there are too many."""

    def __init__(self, write: Callable[[int], str], *, max_kept: int = _KEPT_TEXTS) -> None:
        super().__init__()
        self._write = write
        self._max_kept = max_kept

    def __missing__(self, number: int) -> str:
        if len(self) >= self._max_kept:
            self.clear()
        text = self[number] = self._write(number)
        return text


class TickWriter:
    """Writes the trades of batches as JSON; keeps texts it has made, so one writer serves one stream."""

    def __init__(self) -> None:
        self._e8 = Texts(format_e8)
        self._times = Texts(_time_text)

    def write(self, batch: SignalBatch, name: str) -> list[bytes]:
        """Return the JSON of each trade, in order.

        Args:
            batch: one symbol's trades.
            name: the symbol's name for people.

        Raises:
            ValueError: columns of different lengths.

        """
        trades = batch.trades
        e8, times = self._e8, self._times
        head = f'{{"symbol":{_text(trades.symbol)},"name":{_text(name)},"venue":{_text(trades.venue)},"price":'
        averages, volumes, vwaps, exponentials, volatilities = _numbers(
            len(trades.price_e8),
            batch.moving_average,
            batch.session_volume,
            batch.session_vwap,
            batch.exponential_average,
            batch.volatility,  # last: mostly only these are so small that their texts have to be looked at one by one
        )
        rows = zip(
            trades.price_e8[:],
            trades.quantity_e8[:],
            _ids(trades.trade_id[:]),
            trades.time_us[:],
            trades.is_buyer_maker[:],
            averages,
            batch.session_high_e8[:],
            batch.session_low_e8[:],
            batch.window_high_e8[:],
            batch.window_low_e8[:],
            batch.session_count[:],
            volumes,
            batch.session_open_e8[:],
            vwaps,
            exponentials,
            volatilities,
            strict=True,
        )
        return [
            f'{head}{e8[price]},"quantity":{e8[quantity]},"trade_id":{trade_id},"timestamp":"{times[time_us]}",'
            f'"side":"{"SELL" if maker else "BUY"}","moving_average":{average},"high":{e8[high]},"low":{e8[low]},'
            f'"window_high":{e8[window_high]},"window_low":{e8[window_low]},"count":{count},"volume":{volume},'
            f'"open":{e8[opened]},"vwap":{vwap},"exponential_average":{exponential},"volatility":{volatility}}}'.encode()
            for (
                price,
                quantity,
                trade_id,
                time_us,
                maker,
                average,
                high,
                low,
                window_high,
                window_low,
                count,
                volume,
                opened,
                vwap,
                exponential,
                volatility,
            ) in rows
        ]


def _ids(keys: Sequence[int]) -> Sequence[object]:
    """Return the trades' ids as the venue gave them, ready to be written; their epoch stands beside those of a later
    epoch than the first one."""
    if not keys or max(keys) < epochs.IDS:
        return keys
    return [
        f'{epochs.venue_id(key)},"epoch":{epoch}' if (epoch := epochs.epoch_of(key)) else epochs.venue_id(key)
        for key in keys
    ]


def _numbers(count: int, *columns: Sequence[float]) -> Iterator[list[str]]:
    """Yield the columns' texts; all columns at once, since the first number of a call costs as much as ten more."""
    if any(len(column) != count for column in columns):
        raise ValueError(f"columns of {', '.join(str(len(column)) for column in columns)} numbers, expected {count}")
    texts = plain_texts(chain(*columns))
    return (texts[n * count : (n + 1) * count] for n in range(len(columns)))


def _text(value: str) -> str:
    return _encode(value).decode()


def _time_text(time_us: int) -> str:
    seconds, micros = divmod(time_us, 1_000_000)
    millis, rest = divmod(micros, 1000)
    if rest:
        return f"{format_seconds(seconds)}.{micros:06d}Z"
    return f"{format_seconds(seconds)}.{millis:03d}Z" if millis else f"{format_seconds(seconds)}Z"
