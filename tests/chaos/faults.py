"""The table of faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh.local.settings import NATS
from tests.chaos.clock import with_own_clock
from tests.chaos.strikes import (
    EVERY_STREAM,
    Strike,
    all_frozen,
    anything,
    away,
    before_a_minute_ends,
    begun_again_without_ingest,
    bus_lost,
    bus_lost_after_ids_began_again,
    clock_steps,
    database_missing_at_the_start,
    disk_full,
    failed_over,
    frozen,
    killed,
    killed_during_an_export,
    leader_frozen,
    leader_killed,
    listened_to,
    nonsense_in_raw,
    one_after_the_other,
    power_cut,
    power_cut_regrown,
    restarted,
    rolled,
    rows_deleted,
    rows_refused,
    seconds_beside,
    slow_database,
    started_twice,
    started_without_the_exchange,
    states_refused,
    stream_full,
    third_comes_and_goes,
    told,
)
from tests.chaos.world import PROGRAMS

PATIENCE_S = 120.0
"""So long the mesh may take to be whole before it counts as broken."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table: a sentence, and what is done to the world.

    Args:
        short: whether the short form has it too; what differs little from another is left to the long one.
        own_mesh: asks for a mesh of the fault's own, and gives its settings for a folder. Faults that follow each other
            and have the same one share it, as do those that have none.
        whole_within_s: so long the mesh may take to be whole after the fault.
        small_disk: asks for a small disk under this folder of STATE_DIR, "." is all of it; skipped where it cannot be.
        late: trades may come too late for the signals, which never go back: then the database is compared alone.

    """

    name: str
    strike: Strike
    short: bool = True
    own_mesh: Callable[[Path], Mapping[str, str]] | None = None
    whole_within_s: float = PATIENCE_S
    small_disk: str = ""
    late: bool = False


def a_little_ahead(ids: int, *, at_trade: int = 0) -> dict[str, object]:
    """Say five times of a trade that its id is so many higher."""
    return {"kind": "misstate", "at_trade": at_trade, "id_by": ids, "every": 150, "times": 5}


def table(*, short: bool, seed: int) -> list[Fault]:
    """Return the faults; the short form has fewer, and its outages are shorter."""

    def either(short_s: float, long_s: float) -> float:
        return short_s if short else long_s

    rows = [Fault(f"kill -9 of {name}", killed(name)) for name in PROGRAMS]
    rows += [
        Fault(f"kill -9 of {' and '.join(names)} at once", killed(*names))
        for names in (("ingest", "nats"), ("store", "postgres"))
    ]
    rows += [
        Fault(f"kill -9 of {' and '.join(names)} at once", killed(*names), short=False)
        for names in (("signal", "store"), ("ingest", "signal"))
    ]
    rows.append(Fault("kill -9 of everything at once", killed(*PROGRAMS)))
    rows += [
        Fault("the whole mesh is stopped and started", restarted(orderly=True)),
        Fault("kill -9 of the runner, then a new start", restarted(orderly=False)),
    ]
    still_s = either(3, 25)
    rows += [
        Fault(f"{name} stands still for {still_s:g} s", frozen(name, still_s), short=name not in ("signal", "gateway"))
        for name in PROGRAMS
    ]
    signal_s = either(4, 12)
    rows.append(Fault(f"signal is away for {signal_s:g} s while a client listens to /ws", listened_to(signal_s)))
    database_s, missing_s, nats_s = either(5, 30), either(8, 30), either(8, 150)
    rows += [
        Fault(f"the database is away for {database_s:g} s", away("postgres", database_s)),
        Fault(f"the database is not there at the start, for {missing_s:g} s", database_missing_at_the_start(missing_s)),
        Fault(f"NATS is away for {nats_s:g} s", away("nats", nats_s)),
        Fault(f"the store is slower than the feed for {either(6, 30):g} s", slow_database(either(6, 30))),
        Fault(
            f"the database refuses some trades with an error that does not pass, for {either(5, 30):g} s",
            rows_refused(either(5, 30)),
        ),
        Fault(
            f"no state of signal can be saved for {either(6, 30):g} s, and it is killed meanwhile",
            states_refused(either(6, 30)),
        ),
        Fault("300 rows are deleted by hand, and the store is killed", rows_deleted),
        Fault("somebody writes nonsense to RAW", nonsense_in_raw),
    ]
    beside_s = either(4, 20)
    rows.append(
        Fault(
            f"a second ingest, signal and store run for {beside_s:g} s, and the first ones are killed",
            seconds_beside("ingest", "signal", "store", for_s=beside_s),
        )
    )
    rows += _of_the_exchange(either)
    rows += _of_two_instances(either)
    full_s = either(5, 10)
    rows += [
        Fault(f"anything, seed {seed}, for {either(30, 300):g} s", anything(seed, either(30, 300))),
        Fault("RAW is full while the store is away", stream_full, own_mesh=lambda _: {"RAW_MAX_BYTES": str(2**20)}),
        Fault("the clock jumps an hour ahead, then two back", clock_steps(3600, -3600, 0), own_mesh=with_own_clock),
        Fault("a power cut takes the last seconds of RAW", power_cut("RAW"), short=False, own_mesh=lambda _: {}),
        Fault(
            "a power cut takes the last seconds of RAW, and it grows past them before store starts",
            power_cut_regrown("RAW"),
            own_mesh=lambda _: {},
        ),
        Fault(
            "a power cut takes the last seconds of every stream",
            power_cut(*EVERY_STREAM),
            short=False,
            own_mesh=lambda _: {},
        ),
        *(
            Fault(
                f"the disk of {what} is full for {full_s:g} s",
                disk_full(folder, full_s),
                own_mesh=lambda _: {},
                small_disk=folder,
            )
            for what, folder in (("the bus", "nats"), ("the database", "postgres"), ("everything", "."))
        ),
        Fault(
            "the exchange begins its ids again, twice",
            told({"kind": "begin_again", "at_s": 0, "every": 6, "times": 2}, lasts_s=8),
            own_mesh=lambda _: {},
        ),
        Fault(
            "the exchange begins its ids again, twice, the second time as a minute ends",
            before_a_minute_ends(
                told({"kind": "begin_again", "at_s": 0, "every": 6, "times": 2}, lasts_s=8), before_s=6.6
            ),
            short=False,
            own_mesh=lambda _: {},
        ),
        Fault(
            "the exchange begins its ids again while ingest is away",
            begun_again_without_ingest(2),
            own_mesh=lambda _: {},
        ),
        Fault("kill -9 of store during an export", killed_during_an_export, own_mesh=lambda _: {}),
        Fault("the disk of the bus is lost", bus_lost, own_mesh=lambda _: {}, late=True),
        Fault(
            "the exchange begins its ids again, and then the disk of the bus is lost",
            bus_lost_after_ids_began_again,
            short=False,
            own_mesh=lambda _: {},
            late=True,
        ),
        Fault(
            f"started while the exchange cannot be reached, which it can after {either(3, 20):g} s",
            started_without_the_exchange(either(3, 20)),
            own_mesh=lambda _: {},
            late=True,
        ),
    ]
    return [fault for fault in rows if fault.short or not short]


SHARED = ("ingest", "signal", "store")
"""The services that several instances share."""
WHOLE_WITHIN_S = 8.0
"""After the fault, on a machine that all instances and servers share."""
WHOLE_WHEN_LED_S = 4.0
"""After the nats-servers have chosen new leaders, for which they wait 4 to 9 s, and longer where two want to lead."""
WHOLE_ON_STANDBY_S = 20.0
"""After the promotion of the database's standby."""


