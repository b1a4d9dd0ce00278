from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from sim.exchange import Exchange, IssuedBatch
from sim.frames import BatchFrames, FollowedStreams, kline_frame, shutdown_frame, text_frame
from sim.instruments import INSTRUMENTS
from sim.klines import Kline
from sim.market import Market
from sim.pacing import Pace, Pacer
from sim.trades import TRADE, decimal_text

NOW_US = 1_795_348_800_123_456
BTC = INSTRUMENTS[0]


def view(
    *, trades: str = "", aggregates: str = "", combined: bool = False, microseconds: bool = False
) -> FollowedStreams:
    return FollowedStreams(
        frozenset(trades.split()), frozenset(aggregates.split()), frozenset(), combined, microseconds
    )


def one_trade() -> BatchFrames:
    exchange = Exchange(Market(1, [BTC]), Pacer(Pace.EVEN, 0))
    batch = exchange.issue(1, NOW_US)
    assert batch is not None
    return BatchFrames(batch, exchange)


def payload(frame: bytes) -> str:
    return frame[4 if frame[1] == 126 else 2 :].decode()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_a_text_frame_is_what_the_library_makes(size: int) -> None:
    data = b"x" * size

    assert text_frame(data) == Frame(Opcode.TEXT, data).serialize(mask=False)


def test_a_trade_is_worded_as_binance_does() -> None:
    (frame,) = one_trade().trades(view(trades="btcusdt"))

    assert payload(frame) == (
        '{"e":"trade","E":1795348800123,"s":"BTCUSDT","t":3735683259,"p":"61837.01000000","q":"0.00486000",'
        '"T":1795348800123,"m":true,"M":true}'
    )


def test_a_combined_frame_wraps_the_same_trade() -> None:
    frames = one_trade()

    raw, combined = (payload(frames.trades(view(trades="btcusdt", combined=form))[0]) for form in (False, True))

    assert combined == f'{{"stream":"btcusdt@trade","data":{raw}}}'


def test_microseconds_are_told_when_asked_for() -> None:
    (frame,) = one_trade().trades(view(trades="btcusdt", microseconds=True))

    assert json.loads(payload(frame))["T"] == NOW_US


@pytest.mark.parametrize("combined", [False, True])
def test_every_trade_frame_has_a_right_head(combined: bool) -> None:
    exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.BURSTS, 0))
    batch = exchange.issue(2000, NOW_US)
    assert batch is not None

    frames = BatchFrames(batch, exchange).trades(
        view(trades=" ".join(c.symbol for c in INSTRUMENTS), combined=combined)
    )

    assert len(frames) == 2000
    assert all(frame == text_frame(payload(frame).encode()) for frame in frames)


def test_a_client_sees_only_what_it_follows_in_issue_order() -> None:
    exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.BURSTS, 0))
    batch = exchange.issue(500, NOW_US)
    assert batch is not None

    frames = BatchFrames(batch, exchange).trades(view(trades="ethusdt dogeusdt nosuch"))

    mine = batch.trades[(batch.trades["symbol"] == 1) | (batch.trades["symbol"] == 5)]
    assert [json.loads(payload(frame))["t"] for frame in frames] == mine["trade_id"].tolist()


def test_aggregates_cover_the_trades_of_the_batch() -> None:
    exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.BURSTS, 0))
    batch = exchange.issue(1000, NOW_US)
    assert batch is not None

    frames = BatchFrames(batch, exchange).aggregates(view(aggregates="btcusdt", combined=True))

    events = [json.loads(payload(frame)) for frame in frames]
    assert {event["stream"] for event in events} == {"btcusdt@aggTrade"}
    mine = batch.trades[batch.trades["symbol"] == 0]
    covered = [trade_id for event in events for trade_id in range(event["data"]["f"], event["data"]["l"] + 1)]
    assert covered == mine["trade_id"].tolist()
    total = sum(int(event["data"]["q"].replace(".", "")) for event in events)
    assert total == int(mine["quantity_e8"].sum())


def test_a_kline_is_worded_as_binance_does() -> None:
    kline = Kline(
        *(1_672_515_780_000_000, 100_000, 250_000, 150_000, 200_000),
        *(100, 200, 101, 1000_00000000, 10**16, 500_00000000, 5 * 10**15),
    )

    frame = kline_frame(BTC, kline, closed=True, now_us=1_672_515_840_005_000, view=view())

    assert json.loads(payload(frame)) == {
        "e": "kline",
        "E": 1672515840005,
        "s": "BTCUSDT",
        "k": {
            "t": 1672515780000,
            "T": 1672515839999,
            "s": "BTCUSDT",
            "i": "1m",
            "f": 100,
            "L": 200,
            "o": "0.00100000",
            "c": "0.00200000",
            "h": "0.00250000",
            "l": "0.00150000",
            "v": "1000.00000000",
            "n": 101,
            "x": True,
            "q": "1.00000000",
            "V": "500.00000000",
            "Q": "0.50000000",
            "B": "0",
        },
    }


def test_the_shutdown_warning_is_named_in_combined_streams() -> None:
    assert payload(shutdown_frame(NOW_US, view())) == '{"e":"serverShutdown","E":1795348800123}'
    assert json.loads(payload(shutdown_frame(NOW_US, view(combined=True))))["stream"] == "!serverShutdown"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),  # symbol
            *(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**62)),  # id, price, quantity
            st.booleans(),
            *(st.sampled_from([NOW_US, NOW_US + 1, NOW_US + 5_000]), st.sampled_from([0, 0, 1_500])),  # time, delay
            *(st.sampled_from([0, 0, 7]), st.sampled_from([0, 0, 8])),  # orders
            st.just(0),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
)
def test_each_trade_of_a_batch_is_worded_as_if_it_were_alone(
    rows: list[tuple[int, ...]], combined: bool, microseconds: bool
) -> None:
    exchange = Exchange(Market(1, INSTRUMENTS[:2]), Pacer(Pace.EVEN, 0))
    shown = view(trades="btcusdt ethusdt", combined=combined, microseconds=microseconds)
    unit = 1 if microseconds else 1000

    frames = BatchFrames(IssuedBatch(0, np.array(rows, TRADE)), exchange).trades(shown)

    expected = []
    for symbol, trade_id, price, quantity, maker, time_us, delay_us, buyer, seller, _ in rows:
        trade = {"e": "trade", "E": (time_us + delay_us) // unit, "s": INSTRUMENTS[symbol].name, "t": trade_id}
        trade |= {"p": decimal_text(price), "q": decimal_text(quantity)}
        trade |= {"b": buyer, "a": seller} if buyer or seller else {}
        trade |= {"T": time_us // unit, "m": maker, "M": True}
        stream = f"{INSTRUMENTS[symbol].symbol}@trade"
        text = json.dumps({"stream": stream, "data": trade} if combined else trade, separators=(",", ":"))
        expected.append(text_frame(text.encode()))
    assert frames == expected
