"""The loaded library."""

from __future__ import annotations

from pathlib import Path

from libsignal.declarations import ABI_VERSION, PROTOTYPES
from mesh.service import shared_library

BINDING = shared_library.LibraryBinding(
    Path(__file__).parent, "libsignal.so", ABI_VERSION, "lsig_abi_version", PROTOTYPES
)
LIBRARY = shared_library.load(BINDING)
