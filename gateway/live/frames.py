"""WebSocket text frames of a server, prepared once for all clients (RFC 6455, section 5).

A server does not mask, so that the same bytes are right for every client: making them once is what lets one trade go
to many clients for the price of a copy.
"""

from __future__ import annotations

from collections.abc import Iterable

_FIN_TEXT = b"\x81"  # "%x1 denotes a text frame", FIN set: one frame a message


class _Headers(dict[int, bytes]):
    def __missing__(self, length: int) -> bytes:
        header = self[length] = frame_header(length)
        return header


_headers = _Headers()  # of the lengths that trades have: a few hundred


def frame_header(length: int) -> bytes:
    """Return the header of an unmasked text frame with a payload of `length` bytes."""
    if length <= 125:
        return _FIN_TEXT + bytes([length])
    if length <= 0xFFFF:
        return _FIN_TEXT + b"\x7e" + length.to_bytes(2, "big")
    return _FIN_TEXT + b"\x7f" + length.to_bytes(8, "big")


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Return UTF-8 messages as consecutive text frames, one each."""
    parts: list[bytes] = []
    for message in messages:
        length = len(message)
        parts.append(_headers[length] if length < 1024 else frame_header(length))
        parts.append(message)
    return b"".join(parts)
