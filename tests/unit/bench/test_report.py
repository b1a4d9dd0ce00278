from __future__ import annotations

from tests.bench.report import by_symbols


def test_many_symbols_are_told_beside_few_by_the_ratios_of_their_turns() -> None:
    few = [{"cpu_us.mesh": 10.0, "delay_ms.p50": 1.0, "delay_ms.p99": 4.0}, {"cpu_us.mesh": 40.0, "delay_ms.p50": 2.0}]
    many = [{"cpu_us.mesh": 11.0, "delay_ms.p50": 1.0, "delay_ms.p99": 8.0}, {"cpu_us.mesh": 48.0, "delay_ms.p50": 3.0}]

    text = by_symbols({"10,000/s": (many, few)})

    assert text == (
        "10,000/s, beside the fewest: CPU 1.150  (1.10 - 1.20), p50 1.250  (1.00 - 1.50), p99 2.000  (2.00 - 2.00)"
    )
