"""Frames read in C++ say what the same frames say that are read in Python: to the last bit, and in every word."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.binance.messages import MAX_CARRIED, Parsed, parse_frames, parse_frames_singly
from ingest.publish.trade_publisher import TradePublisher
from mesh.bus import wire
from mesh.values import epochs
from mesh.values.trades import TradeColumns
from tests.fixtures.parsed import each_of, in_columns
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.venue_words import FRAMES, KLINE, worded
from tickcodec.frames import FrameReader, ReadBatches, ReadTrades

DATA = Path(__file__).parents[4] / "shared" / "data"
TAPES = ("btcusdt_20230405.trades.jsonl.gz", "btcusdt_20240808.trades.jsonl.gz")


def text(**changes: object) -> str:
    """Return a trade as Binance writes it, with other fields."""
    data = {"e": "trade", "E": 1_723_161_255_343, "s": "BTCUSDT", "t": 3, "p": "61837.63000000", "q": "0.02000000"}
    data |= {"T": 1_723_161_255_342, "m": True, "M": True}
    stream = json.dumps({"stream": "btcusdt@trade", "data": data | changes}, separators=(",", ":"))
    return stream.replace("NaN", "nan")


def of(read: TradeColumns | ReadTrades) -> list[Any]:
    trades = in_columns(read)
    if isinstance(read, ReadTrades):
        assert read.batch == wire.one_of_many(wire.encode_trades(trades))
        ids, times = trades.trade_id, trades.time_us
        assert (read.symbol, read.received_time_us, len(read)) == (trades.symbol, 7, len(trades))
        assert (read.first_id, read.last_id, read.highest_id) == (ids[0], ids[-1], ids.max())
        assert (read.earliest_us, read.latest_us, read.last_us) == (times.min(), times.max(), times[-1])
        assert read.is_consecutive == (np.diff(ids) == 1).all()
    columns = [getattr(trades, field.name) for field in fields(trades)]
    return [(each.dtype, each.tolist()) if isinstance(each, np.ndarray) else each for each in columns]


def words(parsed: Parsed) -> list[Any]:
    return [
        list(map(of, each_of(parsed.trades))),
        parsed.candles,
        parsed.others,
        [(bad.reason, bad.frame) for bad in parsed.bad],
        list(parsed.minutes.items()),
    ]


def compare(frames: list[bytes]) -> None:
    found, expected = (
        words(read(frames, venue="binance", received_time_us=7)) for read in (parse_frames, parse_frames_singly)
    )
    assert found == expected


IDS = st.one_of(st.integers(0, 9), st.sampled_from([-1, 2**53, epochs.IDS - 1, epochs.IDS, 2**63, 10**18, 10**30, 1.0]))
DECIMALS = st.one_of(
    st.sampled_from(["0", "0.0", "0.00000001", "1", "1.", ".5", "-1.0", "1e5", "007.10", "9999999999.99999999"]),
    st.sampled_from(
        ["10000000000", "92233720368.54775807", "92233720368.54775808", "1.000000000", "1.123456789", "+1"]
    ),
    st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,10})?\Z"),
    st.text(max_size=5),
    st.integers(0, 3),
)
TIMES = st.sampled_from(
    [0, 1_723_161_255_342, 10**14 - 1, 10**14, 1_723_161_255_342_001, 10**16 - 1, 10**16, -1, 1.5, None, "1"]
)
SYMBOLS = st.one_of(
    st.sampled_from(
        ["BTCUSDT", "ETHUSDT", "btcusdt", "1000PEPEUSDT", "币安人生USDT", "A", "A" * 32, "A" * 33, " BTCUSDT"]
    ),
    st.text(max_size=5),
)
TRADES = st.fixed_dictionaries(
    {},
    optional={
        "t": IDS,
        "p": DECIMALS,
        "q": DECIMALS,
        "T": TIMES,
        "s": SYMBOLS,
        "m": st.sampled_from([True, False, None, 1, "true"]),
        "e": st.sampled_from(["trade", "trade", "aggTrade", "kline", "serverShutdown", "", 1]),
        "b": st.sampled_from([1, None, [], {"t": 5}, "x", 1.5, 10**25]),
    },
).map(lambda changes: text(**changes).encode())


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Return a trade a few bytes of which are others."""
    frame = bytearray(draw(TRADES))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(frame) - 1))
        length = draw(st.integers(0, 12))
        frame[at : at + length] = draw(
            st.one_of(
                st.sampled_from([b"", b" ", b"\n", b'"', b"\\", b"}", b",", b'"t":9,', b"0", b"\xff"]),
                st.just(frame[:40]),
            )
        )
        if not frame:
            break
    return bytes(frame)


@given(st.lists(st.one_of(TRADES, spoiled()), max_size=8))
@example([text(p="0.00000000").encode(), text(t=4).encode()])
@example([text().encode(), text().replace('"t":3', '"t":3,"t":4').encode()])
@example([text().encode(), text(s="币安人生USDT").encode(), text(t=4).encode()])
@example([text().encode(), b"", b"\n", text(t=4).encode()])
@example([text(t=epochs.IDS - 1).encode(), text(t=epochs.IDS).encode()])
@example([text().replace("BTCUSDT", "BTC\\u0055SDT").encode(), text(t=4).encode()])
@example([worded(KLINE), text().encode(), b"{}", worded(KLINE)])
def test_trades_however_they_are_written_are_read_as_in_python(frames: list[bytes]) -> None:
    compare(frames)


