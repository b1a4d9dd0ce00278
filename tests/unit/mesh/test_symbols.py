"""What a symbol may be, and how it stands in subjects, keys and addresses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.binance.session import BinanceSession
from mesh.bus import subjects
from mesh.values.symbols import MAX_SYMBOL_BYTES, MAX_SYMBOL_CHARS, parse_symbol

TOKEN = re.compile(r"[a-z0-9-]+")
"""What a subject's token, a bucket's key and a header hold without a doubt."""


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("币安人生USDT", "币安人生usdt"),
        (" 币安人生usdt ", "币安人生usdt"),
        ("ÄÖÜEUR", "äöüeur"),
        ("ΩBTC", "ωbtc"),
        ("БИТ", "бит"),
    ],
)
def test_letters_of_any_script_make_a_symbol(text: str, symbol: str) -> None:
    assert parse_symbol(text) == symbol
    assert parse_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "text",
    [
        "币",
        "币 安",
        "币.安",
        "币>",
        "币*usdt",
        "币-usdt",
        "币/usdt",
        "币\x00安",
        "币\u200d安",
        "币\u202eusdt",
        "\ud800\ud800",
        "币" * (MAX_SYMBOL_CHARS + 1),
        "\U00020000" * (MAX_SYMBOL_BYTES // 4 + 1),
        "ＢＴＣ",  # full width: looks like BTC
        "x²usdt",
        "a\u0308usdt",  # two characters for one letter
        "ßusdt",  # SSUSDT in upper case
        "İusdt",
        "🚀🚀",
        "币" * 10**6,
    ],
)
def test_what_is_no_symbol_in_any_script_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol"):
        parse_symbol(text)


def test_a_symbol_of_ascii_is_its_own_token() -> None:
    assert subjects.raw_of_symbol("binance", "btcusdt") == "trades.raw.binance.btcusdt"


@given(st.text(min_size=2, max_size=8))
def test_every_symbol_has_a_token_of_its_own_that_is_safe_everywhere(text: str) -> None:
    try:
        symbol = parse_symbol(text)
    except ValueError:
        return
    token = subjects.token(symbol)
    assert TOKEN.fullmatch(token)
    assert subjects.symbol_of(token) == symbol
    assert (token == symbol) == symbol.isascii()
    assert parse_symbol(symbol.upper()) == symbol


def test_the_venue_is_asked_in_percent_escapes_in_the_address_and_in_letters_in_a_request() -> None:
    feed = BinanceSession("binance", ["币安人生usdt"], plain=True)
    assert feed.target == "/stream?streams=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade"
    feed = BinanceSession("binance", [], plain=True)
    feed.want(["币安人生usdt"])
    assert [request.decode() for request in feed.requests(0.0)] == [
        '{"method":"SUBSCRIBE","params":["币安人生usdt@trade"],"id":1}'
    ]
