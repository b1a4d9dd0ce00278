"""The shared libraries of this project, by ctypes: where one is looked for, and what it must be.

A call that takes less than some 10 us is better made with the GIL held: giving it back means waiting for whatever other
Python thread took it meanwhile. So there are two faces of one library: `holding_gil` (PyDLL) for short columns and
`releasing_gil` (CDLL) for long ones.
"""

from __future__ import annotations

import ctypes
import os
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class LibraryBinding:
    """What a package expects of the shared library that it binds.

    Attributes:
        package: the package's folder; its name in capitals with `_PATH` is the variable that chooses another file.
        file_name: the library's.
        abi_version: what `version_function` must return.
        version_function: takes nothing and returns an int.
        prototypes: every function: its restype and argtypes.

    """

    package: Path
    file_name: str
    abi_version: int
    version_function: str
    prototypes: Mapping[str, tuple[Any, list[Any]]]

    @property
    def path_variable(self) -> str:
        """The environment variable by which a user chooses the library's file."""
        return f"{self.package.name.upper()}_PATH"


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


def candidates(binding: LibraryBinding, environ: Mapping[str, str]) -> Iterator[Candidate]:
    """Tell where to look for the library, in order.

    Who sets LIBSIGNAL_PATH wants that very file, so nothing comes after it: a typo must not mean another library.

    Args:
        binding: of the package that wants it.
        environ: the environment variables.

    """
    if chosen := environ.get(binding.path_variable):
        yield Candidate(chosen, binding.path_variable)
        return
    installed = [Path(sysconfig.get_path(name)) / binding.package.name for name in ("platlib", "purelib")]
    for folder in dict.fromkeys([binding.package, *installed]):
        # In a folder of its own: in the package's, Python would take it for its extension module `libsignal.libsignal`.
        yield Candidate(str(folder / "lib" / binding.file_name), "installed with the package")
    source = binding.package.parents[1]  # the repository's folder of libsignal
    yield Candidate(str(source / "build" / binding.file_name), "the repository's own build")
    yield Candidate(f"{binding.file_name}.{binding.abi_version}", "the system's loader")


def load(binding: LibraryBinding, environ: Mapping[str, str] = os.environ) -> Library:
    """Load the first library that is there and speaks our ABI.

    Args:
        binding: of the package that wants it.
        environ: the environment variables.

    Raises:
        ImportError: there is none; the message names every attempt and what was wrong with it.
    """
    attempts = []
    for candidate in candidates(binding, environ):
        try:
            return open_library(binding, candidate.path)
        except (OSError, ImportError) as exc:
            attempts.append(f"  {candidate.path} ({candidate.reason}): {exc}")
    raise ImportError("\n".join([f"no usable {binding.file_name}; tried, in this order:", *attempts]))


def open_library(binding: LibraryBinding, path: str) -> Library:
    """Load the library at `path` and declare its functions.

    Args:
        binding: of the package that wants it.
        path: of a file, or a name without a slash, which the system's loader looks for.

    Raises:
        OSError: it is not there, or is no shared library.
        ImportError: it is another library, or of another ABI version.
    """
    if "/" in path and not Path(path).is_file():
        raise FileNotFoundError("no such file")
    library = Library(path, ctypes.PyDLL(path), ctypes.CDLL(path))
    for face in (library.holding_gil, library.releasing_gil):
        try:
            version = _declared(binding, face, binding.version_function)()
            if version != binding.abi_version:
                raise ImportError(f"{path} has ABI version {version}, expected {binding.abi_version}")
            for name in binding.prototypes:
                _declared(binding, face, name)
        except AttributeError as exc:
            raise ImportError(f"{path} is another library: {exc}") from exc
    return library


def _declared(
    binding: LibraryBinding, face: ctypes.CDLL, name: str
) -> Any:  # a function pointer: its class is per library
    function = getattr(face, name)
    function.restype, function.argtypes = binding.prototypes[name]
    return function
