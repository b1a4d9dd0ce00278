"""supervisord's configuration, and the scripts by which it starts the programs."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.local.programs import Program
from mesh.local.supervisor import render, start_script


def sections_of(*programs: Program, socket_file: Path = Path("/tmp/s")) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(render(programs, socket_file=socket_file, as_root=False))
    return parser


def test_programs_stop_in_the_opposite_of_their_order() -> None:
    sections = sections_of(Program("first", ("a",), {}), Program("second", ("b",), {}))

    assert [sections[f"program:{name}"]["priority"] for name in ("first", "second")] == ["1", "2"]


def test_nothing_of_a_persons_is_in_the_configuration() -> None:
    one, other = Program("one", ("run", "it's"), {"TOKEN": "secret"}), Program("one", ("go",), {})

    assert sections_of(one) == sections_of(other)


def test_a_percent_sign_in_the_sockets_path_is_no_reference_to_a_variable() -> None:
    assert sections_of(socket_file=Path("/100%/s"))["unix_http_server"]["file"] == "/100%%/s"


ODD = [
    "a b",
    "it's",
    'a "quote"',
    "a #b",
    "a ;b",
    "$HOME `id` $(id)",
    "100% %(here)s",
    "a\nb",
    "",
    "\\",
    "ü币",
    "-n",
    "a\udcffb",
]


@pytest.mark.parametrize("odd", ODD)
def test_any_value_argument_and_folder_arrives_as_it_is(tmp_path: Path, odd: str) -> None:
    folder = tmp_path / (odd.replace("\n", "") or "empty")
    folder.mkdir()
    tells = "import json, os, sys; print(json.dumps([os.environ['ODD'], sys.argv[1], os.getcwd(), os.getppid()]))"
    program = Program("one", (sys.executable, "-S", "-c", tells, odd), {"ODD": odd})
    script = tmp_path / "one.sh"
    script.write_bytes(start_script(program, working_directory=folder).encode(errors="surrogateescape"))
    with subprocess.Popen(["/bin/sh", str(script)], stdout=subprocess.PIPE, env={}) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.read())

    assert told[:3] == [odd, odd, str(folder)]
    assert told[3] != process.pid  # the shell is not between us and it


def test_a_program_that_stands_back_is_started_with_its_niceness() -> None:
    script = start_script(Program("one", ("run",), {}, niceness=7), working_directory=Path("/here"))

    assert script.endswith('nice -n 7 run "$@"\n')


@pytest.mark.parametrize(("kept", "told"), [("4\n", "4"), (None, "1")])
def test_a_service_is_given_the_number_of_partitions_that_state_dir_keeps(
    tmp_path: Path, kept: str | None, told: str
) -> None:
    if kept is not None:
        (tmp_path / "partitions").write_text(kept)
    program = Program("one", ("/bin/sh", "-c", 'echo "$PARTITIONS $1"', "sh"), {"PARTITIONS": "1"})
    script = tmp_path / "one.sh"
    script.write_text(start_script(program, working_directory=Path("/")))

    said = subprocess.run(["/bin/sh", str(script), "more"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert said.stdout == f"{told} more\n"


def test_only_what_is_wanted_at_once_starts_with_the_supervisor() -> None:
    programs = (Program("nats", ("a",), {}), Program("store", ("b",), {}))
    parser = configparser.RawConfigParser()
    parser.read_string(render(programs, socket_file=Path("/s"), as_root=False, is_started=lambda name: name == "nats"))

    assert [parser[f"program:{name}"]["autostart"] for name in ("nats", "store")] == ["true", "false"]