def on_three_servers(_: Path) -> Mapping[str, str]:
    """Return the settings of the mesh with two instances of each service and three nats-servers."""
    return {"INSTANCES": "2", "PARTITIONS": "4", "NATS_SERVERS": "3"}


def _of_two_instances(either: Callable[[float, float], float]) -> list[Fault]:
    every = [f"{service}{number}" for service in SHARED for number in ("", "-2")]
    mixed, pairs = (
        ("ingest", "signal-2", "store"),
        (("ingest", "signal-2"), ("signal", "store-2"), ("store", "ingest-2")),
    )
    pause_s, still_s, away_s = either(2, 5), either(8, 15), either(3, 10)
    short = {
        "kill -9 of one of two instances of each service at once": killed(*mixed),
        "kill -9 of both instances of all services at once": killed(*every),
        f"one of two instances of each service stands still for {still_s:g} s at once": all_frozen(
            *mixed, seconds=still_s
        ),
        "kill -9 of the nats-server that leads most streams, of three": leader_killed,
        f"a third instance of each service comes, and goes after {away_s:g} s": third_comes_and_goes(
            *SHARED, for_s=away_s
        ),
    }
    long = {
        "kill -9 of each of two instances, one after the other": one_after_the_other(
            *map(killed, every), pause_s=pause_s
        ),
        "kill -9 of one of two instances of two services at once, each pair": one_after_the_other(
            *(killed(*pair) for pair in pairs), pause_s=pause_s
        ),
        f"each of two instances stands still for {still_s:g} s, one after the other": one_after_the_other(
            *(frozen(name, still_s) for name in every), pause_s=pause_s
        ),
        f"the nats-server that leads most streams, of three, stands still for {still_s:g} s": leader_frozen(still_s),
        f"each of two instances is taken away for {away_s:g} s and added again": one_after_the_other(
            *(away(name, away_s) for name in every), pause_s=pause_s
        ),
        "two instances of each service are started with the same name": started_twice(*every),
        "everything is restarted, one after the other": rolled(*every, "gateway", *NATS, "postgres"),
    }
    rows = [
        Fault(
            name,
            strike,
            short=name in short,
            own_mesh=on_three_servers,
            whole_within_s=WHOLE_WHEN_LED_S if strike is leader_killed else WHOLE_WITHIN_S,
        )
        for name, strike in (short | long).items()
    ]
    return [
        *rows,
        Fault(
            "the primary of the database is killed, and its standby takes its place",
            failed_over("store", "store-2"),
            own_mesh=on_three_servers,  # the last one in it: its first database is not there afterwards
            whole_within_s=WHOLE_ON_STANDBY_S,
        ),
    ]


