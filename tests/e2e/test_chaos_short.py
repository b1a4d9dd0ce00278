"""A few of the faults of `make chaos` as tests; the whole table is run by `python -m tests.chaos`."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.chaos.faults import Fault, table
from tests.chaos.run import strike
from tests.chaos.truth import Truth
from tests.chaos.world import World, running_world, until

pytestmark = pytest.mark.slow

FAULTS = {fault.name: fault for fault in table(short=True, seed=7)}
QUICK = [
    "kill -9 of ingest and nats at once",
    "kill -9 of store and postgres at once",
    "kill -9 of signal",
    "25 ids that never existed",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("chaos"), seed=7) as world:
        yield world


@pytest.fixture(scope="module")
def truth(world: World) -> Truth:
    return Truth(world)


@pytest.mark.parametrize("fault", [pytest.param(FAULTS[name], id=name) for name in QUICK])
def test_nothing_is_lost_or_doubled_by(world: World, truth: Truth, fault: Fault) -> None:
    outcome = strike(world, truth, fault, rate=500)
    assert outcome.wrong == ""


_FIRST = "WHERE (symbol, trade_id) = (%(symbol)s, %(first)s)"
_FIRST_CANDLE = "WHERE (symbol, first_trade_id, interval) = (%(symbol)s, %(first)s, '1s')"


@pytest.mark.parametrize(
    ("damage", "mended", "found"),
    [
        (
            f"UPDATE trades SET price = price + 1 {_FIRST}",
            f"UPDATE trades SET price = price - 1 {_FIRST}",
            {"missing": 1, "foreign": 1},
        ),
        (
            f"CREATE TABLE kept AS SELECT * FROM trades {_FIRST}; DELETE FROM trades {_FIRST}",
            "INSERT INTO trades TABLE kept; DROP TABLE kept",
            {"missing": 1},
        ),
        (
            "INSERT INTO trades SELECT time + interval '1 ms', venue, symbol, trade_id, price, quantity, "
            f"is_buyer_maker FROM trades {_FIRST}",
            f"DELETE FROM trades {_FIRST} AND time = (SELECT max(time) FROM trades {_FIRST})",
            {"doubled": 1, "foreign": 1},
        ),
        (
            f"UPDATE candles SET high = high + 1 {_FIRST_CANDLE}",
            f"UPDATE candles SET high = high - 1 {_FIRST_CANDLE}",
            {"candles_wrong": 1},
        ),
    ],
)
def test_what_changes_after_it_has_agreed_is_found(
    world: World, truth: Truth, damage: str, mended: str, found: dict[str, int]
) -> None:
    issued = len(truth.issued())
    world.feed(500)
    until(lambda: len(truth.issued()) > issued + 1500, timeout_s=30, what="trades of three seconds")
    world.feed(0)
    until(lambda: truth.difference(signals=True).all_kept, timeout_s=30, what="the mesh has all that was issued")
    with psycopg.connect(world.mesh.env["DATABASE_URL"], autocommit=True, cursor_factory=psycopg.ClientCursor) as there:
        [(symbol, first)] = there.execute("SELECT symbol, min(trade_id) FROM trades GROUP BY 1 LIMIT 1").fetchall()
        there.execute(damage, {"symbol": symbol, "first": first})
        difference = truth.difference(signals=False)
        there.execute(mended, {"symbol": symbol, "first": first})

    counted = ("doubled", "missing", "foreign", "candles_wrong")
    assert {name: getattr(difference, name) for name in counted} == dict.fromkeys(counted, 0) | found
    assert truth.difference(signals=True).all_kept
