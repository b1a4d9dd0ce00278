"""What a container's health check makes of an answer."""

from __future__ import annotations

import pytest

from mesh.service.healthcheck import main, serving_problem

METRICS = (
    "# HELP tickmesh_serving 1 while\n# TYPE tickmesh_serving gauge\ntickmesh_serving {}\ntickmesh_serving_other 0\n"
)


@pytest.mark.parametrize("value", ["1.0", "1"])
def test_a_service_that_serves_has_no_problem(value: str) -> None:
    assert serving_problem(METRICS.format(value)) == ""


def test_a_service_that_does_not_serve_is_told() -> None:
    assert serving_problem(METRICS.format("0.0")) == "tickmesh_serving is 0.0"


def test_another_programs_metrics_are_not_taken_for_health() -> None:
    assert serving_problem("process_open_fds 7\n") == "no tickmesh_serving among the metrics"


def test_a_url_that_is_not_http_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http", "file:///etc/passwd"]) == 1
    assert capsys.readouterr().err == "'file:///etc/passwd' is not a URL of http or https\n"
