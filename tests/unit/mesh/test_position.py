"""Where reading begins, for every way a stream and the database can disagree."""

from __future__ import annotations

import datetime as dt

from mesh.bus.position import Position, StreamExtent, resume_position

MADE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LATER = MADE + dt.timedelta(days=1)


def extent(*, created: dt.datetime = MADE, first: int = 1, last: int = 100) -> StreamExtent:
    return StreamExtent("RAW", created, first, last)


def test_a_stream_nobody_knows_is_taken_in_from_its_start() -> None:
    assert resume_position(None, extent()) == (Position("RAW", MADE, 0), "")


def test_a_known_stream_goes_on_behind_what_is_stored() -> None:
    known = Position("RAW", MADE, 60)

    assert resume_position(known, extent()) == (known, "")


def test_a_stream_made_anew_is_taken_in_from_its_start_loudly() -> None:
    position, warning = resume_position(Position("RAW", MADE, 60), extent(created=LATER))

    assert position == Position("RAW", LATER, 0)
    assert "made anew" in warning


def test_a_stream_that_lost_its_end_is_taken_in_from_its_start_loudly() -> None:
    position, warning = resume_position(Position("RAW", MADE, 60), extent(last=59))

    assert position == Position("RAW", MADE, 0)
    assert "lost messages" in warning


def test_messages_removed_before_they_were_stored_are_said() -> None:
    position, warning = resume_position(Position("RAW", MADE, 60), extent(first=71))

    assert position == Position("RAW", MADE, 60)
    assert "messages 61 to 70" in warning


def test_an_empty_stream_whose_messages_all_were_stored_is_fine() -> None:
    known = Position("RAW", MADE, 100)

    assert resume_position(known, extent(first=101, last=100)) == (known, "")


def test_a_stream_that_has_grown_again_with_other_messages_is_taken_in_from_its_start_loudly() -> None:
    position, warning = resume_position(Position("RAW", MADE, 60, 7), extent(), as_read=False)

    assert position == Position("RAW", MADE, 0)
    assert "has grown again" in warning
