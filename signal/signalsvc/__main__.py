"""`python -m signalsvc`: the signal service."""

from __future__ import annotations

import sys

from mesh.service.cli import run
from mesh.service.settings import SignalSettings
from signalsvc.service import main

if __name__ == "__main__":
    about = "Follow RAW in order, run every trade through libsignal, publish PROCESSED, serve SignalService."
    sys.exit(run("signal", SignalSettings, main, about=about, module="signalsvc"))
