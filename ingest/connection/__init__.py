"""The connection to the venue: a `line` that is always open, its `link`s, and the conversation (`feed`) on each.

Pure: `feed`, `ladder` (whom to try next, and how), `silence_watchdog` (when a silence is in doubt), `pace` (when to
pass on what has arrived).
"""

from __future__ import annotations
