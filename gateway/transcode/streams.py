"""How the messages of a streaming RPC are written over HTTP, and which way a client asks for. Pure.

    application/x-ndjson    {"result": {...}}                a line a message, `{"error": {...}}` where it breaks off
    text/event-stream       data: {...}                      an event a message, `event: error` where it breaks off

A stream that is broken off never looks like one that has ended: after the error there is no final chunk either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"\s*([!#$%&'*+.^_`|~\w-]+)/([!#$%&'*+.^_`|~\w-]+)\s*(;.*)?", re.ASCII)
_QUALITY = re.compile(r";\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """One way to write a stream; what stands around the JSON of a message, of an error, and what stands alone."""

    media_type: str
    message: tuple[bytes, bytes]
    error: tuple[bytes, bytes]
    heartbeat: bytes
    """Sent while there are no messages, so that everybody on the way sees that the connection lives."""
    end: bytes
    """Sent when the RPC has ended, before the final chunk."""


NDJSON = StreamFormat(
    media_type="application/x-ndjson",
    message=(b'{"result":', b"}\n"),
    error=(b'{"error":', b"}\n"),
    heartbeat=b"\n",
    end=b"",
)
SERVER_SENT_EVENTS = StreamFormat(
    media_type="text/event-stream",
    message=(b"data: ", b"\n\n"),
    error=(b"event: error\ndata: ", b"\n\n"),
    heartbeat=b":\n\n",
    # A browser's EventSource asks again after every end; one that knows of this event can close instead.
    end=b"event: end\ndata: {}\n\n",
)
FORMATS = (NDJSON, SERVER_SENT_EVENTS)


def choose(accept: str) -> StreamFormat | None:
    """Return the format that a client likes best, None when it takes none.

    Args:
        accept: the value of the header Accept, several joined by commas; "" when there is none. What cannot be read of
            it counts as not said.

    """
    if not accept.strip():
        return FORMATS[0]
    ranges = [match for match in map(_RANGE.fullmatch, accept.lower().split(",")) if match]
    liked = [(_quality(one.media_type, ranges), one) for one in FORMATS]
    quality, best = max(liked, key=lambda pair: pair[0])  # the first of equals
    return best if quality > 0 else None


def _quality(media_type: str, ranges: list[re.Match[str]]) -> float:
    """Return how much a type is liked, 0 to 1: by the most specific range that it is in (RFC 9110, 12.5.1)."""
    kind, _, subtype = media_type.partition("/")
    found = {
        (match[1] == kind) + (match[2] == subtype): match[3]
        for match in reversed(ranges)
        if (match[1], match[2]) in ((kind, subtype), (kind, "*"), ("*", "*"))
    }
    if not found:
        return 0.0
    quality = _QUALITY.search(found[max(found)] or "")
    return float(quality[1]) if quality else 1.0
