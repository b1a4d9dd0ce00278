"""The tree of errors, and their gRPC codes.

    TickmeshError
     +-- InvalidRequest      the caller's words are wrong; the same words will never do      INVALID_ARGUMENT
     +-- NotFound            no such thing                                                   NOT_FOUND
     +-- NotReady            not now: an upstream is away or nothing has come yet            UNAVAILABLE
     +-- TooMany             not so often, or no more of it; the same words will do later     RESOURCE_EXHAUSTED
     +-- BadMessage          bytes from outside that are not what they should be             DATA_LOSS
     +-- LibraryError        libsignal refused                                               INTERNAL
     +-- LeaseLostError      another instance of this service works now                      INTERNAL

Messages say what was found, what was expected and where; lower case, no full stop.
"""

from __future__ import annotations

import grpc


class TickmeshError(Exception):
    """Whatever this project raises on purpose."""


class InvalidRequest(TickmeshError):
    """The caller's words are wrong; the same words will never do."""


class NotFound(TickmeshError):
    """There is no such thing."""


class NotReady(TickmeshError):
    """Not now: an upstream is away, or nothing has come yet."""


class TooMany(TickmeshError):
    """Not so often, or no more of it: the same words will do later.

    Args:
        message: what there is too much of, and the bound.
        retry_after_s: after how long it is worth while to ask again.

    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadMessage(TickmeshError):
    """Bytes from outside that are not what they should be."""


class LibraryError(TickmeshError):
    """libsignal refused; the message is the library's."""


class LeaseLostError(TickmeshError):
    """Another instance of this service works now; this one ends its work and waits (`mesh/bus/leases.py`)."""


GRPC_CODES: dict[type[TickmeshError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    BadMessage: grpc.StatusCode.DATA_LOSS,
    LibraryError: grpc.StatusCode.INTERNAL,
}


def grpc_code(error: TickmeshError) -> grpc.StatusCode:
    """Return the gRPC code of an error: that of the nearest class that has one."""
    for cls in type(error).__mro__:
        if cls in GRPC_CODES:
            return GRPC_CODES[cls]
    return grpc.StatusCode.INTERNAL
