"""Settings: all from the environment, all checked at start, every wrong one named at once, secrets masked.

Each service has a class of its own below; the field's name in capitals is the variable's name.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.service.access import Access, is_loopback
from mesh.service.setting_kinds import (
    Address,
    HostPatterns,
    HttpUrls,
    NatsUrl,
    Networks,
    Origins,
    Period,
    Port,
    Symbol,
    Symbols,
    Token,
    VenueName,
    Window,
    WsUrls,
)
from mesh.values import venue_hosts
from mesh.values.symbols import DEFAULT_SYMBOLS
from mesh.values.venue_hosts import BINANCE, SIM


class MeshSettings(BaseSettings):
    """What every service of the mesh reads."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda text: text.lower() if isinstance(text, str) else text),
    ] = Field("info", description="how much is logged: debug, info, warning or error")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="one JSON object a line, text for people, or text on a terminal and JSON elsewhere"
    )
    metrics_host: str = Field("127.0.0.1", description="where `/metrics` listens")
    metrics_port: Port | None = Field(
        None, description="port of the Prometheus `/metrics` of ingest, signal and store; 0 picks one, unset is off"
    )


class BusSettings(MeshSettings):
    """What every service on the bus reads."""

    nats_url: NatsUrl = Field(
        SecretStr("nats://127.0.0.1:4222"),
        description="the bus, with user and password (percent-encoded) or token where it wants them; several servers "
        "are separated by commas",
    )


