"""Page tokens (AIP-158): what a question was and where its next page begins, as text that only we read. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from mesh.service.errors import InvalidRequest
from mesh.values.symbols import parse_symbol, parse_venue

_MAX_TOKEN = 512


class Token(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What every token says; a kind of its own adds its fields, and to `__post_init__` what they may be."""

    venue: str
    symbol: str

    def __post_init__(self) -> None:
        parse_venue(self.venue), parse_symbol(self.symbol)


T = TypeVar("T", bound=Token)


class Tokens(Generic[T]):
    """Tokens of one kind as text and back."""

    def __init__(self, kind: type[T]) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def write(self, token: T) -> str:
        """Return the text of a token."""
        return base64.urlsafe_b64encode(self._encode(token)).decode().rstrip("=")

    def read(self, text: str) -> T:
        """Return the token of a text that anybody may have sent. Raises: InvalidRequest."""
        try:
            if len(text) > _MAX_TOKEN:
                raise ValueError(f"{len(text)} characters")
            return self._decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, msgspec.MsgspecError, ValueError) as exc:
            raise InvalidRequest("page_token is none of ours: send what an answer had as next_page_token") from exc


def hold_to_question(parts: Iterable[tuple[str, object, object]]) -> None:
    """Compare each named part of a request with what its token carries. Raises: InvalidRequest: one is another."""
    for name, asked, carried in parts:
        if asked != carried:
            raise InvalidRequest(f"page_token belongs to another question: its {name} is not the request's")
