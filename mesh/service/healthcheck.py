"""`python -m mesh.service.healthcheck`: ask a service whether it serves; for containers without curl or grpcurl.

    python -m mesh.service.healthcheck grpc 127.0.0.1:50051 tickmesh.v1.SignalService
    python -m mesh.service.healthcheck metrics http://127.0.0.1:9464/metrics
    python -m mesh.service.healthcheck http http://127.0.0.1:8080/readyz

With TLS_CERT, TLS_KEY and TLS_CA in the environment, as the service has them, gRPC is asked with TLS.
Exit code 0 when it serves, else 1 and one line that says what came instead.
"""

from __future__ import annotations

import argparse
import ssl
import sys
import urllib.error
import urllib.request

LIMIT_S = 3.0
_MAX_ANSWER_BYTES = 2**20
_SERVING = "tickmesh_serving"


def main(arguments: list[str] | None = None) -> int:
    """Ask, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mesh.service.healthcheck", description="ask a service whether it serves"
    )
    kinds = parser.add_subparsers(required=True, metavar="kind")
    for kind, ask, wanted, where in (
        ("grpc", _ask_grpc, "grpc.health.v1 says SERVING", {"address": "host:port", "service": "full name"}),
        ("metrics", _ask_metrics, f"{_SERVING} is 1", {"url": "of /metrics"}),
        ("http", _ask_http, "the answer is a 2xx", {"url": "of anything"}),
    ):
        options = kinds.add_parser(kind, help=wanted)
        for name, meaning in where.items():
            options.add_argument(name, help=meaning)
        options.set_defaults(ask=ask)
    asked = vars(parser.parse_args(arguments))
    problem = asked.pop("ask")(**asked)
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


def serving_problem(metrics: str) -> str:
    r"""Return what speaks against serving in the text of a `/metrics`; "" when nothing does.

    >>> serving_problem("# TYPE tickmesh_serving gauge\ntickmesh_serving 1.0\n")
    ''
    """
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name == _SERVING:
            return "" if value.strip() in ("1", "1.0") else f"{_SERVING} is {value.strip()}"
    return f"no {_SERVING} among the metrics"


def _ask_http(url: str) -> str:
    return _get(url)[0]


def _ask_metrics(url: str) -> str:
    problem, text = _get(url)
    return problem or serving_problem(text)


def _get(url: str) -> tuple[str, str]:
    if not url.startswith(("http://", "https://")):
        return f"{url!r} is not a URL of http or https", ""
    # A service in this container is never behind the proxy of the environment. Its certificate is for the name by which
    # others know it; it is not looked at here, as Kubernetes' probes do not.
    unverified = ssl._create_unverified_context()  # noqa: S323
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(url, timeout=LIMIT_S) as answer:
            return "", answer.read(_MAX_ANSWER_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as exc:
        return f"{url} answers {exc.code}: {exc.read(500).decode(errors='replace')}", ""
    except OSError as exc:
        return f"{url} does not answer: {exc}", ""


def _ask_grpc(address: str, service: str) -> str:
    # Imported here: it takes longer than a whole check of the other kinds.
    import grpc  # noqa: PLC0415
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    from mesh.service.rpc import channel_credentials  # noqa: PLC0415
    from mesh.service.settings import MeshSettings, WrongSettings, load  # noqa: PLC0415

    request = health_pb2.HealthCheckRequest(service=service)
    try:
        tls = load(MeshSettings).tls()
    except WrongSettings as exc:
        return str(exc)
    options = [("grpc.enable_http_proxy", 0)]
    with (
        grpc.insecure_channel(address, options=options)
        if tls is None
        else grpc.secure_channel(address, channel_credentials(tls.current()), options=options) as channel
    ):
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=LIMIT_S)  # type: ignore[attr-defined]  # untyped
        except grpc.RpcError as exc:
            return f"{address} does not answer for {service}: {exc.code().name}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if status == "SERVING" else f"{service} is {status}"


if __name__ == "__main__":
    sys.exit(main())
