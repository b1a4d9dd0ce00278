from __future__ import annotations

import json
from typing import Any

from gateway.transcode import openapi
from gateway.transcode.comments import read_comments
from gateway.transcode.rules import routes
from tests.fixtures.library_proto import descriptor_set, library

COMMENTS = read_comments(descriptor_set())


def document() -> dict[str, Any]:
    return openapi.document(
        routes([library()]),
        COMMENTS,
        info={"title": "library", "version": "1", "description": ""},
        own_paths={},
        own_tags=[],
        token_needed=False,
    )


def test_comments_are_found_by_full_name() -> None:
    package = "tickmesh.test.library"
    assert COMMENTS.items() >= {
        f"{package}.CoverColour": "The colour of a cover.",
        f"{package}.CoverColour.COVER_COLOUR_BLUE": "Like the sky.",
        f"{package}.Everything": "One of everything.",
        f"{package}.Page.items": "What is on it.",
        f"{package}.Library": "Books.\n\nOn shelves.",
        f"{package}.Library.ReadBook": "Read one.\n\nAt length.",
    }.items()  # fmt: skip


def test_the_first_paragraph_is_the_summary() -> None:
    operation = document()["paths"]["/v1/books/{name}:read"]["get"]
    assert (operation["summary"], operation["description"]) == ("Read one", "Read one.\n\nAt length.")


def test_bindings_of_one_rpc_have_ids_of_their_own() -> None:
    ids = [op["operationId"] for item in document()["paths"].values() for op in item.values()]
    assert sorted(name for name in ids if "ReadBook" in name) == [
        "Library_ReadBook",
        "Library_ReadBook_2",
        "Library_ReadBook_3",
    ]


def test_a_path_variable_is_a_required_parameter() -> None:
    parameters = document()["paths"]["/v1/books/{name}"]["delete"]["parameters"]
    assert [(p["name"], p["required"]) for p in parameters if p["in"] == "path"] == [("name", True)]


def test_a_message_that_holds_itself_is_described_once() -> None:
    schema = document()["components"]["schemas"]["Everything"]
    assert schema["properties"]["children"]["items"] == {"$ref": "#/components/schemas/Everything"}


def test_members_of_a_oneof_are_not_required() -> None:
    required = document()["components"]["schemas"]["Everything"]["required"]
    assert "left" not in required and "maybe" in required and "level" in required


def test_the_document_is_json() -> None:
    assert json.loads(json.dumps(document())) == document()
