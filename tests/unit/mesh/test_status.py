"""The status of the mesh from the reports of its services: states, restarts, and whether trades can come."""

from __future__ import annotations

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from mesh.service.health import Health, State
from mesh.service.status import (
    KNOWN_WITHIN_S,
    MANY_RESTARTS,
    MAX_RESTART_TIMES,
    MISSED_FOR_S,
    UNREACHABLE_AFTER_S,
    Received,
    first_report,
    newest,
    report_of,
    summarize,
    timestamp,
    together,
)
from tickmesh.v1 import status_pb2

NOW_US = 1_800_000_000_000_000
LIVE = status_pb2.FEED_STATE_LIVE
BLOCKED = status_pb2.FEED_STATE_BLOCKED
OFFLINE = status_pb2.FEED_STATE_OFFLINE


def report(service: str, *, failed: str = "", stopped: bool = False, at_us: int = NOW_US) -> status_pb2.ServiceReport:
    health = Health("bus", *filter(None, [failed]), now_us=lambda: at_us)
    health.set("bus", failed != "bus", "takes nothing" if failed == "bus" else "")
    found = report_of(first_report(service, None, now_us=at_us), health, now_us=at_us, stopped=stopped)
    if service == "ingest":
        found.feed.venue, found.feed.state = "binance", LIVE
        found.feed.symbols.add(symbol="btcusdt", state=LIVE)
    return found


def mesh(**reports: Received) -> status_pb2.GetStatusResponse:
    all_well = {name: Received(report(name), 0.5) for name in ("ingest", "signal", "store", "gateway")}
    return summarize(all_well | reports, now_us=NOW_US)


def state_of(response: status_pb2.GetStatusResponse, service: str) -> str:
    [status] = [one for one in response.services if one.service == service]
    return status_pb2.ServiceStatus.State.Name(status.state).removeprefix("STATE_")


def test_a_mesh_in_which_all_is_well_is_live() -> None:
    response = mesh()
    assert (response.state, response.message, response.venue) == (LIVE, "", "binance")
    assert {state_of(response, one.service) for one in response.services} == {"SERVING"}


def test_symbols_can_be_left_out_of_a_status_and_nothing_else_is() -> None:
    without_any = report("ingest")
    without_any.feed.ClearField("symbols")
    reports = {name: Received(report(name), 0.5) for name in ("ingest", "signal", "store", "gateway")}
    assert [one.symbol for one in summarize(reports, now_us=NOW_US).symbols] == ["btcusdt"]
    short = summarize(reports, now_us=NOW_US, without_symbols=True)
    assert short == mesh(ingest=Received(without_any, 0.5))


def test_the_symbols_of_a_status_are_those_of_the_feed_and_nothing_else_of_it_is_among_them() -> None:
    found = report("ingest")
    found.feed.message, found.feed.lag_p50_s, found.feed.lag_p99_s = "words", 0.25, 0.5
    found.feed.last_trade_time.CopyFrom(timestamp(NOW_US))
    found.feed.symbols.add(symbol="ethusdt", state=LIVE, last_trade_time=timestamp(NOW_US), last_trade_id=7)
    response = mesh(ingest=Received(found, 0.5))
    assert list(response.symbols) == list(found.feed.symbols) == list(response.services[0].report.feed.symbols)
    assert (response.message, response.time) == ("words", timestamp(NOW_US))
    assert not len(UnknownFieldSet(response))


def test_nobody_heard_of_is_offline_and_every_service_is_listed() -> None:
    response = summarize({}, now_us=NOW_US)
    assert response.state == OFFLINE
    assert [one.service for one in response.services] == ["ingest", "signal", "store", "gateway"]
    assert state_of(response, "store") == "UNREACHABLE"


def test_an_ingest_that_reports_no_more_makes_the_feed_offline_whatever_it_said_last() -> None:
    response = mesh(ingest=Received(report("ingest"), UNREACHABLE_AFTER_S + 4))
    assert (response.state, response.message) == (OFFLINE, "ingest has not reported for 14 s")
    assert response.symbols[0].state == OFFLINE


