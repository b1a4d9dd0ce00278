"""Columns of many rows as PostgreSQL reads arrays."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from store.database.arrays import bigint_array, text_array, time_array
from store.database.times import FIRST_US, LAST_US, time_of, us_of

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)


def read_text(array: str) -> list[str]:
    """Read an array all of whose elements are quoted, as PostgreSQL's manual says: a backslash escapes what follows."""
    found: list[str] = []
    characters = iter(array.removeprefix("{").removesuffix("}"))
    for character in characters:
        if character == '"':
            element = ""
            while (inner := next(characters)) != '"':
                element += next(characters) if inner == "\\" else inner
            found.append(element)
        else:
            assert character == ","
    return found


@given(st.lists(TEXT | st.sampled_from(["null", "NULL", '"', "\\", "a,b", "{}"]), max_size=5))
def test_texts_are_read_back_as_they_were(values: list[str]) -> None:
    array = text_array(values)

    assert array.startswith("{")
    assert array.endswith("}")
    assert read_text(array) == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_integers_are_written_as_psycopg_writes_them(values: list[int]) -> None:
    assert bigint_array(values).encode() == bytes(ListDumper(list).dump(values) or b"")


@given(st.lists(st.integers(FIRST_US, LAST_US), max_size=5))
def test_times_are_read_back_as_they_were(values: list[int]) -> None:
    read = time_array(values).removeprefix("{").removesuffix("}").split(",")

    assert [us_of(dt.datetime.fromisoformat(value)) for value in read if value] == values
    assert list(map(us_of, map(time_of, values))) == values
