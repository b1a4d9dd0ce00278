"""`python -m store`: run the store service."""

from __future__ import annotations

import sys

from mesh.service import run
from mesh.settings import StoreSettings
from store.service import main

if __name__ == "__main__":
    sys.exit(run("store", StoreSettings, main))
