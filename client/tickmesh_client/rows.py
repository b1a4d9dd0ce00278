"""Rows of a list, and tables of them for Arrow, pandas and polars."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, overload

import msgspec

from tickmesh_client.errors import ExtraMissing

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")


class Rows(Sequence[T], Generic[T]):
    """Rows in the order in which they were listed. Tables of them are in the order of time, the oldest first.

    Args:
        kind: the type of a row.
        rows: the rows.
        newest_first: whether they are listed so.
    """

    def __init__(self, kind: type[T], rows: Iterable[T], *, newest_first: bool) -> None:
        self._kind = kind
        self._rows = tuple(rows)
        self._newest_first = newest_first

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Rows[T]: ...
    def __getitem__(self, at: int | slice) -> T | Rows[T]:
        if not isinstance(at, slice):  # a number of numpy's, too
            return self._rows[at]
        newest_first = self._newest_first != ((at.step or 1) < 0)
        return Rows(self._kind, self._rows[at], newest_first=newest_first)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        ends = f": {self._rows[0]!r} ... {self._rows[-1]!r}" if self._rows else ""
        return f"<{len(self)} rows of {self._kind.__name__}{ends}>"

    def to_arrow(self, *, exact: bool = True) -> pa.Table:
        """Return an Arrow table.

        Args:
            exact: decimals as decimal128 with 8 decimal places, the quote volume with 16; otherwise as doubles.

        Raises:
            ExtraMissing: pyarrow is not installed.
        """
        arrow = _extra("pyarrow", "arrow")
        rows = self._rows[::-1] if self._newest_first else self._rows
        columns, fields = [], []
        for field in msgspec.structs.fields(self._kind):  # type: ignore[arg-type]  # every kind of row is a Struct
            values: list[Any] = [getattr(row, field.name) for row in rows]
            types = get_args(field.type) or (field.type,)
            if Decimal in types:
                if exact:
                    kind = arrow.decimal128(38, 16 if field.name == "quote_volume" else 8)
                else:
                    kind, values = arrow.float64(), list(map(float, values))
            elif datetime in types:
                kind = arrow.timestamp("us", tz="UTC")
            else:
                kind = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}[types[0]]
            columns.append(arrow.array(values, kind))
            fields.append(arrow.field(field.name, kind))
        return arrow.Table.from_arrays(columns, schema=arrow.schema(fields))

    def to_pandas(self, *, exact: bool = False) -> pd.DataFrame:
        """Return a pandas frame with the time, in UTC, as its index; where rows have no time, with numbers.

        Args:
            exact: decimals as `decimal.Decimal` objects, with which pandas is slow; otherwise as the nearest doubles.

        Raises:
            ExtraMissing: pandas or pyarrow is not installed.
        """
        _extra("pandas", "pandas")
        frame = self.to_arrow(exact=exact).to_pandas()
        times = [name for name in ("timestamp", "time") if name in frame.columns]
        return frame.set_index(times[0]) if times else frame

    def to_polars(self, *, exact: bool = True) -> pl.DataFrame:
        """Return a polars frame; times are in UTC.

        Args:
            exact: decimals as polars' Decimal, otherwise as the nearest doubles.

        Raises:
            ExtraMissing: polars or pyarrow is not installed.
        """
        frame: pl.DataFrame = _extra("polars", "polars").from_arrow(self.to_arrow(exact=exact))
        return frame


def _extra(package: str, extra: str) -> Any:  # Any: whoever has not installed it has no types of it either
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        raise ExtraMissing(f"found no {package}; install it with: pip install 'tickmesh-client[{extra}]'") from exc
