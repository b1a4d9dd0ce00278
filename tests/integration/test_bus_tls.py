"""The bus with TLS: real nats-servers with our tls.conf, a service's connection, and whoever must not have one."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import ValidationError

from mesh.bus import subjects
from mesh.bus.connection import CONTROL_STREAM, connect
from mesh.local import nats
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from tests.fixtures.nats import PASSWORDS, PICK_PORT, READY, NatsCluster, NatsServer
from tests.fixtures.process import Process
from tests.fixtures.tls import Authority
from tests.fixtures.waiting import eventually


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "our own #1")  # as people name their folders


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[NatsServer]:
    (tmp_path / "nats").mkdir()
    server = NatsServer(tmp_path / "nats", tls=authority.environment("nats"))
    server.start()
    yield server
    server.kill()


def settings(url: str, tls: Mapping[str, str], **others: object) -> BusSettings:
    return BusSettings.model_validate({"nats_url": url, **{name.lower(): path for name, path in tls.items()}, **others})


async def refusal(url: str, tls: Mapping[str, str], caplog: pytest.LogCaptureFixture) -> str:
    """Return what a service says that is not let in; it goes on waiting."""
    async with asyncio.timeout(20):

        async def get_in() -> None:
            async with connect(settings(url, tls), name="ingest", health=Health("bus")):
                raise AssertionError("it was let in")

        waiting = asyncio.create_task(get_in())
        await eventually(lambda: "waiting for NATS" in caplog.text)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    del waiting
    with warnings.catch_warnings():  # nats-py leaves a connection open that is not made to its end
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return caplog.text


async def test_a_service_is_let_in_by_its_certificate_with_the_permissions_of_its_user(
    server: NatsServer, authority: Authority
) -> None:
    tls = authority.environment("ingest", "ingest")
    async with (
        asyncio.timeout(20),
        connect(settings(server.url_of("ingest"), tls), name="ingest", health=Health("bus")) as bus,
    ):
        await bus.declare(CONTROL_STREAM)
        with pytest.raises(TimeoutError):  # signal's subject
            await bus.js.publish("trades.processed.sim", b"", timeout=1)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("by a stranger", "certificate verify failed: unable to get local issuer certificate"),
        ("nothing", "certificate verify failed: unable to get local issuer certificate"),
    ],
)
async def test_a_server_that_is_not_of_our_authority_is_not_told_the_password(
    server: NatsServer, tmp_path: Path, shown: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    tls = {} if shown == "nothing" else Authority(tmp_path / "stranger").environment()
    assert words in await refusal(server.url_of("ingest"), tls, caplog)


async def test_a_server_by_another_name_is_not_told_the_password(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    server = NatsServer(tmp_path, tls=authority.environment("store", "store"))
    server.start()
    try:
        said = await refusal(server.url_of("ingest"), authority.environment("ingest"), caplog)
        assert "certificate is not valid for '127.0.0.1'" in said
    finally:
        server.kill()


async def test_who_shows_no_certificate_or_an_expired_one_is_refused_by_the_server(
    server: NatsServer, authority: Authority
) -> None:
    context = authority.tls().client_context()
    bare = type(context)(context.protocol)
    bare.load_verify_locations(authority.ca)
    expired = type(context)(context.protocol)
    expired.load_verify_locations(authority.ca)
    expired.load_cert_chain(*authority.issue("old", days=-1))
    for shown in (bare, expired):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            async with asyncio.timeout(10):
                await writer.start_tls(shown, server_hostname="127.0.0.1")
                writer.write(b"CONNECT {}\r\nPING\r\n")
                if not await reader.readline():
                    raise ConnectionResetError("EOF")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    said = server.process.output()
    assert "client didn't provide a certificate" in said
    assert "certificate has expired" in said


async def test_a_server_that_says_it_has_no_tls_is_not_told_the_password(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    told = bytearray()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version": "2.15.1", "auth_required": true, "max_payload": 1048576}\r\n')
        while some := await reader.read(1000):
            told.extend(some)
        writer.close()

    async with await asyncio.start_server(between, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"tls://ingest:{PASSWORDS['ingest']}@127.0.0.1:{port}"
        said = await refusal(url, authority.environment("ingest"), caplog)
    assert "it offers no TLS, expected by the scheme tls of NATS_URL" in said
    assert told == b""


def test_a_url_without_tls_beside_a_certificate_stops_the_start(authority: Authority) -> None:
    with pytest.raises(ValidationError, match=r"b:4222 would be asked without TLS: expected tls:// for each"):
        settings("tls://user:word@a:4222,nats://user:word@b:4222", authority.environment())
    with pytest.raises(ValidationError, match=r"127\.0\.0\.1:4222 would be asked without TLS"):
        BusSettings.model_validate({name.lower(): path for name, path in authority.environment().items()})


async def test_renewed_certificates_are_taken_up_by_the_server_and_by_a_service_that_connects_again(
    server: NatsServer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tls = authority.environment("ingest", "ingest")
    health = Health("bus")
    async with (
        asyncio.timeout(30),
        connect(settings(server.url_of("ingest"), tls), name="ingest", health=health) as bus,
    ):
        # From here on only certificates of a new authority count; the service trusts both.
        new = Authority(authority.folder / "new")
        both = authority.ca.read_bytes() + new.ca.read_bytes()
        new_cert, new_key = new.issue("ingest", "ingest")
        server_cert, server_key = new.issue("nats")
        for target, content in (
            ("ca.crt", both),
            ("ingest.crt", new_cert.read_bytes()),
            ("ingest.key", new_key.read_bytes()),
            ("nats.crt", server_cert.read_bytes()),
            ("nats.key", server_key.read_bytes()),
        ):
            (authority.folder / target).write_bytes(content)
        server.process.send(signal.SIGHUP)
        server.process.wait_for_line("Reloaded: tls = ", timeout_s=10)
        assert bus.connected
        authority.ca.write_bytes(new.ca.read_bytes())
        server.restart()
        await eventually(lambda: "is back" in caplog.text)
        await bus.declare(CONTROL_STREAM)


async def test_in_a_container_renewed_files_are_taken_up_too(tmp_path: Path, authority: Authority) -> None:
    tls = authority.environment("nats")
    command = nats.command(store_dir=tmp_path / "store", port=PICK_PORT, monitor_port=PICK_PORT, tls=True)
    # sh takes the paths as they are, the server within quotes: in a container they have no space.
    plain = tmp_path / "tls"
    plain.symlink_to(authority.folder)
    paths = {f"NATS_{name}": path.replace(str(authority.folder), str(plain)) for name, path in tls.items()}
    path = f"{Path(command[0]).parent}:{os.environ['PATH']}"
    process = Process(
        ["sh", str(nats.CONFIG.with_name("run.sh")), *command[1:]],
        environment=nats.environment(PASSWORDS) | paths | {"PATH": path, "EVERY_S": "0.1"},
        log=tmp_path / "run.log",
    )
    process.start()
    try:
        process.wait_for_line(READY, timeout_s=20)
        authority.issue("nats")
        process.wait_for_line("Reloaded: tls = ", timeout_s=20)
    finally:
        process.stop()
    assert process.returncode is not None


async def test_three_servers_are_one_bus_by_routes_with_tls(tmp_path: Path, authority: Authority) -> None:
    cluster = NatsCluster(tmp_path, tls=authority.environment("nats"))
    cluster.start()
    try:
        tls = authority.environment("ingest", "ingest")
        async with (
            asyncio.timeout(60),
            connect(
                settings(cluster.url_of("ingest"), tls, bus_replicas=3), name="ingest", health=Health("bus")
            ) as bus,
        ):
            await bus.declare(CONTROL_STREAM)
            info = await bus.stream_info(subjects.CONTROL)
            assert info is not None
            assert info.cluster is not None
            assert len(info.cluster.replicas or ()) == 2
    finally:
        cluster.kill()
