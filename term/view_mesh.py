"""Coverage, status and alerts: what is stored, how the mesh is, and what is watched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from term.cells import MARGIN, Canvas, Style, cut
from term.formatting import (
    NOTHING,
    coarse_text,
    cut_texts,
    duration_text,
    plain,
    rate_texts,
    time_text,
    time_us_of,
    zone_name,
)
from term.history import visible_rows
from term.model import STATUS_FACTS, Model
from term.table import TableColumn, TableLayout
from tickmesh_client import Hole, Minute, ServiceReport, ServiceStatus

_MINUTE_US = 60_000_000
_SIGNS = {
    "VERIFIED": ("■", Style.UP),
    "PENDING": ("□", Style.WARN),
    "MISMATCH": ("×", Style.LOUD),
    "": ("·", Style.DIM),
}
_WORST = ("MISMATCH", "PENDING", "VERIFIED", "")
_HOLE_STYLES = {"OPEN": Style.WARN, "FILLED": Style.UP, "LOST": Style.DOWN, "EXPIRED": Style.DOWN}
_HOLES = (
    TableColumn("ids", 24, right=False, priority=9, grows=True),
    TableColumn("state", 8, right=False, priority=8),
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
    TableColumn("rings", 9, right=False, priority=5),
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
    if isinstance(coverage, str):
        canvas.write(3, MARGIN, cut(coverage, canvas.width - 2 * MARGIN), Style.DIM)
        return
    verdict = "complete: nothing is missing" if coverage.complete else "not complete"
    counts = f"{coverage.stored:,} stored, {coverage.open:,} open, {coverage.absent:,} absent, {coverage.lost:,} lost"
    style = Style.UP if coverage.complete else Style.WARN
    canvas.write(2, MARGIN, cut(f"{verdict}; {counts}", canvas.width - 2 * MARGIN), style)
    holes = min(len(coverage.holes) + 1, max(visible // 2, 2)) if coverage.holes else 0
    _calendar(canvas, coverage.minutes, model.zone, rows=range(3, 3 + visible - holes))
    if not holes:
        return
    top = 3 + visible - holes
    columns = (*_HOLES, TableColumn(f"seen ({zone_name(model.zone)})"[:26], 26, right=False, priority=1))
    table = TableLayout.fitted(columns, width=canvas.width - 2 * MARGIN)
    table.titles(canvas, top)
    first = max(model.row - holes + 2, 0)
    for row, hole in enumerate(coverage.holes[first : first + holes - 1], start=top + 1):
        ids = f"{hole.first_trade_id} to {hole.last_trade_id}"
        styles = [Style.PLAIN, _HOLE_STYLES.get(hole.state, Style.PLAIN), Style.DIM]
        chosen = first + row - top - 1 == model.row
        seen = time_text(time_us_of(hole.seen_time), model.zone)
        cells = ((ids, f"{hole.first_trade_id} …"), (plain(hole.state),), (seen,))
        table.row(canvas, row, cells, [Style.CURSOR] * 3 if chosen else styles)
    if model.whole and model.row < len(coverage.holes):
        canvas.box(_hole(coverage.holes[model.row], model.zone), rows=visible + 1)


def _hole(hole: Hole, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        f"ids     {hole.first_trade_id} to {hole.last_trade_id}",
        f"count   {hole.last_trade_id - hole.first_trade_id + 1:,}",
        f"state   {plain(hole.state)}",
        f"seen    {time_text(time_us_of(hole.seen_time), zone, named=True)}",
        f"closed  {time_text(time_us_of(hole.closed_time), zone, named=True)}",
    )


def _calendar(canvas: Canvas, minutes: Sequence[Minute], zone: tzinfo | None, *, rows: range) -> None:
    """Draw an hour a row, the newest last; where there is no room for sixty cells, each stands for more minutes."""
    if not minutes:
        canvas.write(rows[0], MARGIN, "no minute is closed yet", Style.DIM)
        return
    label = 12
    step = next(step for step in (1, 2, 3, 4, 6, 12) if 60 // step <= canvas.width - 2 * MARGIN - label)
    states = {(time_us_of(m.start_time) or 0) // _MINUTE_US: m.state for m in minutes[-60 * len(rows) :]}
    newest = max(states)
    last, first = newest // 60, min(states) // 60
    for row, hour in zip(rows, range(max(first, last - len(rows) + 1), last + 1), strict=False):
        canvas.write(row, MARGIN, time_text(hour * 60 * _MINUTE_US, zone)[5:16], Style.DIM)
        for cell in range(60 // step):
            begin = hour * 60 + cell * step
            if begin > newest:
                break  # it is not over yet
            inside = {states.get(minute, "") for minute in range(begin, begin + step)}
            state = next((state for state in _WORST if state in inside), "PENDING")
            canvas.write(row, MARGIN + label + cell, *_SIGNS[state])


# --- status ----------------------------------------------------------------------------------------------------------


def draw_status(canvas: Canvas, model: Model) -> None:
    """Fill the rows between header and footer.

    Args:
        canvas: of the whole screen.
        model: what is shown.

    """
    canvas.rule(1, "status", cut(plain(model.url), max(canvas.width - 16, 0)))
    table = TableLayout.fitted(_SERVICES, width=canvas.width - 2 * MARGIN)
    table.titles(canvas, 2)
    mesh, visible = model.mesh, visible_rows(canvas.height)
    services = () if isinstance(mesh, str) else mesh.services
    facts = _facts(model)
    first = max(min(model.row, len(services) + len(facts) - visible), 0)
    for row, service in enumerate(services[first : first + visible], start=3):
        style = _SERVICE_STYLES.get(service.state, Style.DOWN)
        styles = [Style.BOLD, style, Style.PLAIN, Style.DIM, Style.DIM, Style.DIM]
        table.row(canvas, row, _service(service, model.now_us, canvas.width), styles)
    top = 3 + len(services) - first
    for row, (label, text) in enumerate(facts, start=top):
        if 3 <= row < 3 + visible:
            canvas.write(row, MARGIN, label, Style.DIM)
            canvas.write(row, MARGIN + 12, cut(text, canvas.width - 2 * MARGIN - 12))
    if first + visible < len(services) + len(facts):
        canvas.write_left_of(2 + visible, canvas.width - MARGIN, " ↓ more ", Style.DIM)


def _service(service: ServiceStatus, now_us: int, width: int) -> tuple[Iterable[str], ...]:
    report = service.report or ServiceReport()
    bad = [condition for condition in report.conditions if condition.state != "OK"]
    since_us = max((time_us_of(each.since) or 0 for each in bad or report.conditions), default=0)
    since, runs = (
        coarse_text(max(now_us - time_us, 0) // 1_000_000) if time_us else NOTHING
        for time_us in (since_us, time_us_of(report.started_time))
    )
    what = "; ".join(": ".join(filter(None, (each.name, each.message))) for each in bad) or service.message
    texts = (plain(text[:width]) for text in (service.service, service.state, since, runs, report.version[:10], what))
    return tuple(map(cut_texts, texts))


def _facts(model: Model) -> tuple[tuple[str, str], ...]:
    quote, mesh = model.quote, model.mesh
    stream = model.stream
    open_for = coarse_text(max(model.now_us - stream.since_us, 0) // 1_000_000)
    missed = f"{quote.missed:,} trades not sent here, {stream.refused:,} bad frames, {model.missing:,} not in the mesh"
    states = [] if isinstance(mesh, str) else [plain(each.state) for each in mesh.symbols]
    here, by_hop = _delays(model.delays, model.round_trip_us, () if isinstance(mesh, str) else mesh.services)
    symbols = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    texts = (
        mesh if isinstance(mesh, str) else plain(f"{mesh.state} {mesh.message}"),
        symbols or NOTHING,
        here,
        by_hop,
        f"{next(rate_texts(quote.rate(model.now_us)))} of the shown coin",
        f"open for {open_for}" if stream.open else f"lost for {open_for}",
        missed,
    )
    return tuple(zip(STATUS_FACTS, texts, strict=True))


def _delays(delays: Sequence[int], round_trip_us: int | None, services: Sequence[ServiceStatus]) -> tuple[str, str]:
    """From the exchange to this screen; and how much of it is before ingest and the gateway, as far as they tell."""
    if not delays:
        return NOTHING, NOTHING
    rising = sorted(delays)
    half_us, most_us = (rising[min(len(rising) * part // 100, len(rising) - 1)] for part in (50, 99))
    here = f"p50 {duration_text(half_us)}, p99 {duration_text(most_us)} from exchange to here, {len(rising)} trades"
    if round_trip_us is None:
        return here, NOTHING
    way_us = round_trip_us // 2
    lags_s = [each.report.feed.lag_p50_s for each in services if each.report and each.report.feed]
    arrival = "".join(f"{duration_text(round(lag_s * 1e6))} to ingest, " for lag_s in lags_s if lag_s is not None)
    hops = f"{arrival}{duration_text(half_us - way_us)} to the gateway, then {duration_text(way_us)}"
    return here, f"p50 {hops}"


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
        followed = model.is_followed(alert.symbol)
        rings = ("armed" if followed else "unknown") if alert.armed else "has rung"
        text = cut_texts(alert.text, "…")
        styles = [Style.PLAIN, Style.DIM if not alert.armed else Style.UP if followed else Style.WARN]
        table.row(canvas, row, (text, (rings,)), [Style.CURSOR] * 2 if first + row - 3 == model.row else styles)
