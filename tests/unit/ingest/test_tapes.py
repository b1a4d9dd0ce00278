"""Real recorded frames through the parser and the sequencer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from ingest.publish.sequencer import Sequencer
from mesh.values.fixed import parse_e8
from mesh.values.trades import concatenate
from tests.fixtures.parsed import parse_to_columns

DATA = Path(__file__).parents[4] / "shared" / "data"
TAPES = ("btcusdt_20230405.trades.jsonl.gz", "btcusdt_20240808.trades.jsonl.gz")


@pytest.mark.parametrize("tape", TAPES)
def test_every_recorded_trade_comes_out_exactly_and_in_order(tape: str) -> None:
    path = DATA / tape
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path) as lines:
        frames = [line.rstrip(b"\n") for line in lines]
    sequencer = Sequencer(last_id=None)
    released = []
    for start in range(0, len(frames), 97):
        parsed = parse_to_columns(frames[start : start + 97])
        assert parsed.bad == parsed.others == ()
        released += [sequencer.push(trades, 0.0) for trades in parsed.trades]
    trades = concatenate([batch for batch in released if batch is not None])
    said = [json.loads(frame)["data"] for frame in frames]
    assert sequencer.gap is None
    assert trades.trade_id.tolist() == [data["t"] for data in said]
    assert trades.price_e8.tolist() == [parse_e8(data["p"]) for data in said]
    assert trades.quantity_e8.tolist() == [parse_e8(data["q"]) for data in said]
    assert trades.time_us.tolist() == [data["T"] * 1000 for data in said]
    assert trades.is_buyer_maker.tolist() == [data["m"] for data in said]
    assert (np.diff(trades.trade_id) == 1).all()
