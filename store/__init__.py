"""Bus -> database: stores every trade exactly once, knows what is missing, and answers from history.

`intake` brings messages of the bus into the database; `ledger` knows what is stored and what is missing, and has it
repaired; `candles` are made again where late trades change them; `queries` answer requests, `export` writes all rows of
a range; `retention` removes what is too old. `database` is below all of them, `service` puts them together. Rooms
import each other in the order database, candles, ledger, then intake, queries, export and retention. For others there
are only `python -m store` and its `settings`.
"""

from __future__ import annotations

__all__ = ["settings"]
