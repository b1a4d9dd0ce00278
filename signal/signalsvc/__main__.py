"""`python -m signalsvc`: the signal service."""

from __future__ import annotations

import sys

from mesh.service.cli import run
from signalsvc.service import main
from signalsvc.settings import SignalSettings

if __name__ == "__main__":
    about = "Follow RAW in order, run every trade through libsignal, publish PROCESSED, serve SignalService."
    sys.exit(run("signal", SignalSettings, main, about=about, module="signalsvc"))
