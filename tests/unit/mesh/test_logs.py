"""What stands in the log, in both forms, of text that came from outside."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from mesh.service import logs

EVIL = "BTC\x1b]0;owned\x07\x1b[2J\r\n2026-01-01 [info] serving\x9b31m\u202egnp.exe\ud800"
Form = Literal["json", "console"]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Form], io.StringIO]]:
    """Give a function that sends the log into memory, in one of its forms."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)

    def configure(form: Form) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure("ingest", level="info", form=form)
        return stream

    yield configure
    root.handlers[:], level = before
    root.setLevel(level)


def test_text_from_outside_is_one_line_that_steers_no_terminal(logged: Callable[[Form], io.StringIO]) -> None:
    stream = logged("console")
    logging.getLogger("ingest.websocket.stream").warning("the venue refuses it: %s", EVIL, extra={"said": EVIL})
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert r"BTC\x1b]0;owned\x07\x1b[2J\r\n2026-01-01 [info] serving\x9b31m\u202egnp.exe\ud800" in line


def test_a_traceback_keeps_its_lines_and_steers_no_terminal(logged: Callable[[Form], io.StringIO]) -> None:
    stream = logged("console")
    try:
        raise ValueError(EVIL)
    except ValueError:
        logging.getLogger("ingest").exception("ended by an error")
    text = stream.getvalue()
    assert "Traceback (most recent call last)" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert r"\x1b[2J" in text


def test_what_is_written_in_other_scripts_stays_readable(logged: Callable[[Form], io.StringIO]) -> None:
    stream = logged("console")
    logging.getLogger("ingest").info("following %s", "币安人生usdt")
    assert "following 币安人生usdt" in stream.getvalue()


def test_json_is_a_line_too(logged: Callable[[Form], io.StringIO]) -> None:
    stream = logged("json")
    try:
        raise ValueError(EVIL)
    except ValueError:
        logging.getLogger("ingest").exception("said: %s", EVIL)
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event"] == f"said: {EVIL}"
