"""What the server answers to a message published to a stream. Pure."""

from __future__ import annotations

import msgspec

STREAM_FULL = 10077


class AckError(msgspec.Struct):
    """Why the stream did not take it."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    def __str__(self) -> str:
        return f"{self.description} ({self.err_code})"


class Ack(msgspec.Struct):
    """The sequence it got, or the error.

    `{"stream":"RAW","seq":7}` or `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},
    "stream":"RAW","seq":0}`.
    """

    seq: int = 0
    error: AckError | None = None


decode_ack = msgspec.json.Decoder(Ack).decode
