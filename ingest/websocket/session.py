"""The conversation on one connection, without the connection: frames in, events and frames to send out. Pure.

What the conversation is depends on the venue: its adapter has a `Session` of its own. These events come of
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.messages import BadFrame, ClosedCandle
from mesh.values.trades import TradeColumns
from tickcodec.frames import ReadBatches, ReadTrades


@dataclass(frozen=True, slots=True)
class Followed:
    """The venue has agreed to send these symbols' trades."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue has refused a request; the symbols are asked for again after `again_after_s`; 0 is each alone."""

    symbols: tuple[str, ...]
    code: int
    message: str
    again_after_s: float


@dataclass(frozen=True, slots=True)
class MinutesRefused:
    """The venue has refused a request for trades and minutes; these symbols' trades are asked for alone next."""

    symbols: tuple[str, ...]
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class MinutesSeen:
    """The venue has told of minutes, closed or not: by symbol the last trade of its so far, -1 when it has none."""

    last_trade_ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ShutdownAnnounced:
    """The server is about to go down."""


@dataclass(frozen=True, slots=True)
class UnknownSeen:
    """An event of a name we do not know, or an answer to a question we did not ask."""

    name: str


Event = (
    TradeColumns
    | ReadBatches
    | ReadTrades
    | ClosedCandle
    | MinutesSeen
    | Followed
    | Refused
    | MinutesRefused
    | ShutdownAnnounced
    | UnknownSeen
    | BadFrame
)


class Session(Protocol):
    """The conversation of one connection. Times are seconds of one monotonic clock, given by the caller.

    Open a socket to `target`, hand over what arrives to `receive`, and send what `requests` gives.
    """

    @property
    def target(self) -> str:
        """The path and query to open."""

    @property
    def followed(self) -> tuple[str, ...]:
        """The symbols the venue has agreed to: once the connection is open those in the address, then the others."""

    def follows(self, symbol: str) -> bool:
        """Return whether the venue has agreed to a symbol."""

    def follows_all(self, symbols: Mapping[str, object]) -> bool:
        """Return whether the venue has agreed to all of these symbols."""

    def want(self, symbols: Iterable[str]) -> None:
        """Say which symbols to follow from now on; call `requests` next."""

    def receive(self, frames: Sequence[bytes], *, received_time_us: int) -> Sequence[Event]:
        """Take frames that came together, in order, the first of them at that time (microseconds since 1970).

        Args:
            frames: as they came.
            received_time_us: when the first of them came, in microseconds since 1970.

        Returns:
            the trades by symbol, then whatever else was said; nothing that stands in a frame raises.

        """

    def requests(self, now_s: float) -> list[bytes]:
        """Return the frames to send now; none when nothing is to be changed or the venue's limits say to wait."""

    def unanswered(self, now_s: float) -> bool:
        """Return whether a request is overdue, so that nobody knows what this connection follows: replace it."""