class AccessSettings(MeshSettings):
    """Who may do what: what every service that others call reads.

    The tokens come before the addresses: these are checked against them.
    """

    api_token: Token | None = Field(
        None,
        description="when set, whatever changes something (POST, SelectSymbol, ResetSession) and `/ws` need it as "
        "`Authorization: Bearer`, over HTTP and over gRPC",
    )
    read_token: Token | None = Field(
        None, description="a second token, which may read and listen to `/ws` but change nothing; wants API_TOKEN, too"
    )
    protect_reads: bool = Field(
        False, description="GET, `/metrics` and `/docs` need one of the two tokens, and reading over gRPC likewise"
    )
    allow_anonymous: bool = Field(
        False, description="let everybody who reaches it do everything: without a token only loopback is listened on"
    )
    published_host: str | None = Field(
        None, description="in a container, where its port is published: who that reaches counts for ALLOW_ANONYMOUS"
    )

    @field_validator("read_token")
    @classmethod
    def _beside_another(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if token is None or "api_token" not in info.data:  # that one is wrong itself
            return token
        if info.data["api_token"] is None:
            raise ValueError("expected API_TOKEN as well: without it everybody may change something")
        if info.data["api_token"].get_secret_value() == token.get_secret_value():
            raise ValueError("expected another one than API_TOKEN, else whoever may read may change something")
        return token

    @field_validator("protect_reads")
    @classmethod
    def _with_a_token(cls, protect: bool, info: ValidationInfo) -> bool:
        if protect and info.data.get("api_token", "wrong itself") is None:
            raise ValueError("expected API_TOKEN as well: there is no token that could be asked for")
        return protect

    def access(self) -> Access:
        """Return the tokens and what they are needed for."""
        api, read = (token and token.get_secret_value() for token in (self.api_token, self.read_token))
        return Access(api or None, read or None, self.protect_reads)


def _not_open_to_all(host: str, info: ValidationInfo) -> None:
    """Refuse an address that others reach when nobody is asked who they are."""
    reached = info.data.get("published_host") or host
    if info.data.get("api_token", "wrong itself") is None and not (
        is_loopback(reached) or info.data.get("allow_anonymous", True)
    ):
        raise ValueError(
            f"others than this machine reach {reached}, and no API_TOKEN is set: set one, or ALLOW_ANONYMOUS=true "
            "where everybody may change what is followed"
        )


class IngestSettings(BusSettings):
    """Settings of ingest."""

    venue: Literal["auto", "binance", "sim"] = Field(
        "auto",
        description="whom to follow; `auto` is Binance as soon as a host of it answers, till then the simulated one",
    )
    venue_name: VenueName = Field(
        BINANCE,
        description="the venue whose hosts `BINANCE_WS_URL` and `BINANCE_REST_URL` are: what its rows are called",
    )
    venue_timeout_s: float = Field(4.0, gt=0, le=60, description="how long `VENUE=auto` waits for Binance to answer")
    venue_retry_s: float = Field(
        30.0, ge=0.1, le=3600, description="how often `VENUE=auto` asks Binance again while it does not follow it"
    )
    symbol: Symbol = Field("btcusdt", description="the symbol selected at the first start")
    symbols: Symbols = Field(DEFAULT_SYMBOLS, description="the symbols followed, separated by commas")
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
        84_600.0, gt=0, le=86_400, description="how old a connection to the venue gets, which cuts it after 24 hours"
    )
    max_id_jump: int = Field(
        200_000,
        ge=1000,
        le=10**12,
        description="how far beyond the highest id a trade's may be before it is held until others or REST confirm it",
    )
    max_time_jump_s: float = Field(
        3600.0,
        ge=60,
        le=10**9,
        description="how far a trade's time may be from the clock here and from other trades' before it is held",
    )
    max_time_ahead_s: float = Field(
        60.0,
        ge=1,
        le=10**9,
        description="how far after both it may be; `MAX_TIME_JUMP_S` where the clock here is behind the venue's",
    )
    epoch_wait_s: float = Field(
        5.0,
        ge=0,
        le=600,
        description="how long ingest waits for store to say in which epoch symbols are of which RAW holds nothing",
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


class IndicatorSettings(BusSettings):
    """What whoever works out the candles' indicators reads: signal, and store where it makes candles again."""

    rsi_period: Period = Field(14, description="candles in the relative strength index, Wilder's")
    atr_period: Period = Field(14, description="candles in the average true range, Wilder's")
    macd_fast_period: Period = Field(12, description="candles in the MACD's fast average, below those in the slow one")
    macd_slow_period: Period = Field(26, description="candles in the MACD's slow average")
    macd_signal_period: Period = Field(9, description="candles in the MACD's signal, an average of the MACD")
    candle_ema_period: Period = Field(20, description="candles in their exponential average")
    candle_sma_period: Period = Field(20, description="candles in their moving average")

    @field_validator("macd_slow_period")
    @classmethod
    def _above_the_fast_one(cls, slow: int, info: ValidationInfo) -> int:
        fast = info.data.get("macd_fast_period", 0)  # it may be wrong itself
        if slow <= fast:
            raise ValueError(f"expected above MACD_FAST_PERIOD, which is {fast}")
        return slow

    def periods(self) -> dict[str, int]:
        """Return the periods of the indicators in libsignal's words, which are ours."""
        return {name: getattr(self, name) for name in IndicatorSettings.__annotations__}


class SignalSettings(AccessSettings, IndicatorSettings):
    """Settings of signal."""

    signal_addr: Address = Field("127.0.0.1:50051", description="where SignalService listens or is found")
    symbol: Symbol = Field("btcusdt", description="the symbol selected at the first start")
    sma_window: Window = Field(20, description="trades in the moving average")
    ema_window: Window = Field(
        20, description="trades of the exponential average: each price pulls by 2 / (window + 1)"
    )
    vwap_window: Window = Field(20, description="trades in the window's volume-weighted average price")
    bollinger_window: Window = Field(20, description="trades in the standard deviation and the Bollinger bands")
    bollinger_width: float = Field(
        2.0, gt=0, le=1000, allow_inf_nan=False, description="distance of the Bollinger bands, in standard deviations"
    )
    extremes_window: Window = Field(20, description="trades in the window's high and low")
    flow_window: Window = Field(20, description="trades in the buy share and the order-flow imbalance")
    rate_window: Window = Field(20, description="trades in the trade rate")
    volatility_window: Window = Field(20, description="returns in the volatility")
    max_states: int = Field(
        1024,
        ge=1,
        description="symbols whose signals are kept in memory, 100 KB each; of those nobody follows the oldest leave, "
        "and go on from the bus when they trade again",
    )
    changes_per_minute: int = Field(
        60, ge=1, le=100_000, description="how often another symbol may be selected or a session reset, by all together"
    )
    processed_max_bytes: int = Field(
        4 * 2**30, ge=2**20, description="size limit of the stream PROCESSED; the oldest go first"
    )

    @field_validator("signal_addr")
    @classmethod
    def _asks_for_a_token(cls, address: str, info: ValidationInfo) -> str:
        _not_open_to_all(address.rpartition(":")[0], info)
        return address

    def of_signals(self) -> dict[str, float]:
        """Return the settings of the signals in libsignal's words."""
        return {
            "moving_average_window": self.sma_window,
            "exponential_window": self.ema_window,
            "vwap_window": self.vwap_window,
            "deviation_window": self.bollinger_window,
            "bollinger_width": self.bollinger_width,
            "extremes_window": self.extremes_window,
            "flow_window": self.flow_window,
            "rate_window": self.rate_window,
            "volatility_window": self.volatility_window,
            **self.periods(),
        }


class StoreSettings(AccessSettings, IndicatorSettings):
    """Settings of store."""

    database_url: SecretStr = Field(
        SecretStr("postgresql://store@127.0.0.1:5433/tickmesh"),
        description="the database store writes: whatever psql takes, with several hosts or a socket's folder too",
    )
    store_addr: Address = Field("127.0.0.1:50052", description="where StoreService listens or is found")
    batch_max_trades: int = Field(10_000, ge=1, le=100_000, description="trades in one transaction at most")
    batch_max_age_ms: int = Field(
        100, ge=0, le=10_000, description="how long a trade waits for its transaction at most"
    )
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="how many whole days before today (UTC) trades are kept; unset is for ever"
    )

    @field_validator("store_addr")
    @classmethod
    def _asks_for_a_token(cls, address: str, info: ValidationInfo) -> str:
        _not_open_to_all(address.rpartition(":")[0], info)
        return address

    @field_validator("database_url")
    @classmethod
    def _as_libpq_takes_it(cls, secret: SecretStr) -> SecretStr:
        # Whatever libpq takes: a URL with one host or several, a socket's folder, options, or keywords and values.
        from psycopg import ProgrammingError  # store alone has need of it
        from psycopg.conninfo import conninfo_to_dict

        try:
            parts = conninfo_to_dict(secret.get_secret_value())
            ports = [int(port) for port in str(parts.get("port", "")).split(",") if port]
        except (
            ProgrammingError,
            ValueError,
        ):  # their words hold what was found: in a wrong one that may be the password
            ports = [-1]
        if any(not 0 <= port < 65536 for port in ports):
            raise ValueError(
                "what it is set to is not a URL of postgresql or postgres, and not libpq's keywords and values "
                "(in a password / ? # @ : are %2F %3F %23 %40 %3A)"
            )
        return secret


