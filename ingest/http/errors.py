"""What comes in place of an answer over REST, by what it means for whoever asked. Pure.

VenueRequestError
 +-- VenueUnavailable        no host answers now; ask again later
 +-- RequestRejected         the same request will never be answered
      +-- EndpointNotOffered     no host that lets us in has that path
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mesh.service.errors import TickmeshError


class VenueRequestError(TickmeshError):
    """The venue did not answer a request."""


class VenueUnavailable(VenueRequestError):
    """No host answers now; what was asked may well have an answer. Ask again after `again_after_s`."""

    def __init__(self, message: str, again_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.again_after_s = again_after_s


class RequestRejected(VenueRequestError):
    """The same request will never be answered: no host offers it, or it is wrong."""


class EndpointNotOffered(RequestRejected):
    """No host that lets us in has such a path."""


class Reaction(Enum):
    """What to do after a refusal; the value says it to people."""

    ASK_AGAIN = "ask the next host now, all of them again later"
    LEAVE_HOST = "leave this host alone for 2 s, twice as long each time, up to 5 min; ask the next one now"
    NOT_OFFERED = "do not ask this host for that path for 5 min; ask the next one now"
    STAY_AWAY = "ask no host anything for as long as `Retry-After` says (1 s to 3 days; 60 s when it says nothing)"
    REJECTED = "the question is wrong: ask nobody again; the ids stay a hole, which the ledger asks for later"


@dataclass(frozen=True, slots=True)
class VenueRefusal:
    """An answer that is none, as the venue's adapter read it.

    Attributes:
        reaction: what to do.
        why: what it means, in a few words: "refuses this location".
        said: status, code and message as the venue gave them.
        away_s: for how long nothing may be asked; for STAY_AWAY.

    """

    reaction: Reaction
    why: str
    said: str
    away_s: float = 0.0
