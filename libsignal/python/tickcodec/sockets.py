"""The same bytes to many clients, in one call."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from tickcodec.library import LIBRARY

__all__ = ["send_to_all"]

_send_to_all = LIBRARY.holding_gil.tickcodec_send_to_all


def send_to_all(sockets: Sequence[int], data: bytes) -> Sequence[int] | None:
    """Send the same bytes to all sockets, and wait for none.

    Args:
        sockets: file descriptors of stream sockets.
        data: what to send, at least a byte.

    Returns:
        How many bytes each of them took, 0 where it had no room or has an error that the next write to it will tell;
        None when all took everything.

    """
    numbers, sent = array("i", sockets), array("q", bytes(8 * len(sockets)))
    whole = _send_to_all(numbers.buffer_info()[0], len(numbers), data, len(data), sent.buffer_info()[0])
    return None if whole == len(numbers) else sent
