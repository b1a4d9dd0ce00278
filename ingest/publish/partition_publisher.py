"""Where the trades of a partition leave for RAW, and what the next ingest finds there of those before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter

from ingest import metrics
from ingest.publish.resume import LastPublished, last_of_all, last_published
from mesh.bus import subjects, wire
from mesh.bus.connection import Bus
from mesh.bus.partitions import Partition
from mesh.bus.publisher import Publisher
from tickcodec.passing import PassedMessage, PassedSymbol, recent_trades

MAX_BATCH = 4096
"""Trades in one message at most: about 0.14 MB."""

MAX_LAST_TRADES_BYTES = 900_000
"""Of the message that tells the last trades again, some 200 bytes a symbol; of too many symbols it has the newest."""
_LAST_TRADES = 16
"""So many of each symbol, where they are few: a wrong one does not look as if the venue had begun its ids again."""
_LAST_OF_ALL = 1_000  # so many of all symbols together, or one of each
_LAST_TRADES_EVERY = 1_000
"""Messages: they are read at the next start, in some 0.4 ms each."""
_MESSAGE_BYTES = 256  # that RAW keeps beside a payload, at most


class GatheredTrades:
    """Batches that go to RAW in one message, in order, those of all symbols together. Pure."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self._first = self._last = ("", 0)
        self._rows = 0

    def fits(self, rows: int) -> bool:
        """Return whether so many trades have room in one message with what is here."""
        return not self.batches or self._rows + rows <= MAX_BATCH

    def add(self, message: PassedMessage) -> None:
        """Take trades behind the others; ask `fits` first."""
        if not self.batches:
            self._first = message.first
        self._last = message.last
        self._rows += message.rows
        self.batches.append(message.batches)

    @property
    def name(self) -> str:
        """A name that no other message has: none begins with that trade."""
        (first, first_key), (last, last_key) = self._first, self._last
        return f"{subjects.token(first)}.{first_key}-{subjects.token(last)}.{last_key}"


