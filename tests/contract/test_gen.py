"""`gen/` and the permissions in nats.conf are what `make gen` makes, to the byte; the protos are clean for buf."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from mesh.bus.partitions import MAX_PARTITIONS

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))


def generated(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("gen")
    subprocess.run([sys.executable, ROOT / "protos" / "generate.py", "--out", out], check=True, capture_output=True)
    return generated(out)


def test_the_same_files_are_generated(fresh: dict[str, bytes]) -> None:
    assert list(generated(ROOT / "gen")) == list(fresh)


def test_every_generated_file_is_fresh(fresh: dict[str, bytes]) -> None:
    committed = generated(ROOT / "gen")
    assert [name for name in fresh if committed[name] != fresh[name]] == []


def test_what_users_of_the_bus_may_do_with_partitions_is_what_they_may_do_with_raw_and_processed() -> None:
    module = runpy.run_path(str(ROOT / "deploy" / "nats" / "permissions.py"))
    config = (ROOT / "deploy" / "nats" / "nats.conf").read_text()

    assert module["with_partitions"](config) == config
    assert re.findall(r"PURGE\.(RAW\w*)", config) == ["RAW", *(f"RAW_{number}" for number in range(MAX_PARTITIONS))]


def test_the_types_of_the_page_are_fresh(tmp_path: Path) -> None:
    out = tmp_path / "api.ts"
    subprocess.run([sys.executable, ROOT / "protos" / "typescript.py", "--out", out], check=True, capture_output=True)
    assert (ROOT / "gateway" / "web" / "src" / "api.ts").read_text() == out.read_text()


def test_buf_finds_nothing_to_say() -> None:
    done = subprocess.run(
        [
            SCRIPTS / "buf",
            "lint",
            "gen/tickmesh/v1/descriptors.binpb",
            "--config",
            "protos/buf.yaml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
