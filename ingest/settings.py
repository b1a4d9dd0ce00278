"""Settings of ingest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from mesh.service.setting_kinds import (
    HttpUrls,
    Symbol,
    Symbols,
    VenueName,
    WsUrls,
)
from mesh.service.settings import BusSettings
from mesh.values import venue_hosts
from mesh.values.symbols import DEFAULT_SYMBOLS
from mesh.values.venue_hosts import BINANCE, SIM


class IngestSettings(BusSettings):
    """Settings of ingest."""

    venue: Literal["auto", "binance", "sim"] = Field(
        "auto",
        description="which exchange to follow; `auto` follows Binance as soon as one of its hosts answers, and "
        "the simulated exchange until then",
    )
    venue_name: VenueName = Field(
        BINANCE,
        description="name of the venue at `BINANCE_WS_URL` and `BINANCE_REST_URL`, as its rows show it",
    )
    venue_timeout_s: float = Field(4.0, gt=0, le=60, description="how long `VENUE=auto` waits for Binance to answer")
    venue_retry_s: float = Field(
        30.0, ge=0.1, le=3600, description="how often `VENUE=auto` asks Binance again while it does not follow it"
    )
    symbol: Symbol = Field("btcusdt", description="the symbol selected at the first start")
    symbols: Symbols = Field(DEFAULT_SYMBOLS, description="the symbols to follow, separated by commas")
    binance_ws_url: WsUrls = Field(
        ("wss://stream.binance.com:9443", "wss://stream.binance.com:443", "wss://data-stream.binance.vision"),
        description="Binance's WebSocket hosts, in the order to try",
        validate_default=True,
    )
    binance_rest_url: HttpUrls = Field(
        ("https://api.binance.com", "https://data-api.binance.vision"),
        description="Binance's REST hosts, in the order to try",
        validate_default=True,
    )
    sim_ws_url: WsUrls = Field(("ws://127.0.0.1:9443",), description="the simulated exchange's WebSocket")
    sim_rest_url: HttpUrls = Field(("http://127.0.0.1:9080",), description="the simulated exchange's REST")
    connection_max_age_s: float = Field(
        84_600.0,
        gt=0,
        le=86_400,
        description="after how long a connection to the venue is replaced; the venue ends it after 24 hours",
    )
    max_id_jump: int = Field(
        200_000,
        ge=1000,
        le=10**12,
        description="how far a trade's id may be above the highest one; a higher id is held until other trades or "
        "REST confirm it",
    )
    max_time_jump_s: float = Field(
        3600.0,
        ge=60,
        le=10**9,
        description="how far a trade's time may be from this machine's clock and from the times of other trades; "
        "beyond that it is held",
    )
    max_time_ahead_s: float = Field(
        60.0,
        ge=1,
        le=10**9,
        description="how far a trade's time may be after the clock and other trades; `MAX_TIME_JUMP_S` applies when "
        "this machine's clock is behind the venue's",
    )
    epoch_wait_s: float = Field(
        5.0,
        ge=0,
        le=600,
        description="how long ingest waits at its start for store to say the epoch of symbols that RAW has no "
        "trades of",
    )
    raw_max_bytes: int = Field(
        4 * 2**30, ge=2**20, description="size limit of the stream RAW; a full stream pushes back on ingest"
    )

    @field_validator("binance_ws_url", "binance_rest_url")
    @classmethod
    def _hosts_of_the_named_venue(cls, urls: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        name = info.data.get("venue_name", BINANCE)  # it may be wrong itself
        if found := venue_hosts.problem(urls, name):
            raise ValueError(f"{found}; expected hosts of {name} alone, which VENUE_NAME names")
        return urls

    @field_validator("sim_ws_url", "sim_rest_url")
    @classmethod
    def _hosts_of_no_real_venue(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if found := venue_hosts.problem(urls, SIM):
            raise ValueError(f"{found}; expected the simulated exchange")
        return urls
