"""Reading again what a mesh said of itself, also when another version of it did."""

from __future__ import annotations

import json

import pytest

from mesh.local.pids import Pid
from mesh.local.state import Record, parse_record

RECORD = Record(
    Pid(17, "a"),
    "127.0.0.1",
    {"GATEWAY_PORT": 8080},
    socket="/tmp/s",
    supervisor=Pid(18, "b"),
    processes={"nats": Pid(19, "c")},
    restarts={"nats": 2},
)


@pytest.mark.parametrize("record", [RECORD, Record.begun(Pid(17, "a"), gateway_host="::1", ports={})])
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert parse_record(record.text()) == record


def test_what_a_later_version_says_besides_is_passed_over() -> None:
    said = json.loads(RECORD.text())
    said["mood"] = "calm"
    said["runner"]["nice"] = 5

    assert parse_record(json.dumps(said)) == RECORD


@pytest.mark.parametrize("name", ["runner", "ports", "socket", "processes"])
def test_what_is_missing_is_named(name: str) -> None:
    said = json.loads(RECORD.text())
    del said[name]

    with pytest.raises(ValueError, match=f"missing required field `{name}`"):
        parse_record(json.dumps(said))


@pytest.mark.parametrize(
    "text", [*("", RECORD.text()[:40], "[]", "null", "17"), json.dumps(json.loads(RECORD.text()) | {"ports": ["x"]})]
)
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_record(text)
