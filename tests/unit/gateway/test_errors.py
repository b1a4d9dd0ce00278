from __future__ import annotations

import grpc
import msgspec
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.errors import HTTP_STATUS, BadField, error_body, phrase, refusal_body, shown, upstream_error


def test_every_grpc_code_has_an_http_status() -> None:
    assert set(HTTP_STATUS) == set(grpc.StatusCode)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("NOT_FOUND", 404),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("INTERNAL", 500),
    ],
)
def test_the_mapping_is_googles(code: str, status: int) -> None:
    assert HTTP_STATUS[grpc.StatusCode[code]] == status


def test_a_body_is_a_status_with_the_codes_number() -> None:
    for code in grpc.StatusCode:
        body = msgspec.json.decode(error_body(code, "why"))
        assert body == {"code": code_pb2.Code.Value(code.name), "message": "why", "details": []}


def test_rich_details_are_handed_on() -> None:
    status = status_pb2.Status(code=3, message="no")
    detail = status.details.add()
    detail.Pack(error_details_pb2.ErrorInfo(reason="TOO_ODD", domain="tickmesh"))
    http_status, body = upstream_error(grpc.StatusCode.INVALID_ARGUMENT, "no", status.SerializeToString())
    assert (http_status, msgspec.json.decode(body)["details"]) == (
        400,
        [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "TOO_ODD", "domain": "tickmesh"}],
    )


def test_a_detail_of_an_unknown_type_is_named() -> None:
    status = status_pb2.Status(details=[Any(type_url="type.googleapis.com/some.Other", value=b"x")])
    _, body = upstream_error(grpc.StatusCode.ABORTED, "no", status.SerializeToString())
    assert msgspec.json.decode(body)["details"] == [{"@type": "type.googleapis.com/some.Other"}]


def test_broken_details_do_not_hide_the_error() -> None:
    http_status, body = upstream_error(grpc.StatusCode.NOT_FOUND, "no such coin", b"\xff\xff")
    assert (http_status, msgspec.json.decode(body)["message"]) == (404, "no such coin")


def test_an_error_without_words_says_so() -> None:
    assert b"UNKNOWN and nothing more" in upstream_error(grpc.StatusCode.UNKNOWN, "", None)[1]


@pytest.mark.parametrize(("status", "code"), [(401, 16), (403, 7), (404, 5), (405, 12), (413, 3), (415, 3), (503, 14)])
def test_refusals_of_our_own_have_the_nearest_code(status: int, code: int) -> None:
    assert msgspec.json.decode(refusal_body(status, "no"))["code"] == code


def test_a_wrong_field_is_named_in_the_details_as_google_does() -> None:
    assert BadField("$.a.b", "odd").details == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "field_violations": [{"field": "a.b", "description": "odd"}],
        }
    ]


def test_what_was_found_is_shown_short() -> None:
    assert shown("x" * 1000) == "'" + "x" * 56 + "..."


def test_a_status_reads_as_words() -> None:
    assert (phrase(404), phrase(499)) == ("404 Not Found", "499 Client Closed Request")
