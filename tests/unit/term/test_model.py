from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from term.cells import text_of
from term.events import (
    Connected,
    CoverageSeen,
    Disconnected,
    Event,
    Follow,
    FrameRefused,
    LoadCoins,
    Loaded,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    Quit,
    RequestFailed,
    Resized,
    SelectCoin,
    SelectionSeen,
    StatusSeen,
    TradesMissed,
    UpstreamSeen,
)
from term.formatting import zone_of
from term.keys import View
from term.stream_state import StreamStatus
from term.values import HistoryPage, SelectedSymbol, Stats, Trade
from term.view import render
from tests.fixtures.term_scenes import (
    BITCOIN,
    COINS,
    NOTHING_STORED,
    after,
    after_asking,
    connected,
    lost,
    mesh_status,
    page,
    press,
    reading,
    started,
    tick,
    trade,
    trading,
)
from tickmesh_client import SymbolFeed

ETHEREUM = SelectedSymbol("ethusdt", "Ethereum (ETH)", "binance")


# --- keys ---


@pytest.mark.parametrize(("keys", "row"), [("j", 1), ("jj", 2), ("jjk", 1), ("k", 0), ("G", 5), ("Gg", 0)])
def test_letters_move_the_cursor_in_the_coin_list(keys: str, row: int) -> None:
    assert after(connected(), *press(*keys)).cursor_row == row


@pytest.mark.parametrize(
    ("keys", "row"), [(["down"], 1), (["down", "up"], 0), (["end"], 5), (["pagedown"], 5), (["end", "pageup"], 0)]
)
def test_arrows_and_paging_keys_move_the_cursor_in_the_coin_list(keys: list[str], row: int) -> None:
    assert after(connected(), *press(*keys)).cursor_row == row


def test_the_cursor_begins_on_the_selected_coin() -> None:
    assert connected(selection=ETHEREUM).cursor_row == 1


def test_enter_selects_the_coin_and_shows_the_dashboard() -> None:
    model, effects = after_asking(connected(), *press("down", "enter"))
    assert (model.view, effects) == (View.DASHBOARD, [SelectCoin("ethusdt")])


def test_enter_on_the_selected_coin_asks_for_nothing() -> None:
    model, effects = after_asking(connected(), *press("enter"))
    assert (model.view, effects) == (View.DASHBOARD, [])


@pytest.mark.parametrize(
    ("key", "view"), [("c", View.COINS), ("h", View.HISTORY), ("?", View.HELP), ("esc", View.DASHBOARD)]
)
def test_a_key_of_the_dashboard_shows_another_view(key: str, view: View) -> None:
    assert after(trading(), *press(key)).view is view


@pytest.mark.parametrize("key", ["c", "h", "?"])
def test_esc_goes_back_to_the_dashboard(key: str) -> None:
    assert after(trading(), *press(key, "esc")).view is View.DASHBOARD


@pytest.mark.parametrize("key", ["c", "h", "?", "esc"])
def test_q_quits_from_every_view(key: str) -> None:
    _, effects = after_asking(after(trading(), *press(key)), *press("q"))
    assert effects == [Quit()]


def test_a_key_without_a_meaning_changes_nothing() -> None:
    model = trading()
    assert after_asking(model, *press("x", "enter", "r", "up")) == (model, [])


def test_r_asks_for_the_newest_page_of_history_and_goes_to_the_top() -> None:
    model = after(reading(), *press("pagedown"))
    model, effects = after_asking(model, *press("r"))
    assert (model.history.top, effects) == (0, [LoadHistory(1, "btcusdt")])


# --- history ---


@pytest.mark.parametrize(
    ("keys", "top"),
    [
        (["j"], (1, 0)),
        (["j", "k", "k"], (0, 0)),
        (["pagedown"], (18, 1)),
        ([" ", "b"], (0, 0)),
        (["G"], (99, 82)),
        (["G", "k"], (98, 82)),
        (["G", "g"], (0, 0)),
    ],
)
def test_keys_move_the_cursor_of_the_history_and_the_rows_follow(keys: list[str], top: tuple[int, int]) -> None:
    history = after(reading(), *press(*keys)).history
    assert (history.cursor, history.top) == top


