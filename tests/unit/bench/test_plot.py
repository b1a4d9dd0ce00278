from __future__ import annotations

from pathlib import Path

from tests.bench.figures import Figures
from tests.bench.plot import by_rate, draw
from tests.bench.whole_mesh import Load


def run(rate: float) -> Figures:
    return {
        "rate": rate,
        "cpu_us.mesh": 1e6 / rate,
        "cpu_us.store": 1e5 / rate,
        "delay_ms.p50": 1.0,
        "delay_ms.p99": 9.0,
    }


def runs(*loads: Load) -> dict[str, dict[str, list[Figures]]]:
    rates = {load: 120_000.0 if isinstance(load.rate, str) else load.rate for load in loads}
    return {str(load): {"here": [run(rates[load])], "floor": [run(2 * rates[load])]} for load in loads}


def test_loads_of_one_client_and_six_symbols_are_drawn_in_the_order_of_their_rate() -> None:
    measured = runs(
        Load("max"),
        Load(1000.0),
        Load(200.0),
        Load(200.0, clients=200),
        Load(200.0, stalled=20),
        Load(10.0, symbols=300),
    )
    assert [place for place, _ in by_rate(measured, "here")] == [200.0, 1000.0, 120_000.0]
    assert by_rate(measured, "another tree") == []


def test_the_picture_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        draw(runs(Load(200.0), Load(1000.0)), tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert drawn.count("<!-- floor -->") == 1 and "<!-- store -->" in drawn and "<!-- gateway -->" not in drawn
