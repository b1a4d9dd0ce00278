"""supervisord's configuration: what it holds, and what its syntax cannot hold."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from mesh.local.programs import Program
from mesh.local.supervisor import render
from mesh.settings import WrongSettings


def sections_of(*programs: Program) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(render(programs, socket_file=Path("/tmp/s"), working_directory=Path("/here"), as_root=False))
    return parser


def test_programs_stop_in_the_opposite_of_their_order() -> None:
    sections = sections_of(Program("first", ("a",), {}), Program("second", ("b",), {}))

    assert [sections[f"program:{name}"]["priority"] for name in ("first", "second")] == ["1", "2"]


def test_an_argument_with_a_space_stays_one_argument() -> None:
    assert sections_of(Program("one", ("run", "a b"), {}))["program:one"]["command"] == "run 'a b'"


def test_a_percent_sign_is_no_reference_to_a_variable() -> None:
    assert sections_of(Program("one", ("run",), {"FORMAT": "100%"}))["program:one"]["environment"] == 'FORMAT="100%%"'


@pytest.mark.parametrize("value", ['a"b', "a'b", "a\nb", "a ;b", "a #b"])
def test_a_value_that_the_configuration_cannot_hold_is_refused_by_name_and_not_shown(value: str) -> None:
    with pytest.raises(WrongSettings, match=r"^API_TOKEN: ") as caught:
        sections_of(Program("one", ("run",), {"API_TOKEN": value}))

    assert value not in str(caught.value)


def test_a_program_that_stands_back_is_started_with_its_niceness() -> None:
    command = sections_of(Program("one", ("run",), {}, niceness=7))["program:one"]["command"]

    assert command.endswith("nice -n 7 run")
