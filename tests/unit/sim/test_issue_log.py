from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.exchange import Exchange
from sim.instruments import INSTRUMENTS
from sim.issue_log import HEADER, IssueLog, LogError, log_lines, read_log
from sim.market import Market
from sim.pacing import Pace, Pacer
from sim.trades import Trades, decimal_e8, decimal_text

INDEX = {instrument.symbol: index for index, instrument in enumerate(INSTRUMENTS)}
LINE = "btcusdt,3735683259,61837.63000000,0.02000000,1723161255342001,true\n"


def some_trades(count: int) -> Trades:
    batch = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0)).issue(count, 1_795_348_800_123_456)
    assert batch is not None
    return batch.trades


def test_a_log_reads_back_as_it_was_written(tmp_path: Path) -> None:
    trades = some_trades(3000)
    with IssueLog(tmp_path / "log.csv") as log:
        log.write(trades[:1000], INSTRUMENTS)
        log.write(trades[1000:], INSTRUMENTS)

        back = np.concatenate(list(log.read(INDEX)))

    for column in ("symbol", "trade_id", "price_e8", "quantity_e8", "time_us", "is_buyer_maker"):
        assert (back[column] == trades[column]).all()


def test_a_line_tells_the_trade_exactly() -> None:
    (trades,) = read_log("log", [HEADER, LINE], INDEX)

    assert log_lines(trades, INSTRUMENTS) == LINE


def test_a_line_cut_in_half_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER + LINE + LINE[:20])

    with IssueLog(path):
        pass

    assert path.read_text() == HEADER + LINE


def test_opening_twice_writes_one_header(tmp_path: Path) -> None:
    for _ in range(2):
        with IssueLog(tmp_path / "log.csv"):
            pass

    assert (tmp_path / "log.csv").read_text() == HEADER


@pytest.mark.parametrize(
    "lines",
    [["hello\n"], [HEADER, "btcusdt,1\n"], [HEADER, LINE.replace("btc", "abc")], [HEADER, LINE.replace(".", "x")]],
)
def test_what_is_no_log_is_refused(lines: list[str]) -> None:
    with pytest.raises(LogError, match=rf"^log:{len(lines)}: found"):
        list(read_log("log", lines, INDEX))


@pytest.mark.parametrize("value", [0, 1, 99_999_999, 100_000_000, 6183763000000, 2**63 - 1])
def test_decimal_text_and_number_are_each_others_inverse(value: int) -> None:
    assert decimal_e8(decimal_text(value)) == value


@pytest.mark.parametrize("text", ["", ".", "-1", "1e5", "1.123456789", "1_000", " 1", "٣", "99999999999999"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="found number"):
        decimal_e8(text)
