"""Model -> grid of cells. Pure; every screen is 80 cells wide and 24 high at least, and uses what more there is."""

from __future__ import annotations

from term import view_dashboard, view_history
from term.cells import ARROWS, MARGIN, Canvas, Grid, Style, cut, fit
from term.formatting import coarse_text, fitting_text, number_texts, plain
from term.keys import KEYS, View, hints
from term.model import Model
from term.stream_state import StreamStatus

MIN_WIDTH, MIN_HEIGHT = 80, 24

_STATUS_SIGNS = {
    StreamStatus.CONNECTING: "◌",
    StreamStatus.RECONNECTING: "◌",
    StreamStatus.LIVE: "●",
    StreamStatus.QUIET: "○",
    StreamStatus.STALE: "○",
    StreamStatus.GAP: "◌",
    StreamStatus.BLOCKED: "▪",
    StreamStatus.SIM: "●",
    StreamStatus.OFFLINE: "▪",
}
_STATUS_STYLES = {
    StreamStatus.CONNECTING: Style.WARN,
    StreamStatus.RECONNECTING: Style.DOWN,
    StreamStatus.LIVE: Style.UP,
    StreamStatus.QUIET: Style.DIM,
    StreamStatus.STALE: Style.WARN,
    StreamStatus.GAP: Style.WARN,
    StreamStatus.BLOCKED: Style.DOWN,
    StreamStatus.SIM: Style.WARN,
    StreamStatus.OFFLINE: Style.DOWN,
}
_AGED = (StreamStatus.QUIET, StreamStatus.STALE, StreamStatus.GAP, StreamStatus.BLOCKED, StreamStatus.OFFLINE)
"""Where the time since the last trade says how old the price is."""


def render(model: Model) -> Grid:
    """Draw the model, exactly as large as its terminal."""
    canvas = Canvas(model.width, model.height)
    if model.width < MIN_WIDTH or model.height < MIN_HEIGHT:
        _too_small(canvas)
        return canvas.grid()
    _header(canvas, model)
    {
        View.COINS: _coins,
        View.DASHBOARD: view_dashboard.draw,
        View.HISTORY: view_history.draw,
        View.HELP: _help,
    }[model.view](canvas, model)
    _footer(canvas, model)
    return canvas.grid()


def _too_small(canvas: Canvas) -> None:
    found, expected = f"{canvas.width}x{canvas.height}", f"{MIN_WIDTH}x{MIN_HEIGHT}"
    lines = ("terminal too small", f"it is {found}, tickmesh needs {expected}", "q quit")
    for row, line in enumerate(lines, start=max(canvas.height // 2 - 1, 0)):
        canvas.write(row, max((canvas.width - len(line)) // 2, 0), line)


# --- around every screen ---------------------------------------------------------------------------------------------


def _header(canvas: Canvas, model: Model) -> None:
    quote, selection, status = model.quote, model.selection, model.status
    text = f" {_STATUS_SIGNS[status]} {_status_text(model)}"
    end = canvas.write_left_of(0, canvas.width - MARGIN, text, _STATUS_STYLES[status])
    column = canvas.write(0, MARGIN, "tickmesh", Style.DIM) + 2
    if selection is not None:
        venue, venue_style = (" SIM ", Style.LOUD) if selection.venue == "sim" else (selection.venue[:12], Style.DIM)
        column = canvas.write(0, column, cut(selection.name, 24), Style.BOLD) + 2
        # The price gives way: whether it is real, and how fresh, must be seen.
        room = end - column - len(venue) - 4
        price = fitting_text(number_texts(quote.price, quote.decimals), width=room)
        column = canvas.write(0, column, price, Style.BOLD) + 1
        column = canvas.write(0, column, *ARROWS[quote.direction]) + 2
        canvas.write(0, column, venue[: max(end - column, 0)], venue_style)
    canvas.rule(1)


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
    text, style = _news(model)
    canvas.write(canvas.height - 3, MARGIN, cut(text, canvas.width - 2 * MARGIN), style)
    canvas.write(canvas.height - 2, 0, "─" * canvas.width, Style.DIM)
    column = MARGIN
    for keys, word in hints(model.view):
        column = canvas.write(canvas.height - 1, column, keys, Style.BOLD) + 1
        column = canvas.write(canvas.height - 1, column, word, Style.DIM) + 3


def _news(model: Model) -> tuple[str, Style]:
    stream = model.stream
    if model.notice and model.now_us < model.notice_until_us:
        return plain(model.notice), Style.WARN
    if model.switching_to is not None:
        return f"switching to {model.name_of(model.switching_to)} …", Style.WARN
    if not stream.open and stream.reason:
        away = coarse_text(max(model.now_us - stream.since_us, 0) // 1_000_000)
        return plain(f"no stream from {model.url} for {away}: {stream.reason}"), Style.WARN
    if stream.open and stream.upstream_unavailable:
        return "trades have stopped: the gateway waits for a part of the mesh", Style.WARN
    selection = model.selection
    if stream.open and selection is not None and selection.status:
        return f"{selection.symbol} is not traded now: {selection.venue} says {selection.status}", Style.WARN
    feed = model.symbol_feed
    if stream.open and feed is not None and feed.message and feed.state == model.status.name:
        return plain(feed.message), Style.DIM if model.status is StreamStatus.QUIET else Style.WARN
    if model.status is StreamStatus.STALE:
        return "connected, but no trade has come for a while", Style.WARN
    return "", Style.PLAIN


# --- coin list -------------------------------------------------------------------------------------------------------


def _coins(canvas: Canvas, model: Model) -> None:
    canvas.write(3, MARGIN, "Choose a coin", Style.BOLD)
    canvas.write(3, MARGIN + 15, "for every client at once", Style.DIM)
    if not model.coins:
        text = f"no coins from {model.url}: {model.coins_error}" if model.coins_error else "asking for the coins …"
        canvas.write(5, MARGIN, cut(plain(text), canvas.width - 2 * MARGIN), Style.DIM)
        return
    rows = canvas.height - 5 - 4
    first = max(model.cursor_row - rows + 1, 0)
    for row, coin in enumerate(model.coins[first : first + rows]):
        at_cursor = first + row == model.cursor_row
        selected = model.is_selected(coin)
        line = f" {'▸' if at_cursor else ' '} {fit(coin.name, 32)}  {fit(coin.symbol, 20)}"
        line += "● current  " if selected else " " * 11
        style = Style.CURSOR if at_cursor else Style.BOLD if selected else Style.PLAIN
        canvas.write(5 + row, MARGIN, line, style)


# --- keys ------------------------------------------------------------------------------------------------------------


def _help(canvas: Canvas, model: Model) -> None:
    canvas.write(3, MARGIN, "Keys", Style.BOLD)
    for row, (keys, text) in enumerate(KEYS, start=5):
        canvas.write(row, MARGIN + 1, keys, Style.BOLD)
        canvas.write(row, MARGIN + 25, text)
    canvas.write(canvas.height - 4, MARGIN, cut(plain(model.url), canvas.width - 2 * MARGIN), Style.DIM)
