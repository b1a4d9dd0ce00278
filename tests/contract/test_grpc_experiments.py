"""gRPC reads its experiments once, when it is first imported: what we set must be there by then."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAY_WHAT_GRPC_FINDS = """
import importlib, os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ["GRPC_EXPERIMENTS"])

sys.meta_path.insert(0, Finder())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize("service", ["ingest", "signalsvc", "store", "gateway"])
@pytest.mark.parametrize(
    ("set_before", "found"), [(None, "-event_engine_client"), ("-work_stealing", "-work_stealing")]
)
def test_grpc_is_imported_without_its_event_engine_unless_the_user_wants_something_else(
    service: str, set_before: str | None, found: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    if set_before:
        environment["GRPC_EXPERIMENTS"] = set_before
    command = [sys.executable, "-c", SAY_WHAT_GRPC_FINDS, f"{service}.__main__"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines(), done.returncode) == ([found], 0), done.stderr


def test_grpc_knows_the_experiment_it_is_told_to_leave_out() -> None:
    # An unknown one is an error in the log of each service.
    program = "import mesh, grpc; grpc.insecure_channel('127.0.0.1:1').close()"
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "experiment" not in done.stderr
