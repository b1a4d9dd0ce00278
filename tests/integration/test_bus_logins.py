"""Users, passwords and tokens in NATS_URL, against a real nats-server that wants them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mesh.bus.connection import connect
from mesh.local import nats
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import LISTENING, READY
from tests.fixtures.process import Process

PASSWORD = "p@ss/w%rd:#?[1] +ü"


@pytest.mark.parametrize(
    ("wanted", "login"),
    [
        (
            {"user": "me@example.org", "password": PASSWORD},
            "me%40example.org:p%40ss%2Fw%25rd%3A%23%3F%5B1%5D%20+%C3%BC",
        ),
        ({"token": PASSWORD}, "p%40ss%2Fw%25rd%3A%23%3F%5B1%5D%20+%C3%BC"),
    ],
    ids=["user and password", "token"],
)
async def test_a_login_is_percent_decoded_and_the_next_server_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wanted: dict[str, str], login: str
) -> None:
    config = tmp_path / "nats.conf"
    config.write_text(f"listen: 127.0.0.1:-1\nauthorization: {json.dumps(wanted, ensure_ascii=False)}\n")
    server = Process([str(nats.binary()), "-c", str(config)], environment={}, log=tmp_path / "nats.log")
    server.start()
    try:
        server.wait_for_line(READY, timeout_s=20)
        port = int(server.wait_for_line(LISTENING, timeout_s=1)[1])
        settings = BusSettings(nats_url=f"nats://{login}@127.0.0.1:9,nats://{login}@127.0.0.1:{port}")
        async with asyncio.timeout(20), connect(settings, name="test", health=Health("bus")) as bus:
            assert bus.connected
    finally:
        server.stop()
    assert "p@ss" not in caplog.text
    assert "p%40ss" not in caplog.text
