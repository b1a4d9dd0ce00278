from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from sim.exchange import Exchange
from sim.frames import BatchFrames, FollowedStreams
from sim.pacing import SLOT, Pace, Pacer
from sim.tape import Tape, TapeError

OLD = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1680652800000,"s":"BTCUSDT","t":3071245454,"p":"28165.47000000",'
    '"q":"0.00056000","b":20720542158,"a":20720542592,"T":1680652799999,"m":true,"M":true}}'
)
NEW = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",'
    '"q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
LATER = NEW.replace("1723161255342", "1723161256342").replace("3735683259", "3735683260")
ETH = LATER.replace("btcusdt", "ethusdt").replace("BTCUSDT", "ETHUSDT")
BTC_COMBINED = FollowedStreams(frozenset(["btcusdt"]), frozenset(), frozenset(), combined=True, microseconds=False)

TAPES = sorted((Path(__file__).parents[4] / "shared" / "data").glob("*.trades.jsonl.gz"))


def replayed(lines: list[str]) -> list[str]:
    exchange = Exchange(Tape("tape", lines, pace=Pace.EVEN), Pacer(Pace.EVEN, 0), keep_times=True)
    frames = []
    while batch := exchange.issue(4096, 0):
        frames += [frame[4:].decode() for frame in BatchFrames(batch, exchange).trades(BTC_COMBINED)]
    return frames


@pytest.mark.parametrize("line", [OLD, NEW])
def test_a_frame_with_its_own_times_comes_back_byte_for_byte(line: str) -> None:
    assert replayed([line]) == [line]


@pytest.mark.skipif(not TAPES, reason="the recorded tapes are not beside the repository")
@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.name)
def test_a_recorded_tape_comes_back_byte_for_byte(tape: Path) -> None:
    with gzip.open(tape, "rt") as lines:
        recorded = [line.rstrip("\n") for line in lines]

    assert replayed(recorded) == recorded


def test_times_are_moved_to_now_and_the_rest_stays() -> None:
    exchange = Exchange(Tape("tape", [OLD], pace=Pace.EVEN), Pacer(Pace.EVEN, 0))

    batch = exchange.issue(1, 1_800_000_000_123_456)

    assert batch is not None
    data = json.loads(BatchFrames(batch, exchange).trades(BTC_COMBINED)[0][4:])["data"]
    assert (data["T"], data["E"]) == (1_800_000_000_123, 1_800_000_000_124)
    assert list(data) == list(json.loads(OLD)["data"])


def test_a_recorded_pace_keeps_the_distances() -> None:
    block = Tape("tape", [NEW, LATER], pace=Pace.RECORDED).next_block()

    assert block["due"].tolist() == [0, 1_000_000]


def test_an_even_pace_gives_each_trade_a_slot() -> None:
    block = Tape("tape", [NEW, LATER], pace=Pace.EVEN).next_block()

    assert block["due"].tolist() == [SLOT, 2 * SLOT]


def test_instruments_are_found_in_the_order_of_the_tape() -> None:
    tape = Tape("tape", [NEW, ETH], pace=Pace.EVEN)

    assert [instrument.symbol for instrument in tape.instruments] == ["btcusdt", "ethusdt"]


def test_only_wanted_symbols_are_played() -> None:
    tape = Tape("tape", [NEW, ETH], pace=Pace.EVEN, symbols=["ethusdt"])

    assert tape.next_block()["trade_id"].tolist() == [3735683260]


def test_an_unknown_symbol_is_split_at_its_quote() -> None:
    tape = Tape("tape", [NEW.replace("BTCUSDT", "PEPEUSDC")], pace=Pace.EVEN)

    assert [(instrument.base, instrument.quote, instrument.tick_e8) for instrument in tape.instruments] == [
        ("PEPE", "USDC", 1)
    ]


def test_a_tape_ends_with_an_empty_block() -> None:
    tape = Tape("tape", [NEW], pace=Pace.EVEN)

    assert [len(tape.next_block()), len(tape.next_block())] == [1, 0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "truncated"),
        ('{"stream":"btcusdt@trade"}', "missing required field `data`"),
        (NEW.replace('"e":"trade"', '"e":"kline"'), "found event 'kline'"),
        (NEW.replace("61837.63000000", "6.18e4"), "found number '6.18e4'"),
        (NEW.replace("3735683259", '"3735683259"'), r"Expected `int`, got `str` - at `\$.data.t`"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(line: str, reason: str) -> None:
    with pytest.raises(TapeError, match=f"^day.jsonl:2: .*{reason}"):
        Tape("day.jsonl", [NEW, line], pace=Pace.EVEN)


def test_an_empty_tape_is_an_error() -> None:
    with pytest.raises(TapeError, match=r"day.jsonl: found no trade"):
        Tape("day.jsonl", [], pace=Pace.EVEN)
