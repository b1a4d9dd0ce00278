"""One REST host: what it is known to offer, and for how long it is left alone after a refusal."""

from __future__ import annotations

import pytest

from ingest.http.errors import RequestRejected
from ingest.http.host import Host
from tests.fixtures.binance import refusals_of

TRADES = "/api/v3/trades"
HISTORY = "/api/v3/historicalTrades"


def host() -> Host:
    return Host("https://api.example:8443/")


def test_a_path_it_does_not_know_is_not_asked_of_it_again_but_others_are() -> None:
    one = host()

    words, matters = one.refused(HISTORY, refusals_of(404, b""), 0.0)

    assert (words, matters) == (f"api.example:8443 has no such path (404), asked for {HISTORY}", True)
    assert (one.offers(HISTORY, 0.0), one.offers(TRADES, 0.0), one.is_shut(0.0)) == (False, True, False)


def test_a_path_it_does_not_know_is_asked_for_again_after_five_minutes() -> None:
    one = host()

    one.refused(HISTORY, refusals_of(404, b""), 100.0)

    assert not one.offers(HISTORY, 399.9)
    assert one.offers(HISTORY, 400.0)


def test_a_path_that_wants_a_key_is_as_good_as_none() -> None:
    one = host()

    one.refused(HISTORY, refusals_of(400, b'{"code":-2014,"msg":"API-key format invalid."}'), 0.0)

    assert not one.offers(HISTORY, 0.0)


@pytest.mark.parametrize("status", [403, 451])
def test_a_host_that_keeps_us_out_is_left_alone_twice_as_long_each_time_until_it_answers(status: int) -> None:
    one = host()
    shut = []
    for _ in range(3):
        one.refused(TRADES, refusals_of(status, b""), 0.0)
        shut.append([one.is_shut(now_s) for now_s in (1.9, 3.9, 7.9)])
    one.answered()
    one.refused(TRADES, refusals_of(status, b""), 0.0)

    assert shut == [[True, False, False], [True, True, False], [True, True, True]]
    assert one.is_shut(1.9)
    assert not one.is_shut(2.0)


def test_it_is_never_left_alone_for_longer_than_five_minutes() -> None:
    one = host()
    for _ in range(100):
        one.refused(TRADES, refusals_of(403, b""), 0.0)

    assert one.is_shut(299.9)
    assert not one.is_shut(300.0)


def test_a_refused_location_is_said_with_the_venues_own_words() -> None:
    words, matters = host().refused(
        TRADES, refusals_of(451, b'{"code":0,"msg":"Service unavailable from a restricted location."}'), 0.0
    )

    assert words == (
        "api.example:8443 refuses this location (451 Service unavailable from a restricted location.), "
        "asked for /api/v3/trades"
    )
    assert matters


def test_a_server_in_trouble_is_asked_again_without_a_word_to_people() -> None:
    one = host()

    assert one.refused(TRADES, refusals_of(503, b""), 0.0) == (
        "api.example:8443 is in trouble (503), asked for /api/v3/trades",
        False,
    )
    assert one.offers(TRADES, 0.0)
    assert not one.is_shut(0.0)


def test_a_wrong_question_is_an_error_that_names_path_status_and_the_venues_words() -> None:
    with pytest.raises(
        RequestRejected, match=r"refuses the question \(400 -1121 Invalid symbol\.\), asked for /api/v3/trades"
    ):
        host().refused(TRADES, refusals_of(400, b'{"code":-1121,"msg":"Invalid symbol."}'), 0.0)
