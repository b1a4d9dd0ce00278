"""Settings: all from the environment, all checked at start, every wrong one named at once, secrets masked.

Here is what several services read; each service's own class is in its `settings.py`. The field's name in capitals is
the variable's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.service import nats_url
from mesh.service.access import Access, is_loopback
from mesh.service.errors import TickmeshError
from mesh.service.setting_kinds import Address, NatsUrl, Period, Port, Token
from mesh.service.tls import Tls


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
    tls_cert: Path | None = Field(
        None,
        description="file with this service's certificate (PEM) for gRPC and the bus: with TLS_KEY and TLS_CA, "
        "both sides of a connection have to show one; unset is without TLS",
    )
    tls_key: Path | None = Field(None, description="file with the key of TLS_CERT (PEM), without a passphrase")
    tls_ca: Path | None = Field(
        None,
        validate_default=True,
        description="file with the certificates of the authorities that the parts of the mesh trust (PEM)",
    )

    @field_validator("tls_ca")
    @classmethod
    def _all_three(cls, ca: Path | None, info: ValidationInfo) -> Path | None:
        cert, key = info.data.get("tls_cert"), info.data.get("tls_key")
        if cert and key and ca:
            Tls(cert, key, ca)
        elif cert or key or ca:
            raise ValueError("expected all of TLS_CERT, TLS_KEY and TLS_CA, or none of them")
        return ca

    def tls(self) -> Tls | None:
        """Return the certificate for gRPC and the bus; None without TLS."""
        return None if self.tls_cert is None or self.tls_key is None else Tls(self.tls_cert, self.tls_key, self.tls_ca)


class BusSettings(MeshSettings):
    """What every service on the bus reads."""

    nats_url: NatsUrl = Field(
        SecretStr("nats://127.0.0.1:4222"),
        validate_default=True,
        description="the bus, with user and password (percent-encoded) or token where it wants them; several servers "
        "are separated by commas; `tls://` where TLS_CERT is set",
    )
    bus_replicas: int = Field(
        1,
        ge=1,
        le=5,
        description="on how many servers of the bus each stream is; more than one wants a cluster of so many",
    )
    partitions: int = Field(
        1,
        ge=1,
        le=16,
        description="in how many streams RAW and PROCESSED are, each with a writer of its own; what the mesh was begun "
        "with stays",
    )

    @field_validator("nats_url")
    @classmethod
    def _encrypted_where_the_rest_is(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        servers = nats_url.parse(url.get_secret_value())
        if info.data.get("tls_cert") is not None and not all(one.startswith("tls:") for one in servers.urls):
            raise ValueError(f"{servers.shown} would be asked without TLS: expected tls:// for each beside TLS_CERT")
        return url


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


def refuse_open_address(host: str, info: ValidationInfo) -> None:
    """Refuse an address that others than this machine reach when nobody is asked who they are.

    Call it from the validator of a service's address, a field declared after those of `AccessSettings`.

    Args:
        host: where the service listens; where PUBLISHED_HOST is set, that counts instead.
        info: of the validator, with the fields read so far.

    Raises:
        ValueError: naming the address and what to set.

    """
    reached = info.data.get("published_host") or host
    if info.data.get("api_token", "wrong itself") is None and not (
        is_loopback(reached) or info.data.get("allow_anonymous", True)
    ):
        raise ValueError(
            f"others than this machine reach {reached}, and no API_TOKEN is set: set one, or ALLOW_ANONYMOUS=true "
            "where everybody may change what is followed"
        )


def _asks_for_a_token(address: str, info: ValidationInfo) -> str:
    refuse_open_address(address.rpartition(":")[0], info)
    return address


ServiceAddress = Annotated[Address, AfterValidator(_asks_for_a_token)]
"""Where a service of `AccessSettings` listens; refused where others than this machine reach it and nobody asks who."""


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


S = TypeVar("S", bound=BaseSettings)


class WrongSettings(TickmeshError):
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
            hidden = "is not a" in error["msg"] or _is_secret(settings, name)
            found = "" if hidden else f" (found {_without_password(error['input'])!r})"
            lines.append(f"{name.upper()}: {error['msg'].removeprefix('Value error, ')}{found}")
        raise WrongSettings("\n".join(lines)) from None


def _without_password(value: object) -> object:
    return re.sub(r"(?<=://)[^/\s,]*@", "***@", value) if isinstance(value, str) else value


def _is_secret(settings: type[BaseSettings], name: str) -> bool:
    field = settings.model_fields.get(name)
    return field is not None and "SecretStr" in str(field.annotation)
