"""The gateway by HTTPS and `wss://` with a certificate of its own, as its clients see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings
from mesh.service import healthcheck
from mesh.service.tls import Tls
from tests.fixtures.gateway import Gateway, running_gateway
from tests.fixtures.tls import Authority
from tickmesh_client import AsyncTickmesh, ClientError


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
async def gateway(authority: Authority) -> AsyncIterator[Gateway]:
    async with running_gateway(tls=Tls(*authority.issue(), None)) as running:
        yield running


async def serial_of(gateway: Gateway, authority: Authority) -> str:
    context = authority.tls("somebody").client_context()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context)
    serial = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return str(serial)


async def test_the_client_library_reads_and_listens_with_an_authority_of_ones_own(
    gateway: Gateway, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    for host in ("127.0.0.1", "localhost"):
        async with asyncio.timeout(20), AsyncTickmesh(f"https://{host}:{gateway.port}") as mesh:
            assert (await mesh.price()).venue == "sim"
            live = mesh.live("btcusdt", resume_from={"btcusdt": 247})
            assert [(await anext(live)).trade_id for _ in range(3)] == [248, 249, 250]
            await live.aclose()


async def test_a_gateway_of_an_unknown_authority_or_name_is_refused_in_words(
    gateway: Gateway, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(20), AsyncTickmesh(f"https://127.0.0.1:{gateway.port}", retries=0) as mesh:
        with pytest.raises(ClientError, match="unable to get local issuer certificate"):
            await mesh.price()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.folder / "nothing.pem"))
    with pytest.raises(ClientError, match=r"found no certificates in SSL_CERT_FILE=.*No such file"):
        AsyncTickmesh(f"https://127.0.0.1:{gateway.port}")


async def test_plain_http_is_not_answered_and_those_with_tls_are_all_the_same(
    gateway: Gateway, authority: Authority
) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP/1.1 200" not in await reader.read()
        writer.close()
        await serial_of(gateway, authority)


async def test_a_handshake_that_is_never_done_ends(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.__main__.HEAD_LIMIT_S", 0.2)
    async with running_gateway(tls=Tls(*authority.issue("other"), None)) as impatient, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        assert await reader.read() == b""
        writer.close()


async def test_a_renewed_certificate_is_shown_from_the_next_connection_on(
    gateway: Gateway, authority: Authority
) -> None:
    before = await serial_of(gateway, authority)
    assert await serial_of(gateway, authority) == before
    authority.issue()
    assert await serial_of(gateway, authority) != before


async def test_the_health_check_of_a_container_asks_by_https(gateway: Gateway) -> None:
    url = f"https://localhost:{gateway.port}/healthz"
    assert await asyncio.to_thread(healthcheck.main, ["http", url]) == 0
    assert await asyncio.to_thread(healthcheck.main, ["http", url.replace("https", "http")]) == 1


def test_a_wrong_file_stops_the_start_and_the_words_name_it(authority: Authority) -> None:
    cert, key = authority.issue(days=-1)
    with pytest.raises(ValidationError, match=f"the certificate {cert} is not good: certificate has expired"):
        GatewaySettings(gateway_tls_cert=cert, gateway_tls_key=key)
    with pytest.raises(ValidationError, match="expected both of GATEWAY_TLS_CERT and GATEWAY_TLS_KEY, or none"):
        GatewaySettings(gateway_tls_cert=authority.issue()[0])
