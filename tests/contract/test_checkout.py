"""A checkout on any system holds the files as they are written here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs git and its folder")
def test_line_ends_stay_as_they_are_where_git_would_turn_them(tmp_path: Path) -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    asked = subprocess.run(
        ["git", "-c", "core.autocrlf=true", "check-attr", "-z", "--stdin", "eol", "binary"],
        cwd=ROOT,
        input=files,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    told: dict[str, set[str]] = {}
    for path, name, value in zip(asked[0::3], asked[1::3], asked[2::3], strict=False):
        told.setdefault(path, set()).add(f"{name}={value}")
    assert [path for path, attributes in told.items() if attributes.isdisjoint({"eol=lf", "binary=set"})] == []
    assert len(told) > 400


def test_no_file_that_a_shell_or_a_server_reads_has_other_line_ends() -> None:
    read = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / ".env.example"]
    read += [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    assert [path for path in read if b"\r" in path.read_bytes()] == []
