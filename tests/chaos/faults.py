"""The table of faults: each a sentence and what to do to the world; when its `strike` returns the fault is over."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from mesh import subjects
from mesh.local.state import State
from tests.chaos.clock import step, with_own_clock
from tests.chaos.world import PROGRAMS, World, until

Strike = Callable[[World], None]

EVERY_STREAM = (subjects.RAW, subjects.PROCESSED, subjects.CONTROL, subjects.CANDLES, f"KV_{subjects.ENGINE_BUCKET}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    `own_mesh` asks for a mesh of the fault's own, and gives its settings for a folder; the others share one. `late`
    says that trades may come too late for the signals, which never go back: then the database is compared alone.
    """

    name: str
    strike: Strike
    own_mesh: Callable[[Path], Mapping[str, str]] | None = None
    late: bool = False


# --- what can be done ---


def killed(*names: str) -> Strike:
    return lambda world: world.kill(*names)


def frozen(name: str, seconds: float) -> Strike:
    def strike(world: World) -> None:
        with world.frozen(name):
            time.sleep(seconds)

    return strike


def away(name: str, seconds: float) -> Strike:
    def strike(world: World) -> None:
        with world.without(name):
            time.sleep(seconds)

    return strike


def told(*faults: Mapping[str, object], lasts_s: float = 0.5) -> Strike:
    """The exchange misbehaves on command."""

    def strike(world: World) -> None:
        world.misbehave(*faults)
        time.sleep(lasts_s)

    return strike


def both(*strikes: Strike) -> Strike:
    """One after the other."""

    def strike(world: World) -> None:
        for one in strikes:
            one(world)

    return strike


def restarted(*, orderly: bool) -> Strike:
    return lambda world: world.restart(orderly=orderly)


def database_missing_at_the_start(seconds: float) -> Strike:
    """PostgreSQL finds its files away, as on a disk that is not mounted yet; everything else starts before it."""

    def strike(world: World) -> None:
        world.mesh.stop()
        control = State(world.mesh.state_dir).postgres_data / "global" / "pg_control"
        hidden = control.with_name("pg_control.away")
        control.rename(hidden)
        world.mesh.process.start()
        time.sleep(seconds)
        hidden.rename(control)
        until(world.ready, timeout_s=60, what="the mesh is ready again")

    return strike


def slow_database(seconds: float) -> Strike:
    """Nine tenths of the time somebody else holds a lock on the table, so that the store is slower than the feed."""

    def strike(world: World) -> None:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            with psycopg.connect(world.mesh.env["DATABASE_URL"]) as connection:
                connection.execute("LOCK TABLE trades IN EXCLUSIVE MODE")
                time.sleep(0.9)
            time.sleep(0.1)

    return strike


def rows_deleted(world: World) -> None:
    """Somebody deletes rows behind the store's back; its next start finds that."""
    world.query(
        "DELETE FROM trades WHERE symbol = 'btcusdt' AND trade_id IN ("
        "SELECT trade_id FROM trades WHERE symbol = 'btcusdt' ORDER BY trade_id OFFSET 100 LIMIT 300) RETURNING 1"
    )
    world.kill("store")


def clock_steps(*steps_s: int) -> Strike:
    """The machine's time of day jumps, and jumps again."""

    def strike(world: World) -> None:
        for seconds in steps_s:
            step(world.directory, seconds)
            time.sleep(2)

    return strike


def power_cut(*streams: str) -> Strike:
    """The last seconds of some of the bus' streams were never written to the disk; the whole mesh starts anew."""

    def strike(world: World) -> None:
        files = State(world.mesh.state_dir).nats_data / "jetstream" / "$G" / "streams"
        kept = world.directory / "kept"
        with world.frozen("nats"):
            for stream in streams:
                shutil.copytree(files / stream, kept / stream)
        time.sleep(3)

        def lose() -> None:
            for stream in streams:
                shutil.rmtree(files / stream)
                shutil.copytree(kept / stream, files / stream)

        world.restart(orderly=False, during=lose)

    return strike


def bus_lost(world: World) -> None:
    """The disk of the bus is lost, with all that was on it."""
    with world.without("nats"):
        shutil.rmtree(State(world.mesh.state_dir).nats_data / "jetstream")


def stream_full(world: World) -> None:
    """The store is away until RAW has no room left: ingest has to wait."""
    with world.without("store"):
        world.feed(5000)
        until(
            lambda: "maximum bytes exceeded" in State(world.mesh.state_dir).log_of("ingest").read_text(),
            timeout_s=120,
            what="RAW is full",
        )
        time.sleep(3)
        world.feed(1000)


def anything(seed: int, seconds: float) -> Strike:
    """A seeded sequence of faults, one on the other's heels or together; the mesh is not waited for between them."""

    def strike(world: World) -> None:
        dice = random.Random(seed)
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            name, one = _some_fault(dice)
            print(f"    {name}", flush=True)
            one(world)
            time.sleep(dice.uniform(0, 3))

    return strike


def _some_fault(dice: random.Random) -> tuple[str, Strike]:
    kind = dice.randrange(4)
    if kind == 0:
        names = dice.sample(PROGRAMS, dice.randint(1, 3))
        return f"kill -9 of {' and '.join(names)}", killed(*names)
    name, seconds = dice.choice(PROGRAMS), round(dice.uniform(0.5, 4), 1)
    if kind == 1:
        return f"{name} stands still for {seconds} s", frozen(name, seconds)
    if kind == 2:
        return f"{name} is away for {seconds} s", away(name, seconds)
    fault: dict[str, object] = dice.choice(
        [
            {"kind": "disconnect", "for_s": seconds},
            {"kind": "drop", "count": dice.randint(1, 300)},
            {"kind": "duplicate", "count": dice.randint(1, 300)},
            {"kind": "reorder", "count": dice.randint(2, 300)},
            {"kind": "garble", "count": dice.randint(1, 50)},
            {"kind": "hole", "symbol": "ethusdt", "count": dice.randint(1, 50)},
            {"kind": "silence", "for_s": seconds, "pongs": dice.random() < 0.5},
            {"kind": "rest", "status": dice.choice([429, 500, 503]), "for_s": seconds},
            {"kind": "slow_frames", "for_s": seconds, "delay_s": 0.5},
            {"kind": "expire"},
        ]
    )
    return f"the exchange: {fault}", told(fault)


