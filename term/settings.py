"""`term.toml` and what the program remembers of itself: reading and writing both, and nothing of where they are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from term import alerts
from term.board import SORT_NAMES, Sorting
from term.candles import INTERVALS, SWITCHED
from term.cells import THEMES
from term.chart import CELLS_A_CANDLE, KINDS, ChartOptions
from term.formatting import zone_of
from term.keys import VIEWS, View
from term.model import Model, Remembered
from tickmesh_client.network import checked_url

_Check = Callable[[Any], object]


def _one_of(*words: str) -> _Check:
    def check(value: object) -> object:
        if value not in words:
            raise ValueError(f"found {value!r}, expected one of {', '.join(filter(None, words))}")
        return value

    return check


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}, expected a text in quotes")
    return value


def _address(value: object) -> object:
    return checked_url(str(_text(value)))


def _texts(value: object) -> object:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"found {value!r}, expected a list of texts")
    return value


def _overlays(value: object) -> object:
    for key in _texts(value):  # type: ignore[attr-defined]  # it is a list
        _one_of(*SWITCHED)(key)
    return value


def _alerts(value: object) -> object:
    for text in _texts(value):  # type: ignore[attr-defined]  # it is a list
        alerts.parse(text)
    return value


def _zone(value: object) -> object:
    zone_of(str(value))
    return value


CHECKS: Mapping[str, _Check] = {
    "url": _address,
    "token_file": _text,
    "theme": _one_of(*THEMES),
    "view": _one_of(*(view.name.lower() for view in VIEWS)),
    "sort": _one_of(*SORT_NAMES),
    "chart": _one_of(*KINDS),
    "interval": _one_of("", *INTERVALS),
    "overlays": _overlays,
    "favourites": _texts,
    "alerts": _alerts,
    "alert_command": _texts,
    "time_zone": _zone,
}
"""The settings of `term.toml`."""


def read(text: str) -> tuple[dict[str, Any], list[str]]:
    """Read settings; what is wrong is left out, and told with its line.

    Args:
        text: TOML.

    Returns:
        The settings, and what is wrong.
    """
    lines, problems = text.split("\n"), []
    while True:
        try:
            found = tomllib.loads("\n".join(lines))
            break
        except tomllib.TOMLDecodeError as exc:
            place = re.search(r"line (\d+)", str(exc))
            at = min(int(place[1]) if place else len(lines), len(lines))
            while at > 1 and not lines[at - 1].strip():  # the end of what was never closed
                at -= 1
            problems.append(f"line {at} of the settings: {str(exc).partition(' (at')[0].lower()}")
            lines[at - 1] = ""
            if len(problems) > 20 or not any(lines):
                return {}, problems
    settings = {}
    for name, value in found.items():
        try:
            if name not in CHECKS:
                raise ValueError(f"found {name!r}, expected one of {', '.join(CHECKS)}")
            settings[name] = CHECKS[name](value)
        except ValueError as exc:
            problems.append(f"line {line_of(name, text)} of the settings: {exc}")
    return settings, problems


def line_of(name: str, text: str) -> int:
    """Return the line of a setting, counted from 1.

    Args:
        name: of the setting.
        text: TOML.

    """
    lines = enumerate(text.split("\n"), start=1)
    return next((number for number, line in lines if re.match(rf"\s*\W?{re.escape(name)}\b", line)), 1)


class _State(msgspec.Struct):
    view: str = "coins"
    sort: str = ""
    descending: bool = True
    favourites: list[str] = []
    alerts: list[str] = []
    rung: list[str] = []
    theme: str = "dark"
    chart: str = "line"
    interval: str = ""
    cells: int = 1
    overlays: list[str] = []


def written(model: Model) -> bytes:
    """Write what outlives the program, for `remembered`."""
    model = model.live or model
    view = model.before_help if model.view is View.HELP else model.view
    state = _State(
        view=view.name.lower(),
        sort=model.sorting.column,
        descending=model.sorting.descending,
        favourites=sorted(model.sorting.favourites),
        alerts=[alert.text for alert in model.alerts],
        rung=[alert.text for alert in model.alerts if not alert.armed],
        theme=model.theme,
        chart=model.chart.kind,
        interval=model.chart.interval,
        cells=model.chart.cells,
        overlays=sorted(model.chart.overlays),
    )
    return msgspec.json.encode(state)


def merged(before: bytes, state: bytes, others: bytes) -> bytes:
    """Put what a program has changed into what another one has written meanwhile.

    Args:
        before: what `written` gave this program the last time.
        state: what it gives now.
        others: what is remembered; empty, or something else, for nothing.

    Returns:
        What is to be remembered: of each list both have their additions, and neither has what one has taken out.
    """
    try:
        theirs = msgspec.json.decode(others, type=_State)
    except msgspec.DecodeError:
        return state
    known, mine = (msgspec.json.decode(each, type=_State) for each in (before, state))
    for name in _State.__struct_fields__:
        was, now, there = (getattr(each, name) for each in (known, mine, theirs))
        if was == now:
            continue
        if isinstance(now, list):
            now = [each for each in there if each in now or each not in was] + [
                each for each in now if each not in was and each not in there
            ]
        setattr(theirs, name, now)
    return msgspec.json.encode(theirs)


def remembered(state: bytes, settings: Mapping[str, Any], *, colour: bool = True) -> Remembered:
    """Say how the program begins: as it was left, except for what the settings say.

    Args:
        state: from `written`; empty, or something else, for nothing.
        settings: those of `read`.
        colour: whether there may be colours.

    """
    try:
        kept = msgspec.json.decode(state, type=_State)
    except msgspec.DecodeError:
        kept = _State()  # of a first start, or of another version
    for name in ("theme", "view", "sort", "chart", "interval", "overlays"):
        if name in settings:
            setattr(kept, name, settings[name])
    watched = []
    for text in dict.fromkeys([*settings.get("alerts", ()), *kept.alerts]):
        try:
            alert = alerts.parse(text)
        except ValueError:
            continue  # of another version
        watched.append(replace(alert, armed=alert.text not in kept.rung))
    chart = ChartOptions(
        kind=kept.chart if kept.chart in KINDS else "line",
        interval=kept.interval if kept.interval in INTERVALS else "",
        cells=kept.cells if kept.cells in CELLS_A_CANDLE else 1,
        overlays=frozenset(kept.overlays) & SWITCHED.keys(),
    )
    views = {view.name.lower(): view for view in VIEWS}
    column = kept.sort if kept.sort in SORT_NAMES else ""
    favourites = frozenset(kept.favourites) | frozenset(settings.get("favourites", ()))
    return Remembered(
        view=views.get(kept.view, View.COINS),
        sorting=Sorting(column, kept.descending, favourites),
        chart=chart,
        alerts=tuple(watched[: alerts.MAX_ALERTS]),
        theme=(kept.theme if kept.theme in THEMES else "dark") if colour else "mono",
        zone=zone_of(settings.get("time_zone", "UTC")),
    )
