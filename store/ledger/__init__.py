"""The ledger: which trade ids of a symbol are stored and which are missing, and how the missing ones are repaired.

`ranges` does the arithmetic, `rows` reads and writes the tables, `writer` corrects them; `audit` compares the ledger
with the rows, `minute_verifier` the rows with the venue's minutes, `repair` requests what is missing, and `epochs`
publishes in which epoch each symbol is.
"""

from __future__ import annotations

__all__ = ["audit", "epochs", "minute_verifier", "minutes", "ranges", "repair", "rows", "writer"]
