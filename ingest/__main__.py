"""`python -m ingest`: follow a venue and publish its trades on the bus."""

from __future__ import annotations

import sys

from ingest.service import main
from ingest.settings import IngestSettings
from mesh.service.cli import run

if __name__ == "__main__":
    sys.exit(run("ingest", IngestSettings, main, about="Follow a venue trade by trade and publish to the bus."))
