"""Messages that somebody takes as they are read: whole ones at the beginning of what came, and nothing else."""

from __future__ import annotations

import pytest

from mesh.bus.connection import _Client

PLAIN = b"MSG trades.raw.x 1 $JS.ACK.7 5\r\nhello\r\n"
HEADED = b"HMSG trades.raw.x 1 $JS.ACK.8 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n"
ANSWER = b"MSG _INBOX.a.3 1 2\r\nok\r\n"
OTHERS = b"MSG _INBOX.a 2 r 2\r\nok\r\n"


class Taken:
    """A client with one who takes what comes for subscription 1, but for what says `no`."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes, bytes, bytes | None]] = []
        self.client = _Client(None)
        self.client.takers[1] = self._take

    def _take(self, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None) -> bool:
        self.messages.append((subject, reply, payload, headers))
        return payload != b"no"


def test_an_answer_is_taken_which_nobody_is_to_answer() -> None:
    taken = Taken()

    assert taken.client.take_at_once(ANSWER + PLAIN) == len(ANSWER + PLAIN)
    assert taken.messages[0] == (b"_INBOX.a.3", b"", b"ok", None)


def test_whole_messages_are_taken_with_their_headers() -> None:
    taken = Taken()

    assert taken.client.take_at_once(PLAIN + HEADED) == len(PLAIN + HEADED)
    assert taken.messages == [
        (b"trades.raw.x", b"$JS.ACK.7", b"hello", None),
        (b"trades.raw.x", b"$JS.ACK.8", b"hi", b"NATS/1.0\r\nA: b\r\n\r\n"),
    ]
    assert taken.client.stats["in_msgs"] == 2


@pytest.mark.parametrize("kept", range(1, len(HEADED)))
def test_a_message_that_is_not_whole_is_left(kept: int) -> None:
    taken = Taken()

    assert taken.client.take_at_once(PLAIN + HEADED[:kept]) == len(PLAIN)
    assert len(taken.messages) == 1


@pytest.mark.parametrize(
    "other",
    [
        OTHERS,
        b"PING\r\n",
        b"MSG trades.raw.x 1 7 5\r\nhello\r\n",
        b"MSG trades.raw.x 1 $JS.ACK.7 5\r\nhello world\r\n",
    ],
)
def test_what_nobody_takes_is_left_with_all_that_follows(other: bytes) -> None:
    taken = Taken()

    assert taken.client.take_at_once(PLAIN + other + PLAIN) == len(PLAIN)
    assert len(taken.messages) == 1


def test_what_is_not_wanted_at_once_is_left_with_all_that_follows() -> None:
    taken = Taken()
    refused = b"MSG trades.raw.x 1 $JS.ACK.9 2\r\nno\r\n"

    assert taken.client.take_at_once(PLAIN + refused + PLAIN) == len(PLAIN)
    assert [payload for _, _, payload, _ in taken.messages] == [b"hello", b"no"]
