from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from term.asking import DAYS_AT_ONCE
from term.cells import text_of
from term.events import (
    BoardSeen,
    CoinPointed,
    ColumnPointed,
    Follow,
    KeyPressed,
    LoadCoins,
    LoadDay,
    Loaded,
    LoadHistory,
    LoadPrice,
    LoadSession,
    LoadStats,
    LoadTickSizes,
    RequestFailed,
    SelectCoin,
    StatusSeen,
    TapeSeen,
)
from term.keys import View
from term.model import Model
from term.values import Coin, SelectedSymbol, Stats, TickSizes, Trade
from term.view import clicked, draw, render
from tests.fixtures.term_scenes import (
    COINS,
    NOW,
    NOW_US,
    after,
    after_asking,
    connected,
    market,
    mesh_status,
    press,
    tick,
    trade,
)

GIVEN = tuple(coin.symbol for coin in COINS)
ETHEREUM = SelectedSymbol("ethusdt", "Ethereum (ETH)", "binance")


def seen(symbol: str, price: str, *, at_s: float = 61) -> BoardSeen:
    return BoardSeen((Trade(Decimal(price), symbol),), NOW_US + round(at_s * 1_000_000))


def sorted_by(column: str) -> Model:
    return after(market(), ColumnPointed(column))


def test_every_coin_that_is_followed_is_asked_for_at_once() -> None:
    coins = (*COINS[:2], replace(COINS[2], followed=False))
    _, effects = after_asking(connected(), Loaded(LoadCoins(), coins))
    assert effects == [Follow("btcusdt", ("btcusdt", "ethusdt"), status=True)]


def test_the_coins_stand_as_they_are_given() -> None:
    assert market().order == GIVEN


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("last", "xrpusdt", "bnbusdt"),
        ("session", "dogeusdt", "btcusdt"),
        ("volume", "dogeusdt", "btcusdt"),
        ("trades/s", "btcusdt", "dogeusdt"),
        ("coin", "bnbusdt", "solusdt"),
    ],
)
def test_a_column_sorts_in_both_directions(column: str, first: str, last: str) -> None:
    model = sorted_by(column)
    assert (model.order[0], model.order[-1]) == (first, last)
    assert after(model, ColumnPointed(column)).order == tuple(reversed(model.order))


def test_a_coin_without_a_price_stands_last_in_either_direction() -> None:
    coins = (Coin("newusdt", "New"), *COINS)
    model = after(sorted_by("last"), Loaded(LoadCoins(), coins))
    assert model.order[-1] == after(model, *press("S")).order[-1] == "newusdt"


def test_the_keys_go_through_all_columns() -> None:
    model, columns = market(), []
    for _ in range(9):
        model = after(model, *press("s"))
        columns.append(model.sorting.column)
    assert columns == ["coin", "last", "session", "24 h", "high", "low", "volume", "trades/s", ""]


def test_favourites_stand_above_the_others() -> None:
    model = after(sorted_by("last"), *press("G", "f"))
    assert model.order[0] == "bnbusdt"
    assert model.pointed == "bnbusdt"
    assert after(model, *press("f")).order[-1] == "bnbusdt"


def test_a_filter_applies_as_it_is_typed_and_ends_with_escape() -> None:
    model = after(market(), *press("/", *"coin"))
    assert model.order == ("btcusdt", "bnbusdt", "dogeusdt")
    assert after(model, *press("backspace", "backspace", "backspace", "backspace", *"SOL")).order == ("solusdt",)
    assert after(model, *press("enter")).order == model.order
    assert after(model, *press("esc")).order == GIVEN


def test_keys_are_text_while_one_types() -> None:
    model, effects = after_asking(market(), *press("/", "q"))
    assert (effects, model.sorting.filter) == ([], "q")
    assert after(model, *press("?")).view is View.HELP
    assert after(model, *press("?", "?")).prompt == model.prompt


def test_rows_hold_still_while_the_cursor_moves() -> None:
    model = after(sorted_by("last"), *press("j"), seen("solusdt", "9000000"), tick(62))
    assert model.order[0] == "xrpusdt"
    assert after(model, tick(65)).order[0] == "solusdt"
    assert after(model, tick(65)).pointed == model.pointed


def test_days_are_asked_for_a_few_at_a_time_and_only_of_what_is_seen() -> None:
    model, effects = after_asking(connected(), tick(1))
    days = [effect for effect in effects if isinstance(effect, LoadDay)]
    assert days == [LoadDay("btcusdt"), LoadDay("ethusdt")][:DAYS_AT_ONCE]
    _, effects = after_asking(model, RequestFailed(days[0], "no"), tick(1.5))
    assert [effect for effect in effects if isinstance(effect, LoadDay)] == [LoadDay("solusdt")]
    assert after_asking(after(connected(), *press("esc")), tick(1))[1] == []


def sessions(model: Model, at_s: float) -> list[str]:
    return [effect.symbol for effect in after_asking(model, tick(at_s))[1] if isinstance(effect, LoadSession)]


def test_the_session_is_asked_for_where_no_trade_tells_it_and_only_of_what_is_seen() -> None:
    assert sessions(connected(), 1) == ["btcusdt", "ethusdt"][:DAYS_AT_ONCE]
    assert sessions(after(connected(), *press("esc")), 1) == []
    assert sessions(market(), 62) == []  # trades have told it
    silent = BoardSeen((Trade(Decimal(5), "ethusdt", is_new=False),), NOW_US)
    told = Loaded(LoadSession("ethusdt"), Stats(high=Decimal(7), opened=Decimal(4)))
    model = after(connected(), silent, told, RequestFailed(LoadSession("btcusdt"), "no trade yet"))
    assert {"btcusdt", "ethusdt"}.isdisjoint(sessions(model, 1))
    assert sessions(model, 301)[0] == "btcusdt"
    assert "+25.00%" in text_of(render(after(model, tick(1))))


