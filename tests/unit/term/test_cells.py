"""Cells, where a character takes one of them, two or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from term.cells import Canvas, Style, cells_of, cut, fit, text_of, width_of
from term.formatting import plain
from term.screen import in_ascii

WIDE = "币安人生"


def width_drawn(canvas: Canvas) -> list[int]:
    return [sum(width_of(span.text) for span in row) for row in canvas.grid()]


def test_a_wide_character_takes_two_cells() -> None:
    canvas = Canvas(12, 1)
    end = canvas.write(0, 0, f"{WIDE}usdt", Style.BOLD)
    assert end == 12
    assert text_of(canvas.grid()) == f"{WIDE}usdt\n"
    assert width_drawn(canvas) == [12]


def test_what_is_right_of_a_wide_name_stays_in_its_column() -> None:
    canvas = Canvas(20, 2)
    for row, name in enumerate((WIDE, "Bitcoin")):
        canvas.write(row, canvas.write(row, 0, fit(name, 10)), "●")
    assert text_of(canvas.grid()) == f"{WIDE}  ●\nBitcoin   ●\n"


@pytest.mark.parametrize(("column", "expected"), [(0, "x 安"), (1, " x安"), (2, "币x"), (3, "币 x")])
def test_a_wide_character_that_is_half_covered_leaves_a_blank(column: int, expected: str) -> None:
    canvas = Canvas(4, 1)
    canvas.write(0, 0, "币安")
    canvas.write(0, column, "x")
    assert text_of(canvas.grid()) == f"{expected}\n"
    assert width_drawn(canvas) == [4]


def test_a_wide_character_does_not_stick_out_at_the_edges() -> None:
    canvas = Canvas(3, 1)
    canvas.write(0, -1, "币安")
    canvas.write(0, 2, "人")
    assert width_drawn(canvas) == [3]


def test_a_text_is_cut_and_filled_by_cells() -> None:
    assert [cut(WIDE, width) for width in (0, 1, 2, 5, 99)] == ["", "", "币", "币安", WIDE]
    assert fit(WIDE, 5) == "币安 "
    assert width_of(fit(WIDE, 20)) == 20


def test_without_utf8_a_wide_character_is_as_wide_as_ever() -> None:
    assert in_ascii("币x") == "??x"


def test_text_from_outside_keeps_its_letters_and_steers_nothing() -> None:
    assert plain("币安\x1b[2J\x9b\u202e\u200da\u0308q\u0308") == "币安·[2J···äq·"


@given(text=st.text(max_size=30), column=st.integers(-5, 25), over=st.text(max_size=8), at=st.integers(-3, 22))
def test_a_row_is_always_as_wide_as_the_canvas(text: str, column: int, over: str, at: int) -> None:
    canvas = Canvas(20, 1)
    canvas.write(0, column, plain(text))
    canvas.write(0, at, plain(over), Style.DIM)
    assert width_drawn(canvas) == [20]
    assert all(cells_of(character) for character in plain(text))