# --- the table ---


def table(*, short: bool, seed: int) -> list[Fault]:
    """Return the faults; the short form's are the same, only shorter."""

    def either(short_s: float, long_s: float) -> float:
        return short_s if short else long_s

    rows = [Fault(f"kill -9 of {name}", killed(name)) for name in PROGRAMS]
    rows += [
        Fault(f"kill -9 of {' and '.join(names)} at once", killed(*names))
        for names in (("ingest", "nats"), ("store", "postgres"), ("signal", "store"), ("ingest", "signal"))
    ]
    rows.append(Fault("kill -9 of everything at once", killed(*PROGRAMS)))
    rows += [
        Fault("the whole mesh is stopped and started", restarted(orderly=True)),
        Fault("kill -9 of the runner, then a new start", restarted(orderly=False)),
    ]
    still_s = either(3, 25)
    rows += [Fault(f"{name} stands still for {still_s:g} s", frozen(name, still_s)) for name in PROGRAMS]
    database_s, missing_s, nats_s = either(5, 30), either(8, 30), either(8, 150)
    rows += [
        Fault(f"the database is away for {database_s:g} s", away("postgres", database_s)),
        Fault(f"the database is not there at the start, for {missing_s:g} s", database_missing_at_the_start(missing_s)),
        Fault(f"NATS is away for {nats_s:g} s", away("nats", nats_s)),
        Fault(f"the store is slower than the feed for {either(6, 30):g} s", slow_database(either(6, 30))),
        Fault("300 rows are deleted by hand, and the store is killed", rows_deleted),
    ]
    rows += _of_the_exchange(either)
    rows += [
        Fault(f"anything, seed {seed}, for {either(45, 300):g} s", anything(seed, either(45, 300)), late=True),
        Fault("RAW is full while the store is away", stream_full, lambda _: {"RAW_MAX_BYTES": str(2**20)}),
        Fault("the clock jumps an hour ahead, then two back", clock_steps(3600, -3600, 0), with_own_clock),
        Fault("a power cut takes the last seconds of RAW", power_cut("RAW"), lambda _: {}),
        Fault("a power cut takes the last seconds of every stream", power_cut(*EVERY_STREAM), lambda _: {}, late=True),
        Fault("the disk of the bus is lost", bus_lost, lambda _: {}, late=True),
    ]
    return rows


def _of_the_exchange(either: Callable[[float, float], float]) -> list[Fault]:
    drop: dict[str, object] = {"kind": "drop", "count": 40}
    silent_s = either(6, 30)
    rows = [
        Fault("the exchange drops every connection", told({"kind": "disconnect"})),
        Fault("the exchange is away for 3 s", told({"kind": "disconnect", "for_s": 3}, lasts_s=3)),
        Fault(
            "the exchange refuses connections with 503 for 3 s",
            both(told({"kind": "refuse", "for_s": 3}, {"kind": "disconnect"}, lasts_s=3)),
        ),
        Fault(
            f"a connection half open, silent for {silent_s:g} s",
            told({"kind": "silence", "for_s": silent_s}, lasts_s=silent_s),
        ),
        Fault(
            f"an exchange that stays connected and says nothing for {silent_s:g} s",
            told({"kind": "silence", "for_s": silent_s, "pongs": True}, lasts_s=silent_s),
        ),
        Fault(
            "single trades are dropped, 10 times",
            told({"kind": "drop", "at_trade": 0, "count": 3, "every": 100, "times": 10}, lasts_s=2),
        ),
        Fault("200 trades come twice", told({"kind": "duplicate", "count": 200})),
        Fault("200 trades come in another order", told({"kind": "reorder", "count": 200})),
        Fault(
            "frames arrive damaged, in every way",
            told(*({"kind": "garble", "count": 5, "how": how} for how in ("truncate", "price", "field", "html"))),
        ),
        Fault("25 ids that never existed", told({"kind": "hole", "symbol": "btcusdt", "count": 25})),
        Fault("serverShutdown, 2 s before the end", told({"kind": "shutdown", "lead_s": 2}, lasts_s=2)),
        Fault("the exchange's 24 hours are over", told({"kind": "expire"})),
        Fault("frames come 1 s late for 3 s", told({"kind": "slow_frames", "for_s": 3, "delay_s": 1}, lasts_s=4)),
        Fault(
            "REST answers 2 s late while trades are missing",
            told({"kind": "slow_rest", "delay_s": 2, "requests": 2}, drop, lasts_s=2),
        ),
    ]
    for status, what in ((429, "asks to slow down"), (418, "bans us"), (500, "breaks"), (503, "is overloaded")):
        rest: dict[str, object] = {"kind": "rest", "status": status, "for_s": 2}
        if status in (429, 418):
            rest["retry_after_s"] = 2
        rows.append(Fault(f"REST {what} ({status}) for 2 s while trades are missing", told(rest, drop, lasts_s=2)))
    for status, what in ((451, "refuses this location"), (403, "is behind a firewall")):
        rest = {"kind": "rest", "status": status, "requests": 1}
        rows.append(Fault(f"a REST host {what} ({status}) while trades are missing", told(rest, drop)))
    return rows
