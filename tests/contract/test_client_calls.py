"""What the gateway offers over REST the client library has, too: each path as a method with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.app import SERVICES
from gateway.transcode.rules import Route, routes
from tickmesh_client import AsyncTickmesh, Tickmesh, calls

ROUTES = list(routes(SERVICES))
LEFT_OUT = {
    "GET /api/watch": "`live` gives trades and ticks, resumes, and costs less",
    "GET /api/trades": "`/api/history` in another form, which `trades` takes",
    "GET /api/trades/{symbol}/{trade_id}/next": "what `live` fetches when it has missed something",
}
NAMES = {"start_time": "start", "end_time": "end", "page_size": "limit", "format": "file_format", "q": "query"}
"""How a parameter is called where it is not called like the gateway's."""
SAMPLES = {"symbol": "{symbol}", "trade_id": 700007, "file": "file.csv"}


def _described() -> dict[str, list[Any]]:
    """Return the calls of the client by what each of them asks for."""
    found: dict[str, list[Any]] = {}
    for name in dir(Tickmesh):
        call = getattr(calls, name, None)
        if name.startswith("_") or call is None:
            continue
        shown = inspect.signature(call).parameters
        needed = {name: SAMPLES[name] for name in shown if name in SAMPLES}
        for kind in ("trades", "candles") if "kind" in shown else ("",):
            made = call(**needed, **({"kind": kind} if kind else {}))
            asked: Any = made.page("", 0) if isinstance(made, calls.Query) else made
            path = unquote(asked.path).replace(str(SAMPLES["trade_id"]), "{trade_id}")
            found.setdefault(f"{getattr(asked, 'method', 'GET')} {path}", []).append(call)
    return found


DESCRIBED = _described()


def _named(route: Route) -> str:
    return f"{route.verb} {route.template.shown}"


@pytest.mark.parametrize("route", ROUTES, ids=_named)
def test_every_path_has_a_method_or_a_reason(route: Route) -> None:
    assert (_named(route) in DESCRIBED) != (_named(route) in LEFT_OUT)


@pytest.mark.parametrize("route", [route for route in ROUTES if _named(route) in DESCRIBED], ids=_named)
def test_every_parameter_of_a_path_is_one_of_the_method(route: Route) -> None:
    documented = [each.name for each in route.parameters if not each.field.GetOptions().deprecated]
    offered = {NAMES.get(name, name) for name in documented}
    for call in DESCRIBED[_named(route)]:
        assert offered - {"page_token"} <= set(inspect.signature(call).parameters)


def test_no_reason_is_left_of_a_path_that_is_gone_and_both_clients_have_the_same_methods() -> None:
    assert set(LEFT_OUT) | set(DESCRIBED) == set(map(_named, ROUTES))
    public = [{name for name in dir(kind) if not name.startswith("_")} for kind in (Tickmesh, AsyncTickmesh)]
    assert public[0] - {"close"} == public[1] - {"aclose", "open_stream"}
