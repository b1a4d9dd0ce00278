"""Where the supervisor's socket lies."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from mesh.local.supervisor import make_socket_path, remove_socket

LIMIT_BYTES = 103
"""What macOS allows, less than Linux' 107."""
BINDS = ".4194304"
"""supervisord binds the path with its pid behind, here the highest."""


def test_only_its_owner_enters_the_folder_of_the_socket() -> None:
    path = make_socket_path()
    try:
        assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        remove_socket(path)


@pytest.mark.parametrize("length", [10, 60, 61, 62, 63, 64, 200])
def test_the_path_fits_however_long_the_temporary_folder_is_named(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short) / ("x" * length)
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        path = make_socket_path()
        remove_socket(path)

    assert len(f"{path}{BINDS}") <= LIMIT_BYTES


def test_nothing_is_left_of_the_socket_and_its_folder() -> None:
    path = make_socket_path()
    path.touch()

    remove_socket(path)
    remove_socket(path)

    assert not path.parent.exists()


def test_a_folder_that_holds_something_else_stays(tmp_path: Path) -> None:
    (tmp_path / "diary").touch()

    remove_socket(tmp_path / "supervisor.sock")

    assert (tmp_path / "diary").exists()
