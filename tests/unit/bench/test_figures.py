from __future__ import annotations

import pytest

from tests.bench.figures import Spread, percentiles, ratio, spread
from tests.bench.report import shares, summary, table


def test_percentiles_are_named_after_what_they_are_of() -> None:
    found = percentiles(range(1, 102), "delay_ms")

    assert found == {"delay_ms.p50": 51, "delay_ms.p90": 91, "delay_ms.p99": 100, "delay_ms.max": 101}
    assert percentiles([], "delay_ms") == {}


def test_a_spread_is_the_median_and_the_outermost_runs() -> None:
    assert spread([{"x": 3.0}, {"x": 1.0}, {"x": 10.0}, {"y": 0.0}], "x") == Spread(3.0, 1.0, 10.0)
    assert spread([{"y": 1.0}], "x") is None


def test_a_ratio_compares_the_runs_that_followed_each_other() -> None:
    new = [{"x": 1.0}, {"x": 2.0}, {"x": 8.0}]
    old = [{"x": 2.0}, {"x": 4.0}, {"x": 2.0}]

    assert ratio(new, old, "x") == Spread(0.5, 0.5, 4.0)
    assert ratio(new, [{"x": 0.0}] * 3, "x") is None
    assert ratio(new, old, "y") is None


def test_the_table_names_every_tree_and_compares_with_the_last() -> None:
    text = table("1,000/s", {"here": [{"sent": 10.0}], "8971ea4": [{"sent": 20.0}]})

    assert "here" in text.splitlines()[1]
    assert "8971ea4" in text.splitlines()[1]
    [line] = [line for line in text.splitlines() if line.startswith("  sent ")]
    assert line.split() == ["sent", "10", "20", "0.500", "(0.50", "-", "0.50)"]


@pytest.mark.parametrize("runs", [[], [{}]])
def test_a_figure_that_no_run_has_is_no_line(runs: list[dict[str, float]]) -> None:
    assert "sent" not in table("x", {"here": [{"stored": 1.0}, *runs]})


def test_the_summary_has_a_line_for_each_load_and_tree_with_medians() -> None:
    runs = {"200/s": {"here": [{"sent": 10.0}, {"sent": 30.0}, {"sent": 20.0}], "floor": [{"sent": 7.0}]}}

    lines = summary(runs).splitlines()

    assert [line.split()[:4] for line in lines[1:3]] == [["200/s:", "here", "-", "20"], ["200/s:", "floor", "-", "7"]]


def test_the_share_of_each_instance_is_that_of_the_cpu_of_one_alone() -> None:
    one = [{"cpu_us.signal": 4.0, "cpu_us.ingest": 2.0}, {"cpu_us.signal": 5.0, "cpu_us.ingest": 2.0}]
    two = [{"cpu_us.signal": 4.4, "cpu_us.ingest": 3.0}, {"cpu_us.signal": 5.0, "cpu_us.ingest": 2.0}]

    text = shares({"10,000/s": {"here": one, "2 instances": two}}, one="here", several="2 instances", count=2)

    assert text == ("10,000/s: of the CPU of one, each of 2 takes ingest 0.62 (0.50 - 0.75), signal 0.53 (0.50 - 0.55)")
