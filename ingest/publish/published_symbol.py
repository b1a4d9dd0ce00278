"""A symbol whose trades are published: how far they are, and whether they may pass as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingest.feed_state import Progress
from ingest.publish.partition_publisher import PartitionPublisher
from ingest.publish.quarantine import Bounds, KnownTrades, Quarantine, QuarantinedTrades, RecentTrades
from ingest.publish.sequencer import Counts, Sequencer, WaitingLimits
from mesh.values import epochs
from mesh.values.id_ranges import IdRange
from mesh.values.trades import TradeColumns
from tickcodec.passing import PassedSymbol

LATER_US = 1_000_000
"""So much later than the last trade one must have happened to be new: a repeat, told by a second connection, is not."""


class PassedTrades(NamedTuple):
    """Live trades that passed in C++ within some time.

    Attributes:
        symbols: of each one that had any how often, the highest of their ids, and when the last ones came.
        times: how often any came.
        came_s: when they did last, in seconds of one steady clock.

    """

    symbols: Mapping[str, tuple[int, int, float]]
    times: int
    came_s: float


class PublishedSymbol:
    """What is known of a symbol whose trades are published.

    They pass in C++ while all is usual. Whoever takes the `sequencer` or the `quarantine` may change that: so they pass
    no more until `let_pass` has looked, which who is given in `changed` has to ask for.

    Args:
        raw: the publisher of its partition.
        passed: how far its trades are.
        sequencer: puts them in order, as `passed` has it.
        bounds: of what a trade's id and time may be.
        epoch: how often the venue has begun its ids again.
        changed: this is added to it whenever `let_pass` has to look.

    Attributes:
        recent: the trades passed on last.
        is_blind: whether RAW held nothing of it, so that the bus may have forgotten its epoch.
        begins_after_id: up to which id trades are of the epoch before.

    """

    def __init__(
        self,
        raw: PartitionPublisher,
        passed: PassedSymbol,
        *,
        sequencer: Sequencer,
        bounds: Bounds,
        epoch: int,
        changed: set[PublishedSymbol],
    ) -> None:
        self.raw = raw
        self.passed = passed
        passed.first_key = epoch * epochs.IDS
        self.recent = RecentTrades(passed)
        self.epoch = epoch
        self.is_blind = False
        self.begins_after_id = -1
        self._sequencer = sequencer
        self._bounds = bounds
        self._quarantine = Quarantine(bounds)
        self._changed = changed
        self._head_id = -1
        self._not_passed, self._not_passed_behind = 0, sequencer.last_id
        changed.add(self)

    @property
    def sequencer(self) -> Sequencer:
        """Puts its trades in order."""
        self._stop_passing()
        return self._sequencer

    @property
    def quarantine(self) -> Quarantine:
        """Holds those that cannot be right."""
        self._stop_passing()
        return self._quarantine

    def _stop_passing(self) -> None:
        self.passed.passes = 0
        self._changed.add(self)

    def let_pass(self) -> None:
        """Let its trades pass in C++ where nothing is unusual."""
        self.passed.passes = not self.epoch and self._sequencer.is_in_order and not self._quarantine.doubts

    def begin_epoch(self, epoch: int, *, after_id: int | None, limits: WaitingLimits) -> None:
        """Begin again with the ids of an epoch.

        Args:
            epoch: the new one.
            after_id: after which its trades are wanted; None begins with any.
            limits: of waiting for what is missing.

        """
        self._stop_passing()
        self.raw.keep_last(self.passed)
        self.recent.clear()
        self.passed.batches = 0
        self.passed.first_key, self.epoch = epoch * epochs.IDS, epoch
        last_us = self.last_time_us
        self._sequencer = Sequencer(last_id=after_id, last_time_us=last_us, limits=limits, passed=self.passed)
        self._quarantine = Quarantine(self._bounds)
        self._head_id = self.begins_after_id = -1 if after_id is None else after_id

    # What changes nothing

    @property
    def last_id(self) -> int | None:
        """The last id passed on; None before the first."""
        return self._sequencer.last_id

    @property
    def last_time_us(self) -> int:
        """When the last one passed on happened; 0 when nobody knows."""
        return self._sequencer.last_time_us

    @property
    def head_id(self) -> int:
        """The highest id accepted, also of trades that wait for ids before them."""
        return max(self._head_id, self._sequencer.last_id or -1)

    @property
    def gap(self) -> IdRange | None:
        """The ids that its trades wait for."""
        return self._sequencer.gap

    @property
    def waiting(self) -> TradeColumns | None:
        """Its trades that wait, as they came; None when there are none."""
        return self._sequencer.waiting

    @property
    def disputed_ids(self) -> list[int]:
        """The ids of published trades that REST shall say once more, rising."""
        return self._quarantine.disputed_ids

    @property
    def doubts(self) -> bool:
        """Whether trades are held because they cannot be right."""
        return self._quarantine.doubts

    @property
    def doubted(self) -> Sequence[QuarantinedTrades]:
        """What is held of them."""
        return self._quarantine.held

    @property
    def held_trades(self) -> tuple[int, int]:
        """How many trades wait for ids before them, and how many are doubted."""
        return self._sequencer.held_trades, self._quarantine.held_trades

    @property
    def not_passed(self) -> int:
        """How many live trades in a row happened after the last one passed on, and were not."""
        return self._not_passed if self._not_passed_behind == self.last_id else 0

    def progress(self, now_s: float) -> Progress:
        """Return how far its trades are.

        Args:
            now_s: the time of a steady clock, in seconds.

        """
        came_s = self.passed.came_s
        return Progress(
            self.passed.name,
            self.last_id,
            self.last_time_us,
            now_s - came_s if came_s else None,
            held_trades=sum(self.held_trades),
            gap=self.gap,
            doubt=self.doubted[0].why if self.doubted else "",
            not_passed=self.not_passed,
        )

    def known(self, venue_time_us: int) -> KnownTrades:
        """Return what its trades are judged against.

        Args:
            venue_time_us: when the newest accepted trade of any symbol of the venue happened.

        """
        return KnownTrades(self.last_id, self.head_id, self.last_time_us, venue_time_us, self.recent)

    # What is told of it

    def take_counts(self) -> Counts:
        """Return what happened to its trades since this was asked last."""
        counts, self._sequencer.counts = self._sequencer.counts, Counts()
        counts.released += self.passed.trades
        self.passed.trades = 0
        return counts

    def accepted_up_to(self, highest_id: int) -> None:
        """Take note of the highest id of trades that are accepted, whether they wait or not."""
        self._head_id = max(self._head_id, highest_id)

    def contradicted(self) -> None:
        """Take note that what was accepted beyond the last trade was not right."""
        self._head_id = self.last_id or -1

    def came(self, trades: TradeColumns, *, behind_us: int, now_s: float) -> None:
        """Take note of live trades before they are looked at.

        Args:
            trades: of this symbol.
            behind_us: when the last one passed on by then happened.
            now_s: the time of a steady clock, in seconds.

        """
        self.passed.came_s = now_s
        if behind_us and int(trades.time_us[-1]) > behind_us + LATER_US:
            self._not_passed, self._not_passed_behind = self.not_passed + len(trades), self.last_id
