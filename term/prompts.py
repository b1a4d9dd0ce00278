"""What follows from a key while a question is on the screen: a filter, an alert, a time, yes or no."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, tzinfo

from term import alerts
from term.asking import needed
from term.candles import SWITCHED
from term.events import LoadHistory, ResetSession
from term.formatting import moment
from term.history import History
from term.key_actions import SCROLLING, helped, moved
from term.keys import Action, View, action_of
from term.model import Model, Prompt, Step


def typed(model: Model, prompt: Prompt, key: str) -> Step:
    """Give the model after a key that belongs to a question on the screen.

    Args:
        model: everything before it.
        prompt: the question.
        key: a character, or a name such as `enter`.

    """
    if model.view is View.HELP:
        action = action_of(View.HELP, key)
        return moved(model, action) if action in SCROLLING else (helped(model), ())
    if key == "?":
        return helped(model), ()
    if key == "esc":
        sorting = replace(model.sorting, filter="") if prompt.kind == "filter" else model.sorting
        return replace(model, prompt=None, sorting=sorting).ordered(), ()
    if prompt.kind == "reset":
        model = replace(model, prompt=None)
        return model.asking(ResetSession(model.shown.symbol)) if key == "y" and model.shown else (model, ())
    if prompt.kind == "overlays":
        if key not in SWITCHED:
            return replace(model, prompt=None), ()
        chart = replace(model.chart, overlays=model.chart.overlays ^ {key}, interval=model.chart.interval or "1m")
        kind = chart.kind if model.chart.interval else "candles"
        return needed(replace(model, chart=replace(chart, kind=kind)))
    if key == "enter":
        return _entered(replace(model, prompt=None), prompt)
    if prompt.kind == "filter" and key in ("up", "down"):
        return moved(model, Action.UP if key == "up" else Action.DOWN)
    text = prompt.text[:-1] if key == "backspace" else prompt.text + key if len(key) == 1 else prompt.text
    model = replace(model, prompt=replace(prompt, text=text[:80]))
    if prompt.kind == "filter":
        return replace(model, sorting=replace(model.sorting, filter=text[:80]), cursor=None).ordered(), ()
    return model, ()


def _entered(model: Model, prompt: Prompt) -> Step:
    try:
        if prompt.kind == "alert":
            alert = alerts.parse(prompt.text, model.pointed)
            row = len(model.alerts) if prompt.row is None else prompt.row
            if row >= alerts.MAX_ALERTS:
                raise ValueError(f"found {len(model.alerts)} alerts, expected less: delete one first")
            watched = (*model.alerts[:row], alert, *model.alerts[row + 1 :])
            unknown = "" if model.is_followed(alert.symbol) else f"; the mesh does not follow {alert.symbol} now"
            return replace(model, alerts=watched).noticed(f"watching: {alert.text}{unknown}"), ()
        if prompt.kind == "time":
            before_us = _time_us(prompt.text.strip(), model.now_us, model.zone)
            model = replace(model, history=History(before_us=before_us))
            symbol = model.shown.symbol if model.shown else ""
            return model.asking(LoadHistory(model.generation, symbol, before_us=before_us))
    except ValueError as exc:
        return replace(model.noticed(str(exc)), prompt=prompt), ()
    return model, ()


def _time_us(text: str, now_us: int, zone: tzinfo | None) -> int:
    """Read a time of a zone, or of UTC where it ends in `Z`: whole, or of the day that is today."""
    zone = UTC if text.endswith("Z") else zone
    today = moment(now_us, zone)
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M"):
        try:
            time = datetime.strptime(text.replace("T", " ").rstrip("Z"), form).replace(tzinfo=zone)
        except ValueError:
            continue
        if "%Y" not in form:
            time = time.replace(year=today.year, month=today.month, day=today.day)
        return int(time.timestamp()) * 1_000_000
    raise ValueError(f"found the time {text!r}, expected one such as 2024-07-05 21:34:58 or 21:34")
