from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from gateway.app import SERVICES
from gateway.transcode import openapi
from gateway.transcode.rules import routes
from mesh.service.constraints import check
from mesh.service.errors import InvalidRequest
from mesh.values import epochs
from store.export.query import FORMATS
from tickmesh.v1 import store_pb2

DOCUMENT = openapi.document(routes(SERVICES), {}, info={}, own_paths={}, own_tags=[], token_needed=False)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (store_pb2.ListTradesRequest(page_size=-1), "page_size is -1, expected 0 or more"),
        (store_pb2.ListCandlesRequest(limit=-2), "limit is -2, expected 0 or more"),
        (store_pb2.ListCandlesRequest(order="time desc"), "order is 'time desc', expected one of asc, desc"),
        (store_pb2.GetTradeRequest(trade_id=-1), f"trade_id is -1, expected 0 to {epochs.IDS - 1}"),
        (store_pb2.ListNextTradesRequest(trade_id=epochs.IDS), f"expected -1 to {epochs.IDS - 1}"),
        (store_pb2.GetTradeRequest(epoch=256), "epoch is 256, expected 0 to 255"),
        (store_pb2.ListInstrumentsRequest(q="x" * 101), "q has 101 characters, expected at most 100"),
        (store_pb2.ExportTradesRequest(format="xml"), f"format is 'xml', expected one of {', '.join(FORMATS)}"),
    ],
    ids=str,
)
def test_what_the_protos_do_not_allow_is_refused_by_name(request_: Message, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as refused:
        check(request_)
    assert refused.value.field == problem.partition(" ")[0] or problem.startswith("expected")


@pytest.mark.parametrize(
    "request_",
    [
        store_pb2.ListTradesRequest(),
        store_pb2.ListTradesRequest(order="DESC", page_size=10**9),
        store_pb2.ListNextTradesRequest(trade_id=-1),
        store_pb2.GetTradeRequest(trade_id=epochs.IDS - 1, epoch=255),
        *(store_pb2.ExportCandlesRequest(format=name) for name in FORMATS),
    ],
    ids=str,
)
def test_everything_else_is_allowed(request_: Message) -> None:
    check(request_)


@pytest.mark.parametrize(
    ("path", "name", "said"),
    [
        ("/api/history", "page_size", {"minimum": 0}),
        ("/api/candles", "order", {"enum": ["", "asc", "desc"]}),
        ("/api/trades/{symbol}/{trade_id}", "trade_id", {"minimum": 0, "maximum": epochs.IDS - 1}),
        ("/api/trades/{symbol}/{trade_id}", "epoch", {"minimum": 0, "maximum": 255}),
        ("/api/instruments", "q", {"maxLength": 100}),
        ("/api/export/trades", "format", {"enum": ["", *FORMATS]}),
    ],
)
def test_the_openapi_document_says_it_too(path: str, name: str, said: dict[str, Any]) -> None:
    [schema] = [one["schema"] for one in DOCUMENT["paths"][path]["get"]["parameters"] if one["name"] == name]
    assert schema.items() >= said.items()
