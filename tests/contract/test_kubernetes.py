"""The manifests of Kubernetes, built as `kubectl apply -k` would, hold to the schemas of its API and to the code."""

from __future__ import annotations

import functools
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from mesh.bus.partitions import MAX_PARTITIONS
from mesh.local import postgres
from mesh.local.settings import SERVICES as SETTINGS
from store.service import SERVICE as STORE_SERVICE
from tickmesh.v1 import signal_pb2

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
OVERLAYS = sorted(
    path.parent.name for path in K8S.glob("*/kustomization.yaml") if path.parent.name not in ("base", "tls")
)
WITH_TLS = [overlay for overlay in OVERLAYS if overlay.endswith("-tls")]
VERSIONS = ("1.29", "1.37")
"""The oldest and the newest Kubernetes that the manifests are for."""
FOREIGN = {"Cluster", "Certificate", "Issuer"}
"""Kinds of operators: the schemas of Kubernetes do not have them."""
Resource = dict[str, Any]


@functools.cache
def built(overlay: str) -> list[Resource]:
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", K8S / overlay], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def named(overlay: str, *kinds: str) -> dict[str, Resource]:
    return {each["metadata"]["name"]: each for each in built(overlay) if each["kind"] in kinds}


def pods(overlay: str) -> dict[str, Resource]:
    """Return the pod templates of the overlay, by their label `app`."""
    workloads = named(overlay, "Deployment", "StatefulSet").values()
    return {each["spec"]["template"]["metadata"]["labels"]["app"]: each["spec"]["template"] for each in workloads}


def containers(overlay: str) -> Iterator[tuple[str, Resource]]:
    for app, pod in pods(overlay).items():
        for container in pod["spec"]["containers"]:
            yield app, container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_built_is_what_kubernetes_takes(overlay: str, version: str) -> None:
    for resource in built(overlay):
        if resource["kind"] not in FOREIGN:
            kubernetes_validate.validate(resource, version, strict=True)


def test_a_wrong_field_would_be_found() -> None:
    service = next(iter(named("one", "Service").values()))
    with pytest.raises(kubernetes_validate.ValidationError, match="portz"):
        kubernetes_validate.validate(service | {"spec": {"portz": []}}, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_in_one_namespace_and_has_its_container_limited(overlay: str) -> None:
    assert {each["metadata"].get("namespace") for each in built(overlay)} == {"tickmesh"}
    for app, container in containers(overlay):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), app
        assert "memory" in container["resources"]["limits"], app
        assert container["securityContext"]["readOnlyRootFilesystem"], app
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, app
    for app, pod in pods(overlay).items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"], app
        assert not pod["spec"]["automountServiceAccountToken"], app
        assert not pod["spec"]["enableServiceLinks"], app


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_variable_is_made_of_those_before_it(overlay: str) -> None:
    """Kubernetes leaves `$(NAME)` as it stands where NAME comes later: then that is the password."""
    for app, container in containers(overlay):
        known: set[str] = set()
        for variable in container.get("env", ()):
            assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= known, (app, variable["name"])
            known.add(variable["name"])
        for argument in container.get("args", ()):
            assert set(re.findall(r"\$\((\w+)\)", argument)) <= known, (app, argument)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SETTINGS)
