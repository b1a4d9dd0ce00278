"""What the runner understands of the gateway's `/readyz`."""

from __future__ import annotations

import pytest

from mesh.local.report import Readiness, parse_readiness, parse_status


def test_the_mesh_is_ready_when_the_gateway_is_and_all_behind_it_serve() -> None:
    text = '{"upstreams": {"tickmesh.v1.SignalService": "SERVING", "tickmesh.v1.StoreService": "SERVING"}}'

    assert parse_readiness(200, text) == Readiness(ready=True)


def test_a_gateway_that_is_ready_without_history_makes_no_whole_mesh() -> None:
    text = '{"upstreams": {"tickmesh.v1.SignalService": "SERVING", "tickmesh.v1.StoreService": "NOT_SERVING"}}'

    assert parse_readiness(200, text) == Readiness(
        ready=False, missing="StoreService is NOT_SERVING", waits_for=("store",)
    )


def test_a_stream_that_is_not_open_yet_is_said_in_the_gateways_words() -> None:
    text = '{"upstreams": {"tickmesh.v1.SignalService": "SERVING"}, "message": "not ready: the stream is not open yet"}'

    assert parse_readiness(503, text).missing == "not ready: the stream is not open yet"


def test_an_upstream_that_does_not_serve_is_named_with_its_program() -> None:
    text = '{"upstreams": {"tickmesh.v1.SignalService": "SERVING", "tickmesh.v1.StoreService": "UNREACHABLE"}}'

    assert parse_readiness(503, text) == Readiness(
        ready=False, missing="StoreService is UNREACHABLE", waits_for=("store",)
    )


@pytest.mark.parametrize("text", ["", "[]", "null", '{"upstreams": []}', "<html>"])
def test_an_answer_of_something_else_on_that_port_is_shown(text: str) -> None:
    answer = parse_readiness(503, text)

    assert (answer.ready, answer.waits_for) == (False, ("gateway",))
    assert repr(text) in answer.missing


def test_the_status_of_the_mesh_is_read() -> None:
    text = (
        '{"state": "STALE", "message": "no connection", "venue": "binance", '
        '"services": [{"service": "store", "state": "SERVING", "message": ""}]}'
    )
    mesh = parse_status(text)

    assert mesh is not None
    assert (mesh.state, mesh.trades_can_come, mesh.services[0].name) == ("STALE", False, "store")
    assert mesh.silent_pids("node-3") == set()


def test_the_processes_of_single_instances_that_do_not_report_are_read() -> None:
    report = '{"silent_instances": [{"name": "store-1", "report_age_s": 14.5, "pid": 4711, "host": "node-3"}]}'
    service = f'{{"service": "store", "state": "DEGRADED", "message": "instances: ...", "report": {report}}}'
    mesh = parse_status(f'{{"state": "LIVE", "message": "", "venue": "binance", "services": [{service}]}}')

    assert mesh is not None
    assert (mesh.silent_pids("node-3"), mesh.silent_pids("node-4")) == ({4711}, set())


@pytest.mark.parametrize("text", ["", "[]", "null", '{"state": "LIVE"}', '{"services": [5]}', "[" * 100_000])
def test_what_is_no_status_is_none(text: str) -> None:
    assert parse_status(text) is None
