"""Bus -> database: keeps every trade exactly once, knows what is missing, and answers from history.

`intake` takes messages from the bus into the database, `ledger` knows what is stored and what is missing, `candles` are
made again where late trades change them, `queries` answer, `retention` removes what is too old; `database` is below.
"""

from __future__ import annotations

__all__ = ["settings"]