def test_the_next_page_is_asked_for_near_the_end_and_only_once() -> None:
    _, effects = after_asking(reading(), *press("G", "j", "j"))
    assert effects == [LoadHistory(1, "btcusdt", "more")]


def test_an_older_page_goes_below_and_the_view_stays() -> None:
    model = after(reading(), *press("G"))
    model = after(model, Loaded(LoadHistory(1, "btcusdt", "more"), page(first=100, next_token="")))
    assert (len(model.history.trades), model.history.top, model.history.next_token) == (200, 82, "")


@pytest.mark.parametrize("next_token", ["newer", ""])
def test_an_older_page_asked_for_before_a_refresh_is_left_out_for_it_would_leave_a_hole(next_token: str) -> None:
    refreshed = Loaded(LoadHistory(1, "btcusdt"), page(first=-5000, next_token=next_token))
    model = after(reading(), *press("G", "r"), refreshed)
    late = LoadHistory(1, "btcusdt", "more")
    assert after(model, Loaded(late, page(first=100))) == model.answered(late)
    assert after(model, RequestFailed(late, "database away")) == model.answered(late)


def test_an_older_page_asked_for_before_a_refresh_is_asked_for_again_below_the_new_rows() -> None:
    refreshed = Loaded(LoadHistory(1, "btcusdt"), page(first=-5000, next_token="newer"))
    model = after(reading(), *press("G", "r"), refreshed)
    model = after(model, Loaded(LoadHistory(1, "btcusdt", "more"), page(first=100)))
    assert after_asking(model, *press("G"))[1] == [LoadHistory(1, "btcusdt", "newer")]


def test_at_the_end_of_history_nothing_more_is_asked_for() -> None:
    model = after(trading(), *press("h"), Loaded(LoadHistory(1, "btcusdt"), page(next_token="")))
    assert after_asking(model, *press("G", "j"))[1] == []


def test_a_history_that_failed_says_why_and_keeps_its_rows() -> None:
    model = after(reading(), *press("r"), RequestFailed(LoadHistory(1, "btcusdt"), "database away"))
    assert (model.history.error, len(model.history.trades)) == ("database away", 100)


def test_history_of_the_coin_before_is_dropped() -> None:
    model = after(reading(), SelectionSeen(ETHEREUM))
    model = after(model, Loaded(LoadHistory(1, "btcusdt", "more"), page()))
    assert model.history.trades == ()


def test_history_is_the_beginning_of_the_chart() -> None:
    model = after(connected(), trade("61900"), Loaded(LoadHistory(1, "btcusdt"), page(rows=10)))
    prices = model.quote.recent.prices
    assert (prices[0], prices[-1]) == (Decimal("61860.87"), Decimal("61900"))


# --- what everybody looks at ---


def test_a_coin_changed_elsewhere_changes_here_in_every_view() -> None:
    model, effects = after_asking(reading(), SelectionSeen(ETHEREUM))
    assert (model.selection, model.quote.price, model.history.trades) == (ETHEREUM, None, ())
    assert effects == [
        LoadPrice(2),
        LoadStats(2),
        LoadHistory(2, "ethusdt"),
        Follow("ethusdt", tuple(coin.symbol for coin in COINS), status=True),
    ]


def test_another_venue_begins_anew() -> None:
    model = after(trading(), SelectionSeen(replace(BITCOIN, venue="sim")))
    assert model.quote.price is None


def test_a_trade_of_another_coin_makes_us_ask_which_one_is_selected() -> None:
    model, effects = after_asking(connected(), trade("61861.5"), *[trade("3400", at_s=1, symbol="ethusdt")] * 3)
    assert (model.quote.price, effects) == (Decimal("61861.5"), [LoadSelection(1)])


