"""What every test may ask for; each fixture stands in `tests/fixtures/` with its words."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Of `make fuzz`: --hypothesis-profile=fuzz
settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)

pytest_plugins = ("tests.fixtures.nats", "tests.fixtures.postgres", "tests.fixtures.services")
