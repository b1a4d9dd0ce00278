"""The whole mesh on one machine with TLS between its parts and HTTPS at the gateway, as the local runner starts it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from mesh.local.state import StateDirectory
from tests.fixtures.mesh import running_mesh
from tests.fixtures.tls import Authority
from tests.fixtures.waiting import eventually


@pytest.mark.slow
async def test_the_runner_starts_everything_with_tls_says_so_and_renews_the_bus(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "our own")
    tls = authority.environment()
    https = {f"GATEWAY_{name}": tls[name] for name in ("TLS_CERT", "TLS_KEY")}
    with running_mesh(tmp_path, VENUE="sim", SIM_RATE="50", **tls, **https) as mesh:
        assert mesh.env["NATS_URL"].startswith("tls://")
        assert mesh.url.startswith("https://")
        with httpx.Client(verify=authority.tls("somebody").client_context(), trust_env=False) as http:
            assert http.get(f"{mesh.url}/api/status").json()["state"] in ("SIM", "LIVE")
        log = StateDirectory(mesh.state_dir).log_of("nats")
        assert "Reloaded: tls" not in log.read_text()
        authority.issue()
        await eventually(lambda: "Reloaded: tls" in log.read_text())
        assert "feed     SIM" in await asyncio.to_thread(mesh.command, "status")
