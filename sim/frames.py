"""What goes down the wire: trades, aggregates and klines as Binance words them, in RFC 6455 frames.

A frame is worded once for all clients. Clients that follow the same streams in the same form share one
`FollowedStreams`, and for each of those the frames of a batch are joined once, so that a thousand clients cost a
thousand writes and nothing more.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sim.exchange import Exchange, IssuedBatch
from sim.fault_plan import Sent
from sim.faults import Garbling
from sim.instruments import E8, ListedInstrument
from sim.klines import MINUTE_US, Kline
from sim.trades import Trades, decimal_text


@dataclass(frozen=True, slots=True)
class FollowedStreams:
    """What a client sees: symbols (lower case) by kind of stream, and the form of the frames."""

    trades: frozenset[str]
    aggregates: frozenset[str]
    klines: frozenset[str]
    combined: bool
    microseconds: bool


FEW = 8
"""So many trades at most are worded row by row; more, column by column."""


def frame_head(size: int) -> bytes:
    """Return what stands before a server's text message of so many bytes, unmasked (RFC 6455, 5.2)."""
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big")
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def text_frame(payload: bytes) -> bytes:
    """Put a server's text message into one frame."""
    return frame_head(len(payload)) + payload


def wrapped(stream: str, data: str, *, combined: bool) -> bytes:
    """Frame one event, in the envelope of combined streams or bare.

    Args:
        stream: its name: `btcusdt@trade`.
        data: JSON of the event.
        combined: whether in the envelope of combined streams.

    """
    return text_frame((f'{{"stream":"{stream}","data":{data}}}' if combined else data).encode())


