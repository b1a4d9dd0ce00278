"""The engine's saved state in the bus's KV bucket `engine`, with the RAW sequence it includes.

One entry a symbol, then one named `position` that says up to where they count (`position_2` of several partitions). A
snapshot is saved only when everything in it is published, so whatever is newer than `position` is published too: a
crash between two entries does no harm, nor does an entry that was noted later than others.
An entry that no message can hold, that of a long window, is put in pieces, beside those of the last snapshot and not
over them: half an entry would be none.
What cannot be used is said loudly and left aside; the engine is then made again from what RAW still holds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from nats.js.errors import KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

from mesh.bus import position as mesh_position
from mesh.bus import subjects
from mesh.bus.connection import Bus
from mesh.bus.partitions import WHOLE, Partition
from signalsvc.engine import Engine, UnusableEntry, entry_name

log = logging.getLogger("signal.snapshots")

MAX_EVICTED = 4096
MAX_EVICTED_BYTES = 64 * 2**20
"""Of entries of evicted symbols, of all partitions; then the oldest are forgotten. The bucket holds four times that."""
_MAX_PIECE_BYTES = 900 * 1024  # below the bus's limit of 1 MB a message
_PUT_TOGETHER = 16
"""So many keys are written before the answer to the first one is waited for, and no more than fit into one message.

