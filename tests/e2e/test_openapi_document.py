"""A whole mesh answers requests that schemathesis makes from its OpenAPI document as the document says."""

from __future__ import annotations

import asyncio
import subprocess
import sysconfig
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.fixtures.mesh import running_mesh
from tests.fixtures.waiting import eventually

SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"

GO_ON = r"^/ws$|^/api/(watch|export/)"
"""Paths whose answers are streams."""


@pytest.mark.slow
async def test_no_request_is_answered_with_a_5xx_or_in_an_undocumented_way(tmp_path: Path) -> None:
    with running_mesh(tmp_path) as mesh:
        for coin in mesh.get("/api/coins"):
            if coin["followed"]:  # before its first trade it has no price yet, which is a 503
                price = partial(mesh.get, "/api/price", symbol=coin["symbol"])
                await eventually(price, timeout_s=60, not_yet=(httpx.HTTPError,))
        found = await asyncio.to_thread(
            lambda: subprocess.run(
                [
                    *(SCHEMATHESIS, "run", f"{mesh.url}/openapi.json", "--no-color"),
                    *("--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1"),
                    *("--exclude-path-regex", GO_ON, "--exclude-checks", "positive_data_acceptance"),
                    *("--continue-on-failure", "--max-time", "60"),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        )
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
