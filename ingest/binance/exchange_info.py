"""What Binance says can be traded: the answer of `/api/v3/exchangeInfo` -> values. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ingest.binance.page import Page, parted, read_one_by_one
from ingest.binance.unreadable import UNREADABLE
from ingest.messages import BadFrame, Instrument
from mesh.service.errors import BadMessage
from mesh.values.fixed import parse_e8
from mesh.values.symbols import parse_symbol

_Asset = Annotated[str, msgspec.Meta(max_length=40)]
_Status = Annotated[str, msgspec.Meta(pattern="^[A-Z_]{1,24}$")]


class _Filter(msgspec.Struct, gc=False):
    filterType: str = ""  # noqa: N815
    tickSize: str = ""  # noqa: N815
    stepSize: str = ""  # noqa: N815


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    status: _Status
    baseAsset: _Asset  # noqa: N815
    quoteAsset: _Asset  # noqa: N815
    filters: list[_Filter] = []


class _ExchangeInfo(msgspec.Struct, gc=False):
    symbols: list[_Symbol]


class _RawExchangeInfo(msgspec.Struct, gc=False):
    symbols: msgspec.Raw


_exchange_info = msgspec.json.Decoder(_ExchangeInfo)
_raw_exchange_info = msgspec.json.Decoder(_RawExchangeInfo)
_symbol = msgspec.json.Decoder(_Symbol)


def parse_exchange_info(body: bytes) -> Page[list[Instrument]]:
    """Read what is listed from `/api/v3/exchangeInfo`.

    `{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[
    {"filterType":"PRICE_FILTER","tickSize":"0.01000000"},{"filterType":"LOT_SIZE","stepSize":"0.00001000"}]}]}`

    A symbol whose name is none of ours or whose filters are no numbers is left out.

    Raises:
        BadMessage: not such an answer, or no symbol that can be read.

    """
    bad: tuple[BadFrame, ...] = ()
    try:
        symbols = _exchange_info.decode(body).symbols
    except UNREADABLE:
        try:
            raw = _raw_exchange_info.decode(body).symbols
            symbols, bad = parted(read_one_by_one(bytes(raw), _symbol.decode))
        except UNREADABLE as exc:
            raise BadMessage(f"exchangeInfo: {exc} (in {body[:80]!r})") from exc
    instruments = []
    for listed in symbols:
        by_type = {one.filterType: one for one in listed.filters}
        try:
            instruments.append(
                Instrument(
                    parse_symbol(listed.symbol),
                    listed.baseAsset,
                    listed.quoteAsset,
                    parse_e8(by_type.get("PRICE_FILTER", _Filter()).tickSize or "0"),
                    parse_e8(by_type.get("LOT_SIZE", _Filter()).stepSize or "0"),
                    listed.status,
                )
            )
        except ValueError:
            continue  # said in the docstring
    return Page(instruments, bad)
