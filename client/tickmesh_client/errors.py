"""What can go wrong between a program and a gateway.

ClientError
 +-- WrongAddress       the address, the proxies or the certificates cannot be used
 +-- Unreachable        nothing answers at the address
 |    +-- TimedOut      nothing answered in time
 +-- RequestRefused     the gateway refuses the request as it is: 4xx
 |    +-- NotFound      there is no such thing: 404
 |    +-- NotAllowed    the token is missing or wrong: 401, 403
 +-- Unavailable        the gateway cannot answer now: 429 and 5xx
 +-- WrongAnswer        the answer is not one of a gateway
 +-- ExtraMissing       a package for tables is not installed
"""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Something went wrong between this program and a gateway; the text says what, and what to do next."""

    def __reduce__(self) -> tuple[Any, ...]:  # a pool of processes gives it to its caller pickled
        return _again, (type(self), self.args, vars(self))


class WrongAddress(ClientError, ValueError):
    """The address, or the proxies or certificates of this environment, cannot be used."""


class Unreachable(ClientError, ConnectionError):
    """Nothing answers at the address.

    Args:
        message: for people, with the next step.
        reason: why, in a few words.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class TimedOut(Unreachable, TimeoutError):
    """Nothing answered in time."""


class RequestRefused(ClientError):
    """The gateway refuses the request as it is; asking again gives the same answer.

    Args:
        message: what the gateway says, for people.
        status: the HTTP status.
        code: the gRPC code; 0 when there is none.
        field: the field or parameter that is wrong; empty when the gateway names none.
        found: what it found there; empty when it does not say.
        expected: what it expected there; empty when it does not say.
    """

    def __init__(
        self, message: str, *, status: int, code: int = 0, field: str = "", found: str = "", expected: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.found = found
        self.expected = expected


class NotFound(RequestRefused):
    """There is no such trade, symbol or address."""


class NotAllowed(RequestRefused):
    """The gateway wants a token, or another one."""


class Unavailable(ClientError):
    """The gateway cannot answer now, and could not after the attempts that were made; later it may.

    Args:
        message: what the gateway says, for people.
        status: the HTTP status.
        retry_after_s: after how many seconds the gateway wants to be asked again; None when it does not say.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class WrongAnswer(ClientError, ValueError):
    """The answer is not one that a gateway gives; the text says what was found, what was expected and where."""


class ExtraMissing(ClientError, ImportError):
    """A package that makes tables is not installed."""


def _again(kind: type[ClientError], args: tuple[object, ...], said: dict[str, object]) -> ClientError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(said)
    return error
