from __future__ import annotations

from google.protobuf.json_format import MessageToDict

from mesh.service.errors import InvalidRequest, NotFound, TickmeshError, TooMany
from mesh.service.rpc import rich_status


class OddSymbolSeen(InvalidRequest):
    pass


def details(error: TickmeshError) -> list[dict[str, object]]:
    found: list[dict[str, object]] = MessageToDict(rich_status(error), preserving_proto_field_name=True)["details"]
    return [{name: value for name, value in one.items() if name != "@type"} for one in found]


def test_an_error_has_its_code_its_words_and_its_kind() -> None:
    status = rich_status(NotFound("no such trade"))
    assert (status.code, status.message) == (5, "no such trade")
    assert details(NotFound("x")) == [{"reason": "NOT_FOUND", "domain": "tickmesh.v1"}]


def test_the_field_that_is_wrong_is_named() -> None:
    assert details(OddSymbolSeen("odd", field="symbol")) == [
        {"reason": "ODD_SYMBOL_SEEN", "domain": "tickmesh.v1"},
        {"field_violations": [{"field": "symbol", "description": "odd"}]},
    ]


def test_too_often_says_when_to_ask_again() -> None:
    assert details(TooMany("x", retry_after_s=1.5))[1] == {"retry_delay": "1.500s"}
