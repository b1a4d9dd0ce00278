"""Where the trades of one instance of signal end and those of another one begin: nothing is doubled or left out. Pure.

Each stream has the trades of a symbol in order and without a gap of its own. So only the first batch from another
stream is looked at: what was told before is left out, and what does not follow is held until the trades in between have
come, from the stream before or from the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh.values import epochs
from tickcodec.ticks import FoundBatch, alone

MAX_HELD_BYTES = 32 * 2**20
"""Of all symbols together; a symbol that would need more goes on without what is missing."""

Key: TypeAlias = tuple[str, str]
"""Venue and symbol."""


@dataclass(slots=True)
class _Held:
    stream: object
    batch: bytes
    """A serialized `WatchResponse` with the batch alone."""
    first_id: int
    last_id: int
    last_us: int


@dataclass(slots=True)
class _Place:
    """How far a symbol is told."""

    stream: object
    last_id: int
    last_us: int
    held: list[_Held] = field(default_factory=list)


class Seams:
    """What was told of each symbol and by which stream, and what is held."""

    def __init__(self) -> None:
        self._places: dict[Key, _Place] = {}
        self._open: dict[Key, _Place] = {}
        self._held_bytes = 0

    def __bool__(self) -> bool:
        """Tell whether anything is held."""
        return bool(self._open)

    def take(self, stream: object, response: bytes, batch: FoundBatch, *, is_new: bool = True) -> bool:
        """Return whether to tell a batch now; else it was told before, or is held.

        Args:
            stream: whose trades follow each other without a gap; another object after each interruption.
            response: a serialized `WatchResponse`.
            batch: one of its batches.
            is_new: whether its trades come as they happen; else they only say how far a symbol is.

        """
        key = batch.venue, batch.symbol
        place = self._places.get(key)
        if place is None:
            self._places[key] = _Place(stream, batch.last_id, batch.last_us)
            return is_new
        if place.stream is not stream:
            if batch.last_id <= place.last_id and batch.last_us <= place.last_us:
                return False
            if _is_gap(place.last_id, batch.first_id):
                self._hold(key, place, _Held(stream, alone(response, batch), *_ids(batch)))
                return False
            place.stream = stream
        elif batch.last_id <= place.last_id and batch.last_us <= place.last_us:
            return False
        place.last_id, place.last_us = batch.last_id, batch.last_us
        return True

    @property
    def open(self) -> Sequence[Key]:
        """The symbols of which something is held."""
        return tuple(self._open)

    @property
    def overfull(self) -> Key | None:
        """The symbol that has to go on without what is missing, where too much is held; None where it is not."""
        if self._held_bytes <= MAX_HELD_BYTES:
            return None
        return max(self._open, key=lambda key: sum(len(one.batch) for one in self._open[key].held))

    def gap(self, key: Key) -> tuple[int, int] | None:
        """Return the ids between which trades of a symbol are missing; None when nothing of it is held."""
        if (place := self._open.get(key)) is None:
            return None
        return place.last_id, min(one.first_id for one in place.held)

    def told(self, key: Key, last_id: int, last_us: int) -> None:
        """Note that trades of a gap were told, or are given up; ask `released` next.

        Args:
            key: of a symbol of which something is held.
            last_id: of the last one of them.
            last_us: its time, in microseconds since 1970; 0 where it is not known.

        """
        place = self._open[key]
        place.last_id, place.last_us = last_id, max(last_us, place.last_us)

    def released(self) -> Iterator[bytes]:
        """Yield what was held and is to be told now, in order, as `WatchResponse`s with one batch each."""
        for key, place in tuple(self._open.items()):
            while (following := self._following(place)) is not None:
                place.held.remove(following)
                self._held_bytes -= len(following.batch)
                if following.last_id > place.last_id or following.last_us > place.last_us:
                    place.stream, place.last_id, place.last_us = following.stream, following.last_id, following.last_us
                    yield following.batch
            if not place.held:
                del self._open[key]

    def _following(self, place: _Place) -> _Held | None:
        for one in place.held:
            if one.stream is place.stream or not _is_gap(place.last_id, one.first_id):
                return one
        return None

    def _hold(self, key: Key, place: _Place, held: _Held) -> None:
        place.held.append(held)
        self._open[key] = place
        self._held_bytes += len(held.batch)


def _is_gap(last_id: int, next_id: int) -> bool:
    """Return whether trades are missing between two; across the end of an epoch nobody can say."""
    return next_id > last_id + 1 and epochs.epoch_of(last_id) == epochs.epoch_of(next_id)


def _ids(batch: FoundBatch) -> tuple[int, int, int]:
    return batch.first_id, batch.last_id, batch.last_us