def test_an_answer_from_before_the_switch_does_not_switch_back() -> None:
    model, _ = after_asking(trading(), trade("3400", at_s=61, symbol="ethusdt"), SelectionSeen(ETHEREUM))
    assert after(model, Loaded(LoadSelection(1), BITCOIN)).selection == ETHEREUM


def test_a_trade_alone_tells_the_coin_when_nothing_else_does() -> None:
    model = after(started(), Loaded(LoadCoins(), COINS), trade("3400", symbol="ethusdt"))
    assert model.selection == ETHEREUM


def test_a_trade_of_the_minimal_api_is_the_selected_coins() -> None:
    model = after(connected(selection=replace(BITCOIN, venue="")), trade("61000", symbol="", venue="", time_us=None))
    assert (model.quote.price, model.quote.delay_us) == (Decimal(61000), None)


def test_a_refused_selection_is_told_for_a_while() -> None:
    model = after(trading(), *press("c", "j", "enter"), RequestFailed(SelectCoin("ethusdt"), "not followed"))
    assert (model.notice, model.switching_to) == ("cannot select Ethereum (ETH): not followed", None)


# --- the quote ---


def test_a_price_flashes_when_it_changes_and_calms_down() -> None:
    model = after(connected(), trade("100"), trade("101", at_s=1))
    assert model.quote.direction == "up"
    assert model.quote.flashes(model.now_us)
    assert not model.quote.flashes(after(model, tick(1.5)).now_us)


def test_the_same_price_again_does_not_flash() -> None:
    model = after(connected(), trade("101"), trade("100", at_s=1), trade("100", at_s=3))
    assert model.quote.direction == "down"
    assert not model.quote.flashes(model.now_us)


def test_trades_are_counted_per_second() -> None:
    model = after(connected(), *[trade("100", at_s=i / 2) for i in range(20)], TradesMissed(20), tick(10))
    assert model.quote.rate(model.now_us) == 4.0


def test_delay_is_from_the_venues_time_to_our_receiving_it() -> None:
    assert after(connected(), trade("100", delay_s=0.25)).quote.delay_us == 250_000


def test_change_is_since_the_session_began_when_the_gateway_tells() -> None:
    model = after(connected(), trade("110", stats=Stats(opened=Decimal(100))))
    assert model.quote.change() == (Decimal(10), Decimal(10), True)


def test_what_came_with_the_trades_is_newer_than_what_was_asked_for() -> None:
    model = after(connected(), trade("100", stats=Stats(high=Decimal(105))))
    model = after(model, Loaded(LoadStats(1), Stats(high=Decimal(104), low=Decimal(90))))
    assert (model.quote.stats.high, model.quote.stats.low) == (105, 90)


def test_an_asked_price_fills_in_only_while_no_trade_has_come() -> None:
    asked = Loaded(LoadPrice(1), Trade(Decimal(99)))
    assert after(connected(), asked).quote.price == 99
    assert after(connected(), trade("100"), asked).quote.price == 100


INTERRUPTIONS = pytest.mark.parametrize(
    "interruption",
    [
        (Disconnected("gone", failures=1, retry_us=0), Connected()),
        (UpstreamSeen(unavailable=True), UpstreamSeen(unavailable=False)),
    ],
    ids=["stream lost", "source away"],
)


@INTERRUPTIONS
def test_after_an_interruption_price_and_statistics_are_asked_for(interruption: tuple[Event, ...]) -> None:
    _, effects = after_asking(after(connected(), trade("100")), *interruption)
    asked = [effect for effect in effects if not isinstance(effect, Follow)]
    assert asked == [LoadSelection(1), LoadStats(1), LoadPrice(1)]


@INTERRUPTIONS
def test_after_an_interruption_the_answers_are_newer_than_the_trades_before_it(
    interruption: tuple[Event, ...],
) -> None:
    model = after(connected(), trade("100", stats=Stats(high=Decimal(105), low=Decimal(90))), *interruption)
    assert (model.quote.price, model.quote.stats.high, model.quote.stats.low) == (100, 105, 90)
    model = after(model, Loaded(LoadPrice(1), Trade(Decimal(80))), Loaded(LoadStats(1), Stats(high=Decimal(101))))
    assert (model.quote.price, model.quote.direction, model.quote.stats) == (80, "down", Stats(high=Decimal(101)))
    assert model.quote.first == 100


