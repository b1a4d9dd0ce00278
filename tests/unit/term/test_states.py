"""Every view in every state, one text file a view and size: `states/<view>-<width>x<height>.txt`.

The first screen of a file is whole; of the others it has the rows that differ, with their numbers.
`UPDATE_SCREENS=1 pytest tests/unit/term/test_states.py` writes them anew; look at the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from term.cells import text_of, width_of
from term.events import (
    BoardSeen,
    CoverageSeen,
    Event,
    LoadCandles,
    LoadCoins,
    LoadDay,
    Loaded,
    LoadHistory,
    SelectionSeen,
    StatusSeen,
    TapeSeen,
)
from term.formatting import plain
from term.model import Model
from term.values import CandlePage, Coin, HistoryPage, SelectedSymbol, Stats, Trade
from term.view import render
from tests.fixtures.term_scenes import (
    BITCOIN,
    COINS,
    NOTHING_STORED,
    NOW,
    NOW_US,
    after,
    candle,
    connected,
    lost,
    press,
    tick,
    trade,
)
from tickmesh_client import Condition, Coverage, Hole, Minute, ServiceReport, ServiceStatus, Status, SymbolFeed

STATES = Path(__file__).parent / "states"
SIZES = ((40, 12), (80, 24), (120, 40), (200, 50))
VIEWS = ("coins", "dashboard", "history", "coverage", "status", "alerts", "help")


def _world(
    view: str, width: int, height: int, *, coin: SelectedSymbol = BITCOIN, price: str = "61861.50", size: str = "0.25"
) -> Model:
    """A minute after a coin began to trade around a price, in sizes like that one; the view has all it asked for."""
    coins = (Coin(coin.symbol, plain(coin.name)), *COINS[1:])
    model = after(connected(width=width, height=height), SelectionSeen(coin), Loaded(LoadCoins(), coins))
    step = Decimal(1).scaleb(-len(price.partition(".")[2]))
    prices = [(Decimal(price) * (1000 + i * 7 % 11 - i) / 1000).quantize(step) for i in range(60)]
    stats = Stats(sum(prices, Decimal()) / 60, max(prices), min(prices), prices[0], 60, 60 * Decimal(size), Decimal(1))
    stored = [
        Trade(
            each,
            coin.symbol,
            coin.venue,
            quantity=Decimal(size) * (i % 9 + 1),
            trade_id=9_000 + i,
            time_us=NOW_US + i * 1_000_000,
            side="sell" if i % 3 else "buy",
        )
        for i, each in enumerate(prices)
    ]
    live = [trade(f"{p:f}", at_s=i, symbol=coin.symbol, venue=coin.venue, stats=stats) for i, p in enumerate(prices)]
    days = Loaded(LoadDay(coin.symbol), CandlePage(tuple(candle(i, f"{p:f}") for i, p in enumerate(prices[:24]))))
    others = tuple(Trade(Decimal(100 + i), each.symbol, stats=Stats()) for i, each in enumerate(COINS[1:]))
    model = after(model, BoardSeen(others, NOW_US), *live, TapeSeen(tuple(stored), NOW_US + 60_000_000), days)
    model = after(
        model, *press("6", "a", *f"{price}", "enter", "1"), tick(60), StatusSeen(_status("LIVE", coin.symbol))
    )
    keys = {"dashboard": "2v", "help": "1?"}.get(view) or str(VIEWS.index(view) + 1)
    bars = [candle(i + 61, f"{p:f}", opened=f"{prices[max(i - 1, 0)]:f}") for i, p in enumerate(prices)]
    answers: dict[str, Event] = {
        "dashboard": Loaded(LoadCandles(model.generation, coin.symbol, "1m"), CandlePage(tuple(bars))),
        "history": Loaded(LoadHistory(model.generation, coin.symbol), HistoryPage(tuple(reversed(stored)))),
        "coverage": CoverageSeen(coin.symbol, _coverage()),
    }
    return after(model, *press(*keys), *([answers[view]] if view in answers else []), tick(67))


def _coverage() -> Coverage:
    minutes = [
        Minute(NOW - timedelta(seconds=NOW.second, minutes=90 - i), "VERIFIED" if i < 88 else "PENDING", 1, 2, 2, "")
        for i in range(90)
    ]
    hole = Hole(101, 104, state="OPEN", seen_time=NOW)
    return msgspec.structs.replace(NOTHING_STORED, complete=False, stored=123, open=4, holes=[hole], minutes=minutes)


def _status(state: str, symbol: str, message: str = "") -> Status:
    report = ServiceReport(NOW - timedelta(hours=3), (Condition("bus", "OK", since=NOW - timedelta(hours=2)),), "0.1.0")
    services = tuple(ServiceStatus(name, "SERVING", "", report) for name in ("ingest", "signal", "store", "gateway"))
    return Status(state, message, "binance", services, (SymbolFeed(symbol, state, message),))


def _said(state: str, message: str = "", *, at_s: float = 67) -> Callable[[str, int, int], Model]:
    return lambda view, width, height: after(
        _world(view, width, height), tick(at_s), StatusSeen(_status(state, "btcusdt", message))
    )


def _empty(view: str, width: int, height: int) -> Model:
    model = after(connected(width=width, height=height), Loaded(LoadCoins(), ()))
    model = after(model, *press(*("1?" if view == "help" else str(VIEWS.index(view) + 1))))
    told = Loaded(LoadHistory(model.generation, "btcusdt"), HistoryPage(())), CoverageSeen("btcusdt", NOTHING_STORED)
    return after(model, *told, StatusSeen(Status("QUIET", "nothing has been traded yet", "binance", (), ())))


def _simulated(view: str, width: int, height: int) -> Model:
    model = _world(view, width, height, coin=SelectedSymbol("btcusdt", "Bitcoin (BTC)", "sim"))
    return after(model, StatusSeen(_status("SIM", "btcusdt", "a simulated exchange: prices are not real")))


def _tiny(view: str, width: int, height: int) -> Model:
    coin = SelectedSymbol("pepeusdt", "Pepe (PEPE)", "binance")
    return _world(view, width, height, coin=coin, price="0.00000638", size="123456789")


def _huge(view: str, width: int, height: int) -> Model:
    coin = SelectedSymbol("btcidr", "Bitcoin in Rupiah (BTC)", "binance")
    return _world(view, width, height, coin=coin, price="1234567890123.12345678", size="98765432101234.5678")


def _wide(view: str, width: int, height: int) -> Model:
    return _world(view, width, height, coin=SelectedSymbol("币安人生usdt", "币安人生 Cafe\u0301 ＦＵＬＬ", "binance"))


SCENES: dict[str, Callable[[str, int, int], Model]] = {
    "live": _world,
    "empty": _empty,
    "reconnecting": lambda view, width, height: lost(_world(view, width, height)),
    "stale": lambda view, width, height: after(_world(view, width, height), tick(150)),
    "quiet": _said("QUIET", "the connection lives, and nothing has been traded for 30 s", at_s=90),
    "gap": _said("GAP", "waiting for trades 7 to 9"),
    "blocked": _said("BLOCKED", "binance refuses us: refused for this location (status 451)"),
    "offline": _said("OFFLINE", "ingest has not reported for 14 s"),
    "sim": _simulated,
    "tiny": _tiny,
    "huge": _huge,
    "wide": _wide,
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_in_every_state_is_as_recorded(view: str, size: tuple[int, int]) -> None:
    whole, text = [""] * size[1], ""
    for state, scene in SCENES.items():
        grid = render(scene(view, *size))
        assert [sum(width_of(span.text) for span in row) for row in grid] == [size[0]] * size[1]
        rows = text_of(grid).splitlines()
        differing = (f"{n:2} {row}".rstrip() for n, row in enumerate(rows, start=1) if whole[n - 1] != row or not text)
        text += f"--- {state}\n" + "".join(f"{row}\n" for row in differing)
        whole = whole if text and state != "live" else rows
    recorded = STATES / f"{view}-{size[0]}x{size[1]}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        recorded.write_text(text)
    assert text == recorded.read_text()
