"""Pages of what the venue lists, searched by words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

from mesh.service.errors import NotReady
from mesh.service.status import timestamp
from store.queries.fields import read_size
from store.queries.page_tokens import Token, TokenCodec, require_same_query
from tickmesh.v1 import control_pb2, store_pb2

DEFAULT_SIZE = 100
STALE_AFTER_US = 2 * 3600 * 10**6
"""Ingest reads the list every hour."""
_BETWEEN_WORDS = re.compile(r"[\s/_:-]+")


class _InstrumentToken(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    rank: int
    words: int
    """A checksum of the words: a token is short whatever is searched for."""


_tokens = TokenCodec(_InstrumentToken)


def list_instruments(
    request: store_pb2.ListInstrumentsRequest, catalog: control_pb2.Catalog | None, *, now_us: int
) -> store_pb2.ListInstrumentsResponse:
    """Return a page of instruments.

    The next page begins after the last instrument by rank and symbol, so it is right also when the list has changed.

    Args:
        request: what is asked for.
        catalog: what ingest told last; None while it has not.
        now_us: the time now, in microseconds since 1970 UTC.

    Raises:
        InvalidRequest: a token that is none or belongs to another query.
        NotReady: no list is known yet.

    """
    size = read_size(request, default=DEFAULT_SIZE)
    words = [word for word in _BETWEEN_WORDS.split(request.q.casefold()) if word]
    checksum = crc32(" ".join(words).encode())
    token = _tokens.read(request.page_token) if request.page_token else None
    if catalog is None or not catalog.instruments:
        raise NotReady("what the venue lists is not known yet: ingest has not published its list")
    after = (-1, "")
    if token is not None:
        require_same_query((("venue", catalog.venue, token.venue), ("q", checksum, token.words)))
        after = (token.rank, token.symbol)
    found = sorted((each for each in _matches(catalog, words) if each[:2] > after), key=lambda each: (each[0], each[1]))
    response = store_pb2.ListInstrumentsResponse(venue=catalog.venue)
    for _, _, instrument in found[:size]:
        listed = response.instruments.add()
        listed.CopyFrom(instrument)
        listed.status = instrument.status or "TRADING"
    if len(found) > size:
        rank, symbol, _ = found[size - 1]
        response.next_page_token = _tokens.write(_InstrumentToken(catalog.venue, symbol, rank, checksum))
    listed_us = catalog.listed_time.ToMicroseconds()
    if catalog.HasField("listed_time"):
        response.listed_time.CopyFrom(timestamp(listed_us))
    response.stale = now_us - listed_us > STALE_AFTER_US
    return response


def _matches(catalog: control_pb2.Catalog, words: list[str]) -> Iterator[tuple[int, str, control_pb2.Instrument]]:
    """Yield what is searched for with its rank and symbol."""
    text = "".join(words)
    for instrument in catalog.instruments:
        symbol, base, quote = instrument.symbol, instrument.base_asset.casefold(), instrument.quote_asset.casefold()
        if all(word in symbol or word in base or word in quote for word in words):
            rank = 0 if text in (symbol, base) else 1 if symbol.startswith(text) else 2
            yield rank, symbol, instrument
