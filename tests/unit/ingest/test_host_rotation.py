"""Which host is tried next, and in which form."""

from __future__ import annotations

import pytest

from ingest.websocket.host_rotation import PLAIN_S, Endpoint, HostRotation


def test_hosts_are_tried_in_their_order_and_then_from_the_first_again() -> None:
    ladder = HostRotation(["ws://a", "ws://b"])

    assert [ladder.next_endpoint(0).url for _ in range(3)] == ["ws://a", "ws://b", "ws://a"]


@pytest.mark.parametrize("status", [400, 404])
def test_a_host_that_does_not_understand_is_asked_in_the_plain_form_and_no_other_is(status: int) -> None:
    ladder = HostRotation(["ws://a", "ws://b"])

    assert ladder.refused(ladder.next_endpoint(0), status, 0)
    assert [ladder.next_endpoint(1) for _ in range(2)] == [Endpoint("ws://b", False), Endpoint("ws://a", True)]


@pytest.mark.parametrize("status", [403, 418, 429, 451, 500, 503])
def test_a_refusal_for_another_reason_changes_no_form(status: int) -> None:
    ladder = HostRotation(["ws://a"])

    assert not ladder.refused(ladder.next_endpoint(0), status, 0)
    assert ladder.next_endpoint(1) == Endpoint("ws://a", False)


def test_the_plain_form_refused_too_is_no_news_and_the_full_one_is_tried_again_in_time() -> None:
    ladder = HostRotation(["ws://a"])
    ladder.refused(ladder.next_endpoint(0), 404, 0)

    assert not ladder.refused(ladder.next_endpoint(PLAIN_S - 1), 404, PLAIN_S - 1)
    assert ladder.next_endpoint(PLAIN_S - 1).plain
    assert not ladder.next_endpoint(PLAIN_S).plain
