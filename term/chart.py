"""Prices -> lines of text, drawn by asciichartpy."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import asciichartpy

from term.formatting import number_text


def draw(prices: Sequence[Decimal], *, height: int, decimals: int) -> list[str]:
    """Draw a line chart, as wide as its labels, an axis and one column for each price.

    Args:
        prices: oldest first.
        height: how many lines it has.
        decimals: of the labels; one that would repeat the one above is left out.

    Returns:
        Exactly `height` lines of text.
    """
    if not prices or height < 1:
        return [""] * max(height, 0)
    high, low = max(prices), min(prices)
    labels = _labels(high, low, height=height, decimals=decimals)
    # Rows instead of prices: asciichartpy draws exact heights only for whole numbers, and marks a row as the zero line
    # when it is numbered 0. So the rows are 1 to height, and the labels ours.
    rows = [_row(price, high, low, height) for price in prices]
    plot = asciichartpy.plot(rows, {"min": 1, "max": height, "height": height - 1, "offset": 1, "format": " "})
    return [f"{label} {line}" for label, line in zip(labels, plot.split("\n"), strict=True)]


def label_width(prices: Sequence[Decimal], decimals: int) -> int:
    """How many cells `draw` needs left of the line: the label, a space and the axis."""
    return max((len(number_text(price, decimals)) for price in prices), default=0) + 2


def _row(price: Decimal, high: Decimal, low: Decimal, height: int) -> float:
    if high == low:
        return (height + 1) // 2
    return float(1 + (height - 1) * (price - low) / (high - low))


def _labels(high: Decimal, low: Decimal, *, height: int, decimals: int) -> list[str]:
    if high == low:
        middle = height - (height + 1) // 2
        texts = [number_text(high, decimals) if row == middle else "" for row in range(height)]
    else:
        step = (high - low) / max(height - 1, 1)
        texts = [number_text(high - step * row, decimals) for row in range(height)]
        texts = [text if row == 0 or text != texts[row - 1] else "" for row, text in enumerate(texts)]
    width = max(len(text) for text in texts)
    return [text.rjust(width) for text in texts]
