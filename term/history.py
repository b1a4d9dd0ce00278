"""The trades of the selected coin that were kept, as far as they have been fetched and scrolled through."""

from __future__ import annotations

from dataclasses import dataclass, replace

from term.cells import ROOMY
from term.formatting import decimals_of
from term.values import HistoryPage, Trade

MAX_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class History:
    """The trades fetched so far, newest first.

    Attributes:
        trades: at most `MAX_ROWS`, the oldest of those that were fetched.
        forgotten: how many newer ones were fetched, too.
        top: the row shown first, counted from 0.
        cursor: the row under the cursor.
        before_us: the time that was jumped to: only trades before it are here.
        next_token: what asks for the page below; empty when there is none.
        fetched: whether any request has been answered, or has failed.
        error: why the last request got no answer; empty when it did.
        price_decimals: how many decimals the prices need.
        quantity_decimals: how many decimals the quantities need.
    """

    trades: tuple[Trade, ...] = ()
    forgotten: int = 0
    top: int = 0
    cursor: int = 0
    before_us: int | None = None
    next_token: str = ""
    fetched: bool = False
    error: str = ""
    price_decimals: int = 0
    quantity_decimals: int = 0

    def expects(self, page_token: str) -> bool:
        """Tell whether the page of `page_token` belongs here now: the first always, another only right below the rows.

        A page that was asked for before the rows were fetched anew would leave a hole above itself.
        """
        return not page_token or page_token == self.next_token

    def with_page(self, page: HistoryPage, *, page_token: str) -> History:
        """Take in an answer: the first page replaces what was there, the others go below it.

        Ask `expects` first.

        Args:
            page: the answer.
            page_token: what it was asked with; empty for the first page.

        """
        before = self if page_token else History()
        quantities = [trade.quantity for trade in page.trades if trade.quantity is not None]
        trades = (*before.trades, *page.trades)
        forgotten = max(len(trades) - MAX_ROWS, 0)
        return History(
            trades=trades[forgotten:],
            forgotten=before.forgotten + forgotten,
            top=max(before.top - forgotten, 0),
            cursor=max(before.cursor - forgotten, 0),
            before_us=self.before_us,
            next_token=page.next_token,
            fetched=True,
            price_decimals=max(before.price_decimals, *(decimals_of(t.price) for t in page.trades), 0),
            quantity_decimals=max(before.quantity_decimals, *(decimals_of(q) for q in quantities), 0),
        )

    def scrolled(self, rows: int, *, visible: int) -> History:
        """Move the cursor down by `rows` (up when negative), no further than the last row.

        Args:
            rows: how many rows down; negative is up.
            visible: how many rows the screen shows.

        """
        cursor = min(max(self.cursor + rows, 0), max(len(self.trades) - 1, 0))
        top = min(max(self.top, cursor - visible + 1), cursor, max(len(self.trades) - visible, 0))
        return replace(self, cursor=cursor, top=top)

    def wants_more(self, *, visible: int) -> bool:
        """Tell whether the end is near and there is more to fetch."""
        return bool(self.next_token) and self.top + 2 * visible >= len(self.trades)

    def failed(self, reason: str) -> History:
        """Take note of a request that got no answer."""
        return replace(self, fetched=True, error=reason)


def visible_rows(height: int) -> int:
    """How many rows of a table fit on a screen of `height` rows, beside the lines around them."""
    return max(height - (6 if height >= ROOMY else 5), 1)
