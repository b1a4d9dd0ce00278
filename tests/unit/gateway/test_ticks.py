from __future__ import annotations

import math

import msgspec
import pytest

from gateway.transcode.ticks import Texts, TickWriter
from tickmesh.v1.signal_pb2 import SignalBatch
from tickmesh.v1.trade_pb2 import TradeBatch


def batch(count: int = 2) -> SignalBatch:
    rows = range(count)
    return SignalBatch(
        trades=TradeBatch(
            venue="sim",
            symbol="btcusdt",
            trade_id=[2**53 + 1 + i for i in rows],
            price_e8=[6_183_763_000_000 + i for i in rows],
            quantity_e8=[638 for _ in rows],
            time_us=[1_700_000_000_123_000 + i for i in rows],
            is_buyer_maker=[i % 2 == 1 for i in rows],
        ),
        moving_average=[61837.5 + i for i in rows],
        session_high_e8=[6_184_000_000_000 for _ in rows],
        session_low_e8=[6_183_000_000_001 for _ in rows],
        window_high_e8=[1 for _ in rows],
        window_low_e8=[0 for _ in rows],
        session_count=[i + 1 for i in rows],
        session_volume=[0.1 * (i + 1) for i in rows],
        session_open_e8=[6_183_500_000_000 for _ in rows],
        session_vwap=[61836.5 for _ in rows],
        exponential_average=[61836.75 for _ in rows],
        volatility=[0.25 for _ in rows],
    )


def test_a_trade_is_one_object_with_exact_decimals() -> None:
    assert TickWriter().write(batch(1), "Bitcoin (BTC)") == [
        b'{"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","price":61837.63,"quantity":0.00000638,'
        b'"trade_id":9007199254740993,"timestamp":"2023-11-14T22:13:20.123Z","side":"BUY","moving_average":61837.5,'
        b'"high":61840,"low":61830.00000001,"window_high":0.00000001,"window_low":0,"count":1,"volume":0.1,'
        b'"open":61835,"vwap":61836.5,"exponential_average":61836.75,"volatility":0.25}'
    ]


def test_rows_stay_in_order_and_every_text_is_json() -> None:
    found = [msgspec.json.decode(text) for text in TickWriter().write(batch(50), "Bitcoin (BTC)")]
    assert [tick["trade_id"] for tick in found] == [2**53 + 1 + i for i in range(50)]
    assert [tick["side"] for tick in found[:2]] == ["BUY", "SELL"]


def test_an_id_is_the_venues_and_a_later_epoch_stands_beside_it() -> None:
    several = batch(3)
    several.trades.trade_id[:] = [2**54 - 1, 2**54 + 5, 2 * 2**54]
    found = [msgspec.json.decode(text) for text in TickWriter().write(several, "Bitcoin (BTC)")]
    assert [(tick["trade_id"], tick.get("epoch")) for tick in found] == [(2**54 - 1, None), (5, 1), (0, 2)]


def test_times_have_no_more_digits_than_they_need() -> None:
    several = batch(3)
    several.trades.time_us[:] = [1_700_000_000_000_000, 1_700_000_000_010_000, 1_700_000_000_000_010]
    found = [msgspec.json.decode(text)["timestamp"] for text in TickWriter().write(several, "Bitcoin (BTC)")]
    assert found == ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.010Z", "2023-11-14T22:13:20.000010Z"]


def test_names_are_escaped() -> None:
    (text,) = TickWriter().write(batch(1), 'Bit"coin\n€')
    assert msgspec.json.decode(text)["name"] == 'Bit"coin\n€'


def test_what_is_no_number_is_null() -> None:
    one = batch(1)
    one.moving_average[0], one.session_volume[0] = math.nan, math.inf
    (text,) = TickWriter().write(one, "")
    assert (msgspec.json.decode(text)["moving_average"], msgspec.json.decode(text)["volume"]) == (None, None)


def test_columns_of_different_lengths_are_refused() -> None:
    short = batch(2)
    short.session_high_e8.pop()
    with pytest.raises(ValueError):
        TickWriter().write(short, "")


def test_texts_are_made_once_and_never_too_many() -> None:
    made: list[int] = []

    def text_of(number: int) -> str:
        made.append(number)
        return str(number)

    texts = Texts(text_of, max_kept=2)
    assert [texts[n] for n in (1, 1, 2, 3, 1)] == ["1", "1", "2", "3", "1"]
    assert (made, len(texts)) == ([1, 2, 3, 1], 2)
