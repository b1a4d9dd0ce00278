"""Coverage, status and alerts: what is stored, how the mesh is, and what is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from term.cells import MARGIN, Canvas, Style, cut
from term.formatting import NOTHING, coarse_text, duration_text, plain, rate_texts, time_text
from term.history import visible_rows
from term.model import Model
from term.table import TableColumn, TableLayout
from term.values import MissedTrades

_SIGNS = {
    "VERIFIED": ("■", Style.UP),
    "PENDING": ("□", Style.WARN),
    "MISMATCH": ("×", Style.LOUD),
    "": ("·", Style.DIM),
}
_WORST = ("MISMATCH", "PENDING", "VERIFIED", "")
_HOLE_STYLES = {"OPEN": Style.WARN, "FILLED": Style.UP, "LOST": Style.DOWN, "EXPIRED": Style.DOWN}
_HOLES = (
    TableColumn("ids", 28, right=False, priority=9, grows=True),
    TableColumn("state", 8, right=False, priority=8),
    TableColumn("seen (UTC)", 26, right=False, priority=1),
)
_SERVICES = (
    TableColumn("service", 9, right=False, priority=9),
    TableColumn("state", 12, right=False, priority=8),
    TableColumn("since", 12, right=False, priority=6),
    TableColumn("runs for", 12, right=False, priority=3),
    TableColumn("version", 10, right=False, priority=2),
    TableColumn("what", 12, right=False, priority=7, grows=True),
)
_SERVICE_STYLES = {"SERVING": Style.UP, "DEGRADED": Style.WARN}
_ALERTS = (
    TableColumn("alert", 26, right=False, priority=9, grows=True),
    TableColumn("rings", 10, right=False, priority=5),
)


# --- coverage --------------------------------------------------------------------------------------------------------


def draw_coverage(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    coverage, visible = model.coverage, visible_rows(canvas.height)
    legend = " ".join(f"{sign} {state or 'no trades'}" for state, (sign, _) in _SIGNS.items())
    canvas.rule(1, "coverage", legend[: canvas.width - 18])
    if coverage is None:
        canvas.write(3, MARGIN, "asking what is stored …", Style.DIM)
        return
    verdict = "complete: nothing is missing" if coverage.complete else "not complete"
    counts = f"{coverage.stored:,} stored, {coverage.open:,} open, {coverage.absent:,} absent, {coverage.lost:,} lost"
    style = Style.UP if coverage.complete else Style.WARN
    canvas.write(2, MARGIN, cut(f"{verdict}; {counts}", canvas.width - 2 * MARGIN), style)
    holes = min(len(coverage.holes) + 1, max(visible // 2, 2)) if coverage.holes else 0
    _calendar(canvas, coverage.minutes, rows=range(3, 3 + visible - holes))
    if not holes:
        return
    top = 3 + visible - holes
    table = TableLayout.fitted(_HOLES, width=canvas.width - 2 * MARGIN)
    table.titles(canvas, top)
    first = max(model.row - holes + 2, 0)
    for row, hole in enumerate(coverage.holes[first : first + holes - 1], start=top + 1):
        ids = f"{hole.first_id} to {hole.last_id}"
        styles = [Style.PLAIN, _HOLE_STYLES.get(hole.state, Style.PLAIN), Style.DIM]
        chosen = first + row - top - 1 == model.row
        cells = ((ids, f"{hole.first_id} …"), (hole.state,), (time_text(hole.seen_us),))
        table.row(canvas, row, cells, [Style.CURSOR] * 3 if chosen else styles)
    if model.whole and model.row < len(coverage.holes):
        _hole(canvas, coverage.holes[model.row])


def _hole(canvas: Canvas, hole: MissedTrades) -> None:
    lines = (
        f"ids     {hole.first_id} to {hole.last_id}",
        f"count   {hole.last_id - hole.first_id + 1:,}",
        f"state   {hole.state}",
        f"seen    {time_text(hole.seen_us)}",
        f"closed  {time_text(hole.closed_us)}",
    )
    width = min(max(map(len, lines)) + 4, canvas.width)
    for row, line in enumerate(("", *lines, ""), start=2):
        canvas.write(row, canvas.width - width, f"  {line}".ljust(width), Style.CURSOR)


def _calendar(canvas: Canvas, minutes: Mapping[int, str], *, rows: range) -> None:
    """Draw an hour a row, the newest last; where there is no room for sixty cells, each stands for more minutes."""
    if not minutes:
        canvas.write(rows[0], MARGIN, "no minute is closed yet", Style.DIM)
        return
    label = 15
    step = next(step for step in (1, 2, 3, 4, 6, 12) if 60 // step <= canvas.width - 2 * MARGIN - label)
    last, first = max(minutes) // 60, min(minutes) // 60
    for row, hour in zip(rows, range(max(first, last - len(rows) + 1), last + 1), strict=False):
        canvas.write(row, MARGIN, time_text(hour * 3_600_000_000)[:13] + "h", Style.DIM)
        for cell in range(60 // step):
            begin = hour * 60 + cell * step
            states = {minutes.get(minute, "") for minute in range(begin, begin + step)}
            state = next((state for state in _WORST if state in states), "PENDING")
            canvas.write(row, MARGIN + label + cell, *_SIGNS[state])


# --- status ----------------------------------------------------------------------------------------------------------


def draw_status(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    canvas.rule(1, "status", cut(plain(model.url), max(canvas.width - 16, 0)))
    feed, now_us = model.feed, model.now_us
    table = TableLayout.fitted(_SERVICES, width=canvas.width - 2 * MARGIN)
    table.titles(canvas, 2)
    row = 3
    for row, service in enumerate(feed.services if feed else (), start=3):
        style = _SERVICE_STYLES.get(service.state, Style.DOWN)
        since, runs = (
            NOTHING if time_us is None else coarse_text(max(now_us - time_us, 0) // 1_000_000)
            for time_us in (service.since_us, service.started_us)
        )
        message = plain(service.message)
        what = [cut(message, width) for width in range(len(message), -1, -1)]
        cells = ((service.name,), (service.state,), (since,), (runs,), (service.version[:10],), what)
        table.row(canvas, row, cells, [Style.BOLD, style, Style.PLAIN, Style.DIM, Style.DIM, Style.DIM])
    if feed is None:
        canvas.write(3, MARGIN, "asking how the mesh is …", Style.DIM)
    for label, text in _facts(model):
        row += 1
        if row > visible_rows(canvas.height) + 2:
            break
        canvas.write(row, MARGIN, label, Style.DIM)
        canvas.write(row, MARGIN + 12, cut(text, canvas.width - 2 * MARGIN - 12))


def _facts(model: Model) -> tuple[tuple[str, str], ...]:
    quote, feed = model.quote, model.feed
    stream = model.stream
    open_for = coarse_text(max(model.now_us - stream.since_us, 0) // 1_000_000)
    missed = f"{quote.missed:,} trades not sent here, {stream.refused:,} bad frames, {model.missing:,} not in the mesh"
    states = [each.state for each in feed.symbols.values()] if feed else []
    symbols = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return (
        ("feed", f"{feed.together.state} {plain(feed.together.message)}" if feed else NOTHING),
        ("symbols", symbols or NOTHING),
        ("delay", _delays(model.delays)),
        ("rate", f"{next(rate_texts(quote.rate(model.now_us)))} of the shown coin"),
        ("stream", f"open for {open_for}" if stream.open else f"lost for {open_for}"),
        ("missed", missed),
    )


def _delays(delays: Sequence[int]) -> str:
    """From the exchange to this screen: what of it is whose is not told by the gateway."""
    if not delays:
        return NOTHING
    rising = sorted(delays)
    half, most = (duration_text(rising[min(len(rising) * part // 100, len(rising) - 1)]) for part in (50, 99))
    return f"p50 {half}, p99 {most} from the exchange to here, of the last {len(rising)} trades"


# --- alerts ----------------------------------------------------------------------------------------------------------


def draw_alerts(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    visible = visible_rows(canvas.height)
    canvas.rule(1, "alerts", f"{len(model.alerts)}")
    if not model.alerts:
        canvas.write(3, MARGIN, "none; a makes one", Style.DIM)
        return
    table = TableLayout.fitted(_ALERTS, width=canvas.width - 2 * MARGIN)
    table.titles(canvas, 2)
    first = max(model.row - visible + 1, 0)
    for row, alert in enumerate(model.alerts[first : first + visible], start=3):
        rings = "armed" if alert.armed else "has rung"
        text = [cut(alert.text, width) for width in range(len(alert.text), 0, -1)]
        styles = [Style.PLAIN, Style.UP if alert.armed else Style.DIM]
        table.row(canvas, row, (text, (rings,)), [Style.CURSOR] * 2 if first + row - 3 == model.row else styles)
