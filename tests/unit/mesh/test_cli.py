"""The command line of a service."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from mesh.service import cli
from mesh.service.lifecycle import Stop
from mesh.service.settings import MeshSettings
from signalsvc.settings import SignalSettings
from store.settings import StoreSettings

SERVICES = [IngestSettings, SignalSettings, StoreSettings, GatewaySettings]


async def never(settings: MeshSettings, stop: Stop) -> None:
    raise AssertionError("it was only asked for help")


def run(*arguments: str, settings: type[MeshSettings] = IngestSettings) -> int:
    return cli.run("ingest", settings, never, about="Follow a venue.", arguments=arguments)


@pytest.mark.parametrize("settings", SERVICES)
def test_help_tells_every_setting_with_its_meaning_and_its_name_in_the_environment(
    settings: type[MeshSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help", settings=settings)
    text = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for name, field in settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in text
        assert f"[{name.upper()}" in text
        assert field.description, name
        assert " ".join(field.description.split()) in text


@pytest.mark.parametrize("service", ["ingest", "signalsvc", "store", "gateway"])
def test_help_starts_no_service(service: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", service, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith(f"usage: python -m {service} ")
    assert asked.stderr == ""


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--nonsense=1"], ["btcusdt"], ["--symb", "ethusdt"]])
def test_an_argument_nobody_knows_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert f"unrecognized arguments: {' '.join(arguments)}" in capsys.readouterr().err


def test_an_option_counts_more_than_the_environment() -> None:
    # In a process of its own: a service that runs changes how this one logs and handles signals.
    program = """
import asyncio, sys
from ingest.settings import IngestSettings
from mesh.service import cli

async def show(settings, stop):
    print(settings.symbol, *settings.symbols, settings.max_id_jump)

arguments = ["--symbol", "BNBUSDT", "--max-id-jump=5000"]
sys.exit(cli.run("ingest", IngestSettings, show, about="Follow a venue.", arguments=arguments))
"""
    environment = os.environ | {"SYMBOL": "ethusdt", "SYMBOLS": "ethusdt,solusdt"}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "bnbusdt ethusdt solusdt 5000\n"), ran.stderr


def test_a_wrong_option_is_named_with_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--venue", "nasdaq") == 2
    assert "VENUE" in (told := capsys.readouterr().err)
    assert "nasdaq" in told


@pytest.mark.parametrize(
    ("settings", "option"),
    [(IngestSettings, "--nats-url"), (StoreSettings, "--database-url"), (GatewaySettings, "--api-token")],
)
def test_what_may_hold_a_password_is_taken_from_the_environment_alone(
    settings: type[MeshSettings], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(option, "nats://user:hunter2@127.0.0.1:4222", settings=settings)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert option[2:].replace("-", "_").upper() in told
    assert "hunter2" not in told
