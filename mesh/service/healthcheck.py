"""`python -m mesh.service.healthcheck`: ask a service whether it serves; for containers without curl or grpcurl.

    python -m mesh.service.healthcheck grpc 127.0.0.1:50051 tickmesh.v1.SignalService
    python -m mesh.service.healthcheck metrics http://127.0.0.1:9464/metrics
    python -m mesh.service.healthcheck http http://127.0.0.1:8080/readyz

Exit code 0 when it serves, else 1 and one line that says what came instead.
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request

LIMIT_S = 3.0
_MAX_ANSWER_BYTES = 2**20
_SERVING = "tickmesh_serving"


def main(arguments: list[str] | None = None) -> int:
    """Ask, and return the exit code."""
    asked = _parser().parse_args(arguments)
    problem = asked.ask(asked)
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


def _ask_http(asked: argparse.Namespace) -> str:
    return _get(asked.url)[0]


def _ask_metrics(asked: argparse.Namespace) -> str:
    problem, text = _get(asked.url)
    return problem or serving_problem(text)


def _get(url: str) -> tuple[str, str]:
    if not url.startswith("http://"):
        return f"{url!r} is not a URL of http", ""
    # A service in this container is never behind the proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=LIMIT_S) as answer:
            return "", answer.read(_MAX_ANSWER_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as exc:
        return f"{url} answers {exc.code}: {exc.read(500).decode(errors='replace')}", ""
    except OSError as exc:
        return f"{url} does not answer: {exc}", ""


def _ask_grpc(asked: argparse.Namespace) -> str:
    # Imported here: it takes longer than a whole check of the other kinds.
    import grpc  # noqa: PLC0415
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    request = health_pb2.HealthCheckRequest(service=asked.service)
    with grpc.insecure_channel(asked.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=LIMIT_S)  # type: ignore[attr-defined]  # untyped
        except grpc.RpcError as exc:
            return f"{asked.address} does not answer for {asked.service}: {exc.code().name}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if status == "SERVING" else f"{asked.service} is {status}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mesh.service.healthcheck", description="ask a service whether it serves"
    )
    kinds = parser.add_subparsers(required=True, metavar="kind")
    kind = kinds.add_parser("grpc", help="grpc.health.v1 says SERVING")
    kind.add_argument("address", help="host:port")
    kind.add_argument("service", help="full name")
    kind.set_defaults(ask=_ask_grpc)
    kind = kinds.add_parser("metrics", help=f"{_SERVING} is 1")
    kind.add_argument("url")
    kind.set_defaults(ask=_ask_metrics)
    kind = kinds.add_parser("http", help="the answer is a 2xx")
    kind.add_argument("url")
    kind.set_defaults(ask=_ask_http)
    return parser


if __name__ == "__main__":
    sys.exit(main())
