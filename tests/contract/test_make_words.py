"""`make clean` deletes no data; `make purge` does, and only when asked for by name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mesh.local.supervisor import START_SCRIPTS

ROOT = Path(__file__).parents[2]
DATA = ("postgres/data/base/1", "nats/jetstream/1.blk", "sim/issued.csv", "logs/store.log", "passwords.json", "lock")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a checkout of what the two words need, with data in its STATE_DIR and things that were built."""
    made = tmp_path / "it's a copy"
    (made / "deploy").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", made)
    shutil.copy(ROOT / "deploy" / "purge.sh", made / "deploy")
    for name in (*(f".state/{name}" for name in DATA), "build/x", ".ruff_cache/x", "mesh/__pycache__/x.pyc"):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return made


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": f"{no_docker(folder)}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def no_docker(folder: Path) -> Path:
    """Return a folder with a docker that answers nothing, so that nobody's containers and images are touched."""
    programs = folder.parent / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "docker").write_text("#!/bin/sh\nexit 1\n")
    (programs / "docker").chmod(0o755)
    return programs


def data_of(folder: Path) -> set[str]:
    return {name for name in DATA if (folder / name).exists()}


def test_clean_removes_what_was_built_and_no_data(copy: Path) -> None:
    done = make(copy, "clean")

    assert done.returncode == 0, done.stderr
    assert data_of(copy / ".state") == set(DATA)
    assert not (copy / "build").exists()
    assert not (copy / "mesh" / "__pycache__").exists()


@pytest.mark.parametrize("confirm", ["", "no", "YES", "1"])
def test_purge_deletes_nothing_unless_it_is_confirmed_by_yes(copy: Path, confirm: str) -> None:
    done = make(copy, "purge", f"CONFIRM={confirm}")

    assert done.returncode != 0
    assert re.search(r"K +\.state/postgres, the database: every stored trade", done.stdout)
    assert "nothing is deleted" in done.stderr
    assert data_of(copy / ".state") == set(DATA)


@pytest.mark.parametrize("by", ["command line", "environment"])
def test_a_confirmed_purge_deletes_all_data(copy: Path, by: str) -> None:
    done = make(copy, "purge", "CONFIRM=yes") if by == "command line" else make(copy, "purge", CONFIRM="yes")

    assert done.returncode == 0, done.stderr
    assert not (copy / ".state").exists()
    assert (copy / "build").exists()


def test_purge_leaves_what_is_not_the_meshs_in_a_folder_that_is_shared(copy: Path, tmp_path: Path) -> None:
    shared = tmp_path / "home of somebody"
    shutil.copytree(copy / ".state", shared)
    (shared / "thesis.tex").write_text("years of work")

    done = make(copy, "purge", CONFIRM="yes", STATE_DIR=str(shared))

    assert done.returncode == 0, done.stderr
    assert [path.name for path in shared.iterdir()] == ["thesis.tex"]
    assert "thesis.tex" in done.stdout
    assert data_of(copy / ".state") == set(DATA)


def test_purge_with_nothing_there_says_so(copy: Path) -> None:
    shutil.rmtree(copy / ".state")

    done = make(copy, "purge")

    assert (done.returncode, "nothing to delete" in done.stdout) == (0, True)


def test_purge_knows_everything_the_runner_writes() -> None:
    script = (ROOT / "deploy" / "purge.sh").read_text()
    ours = set(re.findall(r'^ours="(.*)"$', script, re.MULTILINE)[0].split())
    code = (ROOT / "mesh" / "local" / "state.py").read_text()
    written = set(re.findall(r'directory / "([^"]+)"', code)) | {START_SCRIPTS}

    assert written - ours == set()


def test_what_is_installed_first_is_said_where_eval_does_not_read_it(copy: Path) -> None:
    python = copy / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")  # pip has nothing to do
    python.chmod(0o755)
    (copy / "requirements-dev.lock").touch()
    made = make(copy, "-s", ".venv/dependencies")
    assert (made.returncode, made.stdout) == (0, "")
    assert "installing the locked dependencies" in made.stderr
