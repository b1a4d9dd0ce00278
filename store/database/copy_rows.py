"""Trades as the bytes of a binary COPY.

The layout is PostgreSQL's: each row a count of fields, each field its length and its big-endian value. A `numeric` is
sent as a fixed number of base-10000 digits with 8 decimals; the server strips the digits that are zero, so psql shows
`61837.63000000`, the venue's own string.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh.values.trades import TradeColumns
from tickcodec.copy_rows import trade_rows

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"
COLUMNS = ("time", "venue", "symbol", "trade_id", "price", "quantity", "is_buyer_maker")


def copy_data(groups: Sequence[TradeColumns]) -> memoryview:
    """Return all that `COPY trades (COLUMNS) FROM STDIN (FORMAT BINARY)` is sent.

    Args:
        groups: what `mesh.values.trades.refusal` has nothing against, each of one symbol. All rows stay in order.

    """
    return trade_rows(groups, header=COPY_HEADER, trailer=COPY_TRAILER)
