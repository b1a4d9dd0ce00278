"""Which symbols are followed, and why."""

from __future__ import annotations

from ingest.binance.session import MAX_SYMBOLS
from ingest.followed_symbols import MAX_SELECTED, FollowedSymbols
from ingest.messages import Instrument


def traded(*symbols: str, status: str = "TRADING") -> list[Instrument]:
    return [Instrument(symbol, symbol[:-4].upper(), "USDT", 1, 1, status) for symbol in symbols]


def test_the_settings_symbols_are_followed_before_the_venue_has_said_anything() -> None:
    assert FollowedSymbols(["btcusdt", "ethusdt"], max_symbols=MAX_SYMBOLS).symbols == ("btcusdt", "ethusdt")


def test_a_selected_symbol_is_followed_too() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    following.learn(traded("btcusdt", "ethusdt"))
    assert following.select("ethusdt")
    assert following.symbols == ("btcusdt", "ethusdt")


def test_a_symbol_the_venue_does_not_trade_is_refused() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    following.learn(traded("btcusdt"))
    assert not following.select("nonsense")
    assert following.symbols == ("btcusdt",)


def test_before_the_venue_has_said_what_it_trades_a_selection_is_believed_and_dropped_later() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    assert following.select("nonsense")
    assert following.learn(traded("btcusdt")) == ["nonsense"]
    assert following.symbols == ("btcusdt",)


def test_what_the_settings_name_is_told_when_it_is_not_traded_but_stays() -> None:
    following = FollowedSymbols(["btcusdt", "haltusdt"], max_symbols=MAX_SYMBOLS)
    assert following.learn(traded("btcusdt")) == ["haltusdt"]
    assert following.symbols == ("btcusdt", "haltusdt")


def test_a_halt_is_no_reason_to_leave() -> None:
    following = FollowedSymbols(["btcusdt", "ethusdt"], max_symbols=MAX_SYMBOLS)
    following.learn(traded("btcusdt", "ethusdt"))
    assert following.learn(traded("btcusdt")) == []
    assert following.symbols == ("btcusdt", "ethusdt")


def test_a_selected_symbol_is_still_followed_after_a_halt_of_several_lists() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    following.learn(traded("btcusdt", "ethusdt"))
    following.select("ethusdt")
    for symbols in (["btcusdt"], ["btcusdt"], ["btcusdt"], ["btcusdt", "ethusdt"]):
        assert following.learn(traded(*symbols)) == []
    assert following.symbols == ("btcusdt", "ethusdt")


def test_symbols_of_the_settings_beyond_what_a_connection_carries_are_named() -> None:
    symbols = [f"coin{i}usdt" for i in range(MAX_SYMBOLS + 2)]
    following = FollowedSymbols(symbols, max_symbols=MAX_SYMBOLS)
    assert following.symbols == tuple(symbols[:MAX_SYMBOLS])
    assert following.left_out == tuple(symbols[MAX_SYMBOLS:])
    assert FollowedSymbols(symbols[:MAX_SYMBOLS], max_symbols=MAX_SYMBOLS).left_out == ()


def test_of_too_many_selections_the_first_go() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    symbols = [f"coin{i}usdt" for i in range(MAX_SELECTED + 2)]
    for symbol in symbols:
        following.select(symbol)
    assert following.symbols == ("btcusdt", *symbols[2:])


def test_a_selected_symbol_that_rests_after_a_start_stays_and_says_so() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    following.select("pepeusdt")
    assert following.learn(traded("btcusdt", "pepeusdt", status="BREAK")) == []
    assert following.symbols == ("btcusdt", "pepeusdt")
    assert following.resting == {"btcusdt": "BREAK", "pepeusdt": "BREAK"}
    following.learn(traded("btcusdt", "pepeusdt"))
    assert following.resting == {}


def test_a_symbol_that_an_earlier_list_held_stays_though_this_one_does_not_hold_it() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    following.remember(traded("btcusdt", "pepeusdt"))
    following.select("pepeusdt")
    assert following.learn(traded("btcusdt")) == []
    assert following.resting == {"pepeusdt": "UNLISTED"}
    assert [(one.symbol, one.status) for one in following.instruments][-1] == ("pepeusdt", "UNLISTED")


def test_until_the_venue_has_told_what_was_told_before_the_start_counts() -> None:
    following = FollowedSymbols(["btcusdt"], max_symbols=MAX_SYMBOLS)
    following.remember(traded("btcusdt", "pepeusdt"))
    assert [one.symbol for one in following.instruments] == ["btcusdt", "pepeusdt"]
    assert following.resting == {}


def test_several_instances_follow_more_symbols_than_one_connection_has_room_for() -> None:
    symbols = [f"c{number}usdt" for number in range(7)]
    following = FollowedSymbols(symbols, max_symbols=3, instances=2)
    assert following.symbols == tuple(symbols[:6])
    assert following.left_out == ("c6usdt",)
    assert following.here(lambda symbol: symbol in symbols[:3]) == tuple(symbols[:3])


def test_what_is_left_out_of_an_instances_symbols_are_the_settings_last_ones_and_never_a_selected_one() -> None:
    symbols = [f"c{number}usdt" for number in range(5)]
    following = FollowedSymbols(symbols, max_symbols=3, instances=2)
    assert following.select("c9usdt")
    assert following.here(lambda _: True) == ("c0usdt", "c1usdt", "c9usdt")
    assert following.left_out_here(lambda _: True) == ("c2usdt", "c3usdt", "c4usdt")
    assert following.left_out_here(lambda symbol: symbol in symbols[:2]) == ()
