"""Model -> grid of cells. Pure; every screen from 40x12 on shows as much as it has room for."""

from __future__ import annotations

from term import view_coins, view_dashboard, view_history, view_mesh
from term.cells import ARROWS, MARGIN, ROOMY, Canvas, Grid, Style, cut, width_of
from term.events import Event, KeyPressed
from term.formatting import coarse_text, fitting_text, number_texts, plain, zone_name
from term.history import visible_rows
from term.keys import View, help_lines, hints
from term.model import SIMULATED, Model
from term.stream_state import StreamStatus

MIN_WIDTH, MIN_HEIGHT = 40, 12
_NARROW = 70

_STATUSES = {
    StreamStatus.CONNECTING: ("◌", Style.WARN),
    StreamStatus.RECONNECTING: ("◌", Style.DOWN),
    StreamStatus.LIVE: ("●", Style.UP),
    StreamStatus.QUIET: ("○", Style.DIM),
    StreamStatus.STALE: ("○", Style.WARN),
    StreamStatus.GAP: ("◌", Style.WARN),
    StreamStatus.BLOCKED: ("▪", Style.DOWN),
    StreamStatus.SIM: ("●", Style.WARN),
    StreamStatus.OFFLINE: ("▪", Style.DOWN),
}
_AGED = (StreamStatus.QUIET, StreamStatus.STALE, StreamStatus.GAP, StreamStatus.BLOCKED, StreamStatus.OFFLINE)
"""Where the time since the last trade says how old the price is."""


def render(model: Model) -> Grid:
    """Draw the model, exactly as large as its terminal."""
    return draw(model).grid()


def draw(model: Model) -> Canvas:
    """Draw the model; the canvas also knows where one can click."""
    canvas = Canvas(model.width, model.height)
    if model.width < MIN_WIDTH or model.height < MIN_HEIGHT:
        _too_small(canvas)
        return canvas
    _header(canvas, model)
    {
        View.COINS: view_coins.draw,
        View.DASHBOARD: view_dashboard.draw,
        View.HISTORY: view_history.draw,
        View.COVERAGE: view_mesh.draw_coverage,
        View.STATUS: view_mesh.draw_status,
        View.ALERTS: view_mesh.draw_alerts,
        View.HELP: _help,
    }[model.view](canvas, model)
    _footer(canvas, model)
    return canvas


