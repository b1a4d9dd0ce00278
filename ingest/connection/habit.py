"""How often each symbol speaks, and so when its silence means that the connection has died without a word.

A busy coin that is quiet for seconds is suspicious, a rare one is not for minutes: each is measured by its own habit,
and the connection as a whole by that of all together. Whoever was replaced in vain is given twice as long next time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf

LEAST_S = 5.0
"""No silence of all together is shorter than this one."""

LEAST_ALONE_S = 30.0
"""No silence of one symbol while others speak is shorter: a coin may well rest, and its stream hardly dies alone."""

UNKNOWN_S = 120.0
"""How long all together may be silent before they have shown a habit; a single symbol may be silent for ever."""

MOST_S = 3600.0
"""No habit asks for more; only what was in vain does."""

ALL = ""
"""Stands for all symbols together."""

_MEAN_GAPS = 20.0  # were the trades of a steady coin independent, so long a silence would come once in 10^8 gaps
_LONGEST_GAPS = 3.0
_GAPS_KNOWN = 10  # of all together
_GAPS_KNOWN_ALONE = 100
_FORGET_S = 600.0


@dataclass(slots=True)
class _Voice:
    heard_s: float
    gaps: int = 0
    mean_s: float = 0.0
    longest_s: float = 0.0
    fresh: bool = True  # what came before the next word was not this voice's silence
    vain: int = 0  # replacements that brought no word


class Habit:
    """See the module. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}

    def listen(self, symbols: Iterable[str], now_s: float) -> None:
        """Begin to listen anew: a connection was opened, or we come back from being busy elsewhere."""
        for symbol in (ALL, *symbols):
            voice = self._voices.setdefault(symbol, _Voice(now_s))
            voice.heard_s, voice.fresh = now_s, True

    def heard(self, symbol: str, now_s: float) -> None:
        """Take note of trades of a symbol."""
        self._heard(symbol, now_s)
        self._heard(ALL, now_s)

    def silent(self, symbols: Iterable[str], now_s: float) -> str | None:
        """Return who has been silent for longer than its habit: a symbol, ALL, or None when nobody has."""
        for symbol in (ALL, *symbols):
            voice = self._voices.get(symbol)
            if voice is not None and now_s - voice.heard_s > _patience_s(voice, alone=symbol != ALL):
                return symbol
        return None

    def replaced(self, symbol: str) -> None:
        """Take note that the connection is replaced because of this one's silence; ALL stands for everybody's."""
        for voice in self._voices.values() if symbol == ALL else [self._voices[symbol]]:
            voice.vain += 1

    def _heard(self, symbol: str, now_s: float) -> None:
        voice = self._voices.setdefault(symbol, _Voice(now_s))
        gap_s, voice.heard_s, voice.vain = now_s - voice.heard_s, now_s, 0
        if voice.fresh:
            voice.fresh = False
            return
        voice.gaps += 1
        voice.mean_s += (gap_s - voice.mean_s) * max(0.02, 1 / voice.gaps)
        voice.longest_s = max(gap_s, voice.longest_s * exp(-gap_s / _FORGET_S))


def _patience_s(voice: _Voice, *, alone: bool) -> float:
    if voice.gaps < (_GAPS_KNOWN_ALONE if alone else _GAPS_KNOWN):
        patience_s = inf if alone else UNKNOWN_S
    else:
        habit_s = max(_MEAN_GAPS * voice.mean_s, _LONGEST_GAPS * voice.longest_s)
        patience_s = min(MOST_S, max(LEAST_ALONE_S if alone else LEAST_S, habit_s))
    return patience_s * float(2 ** min(voice.vain, 20))
