"""Lists that come in pages, for programs without asyncio and with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from tickmesh_client.calls import Call, Page, Query
from tickmesh_client.rows import Rows

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")


class Listing(Generic[T]):
    """A list that is read in pages, only as far as it is asked for: `for`, `collect`, or a table."""

    def __init__(self, perform: Callable[[Call[Page[T]]], Page[T]], query: Query[T]) -> None:
        self._perform = perform
        self._query = query

    def pages(self) -> Iterator[Rows[T]]:
        """Give the rows page by page, up to 1000 each."""
        listed, token = 0, ""
        while call := self._query.page(token, listed):
            page = self._perform(call)
            yield page.rows
            listed, token = listed + len(page.rows), page.next_token
            if not token:
                return

    def __iter__(self) -> Iterator[T]:
        for rows in self.pages():
            yield from rows

    def collect(self, progress: Callable[[int], object] | None = None) -> Rows[T]:
        """Read all pages; the rows have `to_arrow`, `to_pandas` and `to_polars`.

        Args:
            progress: is called after each page with the number of rows so far.

        """
        listed: list[T] = []
        for rows in self.pages():
            listed += rows
            if progress is not None:
                progress(len(listed))
        return Rows(self._query.kind, listed, newest_first=self._query.newest_first)

    def to_arrow(self, *, exact: bool = True) -> pa.Table:
        """Read all pages into an Arrow table; `exact` as in `Rows.to_arrow`."""
        return self.collect().to_arrow(exact=exact)

    def to_pandas(self, *, exact: bool = False) -> pd.DataFrame:
        """Read all pages into a pandas frame; `exact` as in `Rows.to_pandas`."""
        return self.collect().to_pandas(exact=exact)

    def to_polars(self, *, exact: bool = True) -> pl.DataFrame:
        """Read all pages into a polars frame; `exact` as in `Rows.to_polars`."""
        return self.collect().to_polars(exact=exact)


class AsyncListing(Generic[T]):
    """A list that is read in pages, only as far as it is asked for: `async for`, or `await collect()`."""

    def __init__(self, perform: Callable[[Call[Page[T]]], Awaitable[Page[T]]], query: Query[T]) -> None:
        self._perform = perform
        self._query = query

    async def pages(self) -> AsyncIterator[Rows[T]]:
        """Give the rows page by page, up to 1000 each."""
        listed, token = 0, ""
        while call := self._query.page(token, listed):
            page = await self._perform(call)
            yield page.rows
            listed, token = listed + len(page.rows), page.next_token
            if not token:
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        async for rows in self.pages():
            for row in rows:
                yield row

    async def collect(self, progress: Callable[[int], object] | None = None) -> Rows[T]:
        """Read all pages; the rows have `to_arrow`, `to_pandas` and `to_polars`.

        Args:
            progress: is called after each page with the number of rows so far.

        """
        listed: list[T] = []
        async for rows in self.pages():
            listed += rows
            if progress is not None:
                progress(len(listed))
        return Rows(self._query.kind, listed, newest_first=self._query.newest_first)
