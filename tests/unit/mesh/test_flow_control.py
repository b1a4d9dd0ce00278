"""How many messages to ask for, and when."""

from __future__ import annotations

from mesh.bus.flow_control import MAX_MESSAGES, FlowControl


def asked(pull: FlowControl, *, waiting: int = 0, now_s: float) -> int:
    wanted = pull.wanted(waiting, now_s)
    if wanted:
        pull.asked(wanted, now_s)
    return wanted


def test_who_is_in_a_hurry_asks_again_before_the_last_pull_is_used_up() -> None:
    pull = FlowControl()

    assert [asked(pull, now_s=0), asked(pull, now_s=0), asked(pull, now_s=0)] == [MAX_MESSAGES, MAX_MESSAGES, 0]

    for _ in range(MAX_MESSAGES):
        pull.came(behind=0)

    assert asked(pull, waiting=MAX_MESSAGES, now_s=0) == 0, "what came and was not taken counts too"
    assert asked(pull, waiting=0, now_s=0) == MAX_MESSAGES


def test_who_gathers_waits_for_the_first_and_then_for_those_that_came_meanwhile() -> None:
    pull = FlowControl(gather_s=0.1)
    assert asked(pull, now_s=5.0) == 1
    assert asked(pull, now_s=5.5) == 0, "it is on its way"
    assert pull.due_s() is None

    pull.came(behind=3)

    assert asked(pull, now_s=5.5) == 3


def test_who_gathers_asks_for_the_next_when_its_time_has_come() -> None:
    pull = FlowControl(gather_s=0.1)
    asked(pull, now_s=5.0)
    pull.came(behind=1)
    asked(pull, now_s=5.0)
    pull.came(behind=7)

    assert asked(pull, now_s=5.05) == 0
    assert pull.due_s() == 5.1
    assert asked(pull, now_s=5.1) == 1


def test_a_backlog_is_read_without_gathering() -> None:
    pull = FlowControl(gather_s=0.1)
    asked(pull, now_s=5.0)
    pull.came(behind=10_000)

    assert [asked(pull, now_s=5.0), asked(pull, now_s=5.0)] == [MAX_MESSAGES, MAX_MESSAGES]


def test_what_the_server_gave_up_is_asked_for_again() -> None:
    pull = FlowControl(gather_s=0.1)
    asked(pull, now_s=5.0)

    pull.expired(1)

    assert asked(pull, now_s=35.0) == 1


def test_a_consumer_made_anew_owes_nothing() -> None:
    pull = FlowControl(gather_s=0.1)
    asked(pull, now_s=5.0)

    pull.begin()

    assert pull.idle
    assert asked(pull, now_s=5.01) == 1
