"""`python -m signalsvc`: run the signal service."""

from __future__ import annotations

import sys

from mesh.service import run
from mesh.settings import SignalSettings
from signalsvc.service import main

if __name__ == "__main__":
    sys.exit(run("signal", SignalSettings, main))
