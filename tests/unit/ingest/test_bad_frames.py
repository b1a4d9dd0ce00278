"""What nobody can read: taken each time it comes, or once where the same must come again."""

from __future__ import annotations

from typing import cast

from ingest.messages import BadFrame
from ingest.publish.bad_frames import BadFrames
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.outgoing_queue import OutgoingMessage


class Kept:
    """Stands in for the queue of dead letters; `frames` are the letters' contents."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def put_letter(self, letter: OutgoingMessage) -> None:
        """Take note."""
        self.frames.append(letter.payload)


async def test_each_is_taken_also_one_like_another() -> None:
    kept = Kept()
    bad_frames = BadFrames("frames", cast("DeadLetterQueue", kept))
    for frame in (b"x", b"x"):
        bad_frames.take(BadFrame("no frame", frame))
    assert kept.frames == [b"x", b"x"]


async def test_one_of_the_last_few_is_not_taken_again() -> None:
    kept = Kept()
    bad_frames = BadFrames("rows", cast("DeadLetterQueue", kept), remembers=2)
    for frame in (b"x", b"y", b"x", b"y", b"z", b"x"):
        bad_frames.take(BadFrame("no row", frame))
    assert kept.frames == [b"x", b"y", b"z", b"x"]