@given(FRAMES)
def test_whatever_a_venue_says_is_read_as_in_python(frames: list[bytes]) -> None:
    compare(frames)


def test_more_frames_than_fit_and_more_symbols_than_anybody_follows_are_read_as_in_python() -> None:
    compare([text(t=at).encode() for at in range(MAX_CARRIED + 1)])
    compare([text(t=at, s=f"S{at}").encode() for at in range(1500)])
    compare([text(t=at, s=f"S{at * 7 % 300}").encode() for at in range(1200)])


def test_a_trade_as_it_is_nearly_always_written_is_not_left_to_python() -> None:
    frames = [text(t=1).encode(), text(t=2, s="ETHUSDT", T=1_723_161_255_342_001).encode(), b"{}", text(t=3).encode()]

    trades, left = FrameReader("sim", max_frames=10, max_id=100).read(frames, 7)

    assert trades is not None
    assert [(one.symbol, in_columns(one).trade_id.tolist()) for one in trades] == [
        ("btcusdt", [1, 3]),
        ("ethusdt", [2]),
    ]
    assert left == [2]


@pytest.mark.parametrize("tape", TAPES)
def test_recorded_frames_are_all_read_in_cpp_and_as_in_python(tape: str) -> None:
    path = DATA / tape
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path) as lines:
        frames = [line.rstrip(b"\n") for line in lines]
    reader = FrameReader("sim", max_frames=1000, max_id=epochs.IDS - 1)
    for start in range(0, len(frames), 997):
        compare(frames[start : start + 997])
        assert reader.read(frames[start : start + 997], 7)[1] == []


NOW_US = 1_723_161_255_342_000
BATCHES = st.lists(
    st.tuples(
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        st.sampled_from([0, 0, 0, 0, 0, 1, 3, -1, -4, 300_000]),  # how far the first id is from the next one
        st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 0, -1]), max_size=4),  # the steps from each id to the next
        st.sampled_from([0, 0, 0, 1000, 61_000_000, -3_700_000_000, 5_000_000]),  # how far times are from now
    ),
    max_size=12,
)


class Kept(PassedOn):
    """Keeps what is published as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, bytes, str]] = []

    def offer(self, subject: str, payload: bytes, *, message_id: str, **_: Any) -> bool:
        self.messages.append((subject, payload, message_id))
        return True


def state_of(trade_publisher: TradePublisher) -> list[Any]:
    symbols = ("btcusdt", "ethusdt")
    return [
        [msgspec.structs.replace(progress, received_ago_s=None) for progress in trade_publisher.progress()],
        [trade_publisher.doubts(symbol) for symbol in symbols],
        [trade_publisher.last_trade(symbol) for symbol in symbols],
        [trade_publisher.first_recent_id(symbol) for symbol in symbols],
    ]


@given(BATCHES)
@example([("BTCUSDT", 0, [], 61_000_000), ("BTCUSDT", 1, [], 0)])
@example([("BTCUSDT", 0, [1], -3_700_000_000), ("ETHUSDT", 0, [], 0)])
@example([("BTCUSDT", 2, [], 0), ("BTCUSDT", -3, [], 0), ("BTCUSDT", -2, [], 0), ("BTCUSDT", 0, [], 0)])
@example([("BTCUSDT", -1, [], 1000), ("BTCUSDT", 0, [], 0)])
@example([("BTCUSDT", 0, [1, 1, 2], 0), ("BTCUSDT", -2, [1], 0)])
async def test_trades_that_are_encoded_already_pass_as_their_columns_do(
    batches: list[tuple[str, int, list[int], int]],
) -> None:
    outcomes = []
    for read, together in ((parse_frames, True), (parse_frames, False), (parse_frames_singly, False)):
        kept, next_ids = Kept(), {"BTCUSDT": 10, "ETHUSDT": 1_000_000}
        trade_publisher = await trade_publisher_into(kept)
        await trade_publisher.follow("ethusdt")
        states = []
        unusual: Sequence[TradeColumns | ReadTrades] | None
        begun = [("BTCUSDT", 0, [1, 1, 1], 0), ("ETHUSDT", 0, [1, 1, 1], 0)]
        for at, (symbol, ahead, steps, later_us) in enumerate([*begun, *batches]):
            ids = np.cumsum([next_ids[symbol] + ahead, *steps]).tolist()
            times = [NOW_US + at * 1000 + later_us + trade_id % 7 for trade_id in ids]
            frames = [text(s=symbol, t=t, T=T).encode() for t, T in zip(ids, times, strict=True) if t >= 0]
            for trades in read(frames, venue="binance", received_time_us=NOW_US + at * 1000).trades:
                if together:
                    assert isinstance(trades, ReadBatches)
                    unusual = trade_publisher.take_at_once(trades)
                    assert unusual is not None
                    assert trade_publisher.flush_at_once()
                else:
                    unusual = tuple(each_of([trades]))
                for one in unusual:
                    await trade_publisher.take(one)
            states.append(state_of(trade_publisher))
            next_ids[symbol] = max(next_ids[symbol], 1 + max(ids)) if ahead < 10 else next_ids[symbol]
        outcomes.append((kept.messages, kept.letters, states))
    assert outcomes[0] == outcomes[1] == outcomes[2]