class GatewaySettings(AccessSettings):
    """Settings of the gateway."""

    gateway_host: str = Field("127.0.0.1", description="where the gateway listens")
    gateway_port: Port = Field(8080, description="the gateway's port; 0 picks one")
    signal_addr: Address = Field("127.0.0.1:50051", description="where SignalService listens or is found")
    store_addr: Address = Field("127.0.0.1:50052", description="where StoreService listens or is found")
    allowed_hosts: HostPatterns = Field(
        (),
        description="names the gateway may be asked by (the Host header), beside addresses, `localhost` and "
        "GATEWAY_HOST: `ticks.example.org,*.example.org`; `*` is every name",
    )
    allowed_origins: Origins = Field(
        (),
        description="origins whose pages may POST and use `/ws` beside those of the asked host itself: "
        "`https://ticks.example.org`; for a proxy that does not pass on the Host header",
    )
    max_connections: int = Field(
        4096, ge=8, le=60_000, description="TCP connections of clients at once, `/ws` too; fewer where files run short"
    )
    max_connections_per_address: int = Field(
        2048, ge=1, le=60_000, description="of them from one IPv4 address or one /64 of IPv6"
    )
    trusted_proxies: Networks = Field(
        (),
        description="addresses or networks of reverse proxies, `10.0.0.5,10.1.0.0/16`: for them the bound of one "
        "address does not count",
    )
    ws_max_bytes: int = Field(
        128 * 2**20,
        ge=2**20,
        description="what may wait for all clients of `/ws` together; beyond it the slowest are let go",
    )
    keep_alive_s: float = Field(
        75.0, gt=0, le=3600, description="how long a connection may be idle; longer than a proxy in front leaves it"
    )

    @field_validator("gateway_host")
    @classmethod
    def _asks_for_a_token(cls, host: str, info: ValidationInfo) -> str:
        _not_open_to_all(host, info)
        return host


S = TypeVar("S", bound=BaseSettings)


class WrongSettings(Exception):
    """One or more settings are wrong; the text names them all, a line each."""


def load(settings: type[S], **overrides: Any) -> S:
    """Read settings from the environment.

    Raises:
        WrongSettings: naming every wrong variable with what was found and expected.

    """
    try:
        return settings(**overrides)
    except ValidationError as exc:
        lines = []
        for error in exc.errors(include_url=False):
            name = str(error["loc"][0]) if error["loc"] else "settings"
            told = "is not a" in error["msg"] or _is_secret(settings, name)
            found = "" if told else f" (found {_without_password(error['input'])!r})"
            lines.append(f"{name.upper()}: {error['msg'].removeprefix('Value error, ')}{found}")
        raise WrongSettings("\n".join(lines)) from None


def _without_password(value: object) -> object:
    return re.sub(r"(?<=://)[^/\s,]*@", "***@", value) if isinstance(value, str) else value


def _is_secret(settings: type[BaseSettings], name: str) -> bool:
    field = settings.model_fields.get(name)
    return field is not None and "SecretStr" in str(field.annotation)
