"""The passwords of a local mesh over the versions of its file."""

from __future__ import annotations

import json

import pytest

from mesh.local import nats
from mesh.local.passwords import complete

EVERY = complete("", database_made=False)


def test_the_first_time_all_are_made_and_each_is_another() -> None:
    made = [*EVERY.nats.values(), EVERY.database, EVERY.superuser]

    assert set(EVERY.nats) == {*nats.USERS, nats.ROUTE}
    assert (len(set(made)), all(len(one) >= 32 for one in made)) == (len(made), True)


def test_they_stay_what_they_are() -> None:
    assert complete(EVERY.text(), database_made=True) == EVERY


def test_a_new_user_of_the_bus_gets_one_and_the_others_keep_theirs() -> None:
    said = json.loads(EVERY.text())
    del said["nats"]["store"]

    now = complete(json.dumps(said), database_made=True)

    assert now.nats["store"] not in ("", EVERY.nats["store"])
    assert {**now.nats, "store": ""} == {**EVERY.nats, "store": ""}
    assert (now.database, now.superuser) == (EVERY.database, EVERY.superuser)


@pytest.mark.parametrize(
    "text", ["", EVERY.text()[:30], "[]", "{}"], ids=["empty", "cut off", "a list", "an empty object"]
)
def test_without_a_file_that_can_be_read_a_new_mesh_gets_new_ones(text: str) -> None:
    assert set(complete(text, database_made=False).nats) == {*nats.USERS, nats.ROUTE}


@pytest.mark.parametrize(
    "text",
    ["", EVERY.text()[:30], json.dumps({"nats": dict(EVERY.nats), "superuser": "s"})],
    ids=["empty", "cut off", "without it"],
)
def test_the_databases_lost_password_cannot_be_made_up(text: str) -> None:
    with pytest.raises(ValueError, match="no password 'database'"):
        complete(text, database_made=True)
