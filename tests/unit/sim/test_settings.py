from __future__ import annotations

import math
from pathlib import Path

import pytest

from sim.instruments import INSTRUMENTS
from sim.pacing import Pace
from sim.settings import SettingsError, parse_settings


def test_the_defaults_are_the_six_instruments_on_loopback() -> None:
    settings = parse_settings([], {})

    assert settings.symbols == tuple(instrument.symbol for instrument in INSTRUMENTS)
    assert (settings.host, settings.ws_port, settings.rest_port) == ("127.0.0.1", 9443, 9080)
    assert (settings.rate, settings.pace) == (50, Pace.BURSTS)


def test_ports_come_from_the_environment_and_flags_win() -> None:
    settings = parse_settings(["--ws-port", "1"], {"SIM_WS_PORT": "2", "SIM_REST_PORT": "3"})

    assert (settings.ws_port, settings.rest_port) == (1, 3)


def test_a_tape_is_played_evenly_with_all_its_symbols() -> None:
    settings = parse_settings(["--tape", "x.jsonl"], {})

    assert (settings.tape, settings.pace, settings.symbols) == (Path("x.jsonl"), Pace.EVEN, None)


def test_flat_out() -> None:
    assert parse_settings(["--rate", "max"], {}).rate == math.inf


def test_symbols_are_lower_case_and_named_once() -> None:
    assert parse_settings(["--symbols", "ETHUSDT,btcusdt,ethusdt"], {}).symbols == ("ethusdt", "btcusdt")


def test_everything_wrong_is_said_at_once() -> None:
    arguments = ["--rate=fast", "--symbols=abc", "--ws-port=70000", "--count=-1", "--ping-s=0", "--pace=recorded"]

    with pytest.raises(SettingsError) as caught:
        parse_settings(arguments, {})

    flags = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert sorted(flags) == ["--count", "--pace", "--ping-s", "--rate", "--symbols", "--ws-port"]


@pytest.mark.parametrize("arguments", [["--keep-times"], ["--tape=x", "--pace=bursts"], ["--symbols=,"]], ids=" ".join)
def test_settings_that_contradict_each_other_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SettingsError):
        parse_settings(arguments, {})


def test_a_market_of_any_size_is_made_up_of_coins_with_a_number() -> None:
    symbols = tuple(f"coin{number}usdt" for number in range(1, 301))

    assert parse_settings(["--symbols", ",".join(symbols)], {}).symbols == symbols
