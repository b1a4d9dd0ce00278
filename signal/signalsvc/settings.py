"""Settings of signal."""

from __future__ import annotations

from pydantic import Field

from mesh.service.setting_kinds import Port, Symbol, Window
from mesh.service.settings import AccessSettings, IndicatorSettings, ServiceAddress


class SignalSettings(AccessSettings, IndicatorSettings):
    """Settings of signal."""

    signal_addr: ServiceAddress = Field(
        "127.0.0.1:50051",
        description="where SignalService listens; for the gateway where it is found: `host:port`, several instances as "
        "`signal-1:50051,signal-2:50051`, or `dns:///signal:50051` for every address of a name",
    )
    signal_direct_port: Port = Field(
        0,
        description="port, on the host of SIGNAL_ADDR, of the plain connections over which gateways are sent trades; 0 "
        "picks one, and gateways are told over gRPC. One that cannot connect there is sent them over gRPC",
    )
    symbol: Symbol = Field("btcusdt", description="the symbol selected at the first start")
    sma_window: Window = Field(20, description="trades in the moving average")
    ema_window: Window = Field(
        20, description="trades of the exponential average: a new price has the weight 2 / (window + 1)"
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
        60,
        ge=1,
        le=100_000,
        description="how many times a minute all clients together may select another symbol or reset a session",
    )
    processed_max_bytes: int = Field(
        4 * 2**30, ge=2**20, description="size limit of the stream PROCESSED; the oldest go first"
    )

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
