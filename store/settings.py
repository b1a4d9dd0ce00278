"""Settings of store."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from mesh.service.settings import AccessSettings, IndicatorSettings, ServiceAddress


class StoreSettings(AccessSettings, IndicatorSettings):
    """Settings of store."""

    database_url: SecretStr = Field(
        SecretStr("postgresql://store@127.0.0.1:5433/tickmesh"),
        description="the database store writes: whatever psql takes, a socket's folder too; of several hosts the one "
        "that takes writes",
    )
    database_read_url: SecretStr | None = Field(
        None, description="where questions and exports are answered from, such as a standby; unset is DATABASE_URL"
    )
    store_addr: ServiceAddress = Field(
        "127.0.0.1:50052",
        description="where StoreService listens; for the gateway where it is found: `host:port`, several instances as "
        "`store-1:50052,store-2:50052`, or `dns:///store:50052` for every address of a name",
    )
    batch_max_trades: int = Field(10_000, ge=1, le=100_000, description="trades in one transaction at most")
    batch_max_age_ms: int = Field(
        1_000, ge=0, le=10_000, description="how long a trade, or a closed candle, waits for its transaction at most"
    )
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="how many whole days before today (UTC) trades are kept; unset is for ever"
    )

    @field_validator("database_url", "database_read_url")
    @classmethod
    def _as_libpq_takes_it(cls, secret: SecretStr | None) -> SecretStr | None:
        # Whatever libpq takes: a URL with one host or several, a socket's folder, options, or keywords and values.
        from psycopg import ProgrammingError  # noqa: PLC0415 - store alone has need of it
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

        if secret is None:
            return None
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

    def write_url(self) -> str:
        """Return where to write: with several hosts the one that takes writes, unless DATABASE_URL says which."""
        from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - see above

        url = self.database_url.get_secret_value()
        parts = conninfo_to_dict(url)
        if "," in f"{parts.get('host')}{parts.get('hostaddr')}" and "target_session_attrs" not in parts:
            return make_conninfo(url, target_session_attrs="read-write")
        return url

    def read_url(self) -> str:
        """Return where questions and exports are answered from: a standby, or where store writes."""
        if self.database_read_url is None:
            return self.write_url()
        return self.database_read_url.get_secret_value()
