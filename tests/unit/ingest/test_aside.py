"""What nobody can read: taken each time it comes, or once where the same must come again."""

from __future__ import annotations

from typing import cast

from ingest.messages import BadFrame
from ingest.publish.aside import Aside
from ingest.publish.outbox import Letter, Outbox


class Kept:
    """Stands in for the outbox; `frames` are the letters' contents."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.waiting = 0

    def put(self, letter: Letter) -> None:
        """Take note."""
        self.frames.append(letter.payload)


async def test_each_is_taken_also_one_like_another() -> None:
    kept = Kept()
    aside = Aside("frames", cast("Outbox", kept))
    for frame in (b"x", b"x"):
        aside.keep(BadFrame("no frame", frame))
    assert kept.frames == [b"x", b"x"]


async def test_one_of_the_last_few_is_not_taken_again() -> None:
    kept = Kept()
    aside = Aside("rows", cast("Outbox", kept), remembers=2)
    for frame in (b"x", b"y", b"x", b"y", b"z", b"x"):
        aside.keep(BadFrame("no row", frame))
    assert kept.frames == [b"x", b"y", b"z", b"x"]
