"""A coin whose name is not ASCII, from the exchange to the database, the API and the clients."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.fixtures.mesh import issued_in, running_mesh
from tests.fixtures.sim import running_sim
from tests.fixtures.terminal import open_terminal
from tests.fixtures.waiting import eventually

NAME, SYMBOL = "币安人生USDT", "币安人生usdt"


@pytest.mark.slow
async def test_a_coin_not_in_ascii_is_selected_followed_stored_served_and_shown(tmp_path: Path) -> None:
    log = tmp_path / "issued.csv"
    exchange = running_sim("--rate", "0", "--seed", "7", "--symbols", f"btcusdt,{SYMBOL}", "--log", str(log))
    with (
        exchange as sim,
        running_mesh(
            tmp_path, VENUE="binance", BINANCE_WS_URL=sim.ws, BINANCE_REST_URL=sim.rest, SYMBOLS="btcusdt"
        ) as mesh,
    ):

        def selected() -> bool:
            answer = httpx.post(f"{mesh.url}/api/symbol", json={"symbol": NAME}, timeout=10)
            assert answer.status_code == 200, answer.text
            return True

        await eventually(selected, timeout_s=5)

        def followed() -> bool:
            return f"{SYMBOL}@trade" in sim.status()["streams"]

        await eventually(followed)
        async with connect(f"{mesh.ws_url}?symbols=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt") as socket:
            await asyncio.to_thread(sim.issue, 400)
            told = json.loads(await asyncio.wait_for(socket.recv(), 20))
        issued = [trade for trade in issued_in(log) if trade.symbol == SYMBOL]
        assert (told["symbol"], told["trade_id"]) == (SYMBOL, issued[0].trade_id)

        def stored() -> bool:
            assert [trade for trade in mesh.stored() if trade.symbol == SYMBOL] == issued
            return True

        await eventually(stored)
        assert mesh.get("/api/symbol")["symbol"] == SYMBOL
        assert mesh.get("/api/price", symbol=NAME)["trade_id"] == issued[-1].trade_id
        assert mesh.get("/api/coverage", symbol=SYMBOL)["complete"] is True
        page = mesh.get("/api/trades", symbol=SYMBOL, page_size=5)
        assert mesh.get("/api/trades", symbol=SYMBOL, page_size=5, page_token=page["next_page_token"])["trades"]

        async with open_terminal([sys.executable, "-m", "term", "--url", mesh.url], width=100, height=30) as terminal:
            await terminal.shows("币")
            terminal.press("\x1b")
            await terminal.shows_what(lambda text: "币安人生usdt" in text.replace(" ", ""), SYMBOL)
            terminal.press("q")
