"""TLS between the parts: both sides show a certificate of one authority, and whoever has none is refused in words."""

from __future__ import annotations

import asyncio
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from mesh.service import healthcheck
from mesh.service.rpc import channel, serving
from mesh.service.settings import MeshSettings, WrongSettings, load
from mesh.service.tls import Pem, Tls
from tests.fixtures.gateway import SmallSignal, serving_health
from tests.fixtures.nats import NatsServer
from tests.fixtures.services import Service
from tests.fixtures.sim import running_sim
from tests.fixtures.tls import Authority
from tests.fixtures.waiting import eventually
from tickmesh.v1 import signal_pb2, signal_pb2_grpc
from tickmesh_client import AsyncTickmesh, ClientError

SERVICE = "tickmesh.v1.SignalService"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@asynccontextmanager
async def signal_with(tls: Tls | None) -> AsyncIterator[int]:
    async with serving(
        "127.0.0.1:0",
        services=[SERVICE],
        register=lambda server: signal_pb2_grpc.add_SignalServiceServicer_to_server(SmallSignal(), server),
        health=serving_health(),
        tls=tls,
    ) as port:
        yield port


async def price_by(address: str, tls: Tls | None) -> grpc.StatusCode:
    async with channel(address, tls=tls) as to_signal:
        call = signal_pb2_grpc.SignalServiceStub(to_signal).GetPrice(signal_pb2.GetPriceRequest(), timeout=5)
        return await call.code()


