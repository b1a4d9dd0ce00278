"""docs/glossary.md: each word once, in one sentence, with a file that is there and has the name it is said to have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"
ROWS = re.findall(r"^\| ([^|`]+) \| ([^|]+) \| (\[.+) \|$", GLOSSARY.read_text(), re.MULTILINE)


def test_every_row_is_read() -> None:
    rows = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(rows) - 2  # without the head


def test_the_words_stand_in_order_and_once() -> None:
    words = [word for word, _, _ in ROWS]
    assert words == sorted(set(words), key=str.lower)


@pytest.mark.parametrize(("word", "meaning", "_"), ROWS, ids=[word for word, _, _ in ROWS])
def test_a_meaning_is_one_sentence(word: str, meaning: str, _: str) -> None:
    assert meaning.endswith(".")
    assert not re.search(r"\. [A-Z]", meaning), word


@pytest.mark.parametrize(("word", "_", "owners"), ROWS, ids=[word for word, _, _ in ROWS])
def test_a_word_is_in_the_file_it_names(word: str, _: str, owners: str) -> None:
    found = re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", owners)
    assert found and len(found) == owners.count("](")
    for name, target in found:
        path = (GLOSSARY.parent / target).resolve()
        assert path.is_file(), f"{word}: there is no {target}"
        text = path.read_text()
        if path.suffix == ".py":
            defined = rf"^(class|def|async def) {re.escape(name)}\b|^{re.escape(name)}\b.* = |{re.escape(name)}`"
            assert re.search(defined, text, re.MULTILINE) or name == path.stem, f"{word}: {target} defines no {name}"
        else:
            assert re.search(rf"\b{re.escape(name)}\b", text), f"{word}: {target} has no {name}"
