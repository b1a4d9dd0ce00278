"""Messages of a plain connection, however the bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.service import direct


def framed(messages: Sequence[bytes]) -> bytes:
    return b"".join(len(message).to_bytes(4) + message for message in messages)


def receive(pieces: Sequence[bytes]) -> tuple[list[bytes], BaseException | None]:
    """Give the pieces to a receiver; return its messages, and what its end says."""

    async def run() -> tuple[list[bytes], BaseException | None]:
        received: list[bytes] = []
        receiver = direct.DirectReceiver(received.extend)
        for piece in pieces:
            receiver.data_received(piece)
        receiver.connection_lost(None)
        return received, receiver.lost.exception()

    return asyncio.run(run())


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_messages_are_the_same_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    whole = framed(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[begin:end] for begin, end in pairwise([0, *cuts, len(whole)])]
    assert receive(pieces) == (messages, None)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), st.data())
def test_an_end_within_a_message_is_an_error_after_those_before_it(messages: list[bytes], data: st.DataObject) -> None:
    whole = framed(messages)
    missing = data.draw(st.integers(1, len(messages[-1]) + 3))
    received, error = receive([whole[:-missing]])
    assert received == messages[:-1]
    assert isinstance(error, ConnectionResetError)


def test_a_message_that_is_too_long_is_refused_by_its_length_alone() -> None:
    received, error = receive([framed([b"good"]) + (direct.MAX_MESSAGE_BYTES + 1).to_bytes(4)])
    assert received == [] and isinstance(error, OSError)
    assert str(error) == "a message of 4194305 bytes, expected at most 4194304"


def test_what_the_taker_raises_is_told_at_the_end() -> None:
    async def run() -> BaseException | None:
        def take(_: Sequence[bytes]) -> None:
            raise LookupError("the taker's own")

        receiver = direct.DirectReceiver(take)
        receiver.data_received(framed([b"one"]))
        return receiver.lost.exception()

    assert isinstance(asyncio.run(run()), LookupError)


@pytest.mark.parametrize("taken", [True, False])
def test_a_ticket_is_void_after_its_call(taken: bool) -> None:
    async def run() -> None:
        listener = direct.DirectListener()
        first, late = direct.DirectSender(listener), direct.DirectSender(listener)
        with listener.offer() as (ticket, connection):
            if taken:
                assert listener.show(first, ticket)
                assert connection.result() is first
                assert not listener.show(late, ticket)
        assert not listener.show(late, ticket)

    asyncio.run(run())