@pytest.mark.parametrize("feed", [LIVE, status_pb2.FEED_STATE_SIM, status_pb2.FEED_STATE_QUIET])
def test_what_ingest_said_of_the_feed_holds_for_three_seconds_only(feed: status_pb2.FeedState.ValueType) -> None:
    last = report("ingest")
    last.feed.state = feed
    assert mesh(ingest=Received(last, KNOWN_WITHIN_S)).state == feed
    response = mesh(ingest=Received(last, KNOWN_WITHIN_S + 1))
    assert response.state == response.symbols[0].state == status_pb2.FEED_STATE_STALE
    assert response.message == "ingest has not reported for 4 s: nobody knows whether trades still come"


@pytest.mark.parametrize(
    "reports",
    [
        pytest.param({"ingest": Received(report("ingest", failed="bus"), 0.1)}, id="the bus takes nothing"),
        pytest.param({"signal": Received(report("signal", failed="stream"), 0.1)}, id="signal makes its state again"),
        pytest.param({"signal": Received(report("signal"), 60.0)}, id="signal reports no more"),
        pytest.param({"signal": Received(report("signal", stopped=True), 0.1)}, id="signal was stopped"),
        pytest.param({"gateway": Received(report("gateway", failed="signal"), 0.0)}, id="no stream from signal"),
    ],
)
def test_a_mesh_in_which_no_trade_can_come_is_blocked(reports: dict[str, Received]) -> None:
    response = mesh(**reports)
    assert response.state == BLOCKED and response.message


def test_a_store_that_is_away_is_said_and_leaves_live_prices_live() -> None:
    response = mesh(store=Received(report("store", failed="database"), 0.1))
    assert (response.state, state_of(response, "store")) == (LIVE, "NOT_SERVING")


def test_a_condition_for_information_makes_a_service_degraded_in_words() -> None:
    health = Health("bus")
    health.set("bus", True)
    health.condition("quarantine", State.DEGRADED, "btcusdt: 1 trade is held")
    found = report_of(first_report("store", None, now_us=NOW_US), health, now_us=NOW_US)
    response = mesh(store=Received(found, 0.0))
    assert state_of(response, "store") == "DEGRADED"
    assert response.services[2].message == "quarantine: btcusdt: 1 trade is held"


def test_a_start_after_no_orderly_stop_is_a_restart() -> None:
    first = first_report("ingest", None, now_us=NOW_US)
    second = first_report("ingest", first, now_us=NOW_US + 1)
    second.stopped = True
    third = first_report("ingest", second, now_us=NOW_US + 2)
    assert (first.restarts, second.restarts, third.restarts) == (0, 1, 1)
    assert list(third.restart_times) == [timestamp(NOW_US + 1)]


def test_restarts_of_the_last_minutes_make_a_service_degraded_and_stay_bounded() -> None:
    found = first_report("ingest", None, now_us=NOW_US - 60_000_000)
    for number in range(2 * MAX_RESTART_TIMES):
        found = first_report("ingest", found, now_us=NOW_US - 50_000_000 + number)
    assert (found.restarts, len(found.restart_times)) == (2 * MAX_RESTART_TIMES, MAX_RESTART_TIMES)
    health = Health("bus")
    health.set("bus", True)
    said = report_of(found, health, now_us=NOW_US)
    said.feed.state = LIVE
    response = mesh(ingest=Received(said, 0.0))
    assert state_of(response, "ingest") == "DEGRADED"
    assert response.services[0].message == f"{MAX_RESTART_TIMES} restarts within 10 min"
    assert MAX_RESTART_TIMES >= MANY_RESTARTS


def test_old_restarts_are_counted_and_no_longer_a_trouble() -> None:
    found = first_report("store", None, now_us=NOW_US - 3_600_000_000)
    for number in range(5):
        found = first_report("store", found, now_us=NOW_US - 3_600_000_000 + number)
    health = Health("bus")
    health.set("bus", True)
    response = mesh(store=Received(report_of(found, health, now_us=NOW_US), 0.0))
    assert (state_of(response, "store"), response.services[2].report.restarts) == ("SERVING", 5)


def test_of_several_receptions_the_newest_report_counts_and_of_one_report_the_younger_reception() -> None:
    old, new = report("ingest", at_us=NOW_US - 5_000_000), report("ingest")
    one, other = {"ingest": Received(old, 0.0)}, {"ingest": Received(new, 3.0)}
    assert newest(one, other)["ingest"].report is new
    assert newest({"ingest": Received(new, 3.0)}, {"ingest": Received(new, 1.0)})["ingest"].age_s == 1.0