def _too_small(canvas: Canvas) -> None:
    found, expected = f"{canvas.width}x{canvas.height}", f"{MIN_WIDTH}x{MIN_HEIGHT}"
    lines = ("terminal too small", f"it is {found}, tickmesh needs {expected}", "q quit")
    for row, line in enumerate(lines, start=max(canvas.height // 2 - 1, 0)):
        canvas.write(row, max((canvas.width - len(line)) // 2, 0), line)


# --- around every screen ---------------------------------------------------------------------------------------------


def _header(canvas: Canvas, model: Model) -> None:
    quote, shown = model.quote, model.shown
    wide = canvas.width >= _NARROW
    end = canvas.write_left_of(0, canvas.width - MARGIN, *_status_label(model))
    column = canvas.write(0, MARGIN, "tickmesh", Style.DIM) + 2 if wide else 1
    if shown is not None:
        venue, venue_style = (" SIM ", Style.LOUD) if shown.venue == SIMULATED else (shown.venue[:12], Style.DIM)
        venue = venue if wide or shown.venue == SIMULATED else ""
        name = shown.name if wide else shown.symbol
        # The price gives way: whether it is real, and how fresh, must be seen.
        name = cut(name, min(24, max(end - column - width_of(venue) - 2, 0)))
        column = canvas.write(0, column, name, Style.BOLD) + 1 + wide
        room = end - column - len(venue) - 3 - wide
        price = fitting_text(number_texts(quote.price, model.decimals), width=room) if room > 3 else ""
        column = canvas.write(0, column, price, view_dashboard.price_style(model)) + 1
        column = canvas.write(0, column, *ARROWS[quote.direction]) + 1 + wide if price else column
        canvas.write(0, column, venue[: max(end - column, 0)], venue_style)
    canvas.rule(1)


def _status_label(model: Model) -> tuple[str, Style]:
    if model.live is not None:
        return f" PAUSED {coarse_text((model.live.now_us - model.now_us) // 1_000_000)} ", Style.LOUD
    sign, style = _STATUSES[model.status]
    return f" {sign} {_status_text(model)}", style


def _status_text(model: Model) -> str:
    status, stream = model.status, model.stream
    if status in _AGED:
        quiet_us = model.now_us - max(stream.since_us, model.quote.traded_us or 0)
        return f"{status.name} {coarse_text(quiet_us // 1_000_000)}"
    if status in (StreamStatus.LIVE, StreamStatus.SIM) or not stream.failures:
        return status.name
    # After a loss the first attempt is the first way back; before the first stream there was one already.
    attempt = stream.failures + (not stream.ever_open)
    if stream.retry_us is None:
        return f"{status.name} #{attempt} now"
    return f"{status.name} #{attempt} in {max(-(-(stream.retry_us - model.now_us) // 1_000_000), 0)} s"


def _footer(canvas: Canvas, model: Model) -> None:
    roomy = canvas.height >= ROOMY
    text, style = _question(model) if model.prompt else _news(model)
    canvas.write(canvas.height - 2 - roomy, MARGIN, cut(text, canvas.width - 2 * MARGIN), style)
    if roomy:
        canvas.write(canvas.height - 2, 0, "─" * canvas.width, Style.DIM)
    column, end = MARGIN, canvas.width - 1
    pairs = hints(model.view)
    for number, (keys, word) in enumerate(pairs, start=1):
        reserved = sum(len(keys) + len(word) + 4 for keys, word in pairs[max(number, len(pairs) - 2) :])
        if column + len(keys) + len(word) + 1 + reserved > end:
            continue
        begin = column
        column = canvas.write(canvas.height - 1, column, keys, Style.BOLD) + 1
        column = canvas.write(canvas.height - 1, column, word, Style.DIM) + 3
        if key := _CLICKED.get(keys, keys if len(keys) == 1 else ""):
            canvas.zones.append((canvas.height - 1, range(begin, column - 3), key))


def clicked(canvas: Canvas, row: int, column: int) -> Event | None:
    """Tell what a click on a drawn screen means; None for nothing.

    Args:
        canvas: what was drawn, with what can be clicked.
        row: from the top, from 0.
        column: from the left, from 0.

    """
    meant = next((meaning for at, columns, meaning in reversed(canvas.zones) if at == row and column in columns), None)
    return KeyPressed(meant) if isinstance(meant, str) else meant


_CLICKED = {"Enter": "enter", "space": " ", "esc": "esc", "Tab": "tab"}


_LABEL = 8
"""The room before what is typed."""


def _question(model: Model) -> tuple[str, Style]:
    assert model.prompt is not None
    # The end of what is typed is seen in any case, with the cursor.
    room = model.width - 2 * MARGIN - _LABEL
    typed = model.prompt.text
    text = (typed if len(typed) < room else "…" + typed[len(typed) - room + 2 :]) + "_"
    name = model.shown.name if model.shown else ""
    return {
        "filter": f"/{text}",
        "alert": f"alert: {text}   (> or < a price, 5% in 10m, stale 30s; again)",
        "time": f"jump to ({zone_name(model.zone)}): {text}   (2024-07-05 21:34:58 or 21:34)",
        "reset": f"begin the session of {name} anew, for every client? y / n",
        "overlays": "s SMA   e EMA   v VWAP   b Bollinger   r RSI   m MACD   esc done",
    }[model.prompt.kind], Style.LOUD if model.prompt.kind == "reset" else Style.BOLD


def _news(model: Model) -> tuple[str, Style]:
    stream = model.stream
    if model.notice and model.now_us < model.notice_until_us:
        return plain(model.notice), Style.LOUD if model.notice.startswith("alert:") else Style.WARN
    if model.switching_to is not None:
        return f"switching to {model.name_of(model.switching_to)} …", Style.WARN
    if not stream.open and stream.reason:
        away = coarse_text(max(model.now_us - stream.since_us, 0) // 1_000_000)
        return plain(f"no stream from {model.url} for {away}: {stream.reason}"), Style.WARN
    if stream.open and stream.upstream_unavailable:
        return "trades have stopped: the gateway waits for a part of the mesh", Style.WARN
    selection = model.shown
    if stream.open and selection is not None and selection.status:
        return f"{selection.symbol} is not traded now: {selection.venue} says {selection.status}", Style.WARN
    feed = model.feed
    if stream.open and feed is not None and feed.message and feed.state == model.status.name:
        return plain(feed.message), Style.DIM if model.status is StreamStatus.QUIET else Style.WARN
    if model.status is StreamStatus.STALE:
        return "connected, but no trade has come for a while", Style.WARN
    if model.looked is not None:
        return f"only this terminal looks at {model.looked.name}", Style.DIM
    if model.view is View.COINS and model.coins:
        texts = "Enter selects for everybody; space looks in this terminal only", "Enter for everybody, space only here"
        return fitting_text(texts, width=model.width - 2 * MARGIN), Style.DIM
    return "", Style.PLAIN


# --- keys ------------------------------------------------------------------------------------------------------------


def _help(canvas: Canvas, model: Model) -> None:
    canvas.rule(1, "keys", cut(plain(model.url), max(canvas.width - 16, 0)))
    visible, lines = visible_rows(canvas.height) + 1, help_lines(canvas.width - 2 * MARGIN)
    first = max(min(model.row, len(lines) - visible), 0)
    for row, (keys, text) in enumerate(lines[first : first + visible], start=2):
        canvas.write(row, canvas.write(row, MARGIN, keys, Style.BOLD), text)
    if first + visible < len(lines):
        canvas.write_left_of(visible + 1, canvas.width - MARGIN, " ↓ more ", Style.DIM)
