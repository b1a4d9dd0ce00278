"""Instruments: what a search finds, in which order, page by page, and how old the list is."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.errors import InvalidRequest, NotReady
from store.queries.instruments import list_instruments
from tickmesh.v1.control_pb2 import Catalog, Instrument
from tickmesh.v1.store_pb2 import ListInstrumentsRequest, ListInstrumentsResponse

LISTED_S = 1_780_000_000
HOUR_S = 3600


def catalog(*pairs: str, venue: str = "binance") -> Catalog:
    listed = Catalog(venue=venue, listed_time=Timestamp(seconds=LISTED_S))
    for pair in pairs:
        base, quote = pair.split("/")
        listed.instruments.add(
            symbol=(base + quote).lower(), base_asset=base, quote_asset=quote, tick_size_e8=10**6, step_size_e8=1000
        )
    return listed


PAIRS = ("WBTC/BTC", "ETH/BTC", "BTC/USDT", "BTC/EUR", "BTCST/USDT", "ETH/USDT", "币安人生/USDT")


def ask(listed: Catalog | None, *, now_s: int = LISTED_S, **fields: Any) -> ListInstrumentsResponse:
    return list_instruments(ListInstrumentsRequest(**fields), listed, now_us=now_s * 10**6)


def symbols(listed: Catalog, **fields: Any) -> list[str]:
    return [instrument.symbol for instrument in ask(listed, **fields).instruments]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("btc", ["btceur", "btcusdt", "btcstusdt", "ethbtc", "wbtcbtc"]),
        ("BTC/USDT", ["btcusdt", "btcstusdt"]),
        (" usdt  btc ", ["btcstusdt", "btcusdt"]),
        ("ETHBTC", ["ethbtc"]),
        ("人生", ["币安人生usdt"]),
        ("doge", []),
        ("eth-", ["ethbtc", "ethusdt"]),
    ],
)
def test_a_search_finds_what_has_each_word_the_best_first(q: str, found: list[str]) -> None:
    assert symbols(catalog(*PAIRS), q=q) == found


def test_an_instrument_has_its_sizes_and_says_whether_it_is_traded() -> None:
    listed = catalog("BTC/USDT")
    listed.instruments.add(symbol="oldusdt", base_asset="OLD", quote_asset="USDT", status="BREAK")
    response = ask(listed)

    assert list(response.instruments) == [
        Instrument(
            symbol="btcusdt",
            base_asset="BTC",
            quote_asset="USDT",
            tick_size_e8=10**6,
            step_size_e8=1000,
            status="TRADING",
        ),
        Instrument(symbol="oldusdt", base_asset="OLD", quote_asset="USDT", status="BREAK"),
    ]
    assert (response.venue, response.next_page_token) == ("binance", "")


@pytest.mark.parametrize("q", ["", "btc", "usdt"])
def test_pages_give_every_instrument_once_also_when_the_list_changes_between_them(q: str) -> None:
    whole = symbols(catalog(*PAIRS), q=q)
    first = ask(catalog(*PAIRS), q=q, page_size=2)
    later = catalog(*(pair for pair in PAIRS if pair.replace("/", "").lower() != whole[1]))
    rest, token = [], first.next_page_token
    while token:
        page = ask(later, q=q.upper(), page_size=2, page_token=token)
        rest += [instrument.symbol for instrument in page.instruments]
        token = page.next_page_token

    assert [*(instrument.symbol for instrument in first.instruments), *rest] == whole


def test_a_list_says_when_the_venue_sent_it_and_that_it_is_old() -> None:
    listed = catalog("BTC/USDT")
    fresh, old = ask(listed, now_s=LISTED_S + HOUR_S), ask(listed, now_s=LISTED_S + 3 * HOUR_S)
    listed.ClearField("listed_time")
    unknown = ask(listed)

    assert (fresh.listed_time.seconds, fresh.stale) == (LISTED_S, False)
    assert (old.listed_time.seconds, old.stale) == (LISTED_S, True)
    assert (unknown.HasField("listed_time"), unknown.stale) == (False, True)


@pytest.mark.parametrize("listed", [None, Catalog(venue="binance")])
def test_before_a_list_is_known_the_answer_says_so(listed: Catalog | None) -> None:
    with pytest.raises(NotReady, match="what the venue lists is not known yet"):
        ask(listed)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"page_token": "made up"}, "page_token is none of ours"),
        ({"q": "eth"}, "another question: its q"),
    ],
)
def test_nonsense_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    token = ask(catalog(*PAIRS), q="btc", page_size=1).next_page_token
    with pytest.raises(InvalidRequest, match=why):
        ask(catalog(*PAIRS), **{"page_token": token if "q" in fields else ""} | fields)


def test_a_token_is_refused_when_another_venue_is_followed() -> None:
    token = ask(catalog(*PAIRS), page_size=1).next_page_token
    with pytest.raises(InvalidRequest, match="its venue"):
        ask(catalog(*PAIRS, venue="sim"), page_token=token)