def test_what_a_service_is_set_to_is_something_it_reads(overlay: str, service: str) -> None:
    [container] = pods(overlay)[service]["spec"]["containers"]
    parts = {"NATS_SCHEME", "NATS_USER", "NATS_PASSWORD", "STORE_PASSWORD"}  # of URLs
    given = {variable["name"] for variable in container["env"]} - parts
    assert given - {name.upper() for name in SETTINGS[service].model_fields} == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_word_of_a_secret_is_made_by_what_the_readme_says(overlay: str) -> None:
    text = (K8S / "README.md").read_text().replace("\\\n", " ")
    made = {
        (name, key)
        for name, options in re.findall(r"create secret generic (\S+) (.*)", text)
        for key in re.findall(r"--from-literal=([\w-]+)=", options)
    }
    wanted = {
        (variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"])
        for _, container in containers(overlay)
        for variable in container.get("env", ())
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert wanted
    assert wanted - made == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_says_by_itself_whether_it_works(overlay: str) -> None:
    found = dict(containers(overlay))
    for app, container in found.items():
        assert "readinessProbe" in container, app
        assert "livenessProbe" in container or app == "timescaledb", app  # postgres ends by itself
    signal_service = signal_pb2.DESCRIPTOR.services_by_name["SignalService"].full_name
    for app, port, service in (("store", 50052, STORE_SERVICE), ("signal", 50051, signal_service)):
        probe = found[app]["readinessProbe"]
        if overlay in WITH_TLS:  # Kubernetes' own probe of gRPC knows no TLS
            asked = ["mesh.service.healthcheck", "grpc", f"127.0.0.1:{port}", service]
            assert probe["exec"]["command"] == ["python", "-m", *asked]
            assert "grpc" not in probe
        else:
            assert probe["grpc"] == {"port": port, "service": service}
    assert found["gateway"]["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for probe in ("readinessProbe", "livenessProbe"):
        scheme = found["gateway"][probe]["httpGet"].get("scheme", "HTTP")
        assert scheme == ("HTTPS" if overlay in WITH_TLS else "HTTP")
    for service in SETTINGS:
        assert found[service]["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_in_a_cluster_one_of_each_may_go_and_nothing_is_on_one_node_alone() -> None:
    workloads = named("cluster", "Deployment", "StatefulSet")
    replicas = {name: each["spec"]["replicas"] for name, each in workloads.items()}
    assert replicas == {"nats": 3, "gateway": 3, "ingest": 2, "signal": 2, "store": 2}
    for name, workload in workloads.items():
        assert "podAntiAffinity" in workload["spec"]["template"]["spec"]["affinity"], name
    limits = {
        name: (each["spec"]["selector"]["matchLabels"]["app"], each["spec"]["maxUnavailable"])
        for name, each in named("cluster", "PodDisruptionBudget").items()
    }
    assert limits == {name: (name, 1) for name in replicas}
    # The gateways follow each of them, and the name has to have their addresses, those of who is not ready among them.
    [gateway] = pods("cluster")["gateway"]["spec"]["containers"]
    addresses = {"SIGNAL_ADDR": "dns:///signal:50051", "STORE_ADDR": "dns:///store:50052"}
    assert addresses.items() <= {each["name"]: each.get("value") for each in gateway["env"]}.items()
    for name in ("signal", "store"):
        service = named("cluster", "Service")[name]["spec"]
        assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True), name
    for _, container in containers("cluster"):
        given = {variable["name"]: variable.get("value", "") for variable in container.get("env", ())}
        assert len(given.get("NATS_URL", "a,b,c").split(",")) == 3
        assert ("NATS_URL" in given) == (given.get("BUS_REPLICAS") == "3")


def test_in_a_cluster_all_share_the_partitions_and_are_replaced_one_after_the_other() -> None:
    workloads = named("cluster", "Deployment")
    counts = set()
    for service in ("ingest", "signal", "store"):
        spec = workloads[service]["spec"]
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
        [container] = spec["template"]["spec"]["containers"]
        [partitions] = [int(each["value"]) for each in container["env"] if each["name"] == "PARTITIONS"]
        assert spec["replicas"] <= partitions <= MAX_PARTITIONS
        counts.add(partitions)
    assert len(counts) == 1
    # With one partition a second instance only waits, and would never be ready while the first one lives.
    for name in ("ingest", "signal", "store"):
        assert named("one", "Deployment")[name]["spec"]["strategy"] == {"type": "Recreate"}


def test_the_database_of_the_cluster_is_the_one_that_store_is_set_to() -> None:
    cluster = named("cluster", "Cluster")["database"]["spec"]
    [store] = pods("cluster")["store"]["spec"]["containers"]
    given = {variable["name"]: variable for variable in store["env"]}
    assert (
        given["STORE_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == cluster["bootstrap"]["initdb"]["secret"]["name"]
    )
    owner, name = cluster["bootstrap"]["initdb"]["owner"], cluster["bootstrap"]["initdb"]["database"]
    for url in ("DATABASE_URL", "DATABASE_READ_URL"):
        parts = conninfo_to_dict(given[url]["value"])
        assert (parts["user"], parts["dbname"], parts["sslmode"]) == (owner, name, "verify-full")
        folder = next(each["mountPath"] for each in store["volumeMounts"] if each["name"] == "database-ca")
        assert parts["sslrootcert"] == f"{folder}/ca.crt"
    explained = (ROOT / "docs" / "operations.md").read_text().partition("\n### Settings of PostgreSQL\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| everywhere \|", explained.partition("\n##")[0], re.MULTILINE)
    assert cluster["postgresql"]["parameters"] == dict(rows) | {"hot_standby_feedback": "on"}
    said = subprocess.run(
        [postgres.bin_directory() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    [major] = re.findall(r"PostgreSQL\) (\d+)", said.stdout)
    assert f"/postgresql:{major}-" in cluster["imageName"]


# TLS


@pytest.mark.parametrize("overlay", WITH_TLS)
def test_with_tls_every_part_has_a_certificate_for_the_names_by_which_it_is_asked(overlay: str) -> None:
    certificates = {each["spec"]["secretName"]: each["spec"] for each in named(overlay, "Certificate").values()}
    issuers = named(overlay, "Issuer")
    asked: dict[str, set[str]] = {}
    for _, host, _ in talks(overlay):
        asked.setdefault(host.rsplit(".", maxsplit=1)[-1], set()).add(host)
    for app in ("nats", *SETTINGS):
        pod = pods(overlay)[app]["spec"]
        [container] = pod["containers"]
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        [volume] = [each for each in pod["volumes"] if each["name"] == "tls"]
        [mount] = [each for each in container["volumeMounts"] if each["name"] == "tls"]
        assert mount["readOnly"]
        prefix = "NATS_" if app == "nats" else ""
        for name, file in (("TLS_CERT", "tls.crt"), ("TLS_KEY", "tls.key"), ("TLS_CA", "ca.crt")):
            assert given[prefix + name] == f"{mount['mountPath']}/{file}", app
        certificate = certificates[volume["secret"]["secretName"]]
        assert certificate["issuerRef"]["name"] in issuers
        assert {"server auth", "client auth"} == set(certificate["usages"])
        assert asked.get(app, set()) <= set(certificate["dnsNames"]), app
        assert certificate["ipAddresses"] == ["127.0.0.1"]  # the probes
        if "NATS_URL" in given:
            assert given["NATS_SCHEME"] == "tls"
            assert {url.partition(":")[0] for url in given["NATS_URL"].split(",")} == {"$(NATS_SCHEME)"}
    [store] = pods(overlay)["store"]["spec"]["containers"]
    for variable in store["env"]:
        if variable["name"].startswith("DATABASE_"):
            assert conninfo_to_dict(variable["value"])["sslmode"] == "verify-full"
    [nats] = pods(overlay)["nats"]["spec"]["containers"]
    [configured] = re.findall(r"/etc/tickmesh/(\S+\.conf)", " ".join(nats["args"]))
    assert "NATS_TLS_CERT" in (ROOT / "deploy" / "nats" / configured).read_text()
    [files] = [
        each["data"] for each in built(overlay) if each["metadata"]["name"].startswith("nats-") and "data" in each
    ]
    assert {configured, "run.sh"} <= set(files)
    included = {name for text in files.values() for name in re.findall(r'^include "(.+)"', text, re.MULTILINE)}
    assert included <= set(files)


# Who talks to whom


def is_meant(selector: Resource, labels: dict[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def lets(overlay: str, way: str, of: dict[str, str], other: dict[str, str], port: int) -> bool:
    """Return whether a policy lets pods with some labels reach, or be reached by, others of the namespace."""
    word = {"Egress": ("egress", "to"), "Ingress": ("ingress", "from")}[way]
    for policy in named(overlay, "NetworkPolicy").values():
        if not is_meant(policy["spec"]["podSelector"], of) or way not in policy["spec"]["policyTypes"]:
            continue
        for rule in policy["spec"].get(word[0], ()):
            if all(each["port"] != port for each in rule["ports"]):
                continue
            for peer in rule.get(word[1], ()):
                if "podSelector" in peer and is_meant(peer["podSelector"], other):
                    return True
    return False


def labels_of(overlay: str, host: str) -> dict[str, str]:
    """Return the labels of the pods behind a name."""
    name = host.rsplit(".", maxsplit=1)[-1]
    for cluster in named(overlay, "Cluster"):
        if name in (f"{cluster}-rw", f"{cluster}-ro"):
            return {"cnpg.io/cluster": cluster}
    selected: dict[str, str] = named(overlay, "Service")[name]["spec"]["selector"]
    return selected


def talks(overlay: str) -> Iterator[tuple[dict[str, str], str, int]]:
    """Give who is set to connect to which host and port."""
    for app, container in containers(overlay):
        labels = pods(overlay)[app]["metadata"]["labels"]
        texts = [variable.get("value", "") for variable in container.get("env", ())] + container.get("args", [])
        for text in texts:
            for host, port in re.findall(r"(?:^|[@,/])([a-z][\w.-]*):(\d+)", text):
                yield labels, host, int(port)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whoever_is_set_to_talk_to_another_may_and_both_policies_say_so(overlay: str) -> None:
    seen = set()
    for labels, host, port in talks(overlay):
        seen.add((labels["app"], host, port))
        other = labels_of(overlay, host)
        assert lets(overlay, "Egress", labels, other, port), (labels["app"], host, port)
        if "cnpg.io/cluster" not in other or named(overlay, "NetworkPolicy").get("database-cluster"):
            assert lets(overlay, "Ingress", other, labels, port), (labels["app"], host, port)
    assert {("gateway", "signal", 50051), ("gateway", "store", 50052)} <= seen
    assert {app for app, host, _ in seen if "nats" in host} >= {"ingest", "signal", "store"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_policy_is_about_pods_that_exist_and_ports_they_have(overlay: str) -> None:
    of = {app: pod["metadata"]["labels"] for app, pod in pods(overlay).items()}
    for name, policy in named(overlay, "NetworkPolicy").items():
        meant = [app for app, labels in of.items() if is_meant(policy["spec"]["podSelector"], labels)]
        assert meant or name in ("database", "database-cluster"), name
    everywhere = {labels["app.kubernetes.io/part-of"] for labels in of.values()}
    assert everywhere == {"tickmesh"}
    assert not lets(overlay, "Ingress", of["nats"], of["gateway"], 4222)
    assert not lets(overlay, "Egress", of["gateway"], of["nats"], 4222)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_plain_http_without_a_token_is_let_in_from_prometheus_alone_and_the_bus_monitoring_from_nobody(
    overlay: str,
) -> None:
    of = {app: pod["metadata"]["labels"] for app, pod in pods(overlay).items()}
    prometheus = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    for app, container in containers(overlay):
        ports = {port.get("name"): port["containerPort"] for port in container.get("ports", ())}
        for plain, allowed in (("metrics", [prometheus]), ("monitor", [])):
            if plain not in ports:
                continue
            policies = [
                policy["spec"]
                for policy in named(overlay, "NetworkPolicy").values()
                if is_meant(policy["spec"]["podSelector"], of[app]) and "Ingress" in policy["spec"]["policyTypes"]
            ]
            assert policies
            let_in = [
                rule["from"]
                for policy in policies
                for rule in policy.get("ingress", ())
                if any(each["port"] == ports[plain] for each in rule["ports"])
            ]
            assert let_in == allowed, (app, plain)
