"""Adding a signal is what docs/extending.md says: C++, proto and one line.

One is added to a copy of the tree and followed from a trade to `/ws`. The copy is built and run in processes of its
own, which see nothing of the tree that is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "extending.md").read_text()
SOURCES = ("libsignal", "mesh", "signal", "gateway", "protos")

# Which file, the text that the addition follows, the addition.
ADDITIONS = [
    (
        "libsignal/include/libsignal.h",
        "    double *session_vwap;     /* as window_vwap, since the session began */\n",
        "    /* More of LSIG_FLOW */\n"
        "    double *window_volume; /* base asset traded in the window; relative error below 3 u */\n",
    ),
    (
        "libsignal/src/columns.hpp",
        "    {&lsig_columns::session_vwap, LSIG_SESSION},\n",
        "    {&lsig_columns::window_volume, LSIG_FLOW},\n",
    ),
    (
        "libsignal/src/flow.hpp",
        "out.flow_imbalance[i] = share(surpluses[i], sums[i]);\n        }\n",
        "        if (out.window_volume != nullptr) {\n"
        "            for (std::size_t i = 0; i < block.n; ++i) out.window_volume[i] = to_double(sums[i]) / kScale;\n"
        "        }\n",
    ),
    (
        "libsignal/src/flow.hpp",
        "            const double both = to_double(bought_e8_ + sold_e8_);\n",
        "            if (out.window_volume != nullptr) out.window_volume[i] = both / kScale;\n",
    ),
    (
        "protos/tickmesh/v1/signal.proto",
        "  repeated Candle candles = 22;\n",
        "  // Base asset traded in the window of the order flow.\n  repeated double window_volume = 23;\n",
    ),
    (
        "protos/tickmesh/v1/signal.proto",
        "  double volatility = 22;\n",
        "  // Base asset traded in the last trades.\n  double window_volume = 23;\n",
    ),
    (
        "mesh/values/signals.py",
        "    session_vwap: Annotated[Float64s, SignalGroups.SESSION, LIVE]\n",
        "    window_volume: Annotated[Float64s, SignalGroups.FLOW, LIVE]\n",
    ),
]

TRADES = """
import numpy as np
from mesh.values.trades import TradeColumns

trades = TradeColumns(
    venue="sim", symbol="btcusdt", received_time_us=0,
    trade_id=np.arange(4), price_e8=np.full(4, 6_183_763_000_000),
    quantity_e8=np.array([150_000_000, 25_000_000, 2**62, 2**62]),
    time_us=1_723_161_255_342_000 + np.arange(4), is_buyer_maker=np.array([True, False, True, False]),
)
expected = [1.5, 1.75, (2**62 + 25_000_000) / 1e8, 2**63 / 1e8]  # of the last two trades
"""

FOLLOWED = """
import asyncio, json
from gateway.transcode.ticks import MEMBERS, TickWriter
from mesh.bus import wire
from signalsvc.engine import Engine
from signalsvc.rpc import SignalServicer, TokenBucket
from signalsvc.selection import Selection
from signalsvc.watchers import Watchers
from tickcodec.ticks import TickFrames
from tickmesh.v1 import control_pb2, signal_pb2

engine = Engine(flow_window=2)
signals = engine.process(trades, raw_sequence=1)
payload = wire.encode_signals(signals)
selection = Selection("btcusdt")
selection.learn(control_pb2.Catalog(venue="sim", followed=["btcusdt"]))
servicer = SignalServicer(
    engine.latest, selection, Watchers(), select=None, reset=None, changes=TokenBucket(per_minute=60)
)
stats = asyncio.run(servicer.GetStats(signal_pb2.GetStatsRequest(), None))
batch = signal_pb2.SignalBatch.FromString(payload)
texts = TickWriter().write(batch, "Bitcoin")
ticks = [json.loads(text) for text in texts]
frames, response = TickFrames(MEMBERS, max_rows=4), signal_pb2.WatchResponse(batch=batch).SerializeToString()
written = frames.write(response, *frames.find(response), texts[0].partition(b"61837.63")[0], first=0, rows=1)

carrying = Engine(flow_window=2)
carrying.process(trades.rows(slice(0, 1)), raw_sequence=1)
rest = wire.one_of_many(wire.encode_trades(trades.rows(slice(1, None))))
[carried] = carrying.carry(rest, raw_sequence=1, now_us=2_000_000_000_000_000)

