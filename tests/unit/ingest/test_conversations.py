"""Conversations of a venue with the whole of ingest: those that `make fuzz-hour` begins with, each of them once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fuzz.conversation import bus_seeds, joined, parted, seeds
from tests.fuzz.inputs import run
from tests.fuzz.whole_ingest import configure_log

ALL = [joined(records) for records in (*seeds(), *bus_seeds())]


@pytest.fixture
def looked_at_log() -> Iterator[None]:
    """Look at every line of the log."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_log()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("looked_at_log")
@pytest.mark.parametrize("conversation", ALL, ids=lambda data: f"{ALL.index(data)}")
def test_nothing_that_is_said_ends_ingest_or_makes_it_publish_what_nobody_can_read(conversation: bytes) -> None:
    run(conversation)


def test_a_conversation_is_the_same_after_it_was_written_and_read() -> None:
    assert all(parted(joined(records)) == records for records in (*seeds(), *bus_seeds()))
