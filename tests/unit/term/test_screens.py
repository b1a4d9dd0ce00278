"""Every screen as a text file one can look at: `screens/<scene>-<width>x<height>.txt`.

`UPDATE_SCREENS=1 pytest tests/unit/term/test_screens.py` writes them anew; look at the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from term.cells import text_of, width_of
from term.events import (
    BoardSeen,
    Connected,
    CoverageSeen,
    FrameRefused,
    IdsMissing,
    LoadCoins,
    Loaded,
    LoadHistory,
    LoadStats,
    RequestFailed,
    RoundTripSeen,
    SelectCoin,
    SelectionSeen,
    StatusSeen,
    TradesMissed,
    UpstreamSeen,
)
from term.formatting import plain, zone_of
from term.model import Model
from term.screen import in_ascii
from term.values import (
    Coin,
    HistoryPage,
    SelectedSymbol,
    Stats,
    Trade,
)
from term.view import render
from tests.fixtures.term_scenes import (
    NOTHING_STORED,
    NOW,
    NOW_US,
    after,
    charting,
    connected,
    lost,
    market,
    mesh_status,
    press,
    reading,
    started,
    tick,
    trade,
    trading,
)
from tickmesh_client import Condition, Feed, Hole, Minute, ServiceReport, ServiceStatus, Status, SymbolFeed

_LONG_PRICES = ("61837.12345678", "1234567890123.12345678", "123456789.12345678")
_BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}
SCREENS = Path(__file__).parent / "screens"


def _failed(width: int, height: int) -> Model:
    return after(started(width=width, height=height), RequestFailed(LoadCoins(), "connection refused"))


def _resting(width: int, height: int) -> Model:
    coin = SelectedSymbol("币安人生usdt", "币安人生", "binance", "BREAK")
    return after(connected(width=width, height=height), SelectionSeen(coin), *press("esc"))


def _tiny_price(width: int, height: int) -> Model:
    pepe = SelectedSymbol("pepeusdt", "Pepe (PEPE)", "sim")
    model = after(connected(width=width, height=height), SelectionSeen(pepe), *press("esc"))
    prices = ("0.00001234", "0.0000124", "0.00001229")
    trades = [trade(p, at_s=i, symbol="pepeusdt", venue="sim") for i, p in enumerate(prices)]
    mean, high, low, last = (Decimal(text) for text in ("0.0000123433333", "1.24E-5", "1.229E-5", "1.2E-5"))
    stats = Stats(mean, high, low, last, count=3, volume=Decimal(9))
    return after(model, *trades, Loaded(LoadStats(model.generation), stats), tick(3))


def _long_numbers(width: int, height: int) -> Model:
    wide = SelectedSymbol("btcidr", "Bitcoin in Rupiah (BTC)", "sim")
    trades = [
        trade(text, at_s=i, symbol="btcidr", venue="sim", stats=_long_stats(Decimal(text)))
        for i, text in enumerate(_LONG_PRICES)
    ]
    model = after(connected(width=width, height=height, selection=wide), *trades, TradesMissed(10**17), *press("esc"))
    return after(model, tick(3))


def _long_stats(price: Decimal) -> Stats:
    return Stats(price, price, price, price, count=12_345_678_901, volume=Decimal("98765432101234.5678"))


def _long_history(width: int, height: int) -> Model:
    model = _long_numbers(width, height)
    ids = (3_801_275_891, 999_999_999_999, 123_456_789_012_345_678)
    rows = zip(_LONG_PRICES, ("1234567.12345678", "0.00000001", "98765432101234.5678"), ids, strict=True)
    trades = [
        Trade(Decimal(price), quantity=Decimal(quantity), trade_id=trade_id, time_us=NOW_US, side="sell")
        for price, quantity, trade_id in rows
    ]
    answer = Loaded(LoadHistory(model.generation, "btcidr"), HistoryPage(tuple(trades)))
    return after(model, *press("h"), answer)


def _switching(width: int, height: int) -> Model:
    return after(trading(width=width, height=height), *press("c", "j", "enter"))


def _refused(width: int, height: int) -> Model:
    return after(
        _switching(width, height), RequestFailed(SelectCoin("ethusdt"), "found 'ethusdt', expected a followed symbol")
    )


def _troubled(width: int, height: int) -> Model:
    return after(trading(width=width, height=height), TradesMissed(1234), FrameRefused("expected JSON"), tick(90))


def _told(width: int, height: int, state: str, message: str = "", *, after_s: float = 60.5) -> Model:
    told = StatusSeen(mesh_status(SymbolFeed("btcusdt", state, message)))
    return after(trading(width=width, height=height), tick(after_s), told)


def _wide_names(width: int, height: int) -> Model:
    names = ("币安人生", "Cafe\u0301 coin", "ＦＵＬＬ width", "Ethereum (ETH)")
    coins = tuple(Coin(f"{i}usdt", plain(name)) for i, name in enumerate(names))
    model = after(market(width=width, height=height), Loaded(LoadCoins(), coins))
    return after(
        model, BoardSeen(tuple(Trade(Decimal(i + 1), f"{i}usdt") for i in range(4)), NOW_US + 61_000_000), tick(62)
    )


def _covered(width: int, height: int, *keys: str) -> Model:
    minutes = [
        Minute(
            NOW - timedelta(seconds=NOW.second, minutes=200 - i),
            "MISMATCH" if i == 77 else "PENDING" if i > 195 else "VERIFIED",
            first_trade_id=1,
            last_trade_id=2,
            trade_count=2,
            difference="",
        )
        for i in range(200)
        if i != 100
    ]
    holes = [
        Hole(100 + 9 * i, 103 + 9 * i, state=state, seen_time=NOW, closed_time=NOW)
        for i, state in enumerate(("FILLED", "OPEN", "LOST"))
    ]
    counts = {"complete": False, "stored": 123_456, "open": 4, "lost": 4}
    told = msgspec.structs.replace(NOTHING_STORED, holes=holes, minutes=minutes, **counts)
    model = after(trading(width=width, height=height), *press("4"))
    return after(model, CoverageSeen("btcusdt", told), *press(*keys))


def _covered_by_nothing(width: int, height: int) -> Model:
    return after(trading(width=width, height=height), *press("4"), CoverageSeen("btcusdt", NOTHING_STORED))


def _tiny_history(width: int, height: int) -> Model:
    model = after(_tiny_price(width, height), *press("h"))
    trades = tuple(
        Trade(Decimal(price), "pepeusdt", "sim", Decimal(10**9 + i), 77 - i, NOW_US - i, "buy")
        for i, price in enumerate(("0.00000638", "0.0000064", "0.00000599"))
    )
    return after(model, Loaded(LoadHistory(model.generation, "pepeusdt"), HistoryPage(trades)))


def _status(width: int, height: int) -> Model:
    refused = Condition("venue", "FAILED", "refused for this location (status 451)", NOW - timedelta(seconds=90))
    good = Condition("bus", "OK", since=NOW - timedelta(seconds=1000))
    begun = NOW - timedelta(seconds=10_000)
    ingest = ServiceReport(begun, (good, refused), "0.1.0", Feed("binance", 0.0008, 0.012))
    services = (
        ServiceStatus("ingest", "DEGRADED", "", ingest),
        ServiceStatus("signal", "SERVING", "", ServiceReport(begun, (good,), "0.1.0")),
        ServiceStatus("store", "UNREACHABLE", "no answer in time"),
    )
    feed = Status("BLOCKED", "binance refuses us", "binance", services, (SymbolFeed("btcusdt", "BLOCKED", ""),))
    model = after(trading(width=width, height=height), StatusSeen(feed), RoundTripSeen(2_400))
    return after(model, TradesMissed(12), IdsMissing(3), *press("5"))


def _alerts(width: int, height: int) -> Model:
    typed = (*"62000", "enter"), (*"1", "enter"), (*["backspace"] * 2, *"5% in 10m again", "enter")
    model = after(trading(width=width, height=height), *press("6"))
    for keys in typed:
        model = after(model, *press("a", *keys), tick(60.5))
    return model


SCENES: dict[str, Callable[[int, int], Model]] = {
    "started": lambda width, height: started(width=width, height=height),
    "coins": lambda width, height: after(trading(width=width, height=height), *press("c", "j", "j")),
    "coins-failed": _failed,
    "coins-market": lambda width, height: after(market(width=width, height=height), *press("j", "j", "f")),
    "coins-sorted": lambda width, height: after(market(width=width, height=height), *press("s", "s", "s", "S")),
    "coins-filter": lambda width, height: after(market(width=width, height=height), *press("/", *"coin")),
    "coins-wide-names": _wide_names,
    "dashboard-candles": lambda width, height: charting(width=width, height=height),
    "dashboard-braille": lambda width, height: charting(width=width, height=height, keys="vvv"),
    "dashboard-line": lambda width, height: charting(width=width, height=height, keys="vv"),
    "dashboard-overlays": lambda width, height: charting(width=width, height=height, keys="]oservbm"),
    "dashboard-crosshair": lambda width, height: after(
        charting(width=width, height=height), *press("x", "left", "left")
    ),
    "dashboard-paused": lambda width, height: after(charting(width=width, height=height), *press("p"), tick(90)),
    "dashboard-reset": lambda width, height: after(trading(width=width, height=height), *press("R")),
    "coverage": _covered,
    "coverage-hole": lambda width, height: _covered(width, height, "j", "enter"),
    "status": _status,
    "alerts": _alerts,
    "alerts-change": lambda width, height: after(_alerts(width, height), *press("j", "enter", "backspace", "7")),
    "alerts-empty": lambda width, height: after(trading(width=width, height=height), *press("6")),
    "coins-empty": lambda width, height: after(connected(width=width, height=height), Loaded(LoadCoins(), ())),
    "coins-not-ready": lambda width, height: after(
        started(width=width, height=height), Connected(), RequestFailed(LoadCoins(), "ingest has not told them yet")
    ),
    "coins-long-numbers": lambda width, height: after(_long_numbers(width, height), *press("c")),
    "coverage-waiting": lambda width, height: after(trading(width=width, height=height), *press("4")),
    "coverage-empty": _covered_by_nothing,
    "coverage-failed": lambda width, height: after(
        trading(width=width, height=height), *press("4"), CoverageSeen("btcusdt", "store is away")
    ),
    "status-empty": lambda width, height: after(connected(width=width, height=height), *press("5")),
    "status-scrolled": lambda width, height: after(_status(width, height), *press("G")),
    "history-tiny-price": _tiny_history,
    "history-whole": lambda width, height: after(reading(width=width, height=height), *press("j", "enter")),
    "history-zone": lambda width, height: after(
        replace(reading(width=width, height=height), zone=zone_of("Asia/Kolkata")), *press("j", "enter", "@", *"03:0")
    ),
    "dashboard-zone": lambda width, height: replace(charting(width=width, height=height), zone=zone_of("Asia/Kolkata")),
    "coverage-zone": lambda width, height: replace(_covered(width, height, "enter"), zone=zone_of("Asia/Kolkata")),
    "history-jump": lambda width, height: after(reading(width=width, height=height), *press("@", *"21:3")),
    "dashboard": lambda width, height: trading(width=width, height=height),
    "dashboard-waiting": lambda width, height: after(connected(width=width, height=height), *press("esc")),
    "dashboard-resting": _resting,
    "dashboard-tiny-price": _tiny_price,
    "dashboard-long-numbers": _long_numbers,
    "dashboard-long-numbers-reconnecting": lambda width, height: lost(_long_numbers(width, height)),
    "dashboard-switching": _switching,
    "dashboard-refused": _refused,
    "dashboard-stale": _troubled,
    "dashboard-source-away": lambda width, height: after(
        trading(width=width, height=height), UpstreamSeen(unavailable=True), tick(65)
    ),
    "dashboard-quiet": lambda width, height: _told(
        width, height, "QUIET", "the connection lives, and nothing has been traded for 75 s", after_s=135
    ),
    "dashboard-gap": lambda width, height: _told(width, height, "GAP", "waiting for trades 3801275892 to 3801275899"),
    "dashboard-blocked": lambda width, height: _told(
        width, height, "BLOCKED", "binance refuses us: refused for this location (status 451)", after_s=75
    ),
    "dashboard-offline": lambda width, height: _told(
        width, height, "OFFLINE", "ingest has not reported for 14 s", after_s=75
    ),
    "dashboard-simulated": lambda width, height: _told(width, height, "SIM"),
    "dashboard-reconnecting": lambda width, height: lost(trading(width=width, height=height)),
    "history": lambda width, height: reading(width=width, height=height),
    "history-scrolled": lambda width, height: after(reading(width=width, height=height), *press("pagedown", "j")),
    "history-long-numbers": _long_history,
    "history-empty": lambda width, height: after(trading(width=width, height=height), *press("h")),
    "help": lambda width, height: after(trading(width=width, height=height), *press("?")),
}


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES)
def test_the_screen_is_as_recorded(scene: str, size: tuple[int, int]) -> None:
    width, height = size
    text = text_of(render(SCENES[scene](width, height)))
    recorded = SCREENS / f"{scene}-{width}x{height}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        recorded.write_text(text)
    assert text == recorded.read_text()


@pytest.mark.parametrize("size", [(1, 1), (57, 19), (64, 20), (101, 33), (300, 100)])
@pytest.mark.parametrize("scene", SCENES)
def test_the_screen_fills_its_terminal_exactly(scene: str, size: tuple[int, int]) -> None:
    width, height = size
    grid = render(replace(SCENES[scene](80, 24), width=width, height=height))
    assert [sum(width_of(span.text) for span in row) for row in grid] == [width] * height


def test_every_sign_of_the_screens_has_a_shape_in_ascii() -> None:
    signs = "".join(
        sorted(
            {sign for file in SCREENS.iterdir() for sign in file.read_text()} - set("?é币安人生ＦＵＬ\u0301") - _BRAILLE
        )
    )
    assert "?" not in in_ascii(signs)
    assert len(in_ascii(signs)) == len(signs)


def test_a_letter_without_a_shape_in_ascii_is_a_question_mark() -> None:
    assert in_ascii("Bitcöin ▲") == "Bitc?in ^"


def test_a_terminal_that_is_too_small_is_told_so() -> None:
    assert "it is 39x12, tickmesh needs 40x12" in text_of(render(trading(width=39, height=12)))
    assert "it is 40x11, tickmesh needs 40x12" in text_of(render(trading(width=40, height=11)))


def test_the_picture_in_the_readme_is_a_screen() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    screen = (SCREENS / "dashboard-candles-80x24.txt").read_text()
    assert "".join(f"    {line}".rstrip() + "\n" for line in screen.splitlines()) in readme
