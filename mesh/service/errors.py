"""Every exception the services raise on purpose, in one tree, and their gRPC codes.

    TickmeshError                    here; its gRPC code is INTERNAL unless a line below names another
     +-- InvalidRequest              the request is wrong and always will be                  INVALID_ARGUMENT
     |    +-- UnknownSymbol          signalsvc.selection: a symbol that is not in the catalog
     +-- NotFound                    there is no such thing                                   NOT_FOUND
     +-- NotReady                    not now: an upstream is away or nothing has come yet     UNAVAILABLE
     +-- NotOwner                    another instance of this service knows                   FAILED_PRECONDITION
     +-- TooMany                     not so often, or no more of it                           RESOURCE_EXHAUSTED
     +-- BadMessage                  bytes from outside that are not what they should be      DATA_LOSS
     |    +-- BadFrame               ingest.messages: a frame or a row of the venue's
     +-- LeaseLostError              another instance of this service works now
     +-- LibraryError                libsignal refused
     |    +-- RefusedTrade           libsignal.errors: a trade it cannot take
     |    +-- UnusableCandle         libsignal.errors: a candle it cannot take
     |    +-- UnusableState          libsignal.errors: a saved state it cannot load
     +-- UnusableEntry               signalsvc.engine: a saved entry that cannot be used
     +-- WrongSettings               mesh.service.settings: environment variables are wrong
     +-- StreamGoneError             mesh.bus.publisher: the stream does not exist any more
     +-- ForeignPublisherError       mesh.bus.publisher: another writer of the same stream
     +-- StreamReplacedError         mesh.bus.reader: another stream of that name, or it lost its end
     +-- UnusableProxyError          ingest.proxies: a proxy of the environment that cannot be used
     +-- HandshakeError              ingest.websocket.venue_socket: the venue opened no WebSocket
     +-- VenueRequestError           ingest.http.errors: REST of the venue gave no answer
     |    +-- VenueUnavailable       ingest.http.errors: it does not answer now
     |    +-- RequestRejected        ingest.http.errors: it refused this request
     |         +-- EndpointNotOffered    ingest.http.errors: it does not have that path
     +-- HandshakeError              ingest.websocket.venue_socket: no WebSocket was opened
     +-- SharedSessionsError         store.database.connection: a pooler hands out other sessions
     +-- WrongSchemaError            store.database.migrations: a schema this code may not write into
     +-- PositionMovedError          store.intake.position: somebody else moved the position
     +-- BadInput                    gateway.errors: what an HTTP client sent cannot be read
     |    +-- BadField               gateway.errors: one field of it, named
     +-- MalformedRequest            gateway.live.protocol: a request of a client of `/ws` cannot be understood
     +-- HttpError                   gateway.errors: an answer with a status and a reason
     |    +-- UpstreamError          gateway.upstreams: a service behind the gateway failed
     +-- NotDirect                   gateway.live.direct_watch: an instance of signal is watched over gRPC
     +-- AlreadyRunning              mesh.local.state: another runner holds STATE_DIR
     +-- StateError                  mesh.local.state: STATE_DIR cannot be used
     +-- PortsTaken                  mesh.local.up:    ports of the settings are in use
     +-- PostgresError               mesh.local.postgres: the database's programs failed
     +-- SupervisorError             mesh.local.supervisor: supervisord failed
     +-- RepartitionError            mesh.local.repartition: the number of partitions is not changed

`mesh.service.lifecycle.Stopped` is no error and stands outside. The simulated exchange and the terminal know nothing of
the mesh and have errors of their own. Messages say what was found, what was expected and where; lower case, no full
stop.
"""

from __future__ import annotations

import grpc


class TickmeshError(Exception):
    """Whatever this project raises on purpose."""


class InvalidRequest(TickmeshError):
    """The caller's words are wrong; the same words will never do.

    Args:
        message: what was found and what is expected.
        field: the field of the request that it is about; "" when it is about several, or none.

    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotFound(TickmeshError):
    """There is no such thing."""


class NotReady(TickmeshError):
    """Not now: an upstream is away, or nothing has come yet."""


class NotOwner(TickmeshError):
    """Another instance of this service works in that partition: it knows the answer."""


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
    NotOwner: grpc.StatusCode.FAILED_PRECONDITION,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    BadMessage: grpc.StatusCode.DATA_LOSS,
}


def grpc_code(error: TickmeshError) -> grpc.StatusCode:
    """Return the gRPC code of an error: that of the nearest class that has one."""
    for cls in type(error).__mro__:
        if cls in GRPC_CODES:
            return GRPC_CODES[cls]
    return grpc.StatusCode.INTERNAL
