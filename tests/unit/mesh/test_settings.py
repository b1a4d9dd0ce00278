from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from mesh.local.settings import LocalSettings
from mesh.service.settings import WrongSettings, load
from signalsvc.settings import SignalSettings
from store.settings import StoreSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "NATS_URL",
        "DATABASE_URL",
        "DATABASE_READ_URL",
        "SYMBOL",
        "SYMBOLS",
        "VENUE",
        "BINANCE_WS_URL",
        "API_TOKEN",
        "LOG_LEVEL",
    ):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_follow_the_originals_six_coins() -> None:
    settings = load(IngestSettings)
    assert settings.symbols == ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "dogeusdt")


def test_lists_are_split_at_commas_lowered_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "BTCUSDT, ethusdt,btcusdt,")
    monkeypatch.setenv("BINANCE_WS_URL", "ws://127.0.0.1:9/,wss://a.example")
    settings = load(IngestSettings)
    assert settings.symbols == ("btcusdt", "ethusdt")
    assert settings.binance_ws_url == ("ws://127.0.0.1:9", "wss://a.example")


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE", "kraken")
    monkeypatch.setenv("SYMBOL", "btc/usdt")
    monkeypatch.setenv("BINANCE_WS_URL", "http://a.example")
    with pytest.raises(WrongSettings) as refused:
        load(IngestSettings)
    text = str(refused.value)
    assert "VENUE: Input should be 'auto', 'binance' or 'sim' (found 'kraken')" in text
    assert "SYMBOL: 'btc/usdt' is not a symbol" in text
    assert "BINANCE_WS_URL: 'http://a.example' is not a URL of ws or wss" in text


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://me:hunter2@db/x",
        "host=localhost password=hunter2 port=x",
        "host localhost password hunter2",
        "postgresql://me:hun/ter2@db/x@hunter2:/",
        "postgresql//me:hunt@hunter2@db/x",
        "postgresql://me:hunter2@db:99999/x",
        "postgresql://me:hunter2",
        "hunter2",
    ],
)
def test_a_wrong_secret_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("DATABASE_URL", wrong)
    with pytest.raises(WrongSettings, match=r"DATABASE_URL: .*is not a URL of postgresql or postgres") as refused:
        load(StoreSettings)
    assert "hunter2" not in str(refused.value)


def test_a_value_that_is_no_secret_is_shown_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_PORT", "99999")
    with pytest.raises(WrongSettings, match=r"NATS_PORT: .*\(found '99999'\)"):
        load(LocalSettings)


@pytest.mark.parametrize("variable", ["BINANCE_WS_URL=ws://h:99999", "BINANCE_REST_URL=http://h:port"])
def test_a_port_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings, match=rf"{name}: '{value}' is not a URL of .*: .*port"):
        load(IngestSettings)


def test_secrets_are_masked_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://store:hunter2@127.0.0.1/x")
    assert "hunter2" not in repr(load(GatewaySettings)) + repr(load(StoreSettings))


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "")
    assert len(load(IngestSettings).symbols) == 6


def test_each_signal_has_a_window_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SMA", "EMA", "VWAP", "BOLLINGER", "EXTREMES", "FLOW", "RATE", "VOLATILITY")
    for number, name in enumerate(names, 1):
        monkeypatch.setenv(f"{name}_WINDOW", str(number))
    monkeypatch.setenv("BOLLINGER_WIDTH", "2.5")
    settings = load(SignalSettings)
    assert settings.of_signals() == settings.periods() | {
        "moving_average_window": 1,
        "exponential_window": 2,
        "vwap_window": 3,
        "deviation_window": 4,
        "extremes_window": 5,
        "flow_window": 6,
        "rate_window": 7,
        "volatility_window": 8,
        "bollinger_width": 2.5,
    }


def test_the_indicators_have_periods_that_signal_and_store_share(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"rsi": 14, "atr": 14, "macd_fast": 12, "macd_slow": 26, "macd_signal": 9, "candle_ema": 20}
    defaults |= {"candle_sma": 20}
    assert load(SignalSettings).periods() == {f"{name}_period": period for name, period in defaults.items()}
    for name, period in defaults.items():
        monkeypatch.setenv(f"{name.upper()}_PERIOD", str(period + 1))
    changed = {f"{name}_period": period + 1 for name, period in defaults.items()}
    assert load(StoreSettings).periods() == changed
    assert load(SignalSettings).of_signals().items() >= changed.items()


@pytest.mark.parametrize("variable", ["MACD_FAST_PERIOD=26", "MACD_SLOW_PERIOD=12", "RSI_PERIOD=0", "ATR_PERIOD=4097"])
def test_a_period_out_of_range_stops_the_start(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings, match=name):
        load(SignalSettings)


@pytest.mark.parametrize(("name", "value"), [("EMA_WINDOW", "0"), ("RATE_WINDOW", "100001"), ("BOLLINGER_WIDTH", "0")])
def test_a_window_out_of_range_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings, match=name):
        load(SignalSettings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:p%40ss@a:5432,b:5433/x?target_session_attrs=read-write",
        "postgresql://me@a,b/x",
        "postgresql:///x?host=/var/run/postgresql&user=me",
        "postgresql://me@%2Fvar%2Frun%2Fpostgresql/x",
        "postgresql://me@db/x?options=-c%20search_path%3Dmine",
        "postgres://me@[::1]:5432/x?sslmode=require",
        "host=/var/run/postgresql dbname=x user=me password='p ss'",
    ],
)
def test_a_database_is_named_in_any_way_that_libpq_takes(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert load(StoreSettings).database_url.get_secret_value() == url


def test_copies_on_the_bus_are_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(StoreSettings).bus_replicas == 1
    monkeypatch.setenv("BUS_REPLICAS", "3")
    assert load(StoreSettings).bus_replicas == 3
    monkeypatch.setenv("BUS_REPLICAS", "six")
    with pytest.raises(WrongSettings, match="BUS_REPLICAS"):
        load(StoreSettings)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("postgresql://me@a,b/x", "read-write"),
        ("hostaddr=10.0.0.1,10.0.0.2 dbname=x", "read-write"),
        ("postgresql://me@a,b/x?target_session_attrs=any", "any"),
        ("postgresql://me@a/x", None),
    ],
)
def test_of_several_hosts_the_one_that_takes_writes_is_written(
    monkeypatch: pytest.MonkeyPatch, url: str, wanted: str | None
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    settings = load(StoreSettings)
    assert conninfo_to_dict(settings.write_url()).get("target_session_attrs") == wanted
    assert settings.read_url() == settings.write_url()
    monkeypatch.setenv("DATABASE_READ_URL", "postgresql://me@b/x")
    assert load(StoreSettings).read_url() == "postgresql://me@b/x"
