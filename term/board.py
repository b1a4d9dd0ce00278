"""The coins beside each other: the newest of each, their last day, and the order in which they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from term.formatting import decimals_of
from term.quote import Direction, direction
from term.values import Bar, Coin, Stats, Trade

GIVEN = ""
"""The order in which the gateway gives the coins."""


@dataclass(frozen=True, slots=True, eq=False)  # by identity, so that what is drawn of it can be kept
class Line:
    """What is known of a coin; times are microseconds since 1970 UTC.

    Attributes:
        price: of the last trade; None before the first one.
        traded_us: when it arrived, or, where it is from before the stream began, happened.
        undated_us: when it happened by the clock of the mesh, while it is not known what that is by ours.
        time_us: the venue's time of it.
        changed_us: when the price changed.
        direction: of the last change.
        decimals: how many the prices seen need.
        stats: of the session, after the last trade.
        day: candles of the last 24 hours, oldest first.
        day_us: when they were fetched; 0 before.
        session_us: when the statistics were told, or asked for; 0 before.
    """

    price: Decimal | None = None
    traded_us: int = 0
    changed_us: int = 0
    direction: Direction = ""
    decimals: int = 0
    stats: Stats = field(default_factory=Stats)
    day: tuple[Bar, ...] = ()
    day_us: int = 0
    session_us: int = 0
    undated_us: int | None = None
    time_us: int | None = None

    def traded(self, trade: Trade, received_us: int) -> Line:
        """Take in the newest trade.

        Args:
            trade: the trade.
            received_us: when it arrived.

        """
        if not trade.is_new and self.price is not None and trade.time_us == self.time_us:
            return self  # told again after a loss: it is no younger for that
        moved = direction(self.price, trade.price)
        return replace(
            self,
            price=trade.price,
            traded_us=received_us,
            undated_us=None if trade.is_new else trade.time_us,
            time_us=trade.time_us,
            session_us=self.session_us if trade.stats.opened is None else received_us,
            changed_us=received_us if moved else self.changed_us,
            direction=moved or self.direction,
            decimals=max(self.decimals, decimals_of(trade.price)),
            stats=self.stats.merged(trade.stats),
        )

    def dated(self, ahead_us: int | None) -> Line:
        """Say when the last trade happened, where it is from before the stream began.

        Args:
            ahead_us: how far the clock of the mesh is ahead of ours, in microseconds; None while that is not known.

        """
        if self.undated_us is None or ahead_us is None:
            return self
        return replace(self, traded_us=min(self.traded_us, self.undated_us - ahead_us), undated_us=None)

    @property
    def session_change(self) -> Decimal | None:
        """How far the price has moved since the session began, in percent."""
        return _percent(self.stats.opened, self.price)

    @property
    def day_change(self) -> Decimal | None:
        """How far the price has moved in 24 hours, in percent."""
        return _percent(
            self.day[0].open if self.day else None, self.price or (self.day[-1].close if self.day else None)
        )


Board = Mapping[str, Line]
UNKNOWN = Line()


def with_trades(board: Board, trades: Iterable[Trade], received_us: int, *, ahead_us: int | None = None) -> Board:
    """Take in the newest trades of some coins.

    Args:
        board: the lines by symbol.
        trades: of each coin the newest ones, oldest first.
        received_us: when they came, in microseconds of the monotonic clock.
        ahead_us: how far the clock of the mesh is ahead of ours; None while that is not known.

    """
    new = {trade.symbol: board.get(trade.symbol, Line()).traded(trade, received_us).dated(ahead_us) for trade in trades}
    return {**board, **new}


SORTS: Mapping[str, Callable[[Line], Decimal | None]] = {
    "last": lambda line: line.price,
    "session": lambda line: line.session_change,
    "24 h": lambda line: line.day_change,
    "high": lambda line: line.stats.high,
    "low": lambda line: line.stats.low,
    "volume": lambda line: line.stats.volume,
    "trades/s": lambda line: line.stats.rate,
}
"""The columns one can sort by, beside `GIVEN` and `coin`, which is by name."""
SORT_NAMES = (GIVEN, "coin", *SORTS)


@dataclass(frozen=True, slots=True)
class Sorting:
    """By which column the coins are sorted, which are above the others, and what their names must contain."""

    column: str = GIVEN
    descending: bool = True
    favourites: frozenset[str] = frozenset()
    filter: str = ""

    def order(self, coins: Iterable[Coin], board: Board) -> tuple[str, ...]:
        """Return the symbols as they stand; coins without a value stand last in either direction.

        Args:
            coins: all that are followed.
            board: the lines by symbol, which tell the values to sort by.

        """
        wanted = self.filter.lower()
        kept = [coin for coin in coins if wanted in coin.symbol or wanted in coin.name.lower()]
        if self.column == "coin":
            kept.sort(key=lambda coin: coin.name.lower(), reverse=not self.descending)
        elif self.column != GIVEN:
            value = SORTS[self.column]
            known = {
                coin.symbol: number for coin in kept if (number := value(board.get(coin.symbol, UNKNOWN))) is not None
            }
            kept.sort(key=lambda coin: known.get(coin.symbol, Decimal(0)), reverse=self.descending)
            kept.sort(key=lambda coin: coin.symbol not in known)
        elif not self.descending:
            kept.reverse()
        kept.sort(key=lambda coin: coin.symbol not in self.favourites)
        return tuple(coin.symbol for coin in kept)


def _percent(since: Decimal | None, now: Decimal | None) -> Decimal | None:
    return None if not since or now is None else 100 * (now - since) / since
