from __future__ import annotations

from pathlib import Path

import pytest

from term.keys import View
from term.model import Remembered
from term.settings import read, remembered, written
from term.state_file import StateFile
from tests.fixtures.term_scenes import after, market, press, tick

GOOD = """
url = "http://mesh.example"
theme = "light"
favourites = ["btcusdt", "ethusdt"]
alerts = ["btcusdt > 62000 again"]
alert_command = ["/usr/bin/say", "it rings"]
"""


def test_settings_are_read() -> None:
    settings, problems = read(GOOD)
    assert problems == []
    assert settings["favourites"] == ["btcusdt", "ethusdt"]
    assert read("") == ({}, [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('theme = "pink"', "line 3 of the settings: found 'pink', expected one of dark, light"),
        ("theme = light", "line 3 of the settings: invalid value"),
        ('colour = "red"', "line 3 of the settings: found 'colour', expected one of url, token_file"),
        ('time_zone = "Mars"', "line 3 of the settings: found 'Mars', expected UTC, local, or a zone such as Europe"),
        ("favourites = 3", "line 3 of the settings: found 3, expected a list of texts"),
        ('alerts = ["btcusdt = 3"]', "line 3 of the settings: found the alert 'btcusdt = 3', expected one such as"),
        ('overlays = ["s", "zz"]', "line 3 of the settings: found 'zz', expected one of s, e, v, b, r, m"),
        ("= 3", "line 3 of the settings: invalid statement"),
        ('view = "coins', "line 3 of the settings:"),
    ],
)
def test_a_wrong_line_is_named_and_the_others_hold(line: str, said: str) -> None:
    settings, problems = read(f'url = "http://a"\n\n{line}\nsort = "volume"\n')
    assert [problem.startswith(said) for problem in problems] == [True], problems
    assert {"url": "http://a", "sort": "volume"}.items() <= settings.items()


def test_what_never_ends_is_told_too() -> None:
    settings, problems = read('url = "http://a"\nfavourites = ["btcusdt",\n')
    assert settings == {"url": "http://a"} or not settings
    assert problems


def test_the_program_begins_as_it_was_left() -> None:
    model = after(market(), *press("s", "S", "f", "a", *"1", "enter", "t", "2", "v", "]", "o", "s", "esc"))
    begun = remembered(written(model), {})
    wanted = Remembered(View.DASHBOARD, model.sorting, model.chart, model.alerts, "light")
    assert begun == wanted
    assert begun.alerts


def test_an_alert_that_has_rung_once_does_not_ring_at_the_next_start() -> None:
    rung = after(market(), *press("a", *"60000", "enter", "a", *"90000", "enter"), tick(62))
    assert [alert.armed for alert in rung.alerts] == [False, True]
    begun = remembered(written(rung), {"alerts": ["btcusdt > 60000", "ethusdt > 1"]})
    assert [(alert.text, alert.armed) for alert in begun.alerts] == [
        ("btcusdt > 60000", False),
        ("ethusdt > 1", True),
        ("btcusdt > 90000", True),
    ]


def test_help_and_a_pause_are_not_remembered() -> None:
    assert remembered(written(after(market(), *press("p", "5", "p", "?"))), {}).view is View.STATUS


def test_the_settings_hold_whatever_was_left() -> None:
    model = after(market(), *press("t"))
    begun = remembered(written(model), read(GOOD)[0] | {"view": "alerts", "theme": "contrast"})
    assert (begun.view, begun.theme) == (View.ALERTS, "contrast")
    assert begun.sorting.favourites == {"btcusdt", "ethusdt"}
    assert [alert.text for alert in begun.alerts] == ["btcusdt > 62000 again"]


@pytest.mark.parametrize("state", [b"", b"nonsense", b'{"view": 3}', b'{"view": "gone", "cells": 99, "alerts": ["?"]}'])
def test_what_cannot_be_remembered_is_forgotten(state: bytes) -> None:
    assert remembered(state, {}) == Remembered()


def test_times_are_those_of_the_zone_that_is_set() -> None:
    assert str(remembered(b"", {"time_zone": "Europe/Berlin"}).zone) == "Europe/Berlin"
    assert remembered(b"", {"time_zone": "local"}).zone is None


def test_without_colour_there_is_none_whatever_was_left() -> None:
    assert remembered(b"", {"theme": "light"}, colour=False).theme == "mono"


def test_two_programs_keep_what_each_of_them_has_changed(tmp_path: Path) -> None:
    begun = market()
    one, other = StateFile(tmp_path / "term.json"), StateFile(tmp_path / "term.json")
    one.keep(begun)
    other.keep(begun)
    watching = after(begun, *press("a", *"1", "enter", "a", *"2", "enter", "f"))
    one.keep(watching)
    other.keep(after(begun, *press("t", "a", *"3", "enter", "j", "f")))
    one.keep(after(watching, *press("6", "d")))
    kept = remembered(one.read(), {})
    assert [alert.text for alert in kept.alerts] == ["btcusdt > 2", "btcusdt > 3"]
    assert (kept.theme, kept.sorting.favourites) == ("light", {"btcusdt", "ethusdt"})


def test_what_was_forgotten_meanwhile_is_written_anew(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "term.json")
    file.keep(market())
    (tmp_path / "term.json").write_text("[")
    file.keep(after(market(), *press("t")))
    assert remembered(file.read(), {}).theme == "light"
