from __future__ import annotations

from sim.rest import BAN_US, MINUTE_US, REFUSALS_UNTIL_BAN, RequestWeights

NOON_US = 1_795_348_800_000_000


def test_weights_add_up_by_address() -> None:
    book = RequestWeights()

    used = [book.spend(address, 25, NOON_US).used for address in ("a", "a", "b")]

    assert used == [25, 50, 25]


def test_a_new_minute_begins_at_nothing() -> None:
    book = RequestWeights(limit=30)
    book.spend("a", 25, NOON_US)

    assert book.spend("a", 25, NOON_US + MINUTE_US).status == 200


def test_above_the_limit_says_how_long_to_wait() -> None:
    book = RequestWeights(limit=30)
    book.spend("a", 25, NOON_US + 20_000_000)

    verdict = book.spend("a", 25, NOON_US + 20_000_001)

    assert (verdict.status, verdict.retry_after_s, verdict.used) == (429, 40, 25)


def test_who_goes_on_is_banned_for_two_minutes() -> None:
    book = RequestWeights(limit=1)
    book.spend("a", 1, NOON_US)

    statuses = [book.spend("a", 1, NOON_US).status for _ in range(REFUSALS_UNTIL_BAN + 1)]
    later = book.spend("a", 1, NOON_US + BAN_US - 1)
    after = book.spend("a", 1, NOON_US + BAN_US)

    assert statuses == [429] * REFUSALS_UNTIL_BAN + [418]
    assert (later.status, later.retry_after_s) == (418, 1)
    assert after.status == 200


def test_who_waits_is_not_banned() -> None:
    book = RequestWeights(limit=1)

    statuses = []
    for minute in range(2 * REFUSALS_UNTIL_BAN):
        statuses += [book.spend("a", 1, NOON_US + minute * MINUTE_US).status for _ in range(2)]

    assert set(statuses) == {200, 429}
