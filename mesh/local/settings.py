"""The local runner's own settings: where it keeps its files and which ports its servers take.

The services' settings are checked here too, before anything starts, with the values the runner gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from mesh.bus.partitions import MAX_PARTITIONS
from mesh.service.setting_kinds import Port
from mesh.service.settings import MeshSettings, WrongSettings, load
from signalsvc.settings import SignalSettings
from store.settings import StoreSettings

SERVICES: dict[str, type[MeshSettings]] = {
    "ingest": IngestSettings,
    "signal": SignalSettings,
    "store": StoreSettings,
    "gateway": GatewaySettings,
}


NATS = ("nats", "nats-2", "nats-3")
"""The names of the bus' servers."""

MAX_INSTANCES: Final = 4


def instances(service: str, count: int) -> list[str]:
    """Return the names of a service's instances: `store`, `store-2`; of the gateway there is one.

    Args:
        service: its name.
        count: how many instances share the partitions.

    """
    shared = () if service == "gateway" else range(2, count + 1)
    return [service, *(f"{service}-{number}" for number in shared)]


class LocalSettings(BaseSettings):
    """Settings of `python -m mesh`; a port of 0 means: pick a free one and keep it for this STATE_DIR."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    state_dir: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        Path(".state"), description="everything the local runner writes: data, logs, passwords"
    )
    venue: Literal["auto", "binance", "sim"] = Field(
        "auto", description="the simulated exchange is started unless this is `binance`"
    )
    nats_servers: Annotated[Literal[1, 3], BeforeValidator(lambda text: int(text) if text in ("1", "3") else text)] = (
        Field(1, description="how many nats-servers are the bus: three keep it, and all that is in it, when one dies")
    )
    instances: int = Field(
        1,
        ge=1,
        le=MAX_INSTANCES,
        description="how many instances of ingest, signal and store share the partitions, of which there are at least "
        "as many",
    )
    partitions: int = Field(
        1,
        ge=1,
        le=MAX_PARTITIONS,
        description="in how many streams RAW and PROCESSED are, each with a writer of its own; what the mesh was begun "
        "with stays",
    )
    nats_port: Port = Field(4222, description="the bus")
    nats_monitor_port: Port = Field(8222, description="the bus' monitoring over HTTP")
    postgres_port: Port = Field(5433, description="the database")
    signal_port: Port = Field(50051, description="SignalService")
    store_port: Port = Field(50052, description="StoreService")
    gateway_host: str = Field("127.0.0.1", description="where the gateway listens")
    gateway_port: Port = Field(8080, description="REST, WebSocket and documentation")
    sim_ws_port: Port = Field(9443, description="the simulated exchange's WebSocket")
    sim_rest_port: Port = Field(9080, description="the simulated exchange's REST")
    metrics_port: Port | None = Field(
        None, description="`/metrics` of ingest; signal and store take the next two; 0 picks free ones, unset is off"
    )

    def wanted_ports(self) -> dict[str, int]:
        """Return the wanted port of every setting that names one; 0 where any will do."""
        ports = {
            "NATS_PORT": self.nats_port,
            "NATS_MONITOR_PORT": self.nats_monitor_port,
            "POSTGRES_PORT": self.postgres_port,
            "SIGNAL_PORT": self.signal_port,
            "STORE_PORT": self.store_port,
            "GATEWAY_PORT": self.gateway_port,
        }
        if self.nats_servers > 1:
            for server in NATS[: self.nats_servers]:
                ports[f"NATS_ROUTE_PORT of {server}"] = 0
            for server in NATS[1 : self.nats_servers]:
                ports |= {f"NATS_PORT of {server}": 0, f"NATS_MONITOR_PORT of {server}": 0}
        for number in range(2, self.instances + 1):
            ports |= {f"SIGNAL_PORT of signal-{number}": 0, f"STORE_PORT of store-{number}": 0}
        if self.venue != "binance":
            ports |= {"SIM_WS_PORT": self.sim_ws_port, "SIM_REST_PORT": self.sim_rest_port}
        if self.metrics_port is not None:
            for offset, service in enumerate(("ingest", "signal", "store")):
                first, *others = instances(service, self.instances)
                ports[f"METRICS_PORT of {first}"] = self.metrics_port and self.metrics_port + offset
                ports |= {f"METRICS_PORT of {name}": 0 for name in others}
        return ports


def load_valid() -> tuple[LocalSettings, list[str]]:
    """Read the runner's settings; return them with the default in the place of every wrong one, and what is wrong.

    The second is a line for each, beginning with the variable's name and a colon.
    """
    try:
        return load(LocalSettings), []
    except WrongSettings as exc:
        wrong = str(exc).splitlines()
    named = {line.partition(":")[0].lower() for line in wrong}
    defaults = {name: field.default for name, field in LocalSettings.model_fields.items() if name in named}
    return load(LocalSettings, **defaults), wrong


BESIDES = {"signal": {"LIBSIGNAL_PATH"}}
"""What a service reads besides its settings: where the shared library lies is asked when it is imported."""


def variables_of(service: str) -> set[str]:
    """Return the names of the environment variables that a service reads."""
    return {name.upper() for name in SERVICES[service].model_fields} | BESIDES.get(service, set())


_PROXIES = ("HTTP", "HTTPS", "WS", "WSS", "SOCKS", "ALL", "NO")
# Set by whoever runs Python, not by us: needed to find libraries, certificates, proxies and the clock's zone.
SURROUNDINGS = frozenset(
    {
        *("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
        *("VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"),
        *(f"{name}_PROXY" for name in _PROXIES),
        *(f"{name.lower()}_proxy" for name in _PROXIES),
    }
)


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every program gets from the runner's own environment."""
    return {name: value for name, value in environ.items() if name in SURROUNDINGS}
