"""When a nats-server that says it is not well is started anew."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.local import nats
from mesh.local.nats import HealthAnswer, NatsHealth

WELL, FULL, SILENT = (
    HealthAnswer(well=True),
    HealthAnswer(well=False, words="no space left on device"),
    HealthAnswer(False, None),
)


def told(answers: list[HealthAnswer], *, every_s: float = 1.0, room: bool = True, pid: int = 7) -> list[int]:
    """Return which of the answers, one a second, make that the server is started anew."""
    health = NatsHealth()
    return [
        place
        for place, answer in enumerate(answers)
        if health.unwell(answer, pid=pid, room=room, now_s=100 + place * every_s)
    ]


def test_one_that_was_well_and_is_not_for_three_seconds_is_started_anew() -> None:
    assert told([WELL, FULL, FULL, FULL, FULL]) == [4]


def test_one_that_gets_well_by_itself_is_left_alone() -> None:
    assert told([WELL, FULL, FULL, FULL, WELL, FULL, FULL, FULL, WELL]) == []


def test_one_that_does_not_listen_yet_is_left_alone_as_it_may_be_reading_its_streams() -> None:
    assert told([HealthAnswer(False, None, listening=False)] * 600) == []


def test_one_whose_disk_was_full_from_its_start_on_is_started_anew() -> None:
    assert told([FULL, FULL, FULL, FULL]) == [3]


def test_while_its_disk_is_full_it_is_left_alone() -> None:
    assert told([WELL, *[FULL] * 100], room=False) == []


def test_as_soon_as_there_is_room_it_is_started_anew() -> None:
    health = NatsHealth()
    health.unwell(WELL, pid=7, room=True, now_s=1)
    for now_s in range(2, 20):
        assert not health.unwell(FULL, pid=7, room=False, now_s=now_s)

    assert health.unwell(FULL, pid=7, room=True, now_s=20)


def test_one_that_stands_still_for_half_a_minute_is_waited_for_and_then_no_longer() -> None:
    assert told([WELL, *[SILENT] * 60]) == []
    assert told([WELL, *[SILENT] * 61]) == [61]


def test_a_new_server_is_judged_anew() -> None:
    health = NatsHealth()
    health.unwell(WELL, pid=7, room=True, now_s=1)
    for now_s in range(2, 200):
        assert not health.unwell(FULL, pid=now_s, room=True, now_s=now_s)


def test_a_new_start_that_does_not_help_is_not_tried_again_at_once() -> None:
    answers = [WELL, *[FULL] * 50]
    assert told(answers) == [4, 19, 34, 49]


@contextmanager
def answering(status: int, body: bytes, paths: list[str]) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, b'{"status":"ok"}', HealthAnswer(well=True)),
        (503, b'{"status":"unavailable","error":"no space left"}', HealthAnswer(False, "no space left")),
        (503, b"<html>", HealthAnswer(False, "status 503 '<html>'")),
        (404, b'["x"]', HealthAnswer(False, "status 404 '[\"x\"]'")),
    ],
)
def test_what_it_says_is_understood(status: int, body: bytes, answer: HealthAnswer) -> None:
    paths: list[str] = []
    with answering(status, body, paths) as port:
        assert nats.ask(port, port) == answer
    assert paths == ["/healthz"]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("'$G > RAW' is not current: stream write error: last msgid mismatch", ["/healthz"]),
        ("'$G > RAW' is not current: group node unhealthy", ["/healthz", "/healthz?js-enabled-only=true"]),
    ],
)
def test_of_a_cluster_one_that_is_behind_is_asked_whether_it_runs_and_one_that_will_never_follow_is_not(
    said: str, asked: list[str]
) -> None:
    paths: list[str] = []
    with answering(503, json.dumps({"error": said}).encode(), paths) as port:
        assert nats.ask(port, port, in_cluster=True) == HealthAnswer(False, said)
    assert paths == asked


def test_nobody_there_says_nothing() -> None:
    with answering(200, b"", []) as port:
        pass

    assert nats.ask(port, port) == HealthAnswer(False, None, listening=False)


def test_a_folder_that_is_not_there_has_no_room(tmp_path: Path) -> None:
    assert not nats.has_room(tmp_path / "none")
