"""What of the environment would end whoever makes a TLS context, in whichever library; looked at once at a start."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

_KEY_LOG = "SSLKEYLOGFILE"


def unset_unusable(environ: MutableMapping[str, str]) -> list[str]:
    """Take out of an environment what cannot be used, and return a line for each that names it and says what to do.

    Python opens the file of SSLKEYLOGFILE for every default TLS context and raises where it cannot: also in a program
    that only wants to ask for `http://127.0.0.1`.
    """
    if not (path := environ.get(_KEY_LOG, "")):
        return []
    try:
        with Path(path).open("ab"):
            return []
    except (OSError, ValueError) as exc:  # ValueError: a name that no file can have
        del environ[_KEY_LOG]
        why = (exc.strerror if isinstance(exc, OSError) else "") or str(exc)
        return [f"{_KEY_LOG}={path} cannot be written: {why}; name another file, or unset it"]
