from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from libsignal.declarations import ABI_VERSION
from libsignal.loader import BINDING, LIBRARY
from mesh.service import shared_library


def build(folder: Path, source: str) -> Path:
    """Compile a shared library that is not ours."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to make a foreign library with")
    code, library = folder / "foreign.cpp", folder / "libsignal.so"
    code.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, code], check=True)
    return library


def test_the_search_goes_from_the_package_to_the_system() -> None:
    found = list(shared_library.candidates(replace(BINDING, package=Path("/somewhere/libsignal")), {}))

    assert found[0].path == "/somewhere/libsignal/lib/libsignal.so"
    assert [found[-2].reason, found[-1].reason] == ["the repository's own build", "the system's loader"]
    assert found[-1].path == f"libsignal.so.{ABI_VERSION}"


def test_a_chosen_path_is_the_only_one_looked_at() -> None:
    found = list(shared_library.candidates(BINDING, {"LIBSIGNAL_PATH": "/mine.so"}))

    assert found == [shared_library.Candidate("/mine.so", "LIBSIGNAL_PATH")]


def test_an_empty_setting_chooses_nothing() -> None:
    found = list(shared_library.candidates(BINDING, {"LIBSIGNAL_PATH": ""}))

    assert "LIBSIGNAL_PATH" not in {candidate.reason for candidate in found}


def test_the_chosen_library_is_loaded() -> None:
    library = shared_library.load(BINDING, {"LIBSIGNAL_PATH": LIBRARY.path})

    assert library.path == LIBRARY.path


def test_when_all_fail_every_attempt_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libsignal.so").write_text("no library at all")
    places = [
        shared_library.Candidate(f"{tmp_path}/missing.so", "first"),
        shared_library.Candidate(f"{tmp_path}/libsignal.so", "second"),
    ]
    monkeypatch.setattr(shared_library, "candidates", lambda binding, environ: iter(places))

    with pytest.raises(ImportError) as failure:
        shared_library.load(BINDING, {})

    message = str(failure.value)
    assert f"{tmp_path}/missing.so (first): no such file" in message
    assert f"{tmp_path}/libsignal.so (second): " in message


def test_another_abi_version_is_refused_with_both_numbers_and_the_path(tmp_path: Path) -> None:
    foreign = build(tmp_path, 'extern "C" int lsig_abi_version() { return 77; }')

    with pytest.raises(ImportError) as failure:
        shared_library.load(BINDING, {"LIBSIGNAL_PATH": str(foreign)})

    assert f"{foreign} has ABI version 77, expected {ABI_VERSION}" in str(failure.value)


def test_a_library_of_that_name_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    foreign = build(tmp_path, 'extern "C" int another() { return 1; }')

    with pytest.raises(ImportError, match=r"is another library: .*lsig_abi_version"):
        shared_library.load(BINDING, {"LIBSIGNAL_PATH": str(foreign)})
