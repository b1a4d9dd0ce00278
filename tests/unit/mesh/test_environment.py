from __future__ import annotations

from pathlib import Path

import pytest

from mesh.service.environment import unset_unusable


@pytest.mark.parametrize("path", ["/nowhere/keys", "/", "a\0b"])
def test_a_key_log_that_cannot_be_written_is_done_without_and_named(path: str) -> None:
    environ = {"SSLKEYLOGFILE": path, "HOME": "/x"}
    (told,) = unset_unusable(environ)
    assert told.startswith(f"SSLKEYLOGFILE={path} cannot be written: ")
    assert environ == {"HOME": "/x"}


def test_one_that_can_be_written_stays(tmp_path: Path) -> None:
    environ = {"SSLKEYLOGFILE": str(tmp_path / "keys")}
    assert unset_unusable(environ) == []
    assert environ == {"SSLKEYLOGFILE": str(tmp_path / "keys")}