def test_after_an_interruption_the_price_is_asked_for_until_a_trade_comes() -> None:
    model = after(trading(), Disconnected("gone", failures=1, retry_us=0), Connected())
    answers = [Loaded(LoadPrice(1), Trade(Decimal(price))) for price in (99, 98)]
    model, effects = after_asking(model, answers[0], tick(63), answers[1])
    assert (effects.count(LoadPrice(1)), model.quote.price) == (1, 98)
    model, effects = after_asking(model, trade("100", at_s=64), answers[0], tick(66))
    assert (effects.count(LoadPrice(1)), model.quote.price) == (0, 100)


def test_a_price_of_another_coin_is_not_shown_as_this_ones() -> None:
    model = after(trading(), Disconnected("gone", failures=1, retry_us=0), Connected())
    asked = Loaded(LoadPrice(1), Trade(Decimal(3400), symbol="ethusdt", venue="binance"))
    assert after(model, asked).quote.price == Decimal("61861.5")


# --- the stream ---


def test_a_new_link_is_connecting_until_it_is_open() -> None:
    model = after(started(), Disconnected("connection refused", failures=1, retry_us=0))
    assert model.status is StreamStatus.CONNECTING
    assert after(model, Connected()).status is StreamStatus.LIVE


def test_a_link_that_was_open_is_reconnecting() -> None:
    assert lost(trading()).status is StreamStatus.RECONNECTING


def test_a_link_without_trades_gets_stale_and_live_again() -> None:
    model = after(trading(), tick(75))
    assert model.status is StreamStatus.STALE
    assert after(model, trade("1", at_s=76)).status is StreamStatus.LIVE


def test_a_part_of_the_mesh_that_is_away_makes_the_link_stale_until_it_is_back() -> None:
    model = after(trading(), UpstreamSeen(unavailable=True))
    assert model.status is StreamStatus.STALE
    assert after(model, UpstreamSeen(unavailable=False)).status is StreamStatus.LIVE
    assert after(model, Disconnected("gone", failures=1, retry_us=0), Connected()).status is StreamStatus.LIVE


def test_refused_frames_are_counted() -> None:
    assert after(connected(), FrameRefused("x"), FrameRefused("y")).stream.refused == 2


# --- requests ---


def test_no_request_is_made_twice_at_a_time() -> None:
    model, effects = after_asking(after(connected(), *press("esc")), *[tick(s) for s in range(1, 20)])
    assert effects == [LoadSelection(1), LoadStats(1), LoadPrice(1)]
    assert model.outstanding.issuperset(effects)


def test_answered_requests_are_made_again_at_the_next_poll() -> None:
    _, effects = after_asking(connected(), tick(3), RequestFailed(LoadStats(1), "no answer in time"), tick(6))
    assert effects.count(LoadStats(1)) == 2


def test_coins_are_asked_for_until_they_come() -> None:
    model = after(started(), RequestFailed(LoadCoins(), "connection refused"))
    model, effects = after_asking(model, tick(3))
    assert effects == [LoadCoins()]
    model = after(model, Loaded(LoadCoins(), COINS))
    assert after_asking(model, tick(6))[1] == []


def test_a_smaller_terminal_keeps_the_history_filled() -> None:
    model = after(reading(), *press("G"), Resized(80, 60))
    assert model.history.top == 100 - 54


