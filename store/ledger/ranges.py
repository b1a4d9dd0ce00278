"""What stored and lost ids change in a symbol's ledger: the arithmetic behind "nothing lost". Pure.

The venue's ids rise by one, so what lies between two stored ranges is missing: a hole. `record` says what a batch of
new ids changes; the caller writes that in the transaction that stores the trades.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mesh.values import epochs
from mesh.values.id_ranges import NO_IDS, IdRange, IdRanges

_MAX_BEGINNING = 200_000
"""An epoch whose lowest id is higher began there, as ours did when a symbol was followed for the first time."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A row of the table `holes` that is not FILLED: ids that are OPEN, ABSENT, LOST or EXPIRED."""

    hole_id: int
    ids: IdRange


class FilledHole(NamedTuple):
    """A hole of which ids are stored now.

    Attributes:
        hole: the hole as it was.
        found: its ids that are stored now.
        missing: its ids that are still missing.

    """

    hole: Hole
    found: IdRanges
    missing: IdRanges


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """What stored and lost ids change in a symbol's ledger.

    Attributes:
        removed: stored ranges that no longer exist.
        written: stored ranges that are new, or have another length.
        opened: ids that were not known to be missing before.
        filled: the holes of which ids are stored now.

    """

    removed: IdRanges
    written: IdRanges
    opened: IdRanges
    filled: tuple[FilledHole, ...]


def record(found: IdRanges, lost: IdRanges = NO_IDS, *, stored: IdRanges, holes: Iterable[Hole]) -> LedgerChange:
    """Return what changes in a symbol's ledger when ids are stored, or turn out not to be.

    Args:
        found: ids that are stored from now on.
        lost: ids that are not stored any more.
        stored: the stored ranges around them, those next to them on both sides included.
        holes: the holes not FILLED that overlap them or lie between them.

    """
    after = (stored - lost) | found
    holes = list(holes)
    known = IdRanges.from_pairs(hole.ids for hole in holes)
    filled = (FilledHole(hole, ids & found, ids - found) for hole in holes for ids in [IdRanges.of(*hole.ids)])
    return LedgerChange(
        removed=stored.ranges_not_in(after),
        written=after.ranges_not_in(stored),
        opened=(within_epochs(after.gaps()) | lost) - found - known,
        filled=tuple(each for each in filled if each.found),
    )


def within_epochs(gaps: IdRanges) -> IdRanges:
    """Return which ids between stored ranges are missing: not those that lie between two epochs.

    An epoch begins with its lowest ids, so what is missing there counts; where they are very many it began elsewhere.

    Args:
        gaps: the ids between a symbol's stored ranges.

    """
    if not gaps or not (gaps.first // epochs.IDS != (gaps.last + 1) // epochs.IDS).any():
        return gaps
    kept = []
    for first_id, last_id in gaps:
        if epochs.epoch_of(first_id) == epochs.epoch_of(last_id + 1):
            kept.append((first_id, last_id))
        elif 0 < epochs.venue_id(last_id + 1) <= _MAX_BEGINNING:
            kept.append((epochs.key_of(epochs.epoch_of(last_id), 0), last_id))
    return IdRanges.from_pairs(kept)