def _of_the_exchange(either: Callable[[float, float], float]) -> list[Fault]:
    drop: dict[str, object] = {"kind": "drop", "count": 40}
    silent_s = either(6, 30)
    rows = [
        Fault("the exchange drops every connection", told({"kind": "disconnect"})),
        Fault("the exchange is away for 3 s", told({"kind": "disconnect", "for_s": 3}, lasts_s=3)),
        Fault(
            "the exchange refuses connections with 503 for 3 s",
            told({"kind": "refuse", "for_s": 3}, {"kind": "disconnect"}, lasts_s=3),
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
        Fault(
            "trades are told with ids far ahead, 5 times",
            told({"kind": "misstate", "at_trade": 0, "id_by": 2**53, "every": 100, "times": 5}, lasts_s=2),
        ),
        Fault(
            "trades are told with ids a little ahead, 15 times",
            told(*(a_little_ahead(ids, at_trade=50 * n) for n, ids in enumerate((1, 3, 40))), lasts_s=2),
            late=True,
        ),
        Fault(
            "trades are told with ids a little ahead while REST is overloaded",
            told(
                {"kind": "rest", "status": 503, "for_s": 3},
                a_little_ahead(1),
                a_little_ahead(3, at_trade=50),
                lasts_s=4,
            ),
            late=True,
        ),
        Fault(
            "trades are told with ids of the past, 5 times",
            told({"kind": "misstate", "at_trade": 0, "id_by": -1000, "every": 100, "times": 5}, lasts_s=2),
        ),
        Fault(
            "trades are told with times of the year 2200 and of 1970, 5 times",
            told(
                {"kind": "misstate", "at_trade": 0, "time_by_s": 5.4e9, "every": 100, "times": 5},
                {"kind": "misstate", "at_trade": 50, "time_by_s": -1.79e9, "every": 100, "times": 5},
                lasts_s=2,
            ),
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
        strike = told(rest, drop, lasts_s=2)
        short = status in (429, 500)
        rows.append(Fault(f"REST {what} ({status}) for 2 s while trades are missing", strike, short=short))
    for status, what in ((451, "refuses this location"), (403, "is behind a firewall")):
        rest = {"kind": "rest", "status": status, "requests": 1}
        rows.append(Fault(f"a REST host {what} ({status}) while trades are missing", told(rest, drop)))
    return rows