def test_history_goes_on_without_end_and_keeps_a_bounded_part_of_it() -> None:
    model, trades = after(reading(), *press("r"), Loaded(LoadHistory(1, "btcusdt"), numbered(0))), 1000
    for first in range(1000, 25_000, 1000):
        model, effects = after_asking(model, *press("G"))
        assert effects == [LoadHistory(1, "btcusdt", str(first))]
        trades = min(trades + 1000, 20_000)
        model = after(model, Loaded(LoadHistory(1, "btcusdt", str(first)), numbered(first)))
        assert len(model.history.trades) == trades
        assert model.history.trades[model.history.cursor].trade_id == 10**6 - (first - 1)  # where it was
    model = after(model, *press("G"))
    assert model.history.trades[model.history.cursor].trade_id == 10**6 - 24_999
    assert "25,000 of 25,000 fetched, more below" in text_of(render(replace(model, outstanding=frozenset())))
    model, effects = after_asking(replace(model, outstanding=frozenset()), *press("g"))
    assert effects == [LoadHistory(1, "btcusdt")]  # the newest are no longer here
    assert after(model, Loaded(LoadHistory(1, "btcusdt"), numbered(0))).history.trades[0].trade_id == 10**6


def numbered(first: int) -> HistoryPage:
    trades = (Trade(Decimal(1), "btcusdt", trade_id=10**6 - number) for number in range(first, first + 1000))
    return HistoryPage(tuple(trades), str(first + 1000))


def told(state: str, message: str = "") -> StatusSeen:
    return StatusSeen(mesh_status(SymbolFeed("btcusdt", state, message)))


@pytest.mark.parametrize("state", ["STALE", "GAP", "BLOCKED", "SIM", "OFFLINE"])
def test_the_mesh_says_how_it_stands_with_the_selected_coin(state: str) -> None:
    model = after(trading(), tick(60.5), told(state))
    assert model.status.name == state
    assert after(lost(model)).status is StreamStatus.RECONNECTING


def test_prices_of_a_simulated_exchange_are_never_called_live() -> None:
    simulated = replace(BITCOIN, venue="sim")
    model = after(connected(selection=simulated), *press("esc"), trade("100", venue="sim"))
    assert model.status is StreamStatus.SIM  # before the mesh has said how it is
    assert after(model, told("QUIET")).status is StreamStatus.SIM  # something was traded since it was asked
    assert after(model, tick(20)).status is StreamStatus.STALE
    assert after(model, told("GAP")).status is StreamStatus.GAP


def test_a_coin_is_quiet_when_the_mesh_says_so_and_nothing_has_just_arrived_here() -> None:
    assert after(trading(), tick(61), told("QUIET")).status is StreamStatus.LIVE
    model = after(trading(), tick(70), told("QUIET"))
    assert model.status is StreamStatus.QUIET
    assert after(model, trade("1", at_s=70.5)).status is StreamStatus.LIVE


@pytest.mark.parametrize("state", ["LIVE", "SIM"])
def test_what_does_not_arrive_here_is_stale_whatever_the_mesh_receives(state: str) -> None:
    assert after(trading(), tick(90), told(state)).status is StreamStatus.STALE


def test_what_the_mesh_said_before_a_reconnect_no_longer_counts() -> None:
    model = after(trading(), tick(60.5), told("GAP"), Disconnected("gone", failures=1, retry_us=0), Connected())
    assert model.status is StreamStatus.LIVE
    assert after(model, told("GAP")).status is StreamStatus.GAP


def test_a_state_this_client_does_not_know_changes_nothing() -> None:
    assert after(trading(), tick(60.5), told("TRANSCENDENT")).status is StreamStatus.LIVE


def test_a_gateway_that_knows_no_status_leaves_the_state_to_what_arrives() -> None:
    assert after(trading(), StatusSeen("the gateway said nothing for too long")).status is StreamStatus.LIVE


def test_the_state_of_the_mesh_is_followed_while_the_stream_is_open_and_what_is_stored_while_it_is_shown() -> None:
    assert trading().following == Follow("btcusdt", tuple(coin.symbol for coin in COINS), status=True)
    assert not lost(trading()).following.status
    assert after(trading(), *press("4")).following.coverage == "btcusdt"
    assert after(trading(), *press("4", "1")).following.coverage == ""
    assert after(trading(), *press("4"), SelectionSeen(ETHEREUM)).following.coverage == "ethusdt"


