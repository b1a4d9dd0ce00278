"""Messages on their way: which of them ask for an ack, and what an ack confirms."""

from __future__ import annotations

import pytest

from mesh.bus.publisher import ACK_EVERY_MESSAGES, ACK_EVERY_S, InFlight, InFlightMessage


def queue(*ids: str, max_messages: int = 100, max_bytes: int = 10_000) -> InFlight:
    unconfirmed = InFlight("before", max_messages=max_messages, max_bytes=max_bytes)
    for message_id in ids:
        unconfirmed.add(InFlightMessage("s", b"12345", message_id, None))
    return unconfirmed


def sent(unconfirmed: InFlight, *, now_s: float) -> list[bool]:
    for item in unconfirmed.items:
        unconfirmed.send(item, now_s)
    return [item.ack_wanted for item in unconfirmed.items]


def test_a_message_knows_the_sequence_of_the_one_before_it_whether_that_is_confirmed_or_not() -> None:
    unconfirmed = queue("a", "b", "c")
    unconfirmed.last_sequence = 7
    before = unconfirmed.tail_sequence
    unconfirmed.confirm(2, 9)

    assert (before, unconfirmed.last_sequence, unconfirmed.tail_sequence) == (10, 9, 10)


def test_the_first_of_messages_that_come_together_asks_for_an_ack() -> None:
    assert sent(queue("a", "b", "c"), now_s=5.0) == [True, False, False]


def test_an_ack_is_asked_for_again_after_a_while() -> None:
    unconfirmed = queue("a", "b", "c")
    first, second, third = unconfirmed.items
    unconfirmed.send(first, 5.0)
    unconfirmed.send(second, 5.0 + ACK_EVERY_S / 2)
    unconfirmed.send(third, 5.0 + 2 * ACK_EVERY_S)

    assert [item.ack_wanted for item in unconfirmed.items] == [True, False, True]


def test_an_ack_is_asked_for_after_so_many_messages_however_fast_they_come() -> None:
    wanted = sent(queue(*map(str, range(2 * ACK_EVERY_MESSAGES)), max_messages=1000), now_s=5.0)

    assert [place for place, ack in enumerate(wanted) if ack] == [0, ACK_EVERY_MESSAGES]


def test_who_is_to_be_told_when_it_is_stored_asks_at_once() -> None:
    unconfirmed = queue("a", "b")
    unconfirmed.items[1].on_stored = lambda _: None

    assert sent(unconfirmed, now_s=5.0) == [True, True]


def test_an_ack_vouches_for_all_before_it_and_tells_each_its_own_sequence() -> None:
    unconfirmed = queue("a", "b", "c")
    told: list[int] = []
    unconfirmed.items[0].on_stored = told.append
    unconfirmed.items[1].on_stored = told.append
    sent(unconfirmed, now_s=5.0)

    unconfirmed.confirm(unconfirmed.up_to_token(unconfirmed.items[1].token), last_sequence=18)

    assert told == [17, 18]
    assert [item.message_id for item in unconfirmed.items] == ["c"]
    assert unconfirmed.last_id == "b"


def test_an_ack_of_a_sending_that_was_repeated_confirms_nothing() -> None:
    unconfirmed = queue("a", "b")
    sent(unconfirmed, now_s=5.0)
    old = unconfirmed.items[1].token
    unconfirmed.forget_sendings()

    assert unconfirmed.up_to_token(old) == 0


def test_an_id_that_the_stream_ends_with_tells_how_many_it_holds() -> None:
    assert [queue("a", "b", "c").up_to_id(found) for found in ("b", "before", None)] == [2, 0, 0]


def test_the_next_message_names_the_last_one_there_is() -> None:
    unconfirmed = queue()
    assert unconfirmed.tail_id == "before"

    unconfirmed.add(InFlightMessage("s", b"", "a", None))
    assert unconfirmed.tail_id == "a"

    unconfirmed.confirm(1, 1)
    assert unconfirmed.tail_id == "a"


@pytest.mark.parametrize("limits", [{"max_messages": 2}, {"max_bytes": 10}])
def test_there_is_room_up_to_the_bound(limits: dict[str, int]) -> None:
    assert not queue("a", **limits).full
    assert queue("a", "b", **limits).full
