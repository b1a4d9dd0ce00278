"""What every test may ask for; each fixture stands in `tests/fixtures/` with its words."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is: other tests run at the same time.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
# Of `make fuzz`: --hypothesis-profile=fuzz
settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)

pytest_plugins = ("tests.fixtures.nats", "tests.fixtures.postgres", "tests.fixtures.services")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run two tests more at once than there are processors with `-n auto`, because tests wait for processes."""
    return (os.cpu_count() or 1) + 2 if config.option.numprocesses == "auto" else None
