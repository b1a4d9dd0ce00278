"""What is deployed speaks of what is: metrics by the names the code gives them, images by one name everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mesh.local.settings import SERVICES as SETTINGS
from tests.fixtures.compose import PUBLIC_IMAGES

ROOT = Path(__file__).parents[2]
SERVICES = ("mesh", "ingest", "signal", "store", "gateway")
NAME = r"tickmesh_(?:ingest|signal|store|gateway|rpc|serving)[a-z_]*"


@pytest.mark.parametrize("file", ["prometheus/alerts.yml", "grafana/tickmesh.json"])
def test_every_metric_that_is_watched_is_counted(file: str) -> None:
    code = "".join(path.read_text() for service in SERVICES for path in (ROOT / service).rglob("*.py"))
    counted = set(re.findall(f'"({NAME})"', code))
    watched = {name.removesuffix("_bucket") for name in re.findall(NAME, (ROOT / "deploy" / file).read_text())}
    assert watched
    assert watched - counted == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_of_a_service_can_be_set_with_compose(service: str) -> None:
    text = (ROOT / "compose.yaml").read_text()
    [block] = re.findall(rf"^  {service}:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    merged = re.search(r"<<: \[?((?:\*[a-z]+(?:, )?)+)\]?\n", block.partition("environment:")[2])
    assert merged is not None
    anchors = re.findall(r"[a-z]+", merged[1])
    shared = [re.findall(rf"&{anchor}\b.*\n((?:  .*\n)+)", text)[0] for anchor in anchors]
    given = set(re.findall(r"^ +([A-Z_]+): ", "".join([block, *shared]), re.MULTILINE))

    assert {name.upper() for name in SETTINGS[service].model_fields} - given == set()


@pytest.mark.parametrize("image", PUBLIC_IMAGES)
def test_a_public_image_has_a_stand_in_of_its_name(image: str) -> None:
    wanted = (ROOT / "compose.yaml").read_text() + (ROOT / "Dockerfile").read_text()
    made = (ROOT / "deploy" / "docker" / "standins.sh").read_text()
    assert image in wanted
    assert f"_image={image}\n" in made


def test_the_image_holds_every_package_of_the_wheel() -> None:
    packages = re.search(r"wheel\.packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    folders = {package.partition("/")[0] for package in re.findall(r'"([^"]+)"', packages[1])}
    let_in = set(re.findall(r"^!([a-z]+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert folders == let_in


def test_whoever_runs_a_container_of_nats_starts_it_anew_when_it_is_not_well() -> None:
    """nats-server does not recover from a full disk by itself, and plain compose only shows who is unhealthy."""
    compose, kubernetes = (ROOT / "compose.yaml").read_text(), (ROOT / "deploy" / "k8s" / "nats.yaml").read_text()
    mounted = "./deploy/nats:/etc/tickmesh:ro"
    assert "command: [sh, /etc/tickmesh/run.sh, " in compose and mounted in compose
    assert re.search(r"livenessProbe: .*sh, /etc/tickmesh/alive\.sh, /data\b", kubernetes)
    assert "--from-file=deploy/nats\n" in (ROOT / "deploy" / "k8s" / "README.md").read_text()
    for script in ("run.sh", "alive.sh"):
        assert (ROOT / "deploy" / "nats" / script).is_file()
