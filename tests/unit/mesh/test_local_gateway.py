"""What the runner understands of the gateway's `/readyz`."""

from __future__ import annotations

import pytest

from mesh.local.gateway import Readiness, parse_readiness


def test_200_is_ready_whatever_the_text() -> None:
    assert parse_readiness(200, "") == Readiness(ready=True)


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