def garbled_frame(frame: bytes, how: Garbling) -> bytes:
    """Damage a trade's frame: the WebSocket frame stays whole, the message in it does not.

    Args:
        frame: whole, with its header.
        how: what is done to it.

    """
    payload = frame[4 if frame[1] == 126 else 2 :]
    if how == "truncate":
        payload = payload[: len(payload) // 2]
    elif how == "price":
        payload = payload.replace(b'"p":"', b'"p":"x', 1)
    elif how == "field":
        payload = re.sub(rb'"t":\d+,', b"", payload, count=1)
    else:
        payload = b"<html><head><title>502 Bad Gateway</title></head></html>"
    return text_frame(payload)


class TradeTexts:
    """What all frames of an exchange's trades have in common: with hundreds of symbols most of the work for a few."""

    def __init__(self, instruments: Sequence[ListedInstrument]) -> None:
        self.instruments = instruments
        self.symbols = [instrument.symbol for instrument in instruments]
        self.begin = {
            combined: [
                (f'{{"stream":"{symbol}@trade","data":' if combined else "") + '{"e":"trade","E":'
                for symbol in self.symbols
            ]
            for combined in (False, True)
        }
        self.after_time = [f',"s":"{instrument.name}","t":' for instrument in instruments]
        self._all_of: frozenset[str] | None = None  # a view that is known to show all

    def are_all_in(self, shown: frozenset[str]) -> bool:
        """Return whether all symbols are among those that are shown."""
        if shown is not self._all_of and shown.issuperset(self.symbols):
            self._all_of = shown
        return shown is self._all_of


class BatchFrames:
    """The frames of one batch, made when the first client wants them.

    Args:
        batch: the trades.
        exchange: that has issued them.
        sent: what is told of them; None is all.
        texts: of the exchange's instruments; None makes them.

    """

    def __init__(
        self, batch: IssuedBatch, exchange: Exchange, sent: Sent | None = None, texts: TradeTexts | None = None
    ) -> None:
        self._batch = batch
        self._sent = Sent(batch.trades) if sent is None else sent
        self._exchange = exchange
        self._texts = texts or TradeTexts(exchange.instruments)
        self._instruments = self._texts.instruments
        self._trades: dict[tuple[bool, bool], list[bytes]] = {}
        self._aggregates: dict[tuple[bool, bool], list[tuple[str, bytes]]] = {}

    def trades(self, view: FollowedStreams) -> list[bytes]:
        """Return the frames of the trades that `view` shows, in issue order."""
        form = (view.combined, view.microseconds)
        if form not in self._trades:
            self._trades[form] = self._word_trades(*form)
        frames = self._trades[form]
        if self._texts.are_all_in(view.trades):
            return frames
        shown = [symbol in view.trades for symbol in self._texts.symbols]
        symbols = self._sent.trades["symbol"].tolist()
        return [frame for symbol, frame in zip(symbols, frames, strict=True) if shown[symbol]]

    def aggregates(self, view: FollowedStreams) -> list[bytes]:
        """Return the frames of the aggregate trades that `view` shows."""
        if not view.aggregates:
            return []
        form = (view.combined, view.microseconds)
        if form not in self._aggregates:
            self._aggregates[form] = self._word_aggregates(*form)
        return [frame for symbol, frame in self._aggregates[form] if symbol in view.aggregates]

    def _word_trades(self, combined: bool, microseconds: bool) -> list[bytes]:
        # The hot loop: what all trades share is worded once. Texts of prices that were kept would be found more slowly
        # than they are made: there are too many for the cache.
        trades = self._sent.trades
        unit = 1 if microseconds else 1000
        begin, after_time, end = self._texts.begin[combined], self._texts.after_time, _ENDS[combined]
        parts = _parts_of_few(trades, unit) if len(trades) <= FEW else _parts_of_many(trades, unit)
        payloads = [
            (
                f'{begin[symbol]}{event}{after_time[symbol]}{trade_id},"p":"{price}.{price_4}{price_8}",'
                f'"q":"{size}.{size_4}{size_8}",{orders}"T":{time}{end[maker]}'
            ).encode()
            for symbol, event, trade_id, price, price_4, price_8, size, size_4, size_8, orders, time, maker in parts
        ]
        heads = {size: frame_head(size) for size in set(map(len, payloads))}
        frames = [heads[len(payload)] + payload for payload in payloads]
        for row, key in enumerate(self._sent.trades[["symbol", "trade_id"]].tolist() if self._sent.garbled else ()):
            if key in self._sent.garbled:
                frames[row] = garbled_frame(frames[row], self._sent.garbled[key])
        return frames

    def _word_aggregates(self, combined: bool, microseconds: bool) -> list[tuple[str, bytes]]:
        unit = 1 if microseconds else 1000
        groups: dict[tuple[int, int], list[int]] = {}  # (symbol, aggregate id): first id, last id, quantity, row
        rows = self._batch.trades[["symbol", "trade_id", "quantity_e8"]].tolist()
        for row, ((symbol, trade_id, quantity), aggregate_id) in enumerate(
            zip(rows, self._exchange.aggregate_ids(self._batch).tolist(), strict=True)
        ):
            group = groups.setdefault((symbol, aggregate_id), [trade_id, trade_id, 0, row])
            group[1] = trade_id
            group[2] += quantity
        frames = []
        for (symbol, aggregate_id), (first_id, last_id, quantity, row) in groups.items():
            instrument, trade = self._instruments[symbol], self._batch.trades[row]
            time_us = int(trade["time_us"])
            event_us = time_us + int(trade["event_delay_us"])
            data = (
                f'{{"e":"aggTrade","E":{event_us // unit},"s":"{instrument.name}","a":{aggregate_id},'
                f'"p":"{decimal_text(int(trade["price_e8"]))}","q":"{decimal_text(quantity)}","f":{first_id},"l":{last_id},'
                f'"T":{time_us // unit},"m":{"true" if trade["is_buyer_maker"] else "false"},"M":true}}'
            )
            frames.append((instrument.symbol, wrapped(f"{instrument.symbol}@aggTrade", data, combined=combined)))
        return frames


_ENDS = {
    combined: [f',"m":{maker},"M":true' + ("}}" if combined else "}") for maker in ("false", "true")]
    for combined in (False, True)
}


def _parts_of_few(trades: Trades, unit: int) -> Iterable[tuple[Any, ...]]:
    """Return what the frame of each trade is made of, row by row."""
    for symbol, trade_id, price_e8, size_e8, maker, time_us, delay_us, buyer, seller, _ in trades.tolist():
        (price, price_rest), (size, size_rest) = divmod(price_e8, E8), divmod(size_e8, E8)
        (price_4, price_8), (size_4, size_8) = divmod(price_rest, 10_000), divmod(size_rest, 10_000)
        yield (
            *(symbol, (time_us + delay_us) // unit, trade_id),
            *(price, _FOUR_DIGITS[price_4], _FOUR_DIGITS[price_8]),
            *(size, _FOUR_DIGITS[size_4], _FOUR_DIGITS[size_8]),
            *(_order_text(buyer, seller), time_us // unit, maker),
        )


def _parts_of_many(trades: Trades, unit: int) -> Iterable[tuple[Any, ...]]:
    """Return the same column by column: numpy takes the numbers apart, at a third of the cost where they are many."""
    time_us, delay_us = trades["time_us"], trades["event_delay_us"]
    times = _texts(time_us // unit)
    return zip(
        trades["symbol"].tolist(),
        _texts((time_us + delay_us) // unit) if delay_us.any() else times,
        trades["trade_id"].tolist(),
        *_decimals(trades["price_e8"]),
        *_decimals(trades["quantity_e8"]),
        _orders(trades),
        times,
        trades["is_buyer_maker"].tolist(),
        strict=False,  # columns that are all alike have no end
    )


def _texts(numbers: npt.NDArray[np.int64]) -> Iterable[int | str]:
    """Return numbers for a text; where all are the same, as times of trades issued together, that one for ever."""
    if len(numbers) and numbers[0] == numbers[-1] and (numbers == numbers[0]).all():
        return itertools.repeat(str(numbers[0]))
    return cast(list[int], numbers.tolist())


_FOUR_DIGITS = [f"{number:04}" for number in range(10_000)]


def _decimals(values_e8: npt.NDArray[np.int64]) -> tuple[list[int], Iterable[str], Iterable[str]]:
    """Return numbers in three parts: what stands before the point, four digits behind it, and the last four."""
    whole = values_e8 // E8
    fraction = values_e8 - whole * E8
    first = fraction // 10_000
    rest = fraction - first * 10_000
    return whole.tolist(), map(_FOUR_DIGITS.__getitem__, first.tolist()), map(_FOUR_DIGITS.__getitem__, rest.tolist())


def _orders(trades: Trades) -> Iterable[str]:
    """Return what the frames of trades say of their orders; where none says anything, that for ever."""
    buyer, seller = trades["buyer_order_id"], trades["seller_order_id"]
    if not (buyer | seller).any():
        return itertools.repeat("")
    return list(map(_order_text, buyer.tolist(), seller.tolist()))


def _order_text(buyer: int, seller: int) -> str:
    return f'"b":{buyer},"a":{seller},' if buyer or seller else ""


def kline_frame(
    instrument: ListedInstrument, kline: Kline, *, closed: bool, now_us: int, view: FollowedStreams
) -> bytes:
    """Word one state of a minute's kline.

    Args:
        instrument: whose.
        kline: of a minute.
        closed: whether the minute is over.
        now_us: the time of the event, in microseconds since 1970 UTC.
        view: says the form of the frame.

    """
    unit = 1 if view.microseconds else 1000
    data = (
        f'{{"e":"kline","E":{now_us // unit},"s":"{instrument.name}","k":{{"t":{kline.open_us // unit},'
        f'"T":{(kline.open_us + MINUTE_US) // unit - 1},"s":"{instrument.name}","i":"1m",'
        f'"f":{kline.first_id},"L":{kline.last_id},"o":"{decimal_text(kline.open_e8)}",'
        f'"c":"{decimal_text(kline.close_e8)}","h":"{decimal_text(kline.high_e8)}","l":"{decimal_text(kline.low_e8)}","v":"{decimal_text(kline.volume_e8)}","n":{kline.count},'
        f'"x":{"true" if closed else "false"},"q":"{decimal_text(kline.quote_e16 // E8)}",'
        f'"V":"{decimal_text(kline.taker_buy_volume_e8)}",'
        f'"Q":"{decimal_text(kline.taker_buy_quote_e16 // E8)}","B":"0"}}}}'
    )
    return wrapped(f"{instrument.symbol}@kline_1m", data, combined=view.combined)


def kline_frames(
    news: Mapping[str, Sequence[tuple[ListedInstrument, Kline, bool]]], now_us: int, view: FollowedStreams
) -> list[bytes]:
    """Word the kline news, by symbol, that `view` shows; the bool says that the kline is closed.

    Args:
        news: symbol -> instrument, kline, and whether it is closed.
        now_us: the time of the events, in microseconds since 1970 UTC.
        view: whose klines, and in which form.

    """
    return [
        kline_frame(instrument, kline, closed=closed, now_us=now_us, view=view)
        for symbol, items in news.items()
        if symbol in view.klines
        for instrument, kline, closed in items
    ]


def shutdown_frame(now_us: int, view: FollowedStreams) -> bytes:
    """Word the warning before maintenance. The docs promise no lead time.

    Args:
        now_us: the time of the event, in microseconds since 1970 UTC.
        view: says the form of the frame.

    """
    unit = 1 if view.microseconds else 1000
    return wrapped("!serverShutdown", f'{{"e":"serverShutdown","E":{now_us // unit}}}', combined=view.combined)
