"""The shared library: where it is looked for, and what it must be.

A call that takes less than some 10 us is better made with the GIL held: giving it back means waiting for whatever other
Python thread took it meanwhile. So there are two faces of one library: `holding_gil` (PyDLL) for short columns and
`releasing_gil` (CDLL) for long ones.
"""

from __future__ import annotations

import ctypes
import os
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libsignal.declarations import ABI_VERSION, PROTOTYPES

PATH_VARIABLE = "LIBSIGNAL_PATH"
FILE_NAME = "libsignal.so"


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library, twice: see the top of this file."""

    path: str
    holding_gil: ctypes.PyDLL
    releasing_gil: ctypes.CDLL


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where the library may be, and why one looks there; a path without a slash is the loader's to find."""

    path: str
    reason: str


def candidates(environ: Mapping[str, str], package_folders: Sequence[str]) -> Iterator[Candidate]:
    """Tell where to look for the library, in order.

    Who sets LIBSIGNAL_PATH wants that very file, so nothing comes after it: a typo must not mean another library.
    """
    if chosen := environ.get(PATH_VARIABLE):
        yield Candidate(chosen, PATH_VARIABLE)
        return
    installed = [str(Path(sysconfig.get_path(name)) / "libsignal") for name in ("platlib", "purelib")]
    for folder in dict.fromkeys([*package_folders, *installed]):
        # In a folder of its own: in the package's, Python would take it for its extension module `libsignal.libsignal`.
        yield Candidate(str(Path(folder) / "lib" / FILE_NAME), "installed with the package")
    source = Path(__file__).parents[2]  # the repository's folder of libsignal
    yield Candidate(str(source / "build" / FILE_NAME), "the repository's own build")
    yield Candidate(f"{FILE_NAME}.{ABI_VERSION}", "the system's loader")


def load(environ: Mapping[str, str] = os.environ, package_folders: Sequence[str] = ()) -> Library:
    """Load the first library that is there and speaks our ABI.

    Raises:
        ImportError: there is none; the message names every attempt and what was wrong with it.
    """
    attempts = []
    for candidate in candidates(environ, package_folders):
        try:
            return open_library(candidate.path)
        except (OSError, ImportError) as exc:
            attempts.append(f"  {candidate.path} ({candidate.reason}): {exc}")
    raise ImportError("\n".join(["no usable libsignal; tried, in this order:", *attempts]))


def open_library(path: str) -> Library:
    """Load the library at `path` and declare its functions.

    Raises:
        OSError: it is not there, or is no shared library.
        ImportError: it is another library, or of another ABI version.
    """
    if "/" in path and not Path(path).is_file():
        raise FileNotFoundError("no such file")
    library = Library(path, ctypes.PyDLL(path), ctypes.CDLL(path))
    for face in (library.holding_gil, library.releasing_gil):
        try:
            version = _declared(face, "lsig_abi_version")()
            if version != ABI_VERSION:
                raise ImportError(f"{path} has ABI version {version}, expected {ABI_VERSION}")
            for name in PROTOTYPES:
                _declared(face, name)
        except AttributeError as exc:
            raise ImportError(f"{path} is another library: {exc}") from exc
    return library


def _declared(face: ctypes.CDLL, name: str) -> Any:  # a ctypes function pointer: its class is made per library
    function = getattr(face, name)
    function.restype, function.argtypes = PROTOTYPES[name]
    return function


LIBRARY = load(package_folders=[str(Path(__file__).parent)])
