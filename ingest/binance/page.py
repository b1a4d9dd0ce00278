"""A page of rows as REST answers it: those that can be read, and where the illegible ones belong. Pure.

A trade that stands there illegibly is there: its id must never be taken for one the venue has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from ingest.binance.unreadable import UNREADABLE
from ingest.messages import BadFrame
from mesh.values.id_ranges import NO_IDS, IdRanges

_Row = TypeVar("_Row")
_Content_co = TypeVar("_Content_co", covariant=True)
_raws = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True, eq=False)
class Page(Generic[_Content_co]):
    """One answer.

    Attributes:
        content: what the rows that can be read say.
        bad: the others.
        spoiled: ids that may be those of bad rows.

    """

    content: _Content_co
    bad: tuple[BadFrame, ...] = ()
    spoiled: IdRanges = NO_IDS


def read_one_by_one(body: bytes, read: Callable[[bytes], _Row]) -> list[_Row | BadFrame]:
    """Read an answer row by row, a BadFrame in place of each that `read` refuses.

    Args:
        body: JSON, an array.
        read: reads one row; what it raises of UNREADABLE makes the row a bad one.

    Raises:
        MsgspecError, ValueError, RecursionError: no rows at all, or none that can be read: then not one row is odd, but
            the answer is not what was asked for.

    """
    rows = [_read(bytes(raw), read) for raw in _raws.decode(body)]
    bad = [row for row in rows if isinstance(row, BadFrame)]
    if len(bad) == len(rows) and bad:
        raise ValueError(f"none of {len(bad)} rows can be read, the first because of {bad[0].reason}")
    return rows


def parted(rows: Sequence[_Row | BadFrame]) -> tuple[list[_Row], tuple[BadFrame, ...]]:
    """Return the rows that can be read, and the others."""
    good = [row for row in rows if not isinstance(row, BadFrame)]
    return good, tuple(row for row in rows if isinstance(row, BadFrame))


def spoiled(rows: Iterable[tuple[int | None, bool]]) -> IdRanges:
    """Return which ids bad rows may have, as far as a good row follows: what comes after the last one stays unsaid.

    Args:
        rows: each one's id, None where not even that can be read, and whether the row is good.

    """
    places: list[tuple[int, int]] = []
    last_id, between = -1, []
    for row_id, is_good in rows:
        if not is_good:
            between.append(row_id)
        elif row_id is not None:
            places += _places(between, last_id + 1, row_id - 1)
            last_id, between = row_id, []
    return IdRanges.from_pairs(places)


def _read(raw: bytes, read: Callable[[bytes], _Row]) -> _Row | BadFrame:
    try:
        return read(raw)
    except UNREADABLE as exc:
        return BadFrame(str(exc), raw)


def _places(ids: Sequence[int | None], first_id: int, last_id: int) -> list[tuple[int, int]]:
    """Return the ids of bad rows that stand between two good ones: as they say, if that is possible there at all."""
    said = [row_id for row_id in ids if row_id is not None]
    if len(said) == len(ids) == len(set(said)) and all(first_id <= row_id <= last_id for row_id in said):
        return [(row_id, row_id) for row_id in said]
    return [(first_id, last_id)]
