from __future__ import annotations

import logging

import pytest

from mesh.service.wrong_tokens import WrongTokens, host_of_peer


def test_an_address_may_send_so_many_a_minute_and_is_then_told_when_it_may_again() -> None:
    wrong = WrongTokens(per_minute=6)
    assert [wrong.count("10.0.0.1", now_s=100.0) for _ in range(8)] == [0] * 6 + [10, 10]
    assert wrong.count("10.0.0.2", now_s=100.0) == 0
    assert [wrong.count("10.0.0.1", now_s=110.0) for _ in range(2)] == [0, 10]


def test_what_one_customer_has_counts_together_in_whatever_form_it_is_written() -> None:
    wrong = WrongTokens(per_minute=1)
    assert wrong.count("2001:db8::1", now_s=0.0) == 0 and wrong.count("2001:db8::2", now_s=0.0) == 60
    assert wrong.count("10.0.0.1", now_s=0.0) == 0 and wrong.count("::ffff:10.0.0.1", now_s=0.0) == 60


def test_however_many_addresses_there_are_no_more_are_kept_and_the_quietest_goes_first() -> None:
    wrong = WrongTokens(per_minute=1, max_addresses=3)
    for number in (1, 2, 3, 1, 4):
        wrong.count(f"10.0.0.{number}", now_s=0.0)
    assert len(wrong) == 3
    assert wrong.count("10.0.0.1", now_s=0.0) > 0  # 2 was forgotten
    assert wrong.count("10.0.0.2", now_s=0.0) == 0


def test_the_log_names_the_address_once_a_minute_and_no_token(caplog: pytest.LogCaptureFixture) -> None:
    wrong = WrongTokens(per_minute=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            wrong.count("10.0.0.1", now_s=5.0)
    assert caplog.messages == ["10.0.0.1 sends wrong tokens, more than 1 a minute"]


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:51344", "10.0.0.7"),
        ("ipv6:%5B::1%5D:51344", "::1"),
        ("ipv6:[2001:db8::7]:51344", "2001:db8::7"),
        ("unix:/run/signal.sock", ""),
        ("", ""),
    ],
)
def test_a_callers_address_is_found_in_grpcs_words(peer: str, host: str) -> None:
    assert host_of_peer(peer) == host
