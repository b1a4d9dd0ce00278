"""The command line of a service."""

from __future__ import annotations

import pytest

from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from mesh.service.cli import describe, run
from mesh.service.lifecycle import Stop
from mesh.service.settings import MeshSettings
from signalsvc.settings import SignalSettings
from store.settings import StoreSettings


async def never(settings: MeshSettings, stop: Stop) -> None:
    raise AssertionError("it was only asked for help")


@pytest.mark.parametrize("settings", [IngestSettings, SignalSettings, StoreSettings, GatewaySettings])
def test_every_setting_is_told_with_its_meaning(settings: type[MeshSettings]) -> None:
    text = describe(settings)
    for name, field in settings.model_fields.items():
        assert f"\n  {name.upper()}\n" in text
        assert field.description, name
        assert " ".join(field.description.split()) in " ".join(text.split())


def test_help_ends_without_starting_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("ingest", IngestSettings, never, about="Follow a venue.", arguments=["--help"])
    assert ended.value.code == 0
    assert "usage: python -m ingest" in capsys.readouterr().out


def test_an_argument_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("ingest", IngestSettings, never, about="Follow a venue.", arguments=["--symbol=x"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --symbol=x" in capsys.readouterr().err
