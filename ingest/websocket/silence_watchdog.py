"""After how much silence a connection is in doubt, and what settles the doubt. Pure.

A busy coin that is quiet for seconds is suspicious, a rare one is not for minutes: each is measured by how often its
trades came so far, and the connection as a whole by all of them together. But no silence proves by itself that a
connection is dead: a market may rest. So whoever is silent for too long is only in doubt, and REST is asked whether
there were trades that did not come. The minutes (klines) that the venue sends beside the trades count too: any of them
shows that the connection brings something, and one that names a trade which did not come raises a doubt at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import exp, inf

from ingest.publish.published_symbol import PassedTrades

LEAST_S = 5.0
"""No silence of all together is in doubt before."""

LEAST_ALONE_S = 30.0
"""No silence of one symbol while others trade is: a coin may well rest, and its stream hardly dies alone."""

UNKNOWN_S = 120.0
"""How long all together may be silent of whom nobody knows yet how often they trade; a single one may for ever."""

MOST_S = 3600.0
"""No rare trades make it longer; only doubts that came to nothing do."""

MOST_QUIET_S = 60.0
"""Nor do those, where REST said that there were no trades: the next such question is asked within this time."""

BEHIND_S = 5.0
"""So much later than a minute that names it a trade may come."""

ALL = ""
"""Stands for all symbols together."""

ASKED_OF = 3
"""REST is asked about so many symbols when all are silent: those that trade most often."""

_MEAN_GAPS = 20.0  # were the trades of a steady coin independent, so long a silence would come once in 10^8 gaps
_LONGEST_GAPS = 3.0
_GAPS_KNOWN = 10  # of all together
_GAPS_KNOWN_ALONE = 100
_FORGET_S = 600.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """A silence that is too long.

    Attributes:
        symbol: whose, or ALL.
        ask: the symbols to ask REST about.

    """

    symbol: str
    ask: tuple[str, ...]


@dataclass(slots=True)
class _Series:
    """When the trades of a symbol, or of ALL, came."""

    received_s: float
    gaps: int = 0
    mean_s: float = 0.0
    longest_s: float = 0.0
    fresh: bool = True  # what passed before the next trade was not this symbol's silence
    in_vain: int = 0  # doubts in a row that came to nothing
    quiet: bool = False  # the last of them because REST said so
    newest_id: int = -1  # of the trades that came
    reported_id: int | None = None  # the last one that a minute named on this connection
    behind_since_s: float | None = None


class SilenceWatchdog:
    """Says which symbols have been silent for too long. Times are seconds of one steady clock.

    One watchdog serves all connections of a venue.

    Args:
        passed: tells of trades that pass in C++, of which nobody tells one by one. Those that it tells of together are
            taken as if the longest gap were before them and all others alike.

    """

    def __init__(self, passed: Callable[[], PassedTrades] = lambda: PassedTrades({}, 0, 0.0)) -> None:
        self._series: dict[str, _Series] = {}
        self._passed = passed

    def listen(self, symbols: Iterable[str], now_s: float) -> None:
        """Begin to listen anew: a connection was opened, or we come back from being busy elsewhere.

        Args:
            symbols: that the connection brings.
            now_s: the time, in seconds of one steady clock.

        """
        self.take_note()
        for symbol in (ALL, *symbols):
            series = self._series.setdefault(symbol, _Series(now_s))
            series.received_s, series.fresh = now_s, True
            series.reported_id, series.behind_since_s = None, None

    def traded(self, newest_ids: Mapping[str, int], now_s: float) -> None:
        """Take note of trades that came together.

        Args:
            newest_ids: of symbols that are followed, the highest of each one's ids.
            now_s: the time, in seconds of one steady clock.

        """
        self.take_note()
        for symbol, newest_id in newest_ids.items():
            self._reaches(self._received(symbol, now_s), newest_id)
        if newest_ids:
            self._received(ALL, now_s)

    def take_note(self) -> None:
        """Note what has passed since this was done last; twice a second, as all of that time may count as one gap."""
        symbols, times, came_s = self._passed()
        for symbol, (batches, newest_id, symbol_came_s) in symbols.items():
            self._reaches(self._received(symbol, symbol_came_s, times=batches), newest_id)
        if times:
            self._received(ALL, came_s, times=times)

    def _reaches(self, series: _Series, newest_id: int) -> None:
        series.newest_id = newest_id  # not the highest ever: ids may begin again
        if series.behind_since_s is not None and newest_id >= (series.reported_id or 0):
            series.behind_since_s = None

    def minutes(self, last_ids: Mapping[str, int], now_s: float) -> None:
        """Take note of minutes of symbols that are followed, closed or not: the connection brings something.

        Args:
            last_ids: of symbols that are followed, the last trade of each one's minute so far; -1 when it has none.
            now_s: when they came.

        """
        self.take_note()
        if last_ids:
            self._received(ALL, now_s)
        for symbol, last_id in last_ids.items():
            series = self._series.setdefault(symbol, _Series(now_s))
            # What was traded before the connection opened is fetched anyway: only what is newer than the first word is
            # something that it has not brought.
            is_first, has_more = series.reported_id is None and series.fresh, last_id > (series.reported_id or 0)
            series.reported_id = last_id
            if has_more and not is_first and last_id > series.newest_id and series.behind_since_s is None:
                series.behind_since_s = now_s

    def newest_id(self, symbol: str) -> int:
        """Return the highest id of the trades that came of a symbol; -1 when none did."""
        self.take_note()
        series = self._series.get(symbol)
        return -1 if series is None else series.newest_id

    def doubt(self, symbols: Iterable[str], now_s: float) -> Doubt | None:
        """Return whose silence is too long, with the symbols to ask REST about; None when nobody's is.

        Args:
            symbols: that the connection brings.
            now_s: the time, in seconds of one steady clock.

        """
        self.take_note()
        symbols = tuple(symbols)
        for symbol in symbols:
            series = self._series.get(symbol)
            if series is None or series.behind_since_s is None:
                continue
            if now_s - series.behind_since_s > min(BEHIND_S * 2 ** min(series.in_vain, 20), MOST_QUIET_S):
                return Doubt(symbol, (symbol,))
        for symbol in (ALL, *symbols):
            series = self._series.get(symbol)
            if series is not None and now_s - series.received_s > _patience_s(series, alone=symbol != ALL):
                return Doubt(symbol, (symbol,) if symbol != ALL else self._busiest(symbols))
        return None

    def quiet(self, doubt: Doubt, now_s: float) -> None:
        """Take REST's word that nothing was traded which did not come: the silence is the market's.

        Args:
            doubt: about which REST was asked.
            now_s: the time, in seconds of one steady clock.

        """
        self.take_note()
        for symbol in dict.fromkeys((doubt.symbol, *doubt.ask)):
            series = self._series.setdefault(symbol, _Series(now_s))
            series.received_s, series.fresh, series.quiet = now_s, True, True
            series.behind_since_s = None
            series.in_vain += 1

    def replaced(self, doubt: Doubt) -> None:
        """Take note that the connection is replaced because of this doubt."""
        self.take_note()
        for series in self._series.values() if doubt.symbol == ALL else [self._series[doubt.symbol]]:
            series.in_vain += 1
            series.quiet = False

    def _busiest(self, symbols: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(symbols, key=self._often)[:ASKED_OF])

    def _often(self, symbol: str) -> float:
        series = self._series.get(symbol)
        return series.mean_s if series is not None and series.gaps else inf

    def _received(self, symbol: str, now_s: float, *, times: int = 1) -> _Series:
        if (series := self._series.get(symbol)) is None:
            series = self._series[symbol] = _Series(now_s)
        gap_s, series.received_s, series.in_vain, series.quiet = now_s - series.received_s, now_s, 0, False
        if series.fresh:
            series.fresh = False
            return series
        series.gaps += times
        series.mean_s += (gap_s / times - series.mean_s) * max(1 - 0.98**times, times / series.gaps)
        series.longest_s = max(gap_s, series.longest_s * exp(-gap_s / _FORGET_S))
        return series


def _patience_s(series: _Series, *, alone: bool) -> float:
    if series.gaps < (_GAPS_KNOWN_ALONE if alone else _GAPS_KNOWN):
        patience_s = inf if alone else UNKNOWN_S
    else:
        usual_s = max(_MEAN_GAPS * series.mean_s, _LONGEST_GAPS * series.longest_s)
        patience_s = min(MOST_S, max(LEAST_ALONE_S if alone else LEAST_S, usual_s))
    longer_s = patience_s * float(2 ** min(series.in_vain, 20))
    return min(longer_s, max(patience_s, MOST_QUIET_S)) if series.quiet else longer_s
