from __future__ import annotations

from decimal import Decimal

import pytest

from term.alerts import Alert, parse
from term.cells import text_of
from term.events import Announce, BoardSeen, Effect
from term.model import Model
from term.values import Trade
from term.view import render
from tests.fixtures.term_scenes import NOW_US, after, after_asking, connected, press, tick, trade, trading

SECOND_US = 1_000_000


def rings(alert: Alert, *prices: str, every_s: int = 1) -> list[str]:
    """What an alert says while a coin goes through prices."""
    said = []
    for i, price in enumerate(prices):
        now_us = NOW_US + i * every_s * SECOND_US
        alert, why = alert.checked(Decimal(price), now_us, now_us)
        said.append(why)
    return said


@pytest.mark.parametrize(
    "text",
    [
        "btcusdt > 62000",
        "btcusdt < 0.00000638 again",
        "btcusdt 5% in 600s",
        "btcusdt stale 30s again",
    ],
)
def test_an_alert_is_written_as_it_is_read(text: str) -> None:
    assert parse(text).text == text


def test_an_alert_without_a_coin_is_of_the_one_that_is_shown() -> None:
    assert parse(" > 62,000.5 ", "btcusdt") == Alert("btcusdt", ">", Decimal("62000.5"))
    assert parse("2.5% in 1h", "ethusdt") == Alert("ethusdt", "%", Decimal("2.5"), 3600)


@pytest.mark.parametrize("text", ["", "btcusdt", "btcusdt = 3", "btcusdt > high", "> 3", "btcusdt 5% in 3y", "a > 1 b"])
def test_what_is_no_alert_is_told_with_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="expected one such as btcusdt > 62000"):
        parse(text)


@pytest.mark.parametrize("number", ["9" * 40, "1" + "0" * 19, "0", "0." + "0" * 20 + "1"])
@pytest.mark.parametrize("form", ["x > {}", "x < {} again", "x {}% in 10m"])
def test_a_number_that_no_price_has_is_told_and_not_watched(form: str, number: str) -> None:
    with pytest.raises(ValueError, match="expected a number between 1e-18 and 1e18"):
        parse(form.format(number))


@pytest.mark.parametrize("text", ["x 5% in 0m", "x stale 0s"])
def test_no_time_at_all_is_told_and_not_watched(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number between"):
        parse(text)


@pytest.mark.parametrize("level", ["999999999999999999", "0.000000000000000001"])
def test_every_number_that_is_watched_can_be_told(level: str) -> None:
    assert len([why for why in rings(parse(f"x > {level}"), "1000000000000000000") if why]) == 1


def test_a_price_of_nothing_is_no_move() -> None:
    assert not any(rings(parse("x 5% in 10s"), "0", "0", "100", "100"))


def test_a_level_rings_once() -> None:
    assert rings(parse("x > 100"), "99", "100", "100.01", "99", "101") == ["", "", "above 100", "", ""]


def test_a_level_rings_again_only_after_the_price_has_clearly_left_it() -> None:
    said = rings(parse("x < 100 again"), "99", "100.05", "99.9", "100.2", "99.9")
    assert said == ["below 100", "", "", "", "below 100"]


def test_a_move_rings_within_its_time_and_then_begins_anew() -> None:
    said = rings(parse("x 5% in 10s again"), "100", "104", "94.9", "95", "100", "95")
    assert [bool(why) for why in said] == [False, False, True, False, True, False]
    assert said[2].startswith("-8.75 % in 2 s")


def test_a_slow_move_does_not_ring() -> None:
    assert not any(rings(parse("x 5% in 10s"), "100", "103", "106", "109", every_s=11))


def test_silence_rings_and_ends_with_the_next_trade() -> None:
    alert = parse("x stale 30s again")
    alert, why = alert.checked(Decimal(1), NOW_US, NOW_US + 31 * SECOND_US)
    assert why == "no trade for 31 s"
    alert, why = alert.checked(Decimal(1), NOW_US + 32 * SECOND_US, NOW_US + 33 * SECOND_US)
    assert (why, alert.armed) == ("", True)


def announced(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Announce)]


def watching(*keys: str) -> Model:
    return after(connected(), *press("esc", "a", *["backspace"] * 80, *keys, "enter"))


def test_a_trade_of_the_selected_coin_rings() -> None:
    model, effects = after_asking(watching(*"> 100"), trade("100"), trade("101", at_s=1), trade("102", at_s=2))
    assert announced(effects) == ["Bitcoin (BTC) above 100"]
    assert model.notice == "alert: Bitcoin (BTC) above 100"


def test_a_coin_that_is_not_shown_rings_too() -> None:
    seen = BoardSeen((Trade(Decimal(5), "ethusdt"),), NOW_US)
    assert announced(after_asking(watching(*"ethusdt < 6"), seen)[1]) == ["Ethereum (ETH) below 6"]


def test_silence_rings_without_any_event_but_the_clock() -> None:
    model = after(watching(*"stale 30s"), trade("100"))
    assert announced(after_asking(model, tick(29), tick(31), tick(33))[1]) == ["Bitcoin (BTC) no trade for 31 s"]


def test_silence_of_a_coin_that_has_never_traded_here_rings_too() -> None:
    model = watching(*"stale 30s")
    assert announced(after_asking(model, tick(29))[1]) == []
    assert announced(after_asking(model, tick(31))[1]) == ["Bitcoin (BTC) no trade for 31 s"]


def test_an_alert_for_a_coin_that_the_mesh_does_not_follow_says_that_it_cannot_ring() -> None:
    model = after(trading(), *press("6", "a", *["backspace"] * 20, *"nopeusdt > 3", "enter"))
    assert model.notice == "watching: nopeusdt > 3; the mesh does not follow nopeusdt now"
    assert "unknown" in text_of(render(model))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("5% in 10m", "btcusdt 5% in 600s"),
        ("stale 30s again", "btcusdt stale 30s again"),
        ("<61000", "btcusdt < 61000"),
        (">61000", "btcusdt > 61000"),
    ],
)
def test_after_what_a_new_alert_begins_with_every_form_can_be_typed(typed: str, meant: str) -> None:
    model = after(connected(), *press("esc", "a", *typed, "enter"))
    assert [alert.text for alert in model.alerts] == [meant]


def test_a_wrong_alert_can_be_mended() -> None:
    model = watching(*"> high")
    assert model.alerts == ()
    assert model.prompt is not None
    assert "expected one such as" in model.notice


def test_an_alert_is_deleted() -> None:
    model = after(trading(), *press("6", "a", *"1", "enter", "a", *"2", "enter", "j", "d"))
    assert [alert.text for alert in model.alerts] == ["btcusdt > 1"]


def test_an_alert_is_changed_in_its_place() -> None:
    model = after(trading(), *press("6", "a", *"62000", "enter", "a", *["backspace"] * 2, *"< 5", "enter"))
    before = [alert.text for alert in model.alerts]
    model = after(model, *press("enter", "backspace", *"1 again", "enter"))
    assert [alert.text for alert in model.alerts] == ["btcusdt > 62001 again", *before[1:]]
    assert after(model, *press("j", "e", "backspace", *"x", "esc")).alerts == model.alerts
    assert after(trading(), *press("6", "enter")).prompt is None
