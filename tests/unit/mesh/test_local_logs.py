"""Reading the programs' logs: the last lines, what comes, and what a rotation moves away."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.local.logs import Tail, last, select


def test_the_last_lines_are_found_behind_many_blocks(tmp_path: Path) -> None:
    (tmp_path / "store.log").write_text("".join(f"line {n} {'x' * 100}\n" for n in range(5000)))

    lines = Tail(tmp_path / "store.log").last(3)

    assert [line.split()[1] for line in lines] == ["4997", "4998", "4999"]


def test_only_whole_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "store.log"
    path.write_text("old\n")
    tail = Tail(path)
    tail.last(10)

    with path.open("a") as log:
        log.write("one\ntw")
    first = tail.more()
    with path.open("a") as log:
        log.write("o\n")

    assert (first, tail.more()) == (["one"], ["two"])


def test_a_rotation_between_two_looks_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "store.log"
    path.write_text("old\n")
    tail = Tail(path)
    tail.last(10)

    with path.open("a") as log:
        log.write("before\n")
    path.rename(tmp_path / "store.log.1")
    path.write_text("after\n")

    assert tail.more() == ["before", "after"]


def test_a_log_that_begins_later_is_followed_from_its_first_line(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "store.log")
    tail.last(10)

    (tmp_path / "store.log").write_text("one\n")

    assert tail.more() == ["one"]


@pytest.mark.parametrize(("asked", "found"), [("ingestion", "ingest"), ("processing", "signal"), ("api", "gateway")])
def test_the_originals_names_are_understood(tmp_path: Path, asked: str, found: str) -> None:
    (tmp_path / f"{found}.log").touch()

    assert list(select(tmp_path, asked)) == [found]


def test_an_unknown_service_is_told_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "store.log").touch()

    with pytest.raises(FileNotFoundError, match=r"'stroe'.*expected one of store"):
        select(tmp_path, "stroe")


def test_several_logs_name_each_line(tmp_path: Path) -> None:
    (tmp_path / "nats.log").write_text("up\n")
    (tmp_path / "gateway.log").write_text("up\n")

    assert list(last(select(tmp_path, None), 1)) == ["gateway | up", "nats    | up"]
