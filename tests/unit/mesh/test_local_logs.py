"""Reading the programs' logs: the last lines, what comes, and what a rotation moves away."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from mesh.local.logs import last_lines, read, select


def test_the_last_lines_are_found_behind_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "store.log"
    path.write_text("".join(f"line {n} {'x' * 100}\n" for n in range(5000)))

    for lines in (last_lines(path, 3), list(read({"store": path}, lines=3, follow=False))):
        assert [line.split()[1] for line in lines] == ["4997", "4998", "4999"]


def test_a_log_that_is_not_there_has_no_last_line(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "store.log", 1) == []


def following(path: Path) -> closing[Generator[str, None, None]]:
    return closing(read({path.stem: path}, lines=10, follow=True))


def test_only_whole_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "store.log"
    path.write_text("old\n")
    with following(path) as lines:
        first = next(lines)
        with path.open("a") as log:
            log.write("one\ntw")
        second = next(lines)
        with path.open("a") as log:
            log.write("o\n")

        assert (first, second, next(lines)) == ("old", "one", "two")


def test_a_rotation_between_two_looks_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "store.log"
    path.write_text("old\n")
    with following(path) as lines:
        assert next(lines) == "old"
        with path.open("a") as log:
            log.write("followed\n")
        assert next(lines) == "followed"
        with path.open("a") as log:
            log.write("before\n")
        path.rename(tmp_path / "store.log.1")
        path.write_text("after\n")

        assert [next(lines), next(lines)] == ["before", "after"]


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

    assert list(read(select(tmp_path, None), lines=1, follow=False)) == ["gateway | up", "nats    | up"]
