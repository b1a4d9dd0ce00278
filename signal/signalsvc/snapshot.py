"""The engine's saved state in the bus's KV bucket `engine`, with the RAW sequence it includes.

One entry a symbol, then one named `position` that says up to where they count. A snapshot is taken only when everything
taken in is published, so whatever is newer than `position` is published too: a crash between two entries does no harm.
What cannot be used is said loudly and left aside; the engine is then made again from what RAW still holds.
"""

from __future__ import annotations

import logging

import msgspec
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue

from mesh import subjects
from mesh.bus import Bus
from signalsvc.engine import Engine, UnusableEntry

log = logging.getLogger("signal.snapshot")

_POSITION = "position"
_MAX_ENTRY_BYTES = 900 * 1024  # below the bus's limit of 1 MB a message


class Position(msgspec.Struct, frozen=True):
    """Up to where a snapshot counts; JSON, readable with any NATS client."""

    raw_sequence: int
    raw_taken_us: int
    """When RAW took that message: in a RAW that lost its end and has grown again another one stands there."""
    raw_created: str
    """When RAW was made: a sequence means nothing in another stream."""
    settings: dict[str, float]
    symbols: list[str]


class Snapshots:
    """Loads and saves the engine; made by `open`."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket
        self._saved: dict[str, bytes] = {}
        self._too_large: set[str] = set()

    @classmethod
    async def open(cls, bus: Bus) -> Snapshots:
        """Open the bucket, making it if there is none."""
        return cls(await bus.js.create_key_value(bucket=subjects.ENGINE_BUCKET, history=1, max_bytes=256 * 2**20))

    async def load(self, engine: Engine, *, raw_created: str) -> tuple[int, int]:
        """Let a new engine go on from what is saved, if it can be used.

        Args:
            engine: of today's settings; it has seen no trade.
            raw_created: when the RAW of now was made. The state of an older one is used, its sequence is not.

        Returns:
            The RAW sequence after which the engine goes on, 0 is the start of the stream; and when RAW took that one.

        """
        try:
            saved = await self._bucket.get(_POSITION)
        except NotFoundError:
            return 0, 0
        try:
            position = msgspec.json.decode(saved.value or b"", type=Position)
            if position.settings != engine.settings:
                raise UnusableEntry(f"it has settings {position.settings}, now they are {engine.settings}")
            entries = {name: (await self._bucket.get(name)).value or b"" for name in position.symbols}
            engine.restore(entries)
        except (UnusableEntry, NotFoundError, msgspec.DecodeError) as exc:
            log.error("the saved state cannot be used, making it again from RAW: %s", exc)
            return 0, 0
        self._saved = entries
        if position.raw_created != raw_created:
            log.warning("RAW was made anew at %s: going on with the saved state from its start", raw_created)
            return 0, 0
        log.info("going on with the state of %d symbols after RAW %d", len(entries), position.raw_sequence)
        return position.raw_sequence, position.raw_taken_us

    async def save(self, engine: Engine, *, raw_sequence: int, raw_taken_us: int, raw_created: str) -> None:
        """Save the engine as it is now; call only when everything up to `raw_sequence` is published.

        Raises:
            nats.errors.Error, TimeoutError: the bus is away; the last whole snapshot still counts.

        """
        entries = engine.entries()  # all at once: nothing may be processed between two of them
        for name, entry in entries.items():
            if len(entry) > _MAX_ENTRY_BYTES:
                if name not in self._too_large:
                    self._too_large.add(name)
                    log.warning(
                        "the state of %s takes %d bytes, more than the %d of an entry: it is not saved, and after a "
                        "restart it is made again from RAW",
                        name,
                        len(entry),
                        _MAX_ENTRY_BYTES,
                    )
                return
        for name, entry in entries.items():
            if self._saved.get(name) != entry:
                await self._bucket.put(name, entry)
                self._saved[name] = entry
        position = Position(raw_sequence, raw_taken_us, raw_created, engine.settings, sorted(entries))
        await self._bucket.put(_POSITION, msgspec.json.encode(position))
