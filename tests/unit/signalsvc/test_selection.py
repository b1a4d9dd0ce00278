from __future__ import annotations

import pytest

from mesh.service.errors import InvalidRequest, NotFound, NotReady
from signalsvc.selection import Selection
from tickmesh.v1 import control_pb2


def catalog(*traded: str, followed: tuple[str, ...] = ("btcusdt",)) -> control_pb2.Catalog:
    instruments = [control_pb2.Instrument(symbol=symbol, base_asset=symbol[:-4].upper()) for symbol in traded]
    return control_pb2.Catalog(venue="binance", followed=followed, instruments=instruments)


def test_a_symbol_the_venue_trades_can_be_selected() -> None:
    selection = Selection("btcusdt")
    selection.learn(catalog("btcusdt", "adausdt"))
    assert selection.check("ADAUSDT") == "adausdt"
    assert selection.name("adausdt") == "ADA"


@pytest.mark.parametrize("text", ["ethusdt", "nonsense", "", "b/c"])
def test_a_symbol_the_venue_does_not_trade_is_refused(text: str) -> None:
    selection = Selection("btcusdt")
    selection.learn(catalog("btcusdt", "adausdt"))
    with pytest.raises(InvalidRequest):
        selection.check(text)


def test_without_a_list_of_instruments_the_originals_coins_and_the_followed_ones_can_be_selected() -> None:
    selection = Selection("btcusdt")
    selection.learn(catalog(followed=("adausdt",)))
    assert [selection.check("dogeusdt"), selection.check("adausdt")] == ["dogeusdt", "adausdt"]
    with pytest.raises(InvalidRequest, match="unknown symbol 'pepeusdt': binance does not trade it"):
        selection.check("pepeusdt")


def test_a_request_that_names_no_symbol_means_the_selected_one() -> None:
    assert Selection("solusdt").resolve("") == "solusdt"


def test_a_request_for_a_symbol_that_is_not_followed_is_refused() -> None:
    selection = Selection("btcusdt")
    selection.learn(catalog("btcusdt", "ethusdt"))
    with pytest.raises(NotFound, match="'ethusdt' is not followed"):
        selection.resolve("ethusdt")


def test_coins_are_the_originals_that_are_traded_then_what_else_is_followed() -> None:
    selection = Selection("btcusdt")
    selection.learn(catalog("adausdt", "ethusdt", "btcusdt", followed=("adausdt", "btcusdt")))
    assert selection.coins() == ["btcusdt", "ethusdt", "adausdt"]


def test_the_selected_coin_is_among_those_to_choose_from_though_the_venue_lists_it_no_more() -> None:
    selection = Selection("oldusdt")
    selection.learn(catalog("btcusdt", followed=("btcusdt",)))
    assert selection.coins() == ["btcusdt", "oldusdt"]


def test_no_venue_is_named_before_ingest_told() -> None:
    with pytest.raises(NotReady):
        Selection("btcusdt").response()


def test_before_ingest_told_a_symbol_is_not_known_yet_rather_than_unknown() -> None:
    selection = Selection("btcusdt")
    with pytest.raises(NotReady, match="is not known yet"):
        selection.resolve("adausdt")
    with pytest.raises(NotReady, match="is not known yet"):
        selection.coins()


def test_only_a_venue_that_another_one_took_the_place_of_is_left() -> None:
    selection = Selection("btcusdt")
    assert not selection.has_left("sim")  # nobody has told yet: its trades may come before its catalog
    selection.learn(control_pb2.Catalog(venue="sim"))
    assert not selection.has_left("sim")
    assert not selection.has_left("binance")
    selection.learn(catalog("btcusdt"))
    selection.learn(catalog("btcusdt", "adausdt"))
    assert selection.has_left("sim")
    assert not selection.has_left("binance")
    selection.learn(control_pb2.Catalog(venue="sim"))
    assert not selection.has_left("sim")
    assert selection.has_left("binance")


def test_a_symbol_that_the_next_venue_does_not_trade_is_replaced_once() -> None:
    selection = Selection("simusdt")
    selection.learn(control_pb2.Catalog(venue="sim", instruments=[control_pb2.Instrument(symbol="simusdt")]))
    assert selection.replacement() is None
    selection.learn(control_pb2.Catalog(venue="binance"))  # it has not told yet what it trades
    assert selection.replacement() is None
    selection.learn(catalog("btcusdt", "ethusdt", followed=("nonsense", "ethusdt")))
    assert selection.replacement() == "ethusdt"
    selection.learn(catalog("btcusdt"))  # a list without it, later
    assert selection.replacement() is None


def test_a_symbol_that_both_venues_trade_stays_selected() -> None:
    selection = Selection("btcusdt")
    selection.learn(control_pb2.Catalog(venue="sim"))
    selection.learn(catalog("btcusdt", "ethusdt"))
    assert selection.replacement() is None


def test_a_symbol_that_rests_can_be_selected_and_says_so() -> None:
    selection = Selection("btcusdt")
    assert selection.status("btcusdt") == ""
    told = catalog("btcusdt", "adausdt")
    told.instruments[1].status = "BREAK"
    selection.learn(told)
    selection.symbol = selection.check("adausdt")
    assert selection.response().status == "BREAK"
    assert [selection.status(symbol) for symbol in ("btcusdt", "goneusdt")] == ["TRADING", "UNLISTED"]


def test_only_a_venue_that_has_told_what_it_lists_refutes_a_symbol() -> None:
    selection = Selection("btcusdt")
    assert not selection.refutes("pepeusdt")
    selection.learn(catalog(followed=("btcusdt",)))
    assert not selection.refutes("pepeusdt")
    selection.learn(catalog("btcusdt", followed=("btcusdt", "followedusdt")))
    assert selection.refutes("pepeusdt")
    assert not selection.refutes("followedusdt")
