"""What one hears from the venue's REST in place of an answer, by what it means for who asked. Pure."""

from __future__ import annotations

from mesh.service.errors import TickmeshError


class RestError(TickmeshError):
    """The venue did not answer a question."""


class RestAway(RestError):
    """No host answers now; what was asked may well have an answer. Ask again after `again_after_s`."""

    def __init__(self, message: str, again_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.again_after_s = again_after_s


class RestRefused(RestError):
    """The same question will never be answered: no host offers it, or it is wrong."""


class RestNotOffered(RestRefused):
    """No host that lets us in has such a path."""
