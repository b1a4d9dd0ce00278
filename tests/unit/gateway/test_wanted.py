"""The parameters of `/ws`: which symbols a client wants."""

from __future__ import annotations

import pytest

from gateway.wanted import MAX_SYMBOLS, wanted_symbols


def test_no_parameter_means_the_selected_symbol() -> None:
    assert wanted_symbols([]) == (None, False)


def test_an_empty_list_means_the_selected_symbol_too() -> None:
    assert wanted_symbols([("symbols", " , ")]) == (None, False)


def test_symbols_come_in_any_case_separated_by_commas_or_named_again() -> None:
    pairs = [("symbols", "BTCUSDT, ethusdt"), ("symbols", "solusdt")]

    assert wanted_symbols(pairs) == (frozenset({"btcusdt", "ethusdt", "solusdt"}), False)


def test_a_star_among_them_means_every_symbol() -> None:
    assert wanted_symbols([("symbols", "btcusdt,*")]) == (None, True)


def test_another_parameter_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"unknown parameter 'symbol', expected symbols or token"):
        wanted_symbols([("symbol", "btcusdt")])


def test_a_word_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="btc/usdt"):
        wanted_symbols([("symbols", "btc/usdt")])


def test_more_symbols_than_a_client_may_name_are_refused_with_both_numbers() -> None:
    words = ",".join(f"coin{n}" for n in range(MAX_SYMBOLS + 1))

    with pytest.raises(ValueError, match=rf"{MAX_SYMBOLS + 1} symbols, expected at most {MAX_SYMBOLS}"):
        wanted_symbols([("symbols", words)])
