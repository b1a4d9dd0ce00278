"""Page tokens (AIP-158): what was asked and where the next page begins, as text that only the store reads. Pure."""

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
    """What every token holds; a subclass adds its fields, and to `__post_init__` which values they may have."""

    venue: str
    symbol: str

    def __post_init__(self) -> None:
        parse_venue(self.venue), parse_symbol(self.symbol)


T = TypeVar("T", bound=Token)


class TokenCodec(Generic[T]):
    """Tokens of one kind as text and back.

    Args:
        kind: the tokens' class.

    """

    def __init__(self, kind: type[T]) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def write(self, token: T) -> str:
        """Return the text of a token."""
        return base64.urlsafe_b64encode(self._encode(token)).decode().rstrip("=")

    def read(self, text: str) -> T:
        """Return the token of a text that a client sent.

        Raises:
            InvalidRequest: it is no token of this kind.

        """
        try:
            if len(text) > _MAX_TOKEN:
                raise ValueError(f"{len(text)} characters")
            return self._decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, msgspec.MsgspecError, ValueError) as exc:
            message = "page_token is none of ours: send what an answer had as next_page_token"
            raise InvalidRequest(message, field="page_token") from exc


def require_same_query(parts: Iterable[tuple[str, object, object]]) -> None:
    """Make sure that a token belongs to the query it came with.

    Args:
        parts: the name of a part of the request, its value there, and its value in the token.

    Raises:
        InvalidRequest: a value differs.

    """
    for name, asked, carried in parts:
        if asked != carried:
            message = f"page_token belongs to another question: its {name} is not the request's"
            raise InvalidRequest(message, field="page_token")