async def serial_of(port: int, tls: Tls) -> str:
    """Return the serial number of the certificate that a server shows now."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client_context())
    serial = writer.get_extra_info("peercert")["serialNumber"]
    writer.transport.abort()
    return str(serial)


async def test_only_who_shows_a_certificate_of_the_authority_is_answered(authority: Authority, tmp_path: Path) -> None:
    tls, foreign = authority.tls(), Authority(tmp_path / "foreign").tls()
    async with signal_with(tls) as port:
        address = f"127.0.0.1:{port}"
        assert await price_by(address, authority.tls("gateway", "gateway")) == grpc.StatusCode.OK
        assert await price_by(f"localhost:{port}", tls) == grpc.StatusCode.OK
        assert await price_by(address, None) == grpc.StatusCode.UNAVAILABLE
        assert await price_by(address, foreign) == grpc.StatusCode.UNAVAILABLE
        # Encrypted, and by the right authority, but nothing is shown.
        trusting = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        async with grpc.aio.secure_channel(address, trusting) as to_signal:
            call = signal_pb2_grpc.SignalServiceStub(to_signal).GetPrice(signal_pb2.GetPriceRequest(), timeout=5)
            assert await call.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_server_that_shows_another_name_is_not_asked(
    authority: Authority,
) -> None:
    tls = authority.tls("gateway")
    async with signal_with(authority.tls("store", "store")) as port, channel(f"127.0.0.1:{port}", tls=tls) as away:
        call = signal_pb2_grpc.SignalServiceStub(away).GetPrice(signal_pb2.GetPriceRequest(), timeout=5)
        assert await call.code() == grpc.StatusCode.UNAVAILABLE
        assert "Hostname Verification Check failed" in (await call.details() or "")


async def test_a_server_whose_certificate_has_expired_meanwhile_is_not_asked_until_it_is_renewed(
    authority: Authority,
) -> None:
    server_tls = authority.tls()
    async with signal_with(server_tls) as port, channel(f"127.0.0.1:{port}", tls=authority.tls("gateway")) as away:
        # What it read is what its files hold: as one that was good when it started, and is not renewed.
        cert, key = authority.issue("old", days=-1)
        server_tls._pem = Pem(cert.read_bytes(), key.read_bytes(), authority.ca.read_bytes())
        stub = signal_pb2_grpc.SignalServiceStub(away)
        call = stub.GetPrice(signal_pb2.GetPriceRequest(), timeout=5)
        assert await call.code() == grpc.StatusCode.UNAVAILABLE
        assert "CERTIFICATE_VERIFY_FAILED" in (await call.details() or "")
        authority.issue()
        assert (await stub.GetPrice(signal_pb2.GetPriceRequest(), wait_for_ready=True, timeout=10)).venue == "sim"


async def test_a_renewed_certificate_is_taken_up_by_both_sides_while_calls_go_on(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tls = authority.tls()
    client = authority.tls("gateway", "gateway")
    async with signal_with(tls) as port, channel(f"127.0.0.1:{port}", tls=client) as to_signal:
        stub = signal_pb2_grpc.SignalServiceStub(to_signal)
        watch = stub.Watch(signal_pb2.WatchRequest(all_symbols=True))
        async for event in watch:
            assert event.selected.symbol == "btcusdt"
            break
        before = await serial_of(port, client)
        authority.issue()
        authority.issue("gateway", "gateway")
        assert await serial_of(port, client) != before
        assert (await stub.GetPrice(signal_pb2.GetPriceRequest(), timeout=5)).venue == "sim"
        assert not watch.done()
        assert "took up the renewed certificate" in caplog.text
        watch.cancel()


async def test_a_broken_renewal_leaves_the_old_certificate_in_use_and_is_logged(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    tls = authority.tls()
    client = authority.tls("gateway")
    async with signal_with(tls) as port:
        before = await serial_of(port, client)
        key = (authority.folder / "tls.key").read_bytes()
        authority.issue()
        new_key = (authority.folder / "tls.key").read_bytes()
        (authority.folder / "tls.key").write_bytes(key)
        assert await serial_of(port, client) == before
        assert "is not that of the certificate" in caplog.text
        (authority.folder / "tls.key").write_bytes(new_key)
        assert await serial_of(port, client) != before


async def test_grpcurl_is_answered_with_a_certificate_and_not_without(authority: Authority) -> None:
    tls = authority.tls()
    cert, key = authority.issue("gateway", "gateway")
    grpcurl = str(Path(sysconfig.get_path("scripts")) / "grpcurl")
    async with signal_with(tls) as port:
        for shown, answered in ((["-cert", str(cert), "-key", str(key)], True), ([], False)):
            command = [grpcurl, "-cacert", str(authority.ca), *shown, "-max-time", "5", f"127.0.0.1:{port}", "list"]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
            assert (SERVICE in done.stdout) == answered, done.stderr


async def test_the_health_check_of_a_container_asks_with_the_certificate_of_its_service(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with signal_with(authority.tls()) as port:
        asked = ["grpc", f"127.0.0.1:{port}", SERVICE]
        assert await asyncio.to_thread(healthcheck.main, asked) == 1
        for name, value in authority.environment().items():
            monkeypatch.setenv(name, value)
        assert await asyncio.to_thread(healthcheck.main, asked) == 0
        monkeypatch.delenv("TLS_CA")
        assert await asyncio.to_thread(healthcheck.main, asked) == 1
    assert "TLS_CA: expected all of TLS_CERT, TLS_KEY and TLS_CA, or none of them" in capfd.readouterr().err


async def test_the_whole_way_of_a_trade_with_tls_on(
    make_service: Callable[..., Service],
    authority: Authority,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "nats").mkdir()
    nats_server = NatsServer(tmp_path / "nats", tls=authority.environment("nats"))
    nats_server.start()
    try:
        with running_sim("--rate", "50") as sim:
            urls = {user: nats_server.url_of(user) for user in ("ingest", "signal", "store")}
            tls = {name: authority.environment(name) for name in (*urls, "gateway")}
            signal = make_service("signalsvc", NATS_URL=urls["signal"], SIGNAL_ADDR="127.0.0.1:0", **tls["signal"])
            store = make_service(
                "store", NATS_URL=urls["store"], STORE_ADDR="127.0.0.1:0", DATABASE_URL=database_url, **tls["store"]
            )
            ingest = make_service(
                "ingest",
                NATS_URL=urls["ingest"],
                VENUE="sim",
                SIM_WS_URL=sim.ws,
                SIM_REST_URL=sim.rest,
                **tls["ingest"],
            )
            addresses = {"SIGNAL_ADDR": signal.start_grpc("SIGNAL_ADDR"), "STORE_ADDR": store.start_grpc("STORE_ADDR")}
            ingest.start()
            https = {f"GATEWAY_{name}": tls["gateway"][name] for name in ("TLS_CERT", "TLS_KEY")}
            gateway = make_service("gateway", GATEWAY_PORT="0", **addresses, **tls["gateway"], **https)
            gateway.start()
            found = gateway.process.wait_for_line(r"https://127\.0\.0\.1:\d+", timeout_s=30)
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
            async with asyncio.timeout(60), AsyncTickmesh(found[0]) as mesh:

                async def seen() -> list[int]:
                    return [trade.trade_id async for trade in mesh.trades("btcusdt")]

                stored = await eventually(seen, timeout_s=50, not_yet=(ClientError,))
                live = mesh.live("btcusdt", resume_from={"btcusdt": max(stored)})
                assert (await anext(live)).trade_id == max(stored) + 1
                await live.aclose()
    finally:
        nats_server.kill()


def wrong(authority: Authority, kind: str) -> tuple[dict[str, str], str]:
    """Return settings that are wrong in one way, and what is said of them."""
    given = authority.environment()
    cert, key = Path(given["TLS_CERT"]), Path(given["TLS_KEY"])
    match kind:
        case "missing":
            key.unlink()
            return given, f"cannot read {key}: No such file or directory"
        case "a folder":
            return given | {"TLS_CERT": str(authority.folder)}, f"cannot read {authority.folder}: Is a directory"
        case "no PEM":
            cert.write_text("hello")
            return given, f"{cert} holds 5 bytes of something else, expected certificates in the form of PEM"
        case "swapped":
            return given | {"TLS_CERT": str(key)}, f"{key} holds a private key, expected certificates"
        case "another key":
            other = authority.issue("other")[1]
            return given | {"TLS_KEY": str(other)}, f"the key {other} is not that of the certificate {cert}"
        case "no key":
            return given | {"TLS_KEY": str(cert)}, f"the key {cert} is no private key in PEM"
        case "expired":
            authority.issue(days=-1)
            return given, f"the certificate {cert} is not good: certificate has expired"
        case "another authority":
            other = Authority(authority.folder / "other").ca
            return given | {"TLS_CA": str(other)}, f"the certificate {cert} is not good: unable to get local issuer"
        case _:
            del given["TLS_CERT"]
            return given, "expected all of TLS_CERT, TLS_KEY and TLS_CA, or none of them"


@pytest.mark.parametrize(
    "kind",
    ["missing", "a folder", "no PEM", "swapped", "another key", "no key", "expired", "another authority", "one unset"],
)
def test_a_wrong_file_stops_the_start_and_the_words_name_it(
    authority: Authority, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, words = wrong(authority, kind)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as found:
        load(MeshSettings)
    assert words in str(found.value)
    assert str(found.value).startswith("TLS_")


def test_the_certificates_that_our_script_makes_are_good_and_it_renews_them(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "deploy" / "certificates.sh"
    folder = tmp_path / "our own"
    command = ["sh", str(script), str(folder), "signal=signal.example.org,10.0.0.5,fe80::1", "gateway"]
    made = []
    for _ in range(2):
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        files = [folder / "signal" / name for name in ("tls.crt", "tls.key", "ca.crt")]
        made.append(Tls(*files).current())
    assert made[0].ca == made[1].ca
    assert made[0].cert != made[1].cert
    certificate = x509.load_pem_x509_certificate(made[1].cert)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["signal", "localhost", "signal.example.org"]
    assert [*map(str, names.get_values_for_type(x509.IPAddress))] == ["127.0.0.1", "::1", "10.0.0.5", "fe80::1"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (folder / "gateway").iterdir()) == ["ca.crt", "tls.crt", "tls.key"]


def test_no_service_starts_with_an_expired_certificate(
    make_service: Callable[..., Service], authority: Authority
) -> None:
    settings = authority.environment()
    authority.issue(days=-1)
    services = [make_service(module, **settings) for module in ("ingest", "signalsvc", "store", "gateway")]
    for service in services:
        service.start()
    for service in services:
        assert service.process.wait(timeout_s=60) == 2
        assert (
            f"TLS_CA: the certificate {settings['TLS_CERT']} is not good: certificate has expired" in service.output()
        )
