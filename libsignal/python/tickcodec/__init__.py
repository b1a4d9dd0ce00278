"""libtickcodec for Python: what only has to be carried from one form to another, in C++, many trades a call.

`libsignal/codec/include/tickcodec.h` is the manual. The shared library is looked for at import
(`mesh.service.shared_library.candidates`); an import that finds none names every place.
"""

from __future__ import annotations

__all__ = ["batches", "columns", "copy_rows", "frames", "passing", "sockets", "ticks"]
