"""What the whole mesh must bear: a feed twenty times an ordinary one, all of it kept, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.whole_mesh import Load, fed_mesh, run

RATE, SECONDS = 20_000.0, 30.0
MOST_MB = {"ingest": 300, "nats": 500, "signal": 300, "store": 300, "gateway": 300}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_twenty_thousand_trades_a_second_for_half_a_minute_are_all_stored_once_and_nobodys_memory_grows(
    tmp_path: Path,
) -> None:
    with fed_mesh(tmp_path) as fed:
        found = run(fed, Load(RATE, SECONDS))
        assert fed.mesh is not None
        [(rows, trades)] = fed.mesh.query("select count(*), count(distinct (symbol, trade_id)) from trades")

    assert found["sent"] > RATE * SECONDS / 4, "the exchange itself was too slow to tell anything"
    assert (rows, trades) == (found["sent"], found["sent"])
    peaks_mb = {name: round(found[f"peak_mb.{name}"]) for name in MOST_MB}
    assert {name: peak for name, peak in peaks_mb.items() if peak > MOST_MB[name]} == {}
