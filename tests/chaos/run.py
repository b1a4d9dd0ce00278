"""One fault after the other: feed, strike, wait until whole, compare."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
from nats.errors import Error as NatsError

from mesh.values import epochs
from tests.chaos.faults import PATIENCE_S, Fault
from tests.chaos.memory import Peaks
from tests.chaos.truth import Difference, Truth
from tests.chaos.world import NotYet, World, until

LEAD_S = 0.7
"""So long the feed runs before the fault, and after the mesh is whole."""
MOST_MB = 300.0
_NAME = 68


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault cost; `whole_s` counts from its end. `wrong` says what must not be, empty when all holds."""

    fault: Fault
    issued: int
    stored: int
    absent: int
    difference: Difference
    whole_s: float
    peak_mb: float
    peak_of: str
    wrong: str


def strike(world: World, truth: Truth, fault: Fault, *, rate: float, patience: float = 1.0) -> Outcome:
    """Let one fault strike a mesh that is whole, and return what it cost.

    Args:
        world: the mesh and its exchange.
        truth: what the exchange has issued, and what the mesh should make of it.
        fault: what happens.
        rate: trades a second.
        patience: how many times as long as the fault says the mesh may take to be whole.

    """
    before = truth.counts()
    wrong = []
    with Peaks(world.mesh.state_dir) as peaks:
        world.feed(rate)
        time.sleep(LEAD_S)
        try:
            fault.strike(world)
        except NotYet as exc:
            wrong.append(str(exc))
        ended_s = time.monotonic()
        try:
            _wait_until_whole(world)
        except NotYet as exc:
            wrong.append(str(exc))
        whole_s = time.monotonic() - ended_s
        time.sleep(LEAD_S)
        world.feed(0)
        difference = _settled(world, truth, signals=not fault.late)
    after = truth.counts()
    peak_of = max(peaks.peaks_mb, key=lambda name: peaks.peaks_mb[name])
    if not difference.trades_kept:
        wrong.append(f"{difference.missing} missing, {difference.doubled} doubled, {difference.foreign} not as issued")
    if difference.ledger:
        wrong.append(difference.ledger)
    if not difference.signals_kept:
        wrong.append(
            f"signals: {difference.signals_missing} missing, {difference.signals_doubled} doubled, "
            f"{difference.signals_wrong} messages differ from an uninterrupted run's"
        )
    if difference.candles_wrong:
        wrong.append(
            f"{difference.candles_wrong} closed candles are not those of the trades and of an uninterrupted run"
        )
    within_s = fault.whole_within_s * patience
    if whole_s > within_s and not wrong:
        wrong.append(f"whole after {whole_s:.1f} s, expected {within_s:g} s at most")
    if peaks.peaks_mb[peak_of] > MOST_MB:
        wrong.append(f"{peak_of} took {peaks.peaks_mb[peak_of]:.0f} MB")
    return Outcome(
        fault=fault,
        issued=after[0] - before[0],
        stored=after[1] - before[1],
        absent=after[2] - before[2],
        difference=difference,
        whole_s=whole_s,
        peak_mb=peaks.peaks_mb[peak_of],
        peak_of=peak_of,
        wrong="; ".join(wrong),
    )


def _wait_until_whole(world: World) -> None:
    """Wait until all that is issued by now is stored, no hole is open and everything serves; the feed goes on."""
    symbols = world.sim.status()["symbols"]
    upto = [
        (symbol, told["begun_again"] * epochs.IDS + told["last_id"], told["count"])
        for symbol, told in symbols.items()
        if told["count"]
    ]

    def whole() -> bool:
        if not world.ready():
            return False
        try:
            return not _lacking(world, upto)
        except psycopg.Error:
            return False

    until(whole, timeout_s=PATIENCE_S, what="the mesh is whole")


def _lacking(world: World, upto: list[tuple[str, int, int]]) -> int:
    lacking = 0
    for symbol, last_id, count in upto:
        sql = "SELECT count(*) FROM trades WHERE venue = 'binance' AND symbol = %s AND trade_id <= %s"
        lacking += abs(count - world.query(sql, symbol, last_id)[0][0])
    return lacking + int(world.query("SELECT count(*) FROM holes WHERE venue = 'binance' AND state = 'OPEN'")[0][0])


def _settled(world: World, truth: Truth, *, signals: bool) -> Difference:
    """Compare until all holds, for some seconds."""
    deadline_s = time.monotonic() + 10
    while True:
        began_s = time.monotonic()
        try:
            difference = truth.difference(signals=signals)
        except (NatsError, TimeoutError):  # a stream of several servers is choosing its leader
            if began_s > deadline_s:
                raise
            continue
        if difference.all_kept or began_s > deadline_s:
            return difference
        time.sleep(0.5)


def heading() -> str:
    """Return the table's first line."""
    widths = {
        "issued": 8,
        "stored": 8,
        "doubled": 8,
        "missing": 8,
        "absent": 7,
        "signals": 9,
        "whole s": 8,
        "peak MB": 14,
    }
    return f"{'fault':<{_NAME}}" + "".join(f"{title:>{width}}" for title, width in widths.items())


def row(outcome: Outcome) -> str:
    """Return an outcome as a line of the table."""
    told = outcome.difference
    lacking = told.signals_missing + told.signals_doubled + told.signals_wrong
    signals = "-" if outcome.fault.late else f"{lacking} off" if lacking else "equal"
    return (
        f"{outcome.fault.name:<{_NAME}}{outcome.issued:>8,}{outcome.stored:>8,}{told.doubled:>8}{told.missing:>8}"
        f"{outcome.absent:>7}{signals:>9}{outcome.whole_s:>8.1f}"
        f"{f'{outcome.peak_of} {outcome.peak_mb:.0f}':>14}{'   WRONG' if outcome.wrong else ''}"
    )