def test_a_trade_is_newer_than_the_session_that_was_asked_for() -> None:
    traded = BoardSeen((Trade(Decimal(9), "ethusdt", stats=Stats(high=Decimal(9), opened=Decimal(4))),), NOW_US)
    model = after(connected(), traded, Loaded(LoadSession("ethusdt"), Stats(high=Decimal(7), low=Decimal(3))))
    stats = model.line_of("ethusdt").stats
    assert (stats.high, stats.low) == (Decimal(9), Decimal(3))


@pytest.mark.parametrize("ahead_s", [0, 3600, -3600])
@pytest.mark.parametrize("told_first", [True, False])
def test_a_price_from_before_the_stream_began_has_the_age_that_the_clock_of_the_mesh_gives(
    ahead_s: int, *, told_first: bool
) -> None:
    mesh_us = NOW_US + ahead_s * 1_000_000
    status = StatusSeen(msgspec.structs.replace(mesh_status(), time=NOW + timedelta(seconds=ahead_s)))
    last = BoardSeen((Trade(Decimal(5), "ethusdt", time_us=mesh_us - 7_500_000_000, is_new=False),), NOW_US)
    new = BoardSeen((Trade(Decimal(6), "solusdt", time_us=mesh_us - 5000),), NOW_US)
    model = after(connected(width=200, height=50), *((status, last) if told_first else (last, status)), new, tick(10))
    rows = {row.split("(")[1][:3]: row for row in text_of(render(model)).splitlines() if "(" in row}
    assert rows["ETH"].rstrip().endswith("2h5min")
    assert rows["SOL"].rstrip().endswith("10s")


def test_a_price_that_is_told_again_after_a_loss_is_no_younger_for_that() -> None:
    model = after(market(), seen("ethusdt", "3000"))
    again = BoardSeen((Trade(Decimal(3000), "ethusdt", is_new=False),), NOW_US + 500_000_000)
    assert after(model, again).line_of("ethusdt").traded_us == NOW_US + 61_000_000


def test_prices_have_the_decimals_of_their_smallest_step_and_never_less_than_they_need() -> None:
    steps = TickSizes({"xrpusdt": 1, "ethusdt": 3, "dogeusdt": 2})
    text = text_of(render(after(market(), Loaded(LoadTickSizes(), steps))))
    assert all(part in text for part in (" 1,234,567.5 ", " 3,402.570 ", " 0.12345 ", " 152.31 ", " 61,861.50 "))


def test_what_the_venue_lists_is_read_until_every_coin_is_known() -> None:
    first = TickSizes({"btcusdt": 1, "etcusdt": 3}, "more")
    model, effects = after_asking(market(), Loaded(LoadTickSizes(), first))
    assert effects == [LoadTickSizes("more")]
    model, effects = after_asking(
        model, Loaded(LoadTickSizes("more"), TickSizes({c.symbol: 4 for c in COINS}, "even more"))
    )
    assert (effects, model.tick_decimals) == ([], {coin.symbol: 4 for coin in COINS})


def test_space_looks_at_a_coin_in_this_terminal_only() -> None:
    model, effects = after_asking(market(), *press("j", " "))
    assert (model.view, model.shown, model.selection) == (View.DASHBOARD, ETHEREUM, market().selection)
    assert effects[:3] == [LoadPrice(2, "ethusdt"), LoadStats(2, "ethusdt"), LoadHistory(2, "ethusdt")]
    assert effects[3:] == [Follow("ethusdt", GIVEN, status=True)]
    model = after(model, trade("61000", at_s=62), TapeSeen((Trade(Decimal(3000), "ethusdt", time_us=NOW_US),), NOW_US))
    assert model.quote.price == 3000


def test_enter_selects_for_everybody_and_ends_the_look() -> None:
    looking = after(market(), *press("j", " "))
    model, effects = after_asking(looking, *press("c", "j", "enter"))
    assert SelectCoin("solusdt") in effects
    assert model.looked is None


def test_trades_of_a_coin_that_is_no_longer_shown_are_dropped() -> None:
    model = after(market(), *press("j", " "), TapeSeen((Trade(Decimal(9), "btcusdt"),), NOW_US))
    assert model.tape == ()


def test_a_click_points_at_a_coin_and_at_a_column() -> None:
    canvas = draw(market())
    row = next(at for at, _, meaning in canvas.zones if meaning == CoinPointed("solusdt"))
    assert clicked(canvas, row, 50) == CoinPointed("solusdt")
    assert after(market(), CoinPointed("solusdt")).pointed == "solusdt"
    heads = {meaning.title: columns[0] for at, columns, meaning in canvas.zones if isinstance(meaning, ColumnPointed)}
    assert clicked(canvas, 2, heads["last"]) == ColumnPointed("last")


def test_a_click_on_the_help_line_is_its_key() -> None:
    canvas = draw(market())
    line = "".join(span.text for span in canvas.grid()[-1])
    assert clicked(canvas, 23, line.index("keys")) == KeyPressed("?")
    assert clicked(canvas, 23, line.index("Enter")) == KeyPressed("enter")
    assert clicked(canvas, 22, 5) is None


def test_a_paused_picture_stands_still_while_everything_goes_on() -> None:
    model = after(market(), *press("p"), seen("btcusdt", "1"), tick(90))
    assert (model.board["btcusdt"].price, model.now_us) == (Decimal("61861.5"), market().now_us)
    model = after(model, *press("s", "p"))
    assert (model.board["btcusdt"].price, model.sorting.column, model.live) == (1, "coin", None)
