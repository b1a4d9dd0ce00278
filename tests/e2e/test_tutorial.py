"""docs/tutorial.md works as it stands: every command and program of it runs, and answers in the shape it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.world import until
from tests.fixtures.mesh import PORTS, START_S
from tests.fixtures.process import Process

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
FIRST_TERMINAL = "sh in the first terminal"
END = "end-of-the-block"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the page: what stands behind the fence, and what is in it."""

    kind: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^```([^\n]+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(kind, text) for kind, text in found]


class Terminal:
    """One shell, in which each block finds the variables and the folder that the ones before left."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "-euo", "pipefail"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, commands: str) -> str:
        """Run commands and return what they print. Raises: AssertionError: one of them fails."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{commands}\necho; echo {END}\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line == f"{END}\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended within:\n{commands}\nafter:\n{''.join(lines)}")

    def close(self) -> None:
        """End the shell."""
        self._shell.communicate(timeout=30)


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who follows the tutorial: the terminal of `make run`, and a second one."""

    mesh: Process
    terminal: Terminal


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in PORTS},
        **dict.fromkeys(PORTS, "0"),
        "STATE_DIR": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "VENUE": "sim",
    }
    [started] = [block.text.split() for block in blocks() if block.kind == FIRST_TERMINAL]
    mesh = Process(started, environment=environment, log=tmp_path / "up.log")
    mesh.start()
    terminal = Terminal(environment)
    try:
        gateway = mesh.wait_for_line(r"(http://\S+)/docs\b.*\n", timeout_s=START_S)[1]
        # A person is slower than the first trade; a test is not.
        until(lambda: httpx.get(f"{gateway}/api/price").is_success or None, timeout_s=START_S, what="a first trade")
        yield Reader(mesh, terminal)
    finally:
        terminal.close()
        # make hands the signal on to nobody, so what still runs is stopped as the tutorial says.
        subprocess.run(["make", "stop"], cwd=ROOT, env=environment, check=False, capture_output=True, timeout=120)
        mesh.stop(timeout_s=60)


def shape(value: Any) -> Any:
    """Return an example without its values: the names of an object in their order, a list by its first member."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def words(line: str) -> str:
    """Return a line of text with every number as 0 and every side as BUY."""
    return " ".join(re.sub(r"\bSELL\b", "BUY", re.sub(r"\d+(\.\d+)?", "0", re.sub(r"-{2,}", "--", line))).split())


def test_every_command_and_program_of_the_tutorial_runs_and_answers_as_shown(reader: Reader) -> None:
    answered = ""
    for block in blocks():
        kind, _, name = block.kind.partition(" ")
        if kind == "sh" and block.kind != FIRST_TERMINAL:
            answered = reader.terminal.run(block.text)
        elif kind == "python":
            reader.terminal.run(f"cat > {name} <<'END OF PROGRAM'\n{block.text}END OF PROGRAM")
        elif kind == "json":
            assert shape(json.loads(answered)) == shape(json.loads(block.text)), answered
        elif kind == "text":
            wanted, found = ({words(line) for line in text.splitlines()} for text in (block.text, answered))
            assert wanted <= found, f"{sorted(wanted - found)} are not in\n{answered}"
    assert reader.mesh.wait(timeout_s=60) == 0


def test_the_first_signal_counts_what_the_database_holds(reader: Reader) -> None:
    [program] = [block.text for block in blocks() if block.kind == "python streak.py"]
    reader.terminal.run('eval "$(make -s env)"; PYTHON=$PWD/.venv/bin/python; cd ~')
    reader.terminal.run(f"cat > streak.py <<'END OF PROGRAM'\n{program}END OF PROGRAM")

    told = [line.split() for line in reader.terminal.run('"$PYTHON" streak.py').splitlines() if line]

    first, last = int(told[0][0]), int(told[-1][0])
    asked = (
        f"select trade_id, is_buyer_maker from trades where symbol = 'btcusdt' and trade_id between {first} and {last}"
    )
    ask = f"""
until [ "$(psql -At "$DATABASE_URL" -c "select count(*) from ({asked}) as found")" = {len(told)} ]; do :; done
psql -At "$DATABASE_URL" -c "{asked} order by trade_id" """
    rows = [line.split("|") for line in reader.terminal.run(ask).splitlines() if line]
    expected: list[list[str]] = []
    for trade_id, sold in rows:
        side = "SELL" if sold == "t" else "BUY"
        goes_on = bool(expected) and expected[-1][1] == side
        expected.append([trade_id, side, str(int(expected[-1][2]) + 1 if goes_on else 1)])
    assert told == expected


def test_no_block_of_the_tutorial_is_left_out() -> None:
    kinds = {block.kind.partition(" ")[0] for block in blocks()}
    indented = re.findall(r"\n\n    \S.*", re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL))
    assert (kinds, indented) == ({"sh", "python", "json", "text"}, [])
