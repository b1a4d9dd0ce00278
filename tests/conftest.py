"""What every test may ask for; each fixture stands in `tests/fixtures/` with its words."""

from __future__ import annotations

pytest_plugins = ("tests.fixtures.nats", "tests.fixtures.postgres", "tests.fixtures.services")