assert signals.window_volume.tolist() == expected, signals.window_volume
assert wire.decode_signals(carried.messages[0].payload).window_volume.tolist() == expected[1:], carried
assert wire.decode_signals(payload).window_volume.tolist() == expected
assert stats.window_volume == expected[-1] and stats.flow_imbalance == 0, stats
assert [tick["window_volume"] for tick in ticks] == expected, ticks
assert list(ticks[0])[-1] == "window_volume"
assert written[4:] == texts[0], written
restored = Engine(flow_window=2)
restored.restore(engine.entries())
assert restored.latest("sim", "btcusdt").signals["window_volume"] == expected[-1]
"""

SAVED = """
import pathlib, msgspec
from signalsvc.engine import Engine

engine = Engine(flow_window=2)
engine.process(trades, raw_sequence=1)
pathlib.Path("saved").write_bytes(msgspec.msgpack.encode(engine.entries()))
"""

RESTORED = """
import math, pathlib, msgspec
from signalsvc.engine import Engine

engine = Engine(flow_window=2)
engine.restore(msgspec.msgpack.decode(pathlib.Path("saved").read_bytes()))
assert math.isnan(engine.latest("sim", "btcusdt").signals["window_volume"])
assert engine.latest("sim", "btcusdt").signals["session_count"] == 4
np.add(trades.trade_id, 4, out=trades.trade_id)
signals = engine.process(trades, raw_sequence=2)
assert signals.window_volume.tolist() == [(2**62 + 150_000_000) / 1e8, *expected[1:]]
assert signals.session_count.tolist() == [5, 6, 7, 8]
"""

OLDER = """
from libsignal import SignalState
from libsignal.loader import LIBRARY

signals = SignalState(flow_window=2).process(trades)
assert not hasattr(signals, "window_volume")
assert signals.flow_imbalance.tolist()[-1] == 0 and signals.session_count.tolist() == [1, 2, 3, 4]
print(LIBRARY.path)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree with one more signal: generated anew, its libraries compiled."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to build libsignal with")
    tree = tmp_path_factory.mktemp("tree")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("build", "__pycache__", "tests"))
    for name, after, addition in ADDITIONS:
        text = (tree / name).read_text()
        assert text.count(after) == 1, f"{name}: {after!r} stands there {text.count(after)} times"
        (tree / name).write_text(text.replace(after, after + addition))
    subprocess.run([sys.executable, tree / "protos" / "generate.py"], check=True)
    built = tree / "built"  # not in the tree itself: there Python would take it for the module `libsignal`
    built.mkdir()
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    source, include = tree / "libsignal" / "src" / "libsignal.cpp", f"-I{tree / 'libsignal' / 'include'}"
    subprocess.run([compiler, *flags, include, "-o", built / "libsignal.so", source], check=True)
    codec = tree / "libsignal" / "codec"
    sources = sorted((codec / "src").glob("*.cpp"))
    subprocess.run(
        [compiler, *flags, include, f"-I{codec / 'include'}", "-o", built / "libtickcodec.so", *sources], check=True
    )
    return tree


def run(tree: Path, library: Path, code: str, *, cwd: Path | None = None) -> str:
    """Run Python code that imports what is in `tree`, and libraries, and nothing else."""
    folders = [tree, tree / "gen", tree / "signal", tree / "libsignal" / "python"]
    installed = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    path = os.pathsep.join(map(str, [*folders, *installed]))
    # -S: no .pth file, so that the installed tickmesh, which is links to the tree, is not found.
    found = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ
        | {"PYTHONPATH": path, "LIBSIGNAL_PATH": str(library)}
        | {"TICKCODEC_PATH": str(library.parent / "libtickcodec.so")},
        cwd=cwd or tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize(("name", "addition"), [(name, addition) for name, _, addition in ADDITIONS])
def test_the_manual_shows_the_very_changes(name: str, addition: str) -> None:
    assert addition in DOC
    assert f"`{name}`" in DOC or f"`{Path(name).name}`" in DOC


def test_one_line_of_python_is_all_that_a_signal_needs_there() -> None:
    [line] = [addition for name, _, addition in ADDITIONS if name.endswith(".py")]
    assert line.count("\n") == 1


def test_a_signal_goes_from_the_trades_to_the_bus_the_statistics_and_ws(copy: Path) -> None:
    run(copy, copy / "built" / "libsignal.so", TRADES + FOLLOWED)


def test_states_saved_before_the_signal_was_there_go_on_with_it(copy: Path) -> None:
    run(ROOT, copy / "built" / "libsignal.so", TRADES + SAVED, cwd=copy)
    run(copy, copy / "built" / "libsignal.so", TRADES + RESTORED)


def test_who_does_not_know_the_signal_goes_on_with_the_library_that_has_it(copy: Path) -> None:
    assert run(ROOT, copy / "built" / "libsignal.so", TRADES + OLDER).strip() == str(copy / "built" / "libsignal.so")