The states of 300 symbols one by one took signal and the bus 55 ms, every 5 s.
"""


class EvictedEntry(msgspec.Struct, frozen=True):
    """An entry of a symbol that is not in the engine: nobody follows it, and it is read again with its next trade."""

    keys: list[str]
    """Where it is in the bucket, in order."""
    size: int
    """Its bytes."""
    last_id: int = -1
    """Its last trade; -1 where it was saved before this was."""


class PublishedState(msgspec.Struct, frozen=True):
    """What PROCESSED holds, up to which message of it."""

    created: dt.datetime
    """When PROCESSED was made."""
    sequence: int
    """Of that message."""
    taken_us: int
    """When PROCESSED took it, in microseconds since 1970; 0 where that is not known."""
    last_ids: dict[str, int]
    """The last trade of each symbol, by the name of its entry."""


class SnapshotPosition(msgspec.Struct, frozen=True):
    """Up to where a snapshot counts; JSON, readable with any NATS client."""

    raw_sequence: int
    raw_taken_us: int
    """When RAW took that message: in a RAW that lost its end and has grown again another one stands there."""
    raw_created: str
    """When RAW was made: a sequence means nothing in another stream."""
    settings: dict[str, float]
    symbols: list[str]
    pieces: dict[str, list[str]] = {}
    """Where the pieces are of entries that are in pieces, in order; the others are under their own name."""
    published: PublishedState | None = None
    # By its first name, so that saved positions stay readable.
    evicted: dict[str, EvictedEntry] = msgspec.field(name="parked", default={})
    """Entries of symbols that were evicted, the one that was evicted first in front."""


class Snapshots:
    """Loads and saves the engine; made by `open`."""

    def __init__(self, bucket: KeyValue, confirm: Callable[[], Awaitable[None]], partition: Partition = WHOLE) -> None:
        self._bucket = bucket
        self._confirm = confirm
        self._revisions: dict[str, int] = {}  # by key, as it was read or written last
        self._partition = partition
        self._position_key = partition.name(subjects.ENGINE_POSITION)
        self._saved: dict[str, bytes] = {}
        self._pieces: dict[str, list[str]] = {}
        self._evicted: dict[str, EvictedEntry] = {}
        self.published: PublishedState | None = None
        """What PROCESSED held when what `load` found was saved; None where nobody says so."""

    @classmethod
    async def open(cls, bus: Bus, partition: Partition = WHOLE) -> Snapshots:
        """Open the bucket, making it if there is none.

        Args:
            bus: where it is.
            partition: whose engine is kept.

        """
        bucket = await bus.bucket(subjects.ENGINE_BUCKET, max_bytes=256 * 2**20)
        return cls(bucket, bus.confirm, partition)

    async def load(self, engine: Engine) -> mesh_position.Position | None:
        """Let a new engine go on from what is saved, if it can be used.

        Args:
            engine: of today's settings; it has seen no trade.

        Returns:
            The position in RAW after which the engine goes on; None when nothing is saved that can be used.

        """
        try:
            saved = await self._get(self._position_key)
        except NotFoundError:
            return None
        try:
            position = msgspec.json.decode(saved, type=SnapshotPosition)
            self.published = position.published
            if position.settings != engine.settings:
                raise UnusableEntry(f"it has settings {position.settings}, now they are {engine.settings}")
            created = dt.datetime.fromisoformat(position.raw_created)
            entries = {}
            for name in position.symbols:
                pieces = [await self._get(key) for key in position.pieces.get(name, [name])]
                entries[name] = b"".join(pieces)
            engine.restore(entries)
        except (UnusableEntry, NotFoundError, msgspec.DecodeError, ValueError) as exc:
            log.error("the saved state cannot be used, making it again from RAW: %s", exc)
            return None
        self._saved, self._pieces, self._evicted = entries, position.pieces, dict(position.evicted)
        raw = self._partition.name(subjects.RAW)
        log.info("going on with the state of %d symbols after %s %d", len(entries), raw, position.raw_sequence)
        return mesh_position.Position(raw, created, position.raw_sequence, position.raw_taken_us)

    async def save(
        self,
        entries: dict[str, bytes],
        settings: dict[str, float],
        *,
        raw_sequence: int,
        raw_taken_us: int,
        raw_created: str,
        published: PublishedState | None = None,
        pause_s: float = 0.0,
    ) -> None:
        """Save an engine; call only when everything that the entries know is published.

        Args:
            entries: its state as of `raw_sequence`, of some symbols as of later messages, which are published as well.
            settings: its settings.
            raw_sequence: of the last message of RAW that all of it includes.
            raw_taken_us: when RAW took that message, µs since 1970 UTC.
            raw_created: when RAW was made, in ISO 8601.
            published: what PROCESSED holds by now.
            pause_s: how long trades have their turn before more is written, in seconds.

        Raises:
            nats.errors.Error, TimeoutError: the bus is away; the last whole snapshot still counts.
            LeaseLostError: another instance works now, and has saved.

        """
        pieces: dict[str, list[str]] = {}
        changed: list[tuple[str, bytes]] = []
        for name, entry in entries.items():
            keys = self._pieces.get(name, [name])
            if self._saved.get(name) != entry:
                keys = _keys(name, len(entry), instead_of=keys)
                changed += [
                    (key, entry[n * _MAX_PIECE_BYTES : (n + 1) * _MAX_PIECE_BYTES]) for n, key in enumerate(keys)
                ]
            if keys != [name]:
                pieces[name] = keys
        for some in _together(changed):
            await self._put_together(some)
            await asyncio.sleep(pause_s)
        evicted = {name: entry for name, entry in self._evicted.items() if name not in entries}
        names = sorted(entries)
        position = SnapshotPosition(
            raw_sequence, raw_taken_us, raw_created, settings, names, pieces, published=published, evicted=evicted
        )
        await self._put(self._position_key, msgspec.json.encode(position))
        self._saved, self._pieces, self._evicted = entries, pieces, evicted

    async def keep_evicted(self, last_ids: Mapping[str, int]) -> None:
        """Keep the entries of symbols that the engine evicts, as the last `save` saved them; the next `save` says so.

        Args:
            last_ids: what `Engine.evict` returned.

        Raises:
            nats.errors.Error, TimeoutError: the bus is away; what is kept already stays so.

        """
        for name, last_id in last_ids.items():
            self._evicted[name] = EvictedEntry(self._pieces.get(name, [name]), len(self._saved[name]), last_id)
        count = self._partition.count
        while (
            sum(entry.size for entry in self._evicted.values()) > MAX_EVICTED_BYTES // count
            or len(self._evicted) > MAX_EVICTED // count
        ):
            name, entry = next(iter(self._evicted.items()))
            log.warning("the session of %s is forgotten: nobody has followed it for long, and there is no room", name)
            del self._evicted[name]
            for key in entry.keys:
                await self._bucket.purge(key)

    def has_evicted(self, venue: str, symbol: str) -> bool:
        """Tell whether the bucket has the entry of an evicted symbol.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        return entry_name(venue, symbol) in self._evicted

    async def restore_evicted(self, engine: Engine, venue: str, symbol: str) -> None:
        """Let the engine go on with the entry of an evicted symbol; one that cannot be used is said and forgotten.

        Args:
            engine: has no state of the symbol.
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        Raises:
            nats.errors.Error, TimeoutError: the bus is away.

        """
        name = entry_name(venue, symbol)
        try:
            engine.adopt(name, b"".join([await self._get(key) for key in self._evicted[name].keys]))
        except (UnusableEntry, NotFoundError) as exc:
            log.error("the session of %s begins anew, its saved state cannot be used: %s", name, exc)
            del self._evicted[name]
            return
        entry = self._evicted[name]
        if entry.keys != [name]:
            self._pieces[name] = entry.keys  # the next one is put beside it, not over it
        log.info("%s goes on with its saved state", name)

    async def _get(self, key: str) -> bytes:
        found = await self._bucket.get(key)
        self._revisions[key] = found.revision or 0
        return found.value or b""

    async def _put_together(self, some: Sequence[tuple[str, bytes]]) -> None:
        """Write some keys, each as `_put` does, and return when all are written; raise the first error."""
        results = await asyncio.gather(*(self._put(key, value) for key, value in some), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    async def _put(self, key: str, value: bytes) -> None:
        """Write a key as long as nobody else has written it since; else only while the lease is still held.

        One that has stood still since it confirmed its lease writes over nothing that its successor has saved.
        """
        try:
            self._revisions[key] = await self._bucket.update(key, value, last=self._revisions.get(key, 0))
        except KeyWrongLastSequenceError:
            await self._confirm()
            self._revisions[key] = await self._bucket.put(key, value)

    @property
    def evicted_ids(self) -> Mapping[str, int]:
        """The last trade of each evicted symbol whose entry is kept, by its name; -1 where that is not known."""
        return {name: entry.last_id for name, entry in self._evicted.items()}

    def forget_evicted(self, names: Iterable[str]) -> None:
        """Forget the entries of evicted symbols, when they are made again from RAW; of others it knows nothing."""
        for name in names:
            self._evicted.pop(name, None)


def _together(changed: Sequence[tuple[str, bytes]]) -> Iterator[Sequence[tuple[str, bytes]]]:
    """Yield keys and what is to be written under them in groups, in order."""
    begin = size = 0
    for end, (_, value) in enumerate(changed):
        if end > begin and (end - begin >= _PUT_TOGETHER or size + len(value) > _MAX_PIECE_BYTES):
            yield changed[begin:end]
            begin, size = end, 0
        size += len(value)
    if changed:
        yield changed[begin:]


def _keys(name: str, size: int, *, instead_of: list[str]) -> list[str]:
    """Return where to put an entry: under its name if one message can hold it, else beside its last pieces."""
    if size <= _MAX_PIECE_BYTES:
        return [name]
    side = "b" if instead_of[0] == f"{name}.a0" else "a"
    return [f"{name}.{side}{n}" for n in range(-(-size // _MAX_PIECE_BYTES))]
