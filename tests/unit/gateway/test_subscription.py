"""The parameters of `/ws`: what a client wants to hear."""

from __future__ import annotations

import pytest

from gateway.live.subscription import MAX_SYMBOLS, Subscription, parse_subscription


def test_no_parameter_means_the_trades_of_the_selected_symbol() -> None:
    assert parse_subscription([]) == Subscription(symbols=None, everything=False, events=False)


def test_an_empty_list_means_the_selected_symbol_too() -> None:
    assert parse_subscription([("symbols", " , ")]) == Subscription()


def test_symbols_come_in_any_case_separated_by_commas_or_named_again() -> None:
    pairs = [("symbols", "BTCUSDT, ethusdt"), ("symbols", "solusdt")]

    assert parse_subscription(pairs) == Subscription(frozenset({"btcusdt", "ethusdt", "solusdt"}))


def test_a_star_among_them_means_every_symbol() -> None:
    assert parse_subscription([("symbols", "btcusdt,*")]) == Subscription(everything=True)


def test_events_come_for_the_asking() -> None:
    assert parse_subscription([("events", "true"), ("symbols", "*")]) == Subscription(everything=True, events=True)
    assert parse_subscription([("events", "false")]) == Subscription()


def test_a_word_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(ValueError, match="events is 'yes', expected true or false"):
        parse_subscription([("events", "yes")])


def test_another_parameter_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"unknown parameter 'symbol', expected symbols, events or token"):
        parse_subscription([("symbol", "btcusdt")])


def test_a_word_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="btc/usdt"):
        parse_subscription([("symbols", "btc/usdt")])


def test_more_symbols_than_a_client_may_name_are_refused_with_both_numbers() -> None:
    words = ",".join(f"coin{n}" for n in range(MAX_SYMBOLS + 1))

    with pytest.raises(ValueError, match=rf"{MAX_SYMBOLS + 1} symbols, expected at most {MAX_SYMBOLS}"):
        parse_subscription([("symbols", words)])
