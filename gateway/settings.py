"""Settings of the gateway."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from mesh.service.setting_kinds import (
    Addresses,
    HostPatterns,
    Networks,
    Origins,
    Port,
)
from mesh.service.settings import AccessSettings, refuse_open_address
from mesh.service.tls import Tls


class GatewaySettings(AccessSettings):
    """Settings of the gateway."""

    gateway_host: str = Field("127.0.0.1", description="where the gateway listens")
    gateway_port: Port = Field(8080, description="the gateway's port; 0 picks one")
    signal_addr: Addresses = Field(
        ("127.0.0.1:50051",),
        description="where SignalService listens; for the gateway where it is found: `host:port`, several instances as "
        "`signal-1:50051,signal-2:50051`, or `dns:///signal:50051` for every address of a name",
    )
    store_addr: Addresses = Field(
        ("127.0.0.1:50052",),
        description="where StoreService listens; for the gateway where it is found: `host:port`, several instances as "
        "`store-1:50052,store-2:50052`, or `dns:///store:50052` for every address of a name",
    )
    allowed_hosts: HostPatterns = Field(
        (),
        description="names in the Host header that the gateway accepts besides addresses, `localhost` and "
        "GATEWAY_HOST: `ticks.example.org,*.example.org`; `*` accepts every name",
    )
    allowed_origins: Origins = Field(
        (),
        description="origins whose pages may POST and use `/ws`, besides the gateway's own: "
        "`https://ticks.example.org`; needed behind a proxy that does not pass on the Host header",
    )
    max_connections: int = Field(
        4096,
        ge=8,
        le=60_000,
        description="most TCP connections of clients at once, including `/ws`; fewer when "
        "the limit of open files is lower",
    )
    max_connections_per_address: int = Field(
        2048, ge=1, le=60_000, description="most connections from one IPv4 address or one /64 network of IPv6"
    )
    trusted_proxies: Networks = Field(
        (),
        description="addresses or networks of reverse proxies, `10.0.0.5,10.1.0.0/16`; the limit for one address "
        "does not apply to them",
    )
    ws_max_bytes: int = Field(
        128 * 2**20,
        ge=2**20,
        description="most bytes that wait for all clients of `/ws` together; beyond that the slowest clients are "
        "disconnected",
    )
    keep_alive_s: float = Field(
        75.0,
        gt=0,
        le=3600,
        description="how long a connection may be idle; should be longer than the idle limit of a proxy in front",
    )

    gateway_tls_cert: Path | None = Field(
        None,
        description="file with the certificate (PEM, with those between it and its authority) for HTTPS and `wss://`, "
        "which is then all that is served on the gateway's port",
    )
    gateway_tls_key: Path | None = Field(
        None, validate_default=True, description="file with the key of GATEWAY_TLS_CERT (PEM), without a passphrase"
    )

    @field_validator("gateway_tls_key")
    @classmethod
    def _beside_its_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        cert = info.data.get("gateway_tls_cert")
        if cert and key:
            Tls(cert, key, None)
        elif cert or key:
            raise ValueError("expected both of GATEWAY_TLS_CERT and GATEWAY_TLS_KEY, or none of them")
        return key

    def gateway_tls(self) -> Tls | None:
        """Return the certificate for HTTPS; None without."""
        if self.gateway_tls_cert is None or self.gateway_tls_key is None:
            return None
        return Tls(self.gateway_tls_cert, self.gateway_tls_key, None)

    @field_validator("gateway_host")
    @classmethod
    def _asks_for_a_token(cls, host: str, info: ValidationInfo) -> str:
        refuse_open_address(host, info)
        return host
