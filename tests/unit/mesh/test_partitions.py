"""In which partition a symbol is, and what the partitions' streams and subjects are called."""

from __future__ import annotations

from collections import Counter

import pytest

from mesh.bus import subjects
from mesh.bus.connection import processed_stream, raw_stream
from mesh.bus.partitions import MAX_PARTITIONS, WHOLE, Partition, partition_of, partitions
from mesh.service.settings import BusSettings, WrongSettings, load
from mesh.values.symbols import DEFAULT_SYMBOLS


def test_a_symbol_stays_in_its_partition_for_ever() -> None:
    symbols = (*DEFAULT_SYMBOLS, "币安人生usdt")

    assert [partition_of("binance", symbol, 4).number for symbol in symbols] == [2, 3, 1, 3, 1, 0, 1]
    assert [partition_of("sim", symbol, 4).number for symbol in symbols] == [3, 1, 2, 3, 0, 2, 0]
    assert [partition_of("binance", symbol, 16).number for symbol in symbols] == [9, 14, 6, 15, 4, 0, 6]
    assert {partition_of("binance", symbol, 1) for symbol in symbols} == {WHOLE}


def test_a_symbol_in_another_partition_than_its_own_is_refused_in_words() -> None:
    assert partition_of("binance", "btcusdt", 4).refusal("binance", "btcusdt") == ""
    assert WHOLE.refusal("binance", "anything") == ""
    why = "trades of binance btcusdt in partition 1, expected them in 2"
    assert Partition(1, 4).refusal("binance", "btcusdt") == why


@pytest.mark.parametrize("count", [2, 4, MAX_PARTITIONS])
def test_symbols_are_spread_evenly(count: int) -> None:
    symbols = [f"{first}{second}{quote}" for first in "abcdefgh" for second in range(50) for quote in ("usdt", "btc")]
    found = Counter(partition_of("binance", symbol, count).number for symbol in symbols)

    assert set(found) == set(range(count))
    assert max(found.values()) < 1.3 * len(symbols) / count


def test_with_one_partition_all_names_are_without_a_number() -> None:
    assert partitions(1) == (WHOLE,)
    assert (raw_stream(2**30).name, raw_stream(2**30).subjects) == ("RAW", ("trades.raw.>",))
    assert (processed_stream(2**30).name, processed_stream(2**30).subjects) == ("PROCESSED", ("trades.processed.>",))
    assert raw_stream(2**30).max_bytes == processed_stream(2**30).max_bytes == 2**30


def test_each_of_several_partitions_has_streams_and_subjects_of_its_own() -> None:
    streams = [raw_stream(2**30, partition) for partition in partitions(4)]

    assert [stream.name for stream in streams] == ["RAW_0", "RAW_1", "RAW_2", "RAW_3"]
    assert [stream.subjects for stream in streams] == [(f"trades.raw.{number}.>",) for number in range(4)]
    assert sum(stream.max_bytes for stream in streams) == 2**30
    assert processed_stream(2**30, Partition(2, 4)).subjects == ("trades.processed.2.>",)
    assert raw_stream(2**20, Partition(2, 4)).max_bytes == 2**20  # the largest message has room


@pytest.mark.parametrize("partition", [WHOLE, Partition(0, 2), Partition(11, 12)])
def test_a_subject_tells_whether_its_messages_are_of_one_symbol(partition: Partition) -> None:
    raw = subjects.raw("binance", partition)

    assert subjects.is_of_one_symbol(subjects.raw_of_symbol("binance", "btcusdt", partition))
    assert subjects.is_of_one_symbol(subjects.raw_of_symbol("binance", "1000", partition))
    assert not subjects.is_of_one_symbol(raw)
    assert not subjects.is_of_one_symbol(subjects.processed("binance", partition))
    assert subjects.is_last_trades(subjects.last_trades(raw)) and not subjects.is_last_trades(raw)


@pytest.mark.parametrize("count", [0, MAX_PARTITIONS + 1, "some"])
def test_a_number_of_partitions_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, count: object) -> None:
    monkeypatch.setenv("PARTITIONS", str(MAX_PARTITIONS))
    assert load(BusSettings).partitions == MAX_PARTITIONS
    monkeypatch.setenv("PARTITIONS", str(count))
    with pytest.raises(WrongSettings, match="PARTITIONS"):
        load(BusSettings)