def test_what_is_stored_of_another_coin_is_dropped_and_what_is_known_outlives_a_loss() -> None:
    model = after(trading(), *press("4"))
    assert after(model, CoverageSeen("ethusdt", NOTHING_STORED)) == model
    known = after(model, CoverageSeen("btcusdt", NOTHING_STORED))
    assert after(known, CoverageSeen("btcusdt", "connection refused")) == known
    assert isinstance(after(known, SelectionSeen(ETHEREUM)).coverage, str)


def test_what_the_stream_tells_is_seldom_asked_for() -> None:
    answers = (Loaded(LoadSelection(1), BITCOIN), RequestFailed(LoadStats(1), "no trade yet"))
    model = after(trading(), tick(62), SelectionSeen(BITCOIN), *answers)
    model, effects = after_asking(model, tick(65))
    assert effects == []
    assert {LoadSelection(1), LoadStats(1)} <= set(after_asking(model, *answers, tick(73))[1])


def test_an_answer_that_says_nothing_new_leaves_the_picture_as_it_is() -> None:
    model = after(trading(), told("LIVE"))
    asked = after(model, tick(62.5))
    assert asked.looks_like(model)
    assert after(asked, told("LIVE"), tick(63)).looks_like(model)


@pytest.mark.parametrize(
    "event", [trade("61900", at_s=61), told("GAP"), *press("p"), *press("j"), Resized(90, 30), Disconnected("", 1, 0)]
)
def test_what_is_new_changes_the_picture(event: Event) -> None:
    model = after(trading(), *press("c"), told("LIVE"))
    assert not after(model, event).looks_like(model)


@pytest.mark.parametrize(
    ("typed", "zone", "utc"),
    [
        ("21:34", "UTC", "2024-07-05 21:34"),
        ("23:34", "Europe/Berlin", "2024-07-05 21:34"),
        ("2024-01-05 21:34:58", "Europe/Berlin", "2024-01-05 20:34:58"),
        ("2024-07-05T21:34:58Z", "Europe/Berlin", "2024-07-05 21:34:58"),
        ("00:30", "Asia/Kolkata", "2024-07-05 19:00"),  # it is the next day there
    ],
)
def test_the_time_that_is_jumped_to_is_one_of_the_zone(typed: str, zone: str, utc: str) -> None:
    model = replace(reading(), zone=zone_of(zone))
    _, [asked] = after_asking(model, *press("@", *typed, "enter"))
    time = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert asked == LoadHistory(1, "btcusdt", before_us=int(time.timestamp()) * 1_000_000)


def test_while_the_picture_is_paused_what_is_stored_can_be_read_and_nothing_is_asked_for_twice() -> None:
    model, effects = after_asking(trading(), *press("p", "3", "r", "r"))
    assert effects == []  # it is on its way since the coin was selected
    newest = Loaded(LoadHistory(1, "btcusdt"), page())
    model = after(model, newest)
    assert (len(model.history.trades), model.fetching_history) == (100, False)
    model, effects = after_asking(model, *press("G"))
    assert effects == [LoadHistory(1, "btcusdt", "more")]
    model = after(model, trade("1", at_s=70), Loaded(LoadHistory(1, "btcusdt", "more"), page(first=100, next_token="")))
    assert (len(model.history.trades), model.quote.price) == (200, Decimal("61861.5"))
    going_on = after(model, *press("p"))
    assert (len(going_on.history.trades), going_on.quote.price, going_on.fetching_history) == (200, 1, False)
    assert after_asking(going_on, *press("r"))[1] == [LoadHistory(1, "btcusdt")]


def test_a_jump_before_the_first_trade_says_that_there_is_none() -> None:
    model = after(reading(), *press("@", *"2020-01-01", "enter"))
    asked = LoadHistory(1, "btcusdt", before_us=1_577_836_800_000_000)
    assert "no trades before 2020-01-01 00:00:00" in text_of(render(after(model, Loaded(asked, HistoryPage(())))))
