from __future__ import annotations

import pytest

from gateway.transcode.rules import parse_template


@pytest.mark.parametrize(
    ("template", "path", "variables"),
    [
        ("/api/price", "/api/price", {}),
        ("/api/session:reset", "/api/session:reset", {}),
        ("/v1/{name}", "/v1/dune", {"name": "dune"}),
        ("/v1/{book.text}", "/v1/dune", {"book.text": "dune"}),
        ("/v1/{name}:read", "/v1/dune:read", {"name": "dune"}),
        ("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/2", {"name": "shelves/1/books/2"}),
        ("/v1/{a}/of/{b=x/*}", "/v1/1/of/x/2", {"a": "1", "b": "x/2"}),
        ("/v1/{rest=**}", "/v1/a/b/c", {"rest": "a/b/c"}),
        ("/v1/*/end", "/v1/anything/end", {}),
        ("/v1/**", "/v1/a/b", {}),
    ],
)
def test_a_fitting_path_gives_the_variables(template: str, path: str, variables: dict[str, str]) -> None:
    assert parse_template(template).match(path) == variables


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/api/price", "/api/price/"),
        ("/api/price", "/api/pricey"),
        ("/api/session:reset", "/api/session"),
        ("/v1/{name}", "/v1/a/b"),
        ("/v1/{name}", "/v1/"),
        ("/v1/{name=shelves/*}", "/v1/books/1"),
        ("/v1/a.b", "/v1/axb"),
    ],
)
def test_another_path_does_not_fit(template: str, path: str) -> None:
    assert parse_template(template).match(path) is None


@pytest.mark.parametrize("template", ["api/price", "/v1/{name", "/v1/{Name}", "/v1/a b", "/v1/{a}/{a}", "/v1/{a=b c}"])
def test_a_malformed_template_is_refused_and_shown(template: str) -> None:
    with pytest.raises(ValueError, match="path template") as caught:
        parse_template(template)
    assert template in str(caught.value)


def test_openapi_sees_the_variables_without_their_shapes() -> None:
    assert parse_template("/v1/{name=shelves/*}:read").shown == "/v1/{name}:read"


def test_the_router_sees_holes() -> None:
    assert parse_template("/v1/{name=shelves/*}/*:read").loose == "/v1/{hole0:path}/{hole1:path}:read"
