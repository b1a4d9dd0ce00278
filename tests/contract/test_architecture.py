"""docs/architecture.md names files and forms that are there, and counts them right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
WAY = PAGE.partition("## The way of a trade")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \|([^|]*)\|$", WAY, re.MULTILINE)
STEPS = [(files, form.strip()) for files, _, form in ROWS if files not in ("file", "---")]
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.\w+)`")


def files_of(text: str) -> list[str]:
    return PATH.findall(text)


def test_every_file_it_names_is_there() -> None:
    named = files_of(PAGE)
    assert len(named) > 50
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_folder_it_names_is_there() -> None:
    named = re.findall(r"^\| `([\w./-]+/)`", PAGE, re.MULTILINE)
    assert "ingest/" in named
    assert [path for path in named if not (ROOT / path).is_dir()] == []


@pytest.mark.parametrize(("files", "form"), STEPS, ids=[files for files, _ in STEPS])
def test_a_form_is_named_in_its_file(files: str, form: str) -> None:
    texts = [(ROOT / path).read_text() for path in files_of(files)]
    names = [name for name in re.findall(r"`(\w+)`", form) if name != "bytes"]
    assert [name for name in names if not any(re.search(rf"\b{name}\b", text) for text in texts)] == []


def test_it_counts_files_and_forms_right() -> None:
    files = {path for names, _ in STEPS for path in files_of(names)}
    forms = {one for _, form in STEPS for one in re.split(r"[;,] ", form) if one}
    assert re.findall(r"passes (\d+) files in (\d+)\s+forms", WAY) == [(str(len(files)), str(len(forms)))]


def test_the_six_questions_have_an_answer() -> None:
    table = PAGE.partition("## Where is it decided?")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (Where [^|]+\?) \| (.+) \|$", table, re.MULTILINE)
    assert len(rows) == 6
    assert all(files_of(answer) for _, answer in rows)
