"""A batch of trades with their signals -> one JSON object a trade, as `/ws` sends them.

`tickcodec.ticks` writes what is usual in C++; what it leaves, and what it is held to, is written here.

    {"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","price":61837.63,"quantity":0.00042,"trade_id":7,
     "timestamp":"2024-01-31T12:34:56.789Z","side":"BUY","moving_average":61836.9,"high":61840,"low":61830.01,
     "window_high":61838,"window_low":61836,"count":7,"volume":0.031,"open":61835,"vwap":61836.2,
     "exponential_average":61836.7,"volatility":0.00002}

The same names and number formats as the REST answers have, but written column by column: the way through one message
a trade costs several times as much. Prices repeat from trade to trade, highs and lows most of all, so their texts are
kept. Which signals go out is said where they are declared (`mesh.values.signals`); their order is that of `GetStats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import cast

import msgspec

from gateway.transcode.fields import E8_SUFFIX, public_name
from gateway.transcode.numbers import plain_texts
from mesh.values import epochs
from mesh.values.fixed import format_e8
from mesh.values.signals import SIGNALS, Signal
from mesh.values.times import format_seconds
from tickcodec.ticks import DOUBLE, E8, INTEGER, Member
from tickmesh.v1.signal_pb2 import GetStatsResponse, SignalBatch
from tickmesh.v1.trade_pb2 import SIDE_SELL, Trade

_KEPT_TEXTS = 32_768
_encode = msgspec.json.Encoder().encode

_STATS = GetStatsResponse.DESCRIPTOR.fields_by_name
_LIVE = sorted((signal for signal in SIGNALS if signal.live), key=lambda signal: _STATS[signal.stats_name].number)
_FLOATS = [signal.name for signal in _LIVE if signal.dtype.kind == "f"]
_INTEGERS = [signal.name for signal in _LIVE if signal.name not in _FLOATS]


def member_of(signal: Signal) -> Member:
    """Return a signal for `tickcodec.ticks.TickFrames`."""
    return Member(
        f',"{public_name(_STATS[signal.stats_name])}":',
        SignalBatch.DESCRIPTOR.fields_by_name[signal.name].number,
        DOUBLE if signal.dtype.kind == "f" else E8 if signal.name.endswith(E8_SUFFIX) else INTEGER,
    )


MEMBERS = [member_of(signal) for signal in _LIVE]
"""The signals of a trade, for `tickcodec.ticks.TickFrames`."""
_floats_of, _integers_of = attrgetter(*_FLOATS), attrgetter(*_INTEGERS)


def _compiled() -> Callable[..., list[bytes]]:
    """Return what writes rows: the text of an f-string made of the declared signals, which is compiled once.

    A template that is filled in takes 15 to 40 % more, an object a trade several times as much.
    """
    fields = {public_name(_STATS[signal.stats_name]): signal.name for signal in _LIVE}
    texts = {key: f"{{e8[{name}]}}" if name.endswith(E8_SUFFIX) else f"{{{name}}}" for key, name in fields.items()}
    signals = ",".join(f'"{key}":{text}' for key, text in texts.items())
    columns = ",".join(("price,quantity,trade_id,time_us,maker", *_INTEGERS, *_FLOATS))
    source = (
        """lambda head, e8, times, rows: [f'{head}{e8[price]},"quantity":{e8[quantity]},"trade_id":{trade_id},'"""
        """f'"timestamp":"{times[time_us]}","side":"{"SELL" if maker else "BUY"}",'"""
        f"""f'{signals}}}}}'.encode() for ({columns}) in rows]"""
    )
    return cast("Callable[..., list[bytes]]", eval(source))  # noqa: S307 - of our own declaration


_write_rows = _compiled()
_NO_SIGNALS = ",".join(f'"{public_name(_STATS[signal.stats_name])}":null' for signal in _LIVE)


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
            ValueError: no trade, or columns of different lengths.

        """
        trades = batch.trades
        if not trades.trade_id:
            raise ValueError("a batch without a trade")
        rows = zip(
            trades.price_e8[:],
            trades.quantity_e8[:],
            _ids(trades.trade_id[:]),
            trades.time_us[:],
            trades.is_buyer_maker[:],
            *(column[:] for column in _integers_of(batch)),
            *_numbers(len(trades.price_e8), *_floats_of(batch)),
            strict=True,
        )
        return _write_rows(head(trades.symbol, name, trades.venue), self._e8, self._times, rows)

    def write_stored(self, trades: Sequence[Trade], name: str) -> list[bytes]:
        """Return the JSON of each of some trades of the store, in order: their signals are `null`.

        Args:
            trades: one symbol's, at least one.
            name: the symbol's name for people.

        """
        lines = []
        for trade in trades:
            [id_] = _ids([epochs.key_of(trade.epoch, trade.trade_id)])
            side, time = "SELL" if trade.side == SIDE_SELL else "BUY", _time_text(trade.timestamp.ToMicroseconds())
            price, quantity = format_e8(trade.price_e8), format_e8(trade.quantity_e8)
            lines.append(
                f'{head(trade.symbol, name, trade.venue)}{price},"quantity":{quantity},"trade_id":{id_},'
                f'"timestamp":"{time}","side":"{side}",{_NO_SIGNALS}}}'.encode()
            )
        return lines


@lru_cache(maxsize=4096)
def head(symbol: str, name: str, venue: str) -> str:
    """Return what stands before a trade's price.

    Args:
        symbol: in lower case.
        name: the symbol's name for people.
        venue: of the trade.

    """
    return f'{{"symbol":{_text(symbol)},"name":{_text(name)},"venue":{_text(venue)},"price":'


def _ids(keys: Sequence[int]) -> Sequence[object]:
    """Return the trades' ids as the venue gave them, ready to be written, with the epoch where it is not the first."""
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
