"""The conditions of a service: which decide whether it serves, which inform, and since when each is so."""

from __future__ import annotations

from mesh.service.health import MAX_CONDITIONS, MAX_MESSAGE_CHARS, Health, State


def test_what_a_service_needs_begins_as_failed() -> None:
    health = Health("bus", "database")
    assert [(one.name, one.state, one.required) for one in health.conditions] == [
        ("bus", State.FAILED, True),
        ("database", State.FAILED, True),
    ]


def test_a_condition_for_information_is_shown_and_never_ends_serving() -> None:
    health = Health("bus")
    health.set("bus", True)
    health.condition("quarantine", State.FAILED, "btcusdt: 1 trade is held")
    assert health.serving
    assert health.conditions[1].message == "btcusdt: 1 trade is held"
    health.clear("quarantine")
    assert [one.name for one in health.conditions] == ["bus"]


def test_a_service_that_is_degraded_in_what_it_needs_still_serves() -> None:
    health = Health("bus")
    health.condition("bus", State.DEGRADED, "slow")
    assert health.serving


def test_since_tells_when_the_state_began_and_not_when_the_words_changed() -> None:
    now_us = 1_000
    health = Health("bus", now_us=lambda: now_us)
    now_us = 2_000
    health.set("bus", True)
    now_us = 3_000
    health.set("bus", True, "again")
    assert (health.conditions[0].since_us, health.conditions[0].message) == (2_000, "again")
    now_us = 4_000
    health.set("bus", False)
    assert health.conditions[0].since_us == 4_000


def test_whoever_listens_hears_every_change_once() -> None:
    health = Health("bus")
    changes: list[State] = []
    serving: list[bool] = []
    health.on_change(lambda: changes.append(health.conditions[-1].state))
    health.listen(serving.append)
    health.condition("feed", State.DEGRADED)
    health.condition("feed", State.DEGRADED)
    health.set("bus", True)
    assert (len(changes), serving) == (2, [False, True])


def test_a_report_of_all_conditions_stays_small() -> None:
    health = Health("bus")
    for number in range(2 * MAX_CONDITIONS):
        health.condition(f"condition{number}", State.DEGRADED, "x" * 10_000)
    assert len(health.conditions) == MAX_CONDITIONS
    assert max(len(one.message) for one in health.conditions) == MAX_MESSAGE_CHARS


def test_what_a_service_needs_is_not_cleared() -> None:
    health = Health("bus")
    health.clear("bus")
    assert not health.serving