def test_instances_that_share_the_work_are_one_service_with_the_worst_of_their_conditions() -> None:
    one, other, gone = report("ingest"), report("ingest"), report("ingest", stopped=True, at_us=NOW_US + 1)
    one.feed.lag_p50_s, one.feed.lag_p99_s = 0.003, 0.010
    other.feed.lag_p50_s, other.feed.lag_p99_s = 0.002, 0.050
    one.backlogs.add(name="held_trades", count=2)
    other.backlogs.add(name="held_trades", count=3)
    del other.feed.symbols[:]
    other.feed.symbols.add(symbol="ethusdt", state=status_pb2.FEED_STATE_GAP)
    other.feed.state, other.feed.message = status_pb2.FEED_STATE_GAP, "trades are missing"
    other.conditions.add(name="quarantine", state=status_pb2.Condition.STATE_DEGRADED, message="one is held")

    found = together({"ingest-2": Received(gone, 0.1), "ingest": Received(one, 0.2), "ingest-1": Received(other, 0.4)})

    assert (found.report.serving, found.report.stopped, found.age_s) == (True, False, 0.2)
    assert [(each.name, each.count) for each in found.report.backlogs] == [("held_trades", 5)]
    assert [each.symbol for each in found.report.feed.symbols] == ["btcusdt", "ethusdt"]
    assert (found.report.feed.state, found.report.feed.message) == (status_pb2.FEED_STATE_GAP, "trades are missing")
    assert (found.report.feed.lag_p50_s, found.report.feed.lag_p99_s) == (0.003, 0.050)
    assert {each.name for each in found.report.conditions} == {"bus", "quarantine"}
    status = mesh(ingest=found)
    assert status.services[0].message == "quarantine: one is held"
    assert [each.symbol for each in status.symbols] == ["btcusdt", "ethusdt"]


def test_a_service_serves_while_one_of_its_instances_does_and_is_gone_when_all_are() -> None:
    waiting, working = report("signal", failed="stream"), report("signal")
    assert together({"signal": Received(waiting, 0.1), "signal-1": Received(working, 0.3)}).report.serving

    late = UNREACHABLE_AFTER_S + 1
    found = together({"signal": Received(waiting, 0.1), "signal-1": Received(working, late)}).report
    assert (found.serving, found.stopped) == (False, False)
    stopped = report("signal", stopped=True)
    assert together({"signal": Received(stopped, late), "signal-1": Received(working, late + 5)}).report == stopped
    assert together({"signal": Received(working, late)}).report is working


def test_one_silent_instance_of_several_is_named_until_it_speaks_was_stopped_or_is_forgotten() -> None:
    one, other = report("store"), report("store")
    other.pid, other.host = 4711, "node-3"
    silent = together({"store-0": Received(one, 0.1), "store-1": Received(other, UNREACHABLE_AFTER_S + 4)})

    status = mesh(store=silent)

    [found] = silent.report.silent_instances
    assert (found.name, found.pid, found.host, found.report_age_s) == ("store-1", 4711, "node-3", 14.0)

    assert state_of(status, "store") == "DEGRADED"
    assert [each.message for each in status.services if each.service == "store"] == [
        "instances: store-1 has not reported for 14 s"
    ]
    for well in (
        Received(other, 0.5),
        Received(report("store", stopped=True), 60.0),
        Received(other, MISSED_FOR_S + 1),
    ):
        again = together({"store-0": Received(one, 0.1), "store-1": well})
        assert not again.report.silent_instances
        assert state_of(mesh(store=again), "store") == "SERVING"


def test_an_instance_that_is_back_under_another_number_is_not_missed() -> None:
    gone, back = report("store", at_us=NOW_US - 20_000_000), report("store")
    silent = {"store-0": Received(gone, 20.0), "store-1": Received(gone, 20.0)}
    assert state_of(mesh(store=together(silent | {"store-2": Received(back, 0.1)})), "store") == "DEGRADED"
    both = {"store-2": Received(back, 0.1), "store-3": Received(back, 0.1)}
    assert state_of(mesh(store=together(silent | both)), "store") == "SERVING"


def test_what_has_no_number_is_of_the_time_of_one_partition_and_not_missed() -> None:
    old, new = report("store"), report("store")
    found = together({"store": Received(old, UNREACHABLE_AFTER_S + 1), "store-0": Received(new, 0.1)})
    assert state_of(mesh(store=found), "store") == "SERVING"