class PartitionPublisher:
    """Brings the trades of one partition to its RAW: gathered for messages, the last ones told again now and then.

    Args:
        venue: whose trades these are.
        bus: to read how far RAW is.
        publisher: the writer of that stream.
        partition: which.
        max_unrepeated_bytes: after so many bytes the last trades of each symbol are told again.

    Attributes:
        partition: the same.
        closed: whether a message was left out, as its sending was cancelled: nothing may pass after that.

    """

    def __init__(
        self, venue: str, bus: Bus, publisher: Publisher, partition: Partition, *, max_unrepeated_bytes: int
    ) -> None:
        self.partition = partition
        self.closed = False
        self._venue = venue
        self._subject = subjects.raw(venue, partition)
        self._bus = bus
        self._publisher = publisher
        self._gathered = GatheredTrades()
        self._found: dict[str, LastPublished] | None = None  # by symbol, as RAW told; None before that is read
        self._symbols: dict[str, PassedSymbol] = {}
        self._earlier: dict[str, bytes] = {}  # by symbol: the last trades of one of which `_symbols` has none
        self._messages = self._counted_messages = 0  # that were published, and how many of them metrics know
        self._resuming = asyncio.Lock()
        self._unrepeated = _LAST_TRADES_EVERY  # messages of trades since they were told again
        self._unrepeated_bytes = 0
        self._max_unrepeated_bytes = max_unrepeated_bytes

    async def last_published(self, symbol: str) -> LastPublished | None:
        """Return the newest trade that RAW holds of a symbol, None when it holds none; waits for the bus."""
        async with self._resuming:
            if self._found is None:
                self._found = await last_of_all(self._bus, self._venue, self.partition)
                for name, found in self._found.items():
                    assert found.trades is not None
                    last = found.trades.rows(slice(-_LAST_TRADES, None))
                    self._earlier[name] = wire.one_of_many(wire.encode_trades(last))
        return await last_published(self._bus, self._venue, symbol, self._found.get(symbol), partition=self.partition)

    async def make_room(self, rows: int) -> None:
        """Publish what is gathered where so many trades have no room with it."""
        if not self._gathered.fits(rows):
            await self.flush()

    def tell_again(self, symbol: PassedSymbol) -> None:
        """Tell the last trades of a symbol again, now and then, as it has them by then: all of them are published."""
        self._symbols[symbol.name] = symbol

    def keep_last(self, symbol: PassedSymbol) -> None:
        """Tell the last trades of a symbol again as they are now, until it has others, of a new epoch."""
        if symbol.recent_count:
            self._earlier[symbol.name] = recent_trades(
                [symbol], each=_LAST_TRADES, venue=self._venue, max_bytes=MAX_LAST_TRADES_BYTES
            )

    def gather(self, message: PassedMessage) -> None:
        """Take trades behind the others, to be published by `flush`; there must be room for them."""
        self._gathered.add(message)

    @property
    def has_gathered(self) -> bool:
        """Whether trades wait for `flush`."""
        return bool(self._gathered.batches)

    def flush_at_once(self) -> bool:
        """Publish what is gathered where the bus has room for it; return whether nothing is left to be published."""
        gathered = self._gathered
        if not gathered.batches or self.closed:
            return True
        payload = b"".join(gathered.batches)
        if not self._publisher.offer(self._subject, payload, message_id=f"{self._venue}.{gathered.name}"):
            return False
        self._gathered = GatheredTrades()
        self._messages += 1
        self._unrepeated += 1
        self._unrepeated_bytes += len(payload) + _MESSAGE_BYTES
        if self._unrepeated >= _LAST_TRADES_EVERY or self._unrepeated_bytes >= self._max_unrepeated_bytes:
            self._repeat_last_trades(gathered.name)
        return True

    async def flush(self) -> None:
        """Publish what is gathered."""
        with self._closed_when_cancelled():
            while not self.flush_at_once():
                await self._publisher.wait_for_room()

    def _repeat_last_trades(self, behind: str) -> None:
        """Publish the last trades of each symbol once more, all in one message: the next ingest goes on after them.

        Where the bus has no room it is done behind the next message.
        """
        most = min(MAX_LAST_TRADES_BYTES, self._max_unrepeated_bytes // 2)
        symbols = {name: symbol for name, symbol in self._symbols.items() if symbol.recent_count}
        earlier = [last for name, last in self._earlier.items() if name not in symbols]
        each = max(1, min(_LAST_TRADES, _LAST_OF_ALL // max(1, len(symbols) + len(earlier))))
        newest_first = sorted(symbols.values(), key=attrgetter("turn"), reverse=True)
        found = [recent_trades(newest_first, each=each, venue=self._venue, max_bytes=most)]
        size = len(found[0])
        for last in earlier:
            size += len(last)
            if size > most:
                break
            found.append(last)
        if any(found):
            subject = subjects.last_trades(self._subject)
            if not self._publisher.offer(subject, b"".join(found), message_id=f"{self._venue}.last-trades.{behind}"):
                return
            self._messages += 1
        self._unrepeated = self._unrepeated_bytes = 0

    async def send(
        self, subject: str, payload: bytes, message_id: str, on_stored: Callable[[int], None] | None = None
    ) -> None:
        """Publish a message.

        Args:
            subject: of the partition.
            payload: the message.
            message_id: names it.
            on_stored: see `Publisher.publish`.

        """
        self._messages += 1
        with self._closed_when_cancelled():
            await self._publisher.publish(subject, payload, message_id=message_id, on_stored=on_stored)

    def count_messages(self) -> None:
        """Tell the metrics how many messages were published since they were told last."""
        metrics.BATCHES.inc(self._messages - self._counted_messages)
        self._counted_messages = self._messages

    @contextmanager
    def _closed_when_cancelled(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            # Stopped while the bus made us wait: nothing may pass after what was left out.
            self.closed = True
            raise
