"""A few of the faults of `make chaos` as tests; the whole table is run by `python -m tests.chaos`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.faults import Fault, table
from tests.chaos.run import strike
from tests.chaos.truth import Truth
from tests.chaos.world import World, running_world

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
