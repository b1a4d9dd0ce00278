"""The page in a real browser, against the whole mesh; its pictures are kept in build/page."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Route, WebSocketRoute, async_playwright, expect

from mesh.service.status import SERVICES
from tests.fixtures.mesh import ROOT, LocalMesh, running_mesh
from tests.fixtures.slow_link import slow_link
from tests.fixtures.waiting import eventually

CHROMIUM = shutil.which("chromium")
PICTURES = ROOT / "build" / "page"
AXE = ROOT / "gateway" / "web" / "node_modules" / "axe-core" / "axe.min.js"
WORDS = ("LIVE", "QUIET", "STALE", "GAP", "BLOCKED", "SIM", "OFFLINE")
NO_SYMBOL = "symbol=a%2Fb"
VIEWS = ("market", "coverage", "status", "alerts")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
AN_HOUR_AHEAD = """
const Real = Date;
globalThis.Date = class extends Real {
  constructor(...given) { given.length ? super(...given) : super(Real.now() + 3600000); }
  static now() { return Real.now() + 3600000; }
};
"""
NOTHING_IS_KEPT = """
const get = () => { throw new DOMException("Access is denied for this document", "SecurityError"); };
for (const area of ["localStorage", "sessionStorage"]) Object.defineProperty(window, area, { get });
"""
NOTE_SHIFTS = """
globalThis.shifts = [];
const names = (sources) => sources.map(({ node }) => node?.className);
const note = ({ value, sources }) => shifts.push([value, names(sources)]);
new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type: "layout-shift", buffered: true });
"""
NOTE_WORDS = """
globalThis.words = [];
const note = () => {
  const badge = document.querySelector("header .badge");
  if (badge) words.push([badge.textContent, document.querySelector(".market")?.hasAttribute("data-old")]);
};
new MutationObserver(note).observe(document, { subtree: true, childList: true, characterData: true });
"""
NOTE_FONTS = """
globalThis.fonts = new Set();
const { fillText } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.fillText = function (...drawn) {
  fonts.add(this.font);
  fillText.apply(this, drawn);
};
"""
NOTE_NOTIFICATIONS = """
globalThis.shown = [];
const Real = Notification;
globalThis.Notification = class extends Real {
  constructor(title, options) {
    super(title, options);
    this.addEventListener("show", () => shown.push(this.body));
  }
};
"""

expect.set_options(timeout=20_000)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `make browser`"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with running_mesh(tmp_path_factory.mktemp("page"), VENUE="sim") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, mesh: LocalMesh) -> AsyncIterator[Page]:
    """A new window; whatever the console calls an error fails the test, losses of the connection and refusals apart."""
    context = await browser.new_context(
        base_url=mesh.url, viewport={"width": 1440, "height": 900}, color_scheme="dark", reduced_motion="reduce"
    )
    page = await context.new_page()
    problems: list[str] = []

    def told(line: ConsoleMessage) -> str:
        return line.text + (f" {NO_SYMBOL}" if NO_SYMBOL in line.location["url"] else "")

    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(told(line)) if line.type in ("error", "warning") else None)
    yield page
    await page.unroute_all(behavior="ignoreErrors")  # those that are being answered
    await context.close()
    unreachable = ("net::ERR_", "WebSocket connection to", "status of 401", "status of 503", "status of 504")
    expected = (*unreachable, f"status of 400 (Bad Request) {NO_SYMBOL}")
    assert [one for one in problems if not any(words in one for words in expected)] == []


async def is_live(page: Page) -> None:
    await expect(page.locator("header .badge")).to_have_text("SIM", timeout=20_000)
    await page.wait_for_function(
        "() => { const { following, chart } = tickmesh();"
        " return following.candles > 0 && following.trades > 0 && chart.bars.length > 0; }",
        timeout=90_000,
    )


async def equals_the_store(page: Page, mesh: LocalMesh, interval: str = "1s") -> None:
    """Wait until every closed candle of the page is as `/api/candles` has it, and none is missing or there twice."""

    async def equal() -> bool:
        bars = await page.evaluate("() => tickmesh().chart.bars")
        times = [bar["time"] for bar in bars]
        assert times == sorted(set(times))
        shown = {bar["time"]: bar for bar in bars}
        stored = mesh.get("/api/candles", symbol="btcusdt", interval=interval, order="desc", page_size=1000)
        assert stored
        for candle in stored:
            bar = shown[datetime.fromisoformat(candle["time"]).timestamp()]
            names = ("open", "high", "low", "close", "volume", "count", "closed", "revision")
            assert [bar[name] for name in names] == [candle[name] for name in names]
            assert bar["lastId"] == candle["last_trade_id"]
        return True

    await eventually(equal, timeout_s=60, not_yet=(KeyError,))


async def process_id(mesh: LocalMesh, service: str) -> int:
    def row() -> list[str]:  # the command fails while a service is not ready
        return next(line.split() for line in mesh.command("status").splitlines() if line.startswith(f"{service} "))

    return int((await eventually(row, timeout_s=60, not_yet=(subprocess.CalledProcessError,)))[2])


async def kill(mesh: LocalMesh, service: str) -> None:
    """End a service and wait for its successor: what is seen between the two may last less than a look at it."""
    killed = await process_id(mesh, service)
    os.kill(killed, signal.SIGKILL)

    async def another() -> bool:
        return await process_id(mesh, service) != killed

    await eventually(another, timeout_s=60)


def subscriptions(sent: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return what a page follows after all that it has sent on its one connection, by number."""
    begun = dict(enumerate((one for one in sent if one["op"] == "subscribe"), 1))
    for one in sent:
        if one["op"] == "unsubscribe":
            del begun[one["subscription"]]
    return begun


async def serious(page: Page) -> list[str]:
    """Return what axe finds that keeps somebody out."""
    found: dict[str, Any] = await page.evaluate(f"{AXE.read_text()}; axe.run()")
    return [
        f"{one['id']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


async def test_the_page_shows_live_candles_that_equal_the_stores(page: Page, mesh: LocalMesh) -> None:
    await page.goto("/?interval=1s")
    await is_live(page)
    before = await page.evaluate("() => tickmesh().delivery.trades")
    await page.wait_for_function("before => tickmesh().delivery.trades > before + 10", arg=before, timeout=60_000)
    await equals_the_store(page, mesh)
    await expect(page.locator(".legend")).to_contain_text("O")
    await page.screenshot(path=PICTURES / "market.png")


async def test_first_candles_are_asked_for_at_once_whether_a_mesh_is_old_or_new(page: Page) -> None:
    seconds = asyncio.Event()

    async def asked(route: Route) -> None:
        seconds.set()
        await route.continue_()

    async def held(route: Route) -> None:
        await seconds.wait()  # for ever, if those of a second were asked for only after these had come
        await route.continue_()

    await page.route("**/api/candles?*interval=1s*", asked)
    await page.route("**/api/candles?*interval=1m*", held)
    await page.goto("/")
    await is_live(page)
    started = await page.evaluate(
        "() => performance.getEntriesByName(new URL('api/symbol', location).href)[0].startTime"
    )
    script = await page.evaluate(
        "() => performance.getEntriesByType('resource').find((one) => one.name.endsWith('.js')).responseEnd"
    )
    assert started < script  # the document asks for it, before there is a program


async def test_of_too_many_candles_those_are_forgotten_that_nobody_looks_at(page: Page, mesh: LocalMesh) -> None:
    def newest() -> dict[str, Any]:
        return dict(mesh.get("/api/candles", symbol="btcusdt", open=True)[0])

    candle = await eventually(newest, timeout_s=60, not_yet=(httpx.HTTPError, LookupError))

    async def many(route: Route) -> None:
        before = datetime.fromisoformat(parse_qs(urlsplit(route.request.url).query)["end_time"][0])
        times = (before - timedelta(minutes=1 + back) for back in range(20_000))
        await route.fulfill(json=[{**candle, "time": each.isoformat()} for each in times])

    async def seen_the_first_of_more_than(bars: int) -> bool:
        await page.locator(".canvas").press("Home")
        return bool(await page.evaluate("bars => tickmesh().chart.bars.length > bars", bars))

    await page.route("**/api/candles?*end_time=*", many)
    await page.goto("/?interval=1m&symbol=btcusdt")
    await is_live(page)
    await eventually(partial(seen_the_first_of_more_than, 100_000), timeout_s=60)
    await page.locator(".canvas").press("End")
    await page.wait_for_function("() => tickmesh().chart.bars.length < 91000")
    last = await page.evaluate("() => tickmesh().chart.bars.at(-1).count")
    await page.wait_for_function("last => tickmesh().chart.bars.at(-1).count !== last", arg=last, timeout=60_000)


async def test_candles_of_an_interval_that_is_not_stored_are_live_too(page: Page, mesh: LocalMesh) -> None:
    await page.goto("/?interval=4h&symbol=btcusdt")
    await page.wait_for_function("() => tickmesh().following.candles > 0 && tickmesh().chart.bars.length > 0")
    before = await page.evaluate("() => tickmesh().chart.bars.at(-1).count")
    await page.wait_for_function("before => tickmesh().chart.bars.at(-1).count > before", arg=before)


async def test_it_goes_on_without_a_hole_after_gateway_and_signal_were_killed(page: Page, mesh: LocalMesh) -> None:
    await page.add_init_script(NOTE_WORDS)
    await page.goto("/?interval=1s&symbol=btcusdt")
    await is_live(page)
    await kill(mesh, "gateway")
    await page.wait_for_function("() => words.some(([word, old]) => word === 'OFFLINE' && old)")
    await is_live(page)
    await kill(mesh, "signal")
    await expect(page.locator("header .badge")).to_have_text("SIM", timeout=60_000)
    before = await page.evaluate("() => tickmesh().delivery.trades")
    await page.wait_for_function("before => tickmesh().delivery.trades > before + 10", arg=before, timeout=60_000)
    await equals_the_store(page, mesh)


async def test_a_network_that_swallowed_everything_is_used_again_when_it_is_back(page: Page, mesh: LocalMesh) -> None:
    async with slow_link(mesh.record.ports["GATEWAY_PORT"], delay_s=0) as link:
        await page.goto(f"http://127.0.0.1:{link.port}/?interval=1s&symbol=btcusdt")
        await is_live(page)
        link.swallow(everything=True)
        await expect(page.locator("header .badge")).to_have_text("OFFLINE")
        lost = link.lost

        async def tries_again() -> bool:
            return link.lost > lost

        await eventually(tries_again, timeout_s=30)
        link.swallow(everything=False)
        await expect(page.locator("header .badge")).to_have_text("SIM", timeout=60_000)
        await equals_the_store(page, mesh)


async def test_candles_come_however_slow_the_network_is(page: Page, mesh: LocalMesh) -> None:
    async with slow_link(mesh.record.ports["GATEWAY_PORT"], delay_s=0) as link:
        await page.goto(f"http://127.0.0.1:{link.port}/?interval=1s&symbol=btcusdt")
        await is_live(page)
        candles = mesh.get("/api/candles", symbol="ethusdt", interval="1s", open="true", order="desc", page_size=1000)
        link.bytes_per_s = len(json.dumps(candles, separators=(",", ":"))) / 15  # longer than silence may last
        await page.locator('.coins [data-symbol="ethusdt"]').click()
        await page.wait_for_function("() => tickmesh().chart.bars.length > 0", timeout=90_000)


async def test_a_clock_that_is_wrong_by_an_hour_changes_nothing(page: Page) -> None:
    await page.add_init_script(AN_HOUR_AHEAD)
    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)
    await page.wait_for_function("() => tickmesh().delivery.delaysMs.length > 10", timeout=60_000)
    delays = await page.evaluate("() => tickmesh().delivery.delaysMs")
    assert max(delays) < 60_000
    await expect(page.locator("header .age")).to_have_text("")


async def seen(page: Page) -> list[str]:
    """Return from when to when the chart shows candles, as its downloads say."""
    await page.locator(".download summary").click()
    link = page.get_by_text("Candles, CSV")
    await expect(link).to_have_attribute("href", re.compile("start_time"))
    query = parse_qs(urlsplit(await link.get_attribute("href") or "").query)
    await page.keyboard.press("Escape")
    return query["start_time"] + query["end_time"]


async def test_keys_reach_everything(page: Page, mesh: LocalMesh) -> None:
    await page.goto("/?symbol=btcusdt&interval=1m")
    await is_live(page)
    rows = page.locator(".coins tbody tr:visible")
    await page.keyboard.press("/")
    await page.keyboard.type("eth")
    await expect(rows).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Ethereum (ETH)")
    await page.keyboard.press("Escape")
    await expect(rows).not_to_have_count(1)
    await page.keyboard.press("/")
    await page.keyboard.press("ArrowDown")
    await expect(rows.first).to_be_focused()
    walk = {"j": 1, "ArrowDown": 2, "k": 1, "ArrowUp": 0, "End": -1, "PageUp": 0, "PageDown": -1, "Home": 0}
    for key, place in walk.items():
        await page.keyboard.press(key)
        await expect(rows.nth(place)).to_be_focused()
    symbol = await rows.first.get_attribute("data-symbol")
    await page.keyboard.press("Space")
    await expect(page.locator(".symbol")).to_have_text(str(symbol).upper())
    for key, interval in (("]", "5m"), ("[", "1m"), ("[", "1s"), ("[", "1s")):
        await page.keyboard.press(key)
        await expect(page.locator(f'[data-interval="{interval}"]')).to_have_attribute("aria-pressed", "true")
    for number, view in enumerate(VIEWS, 1):
        await page.keyboard.press(str(number))
        await expect(page.locator(f"#{view}")).to_be_visible()
    await page.keyboard.press("1")
    await page.keyboard.press("?")
    await expect(page.locator('dialog[aria-label="Keys"]')).to_be_visible()
    assert await serious(page) == []
    await page.screenshot(path=PICTURES / "keys.png")
    await page.keyboard.press("Escape")
    themes = []
    for _ in range(3):
        await page.keyboard.press("t")
        themes.append(await page.locator("html").get_attribute("data-theme"))
    assert set(themes) == {"light", "dark"}


@pytest.mark.timeout(240)
async def test_the_chart_is_moved_and_read_by_keys(page: Page) -> None:
    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)
    await page.wait_for_function("() => tickmesh().chart.bars.length > 20", timeout=60_000)
    chart = page.locator(".canvas")
    for key in ("ArrowLeft", "ArrowRight", "-", "+", "Home", "End"):
        before = await seen(page)
        await chart.focus()
        await page.keyboard.press("+" if key == "-" else key)
        if key == "-":
            await page.keyboard.press("-")

        async def moved(since: list[str] = before) -> bool:
            return await seen(page) != since

        await eventually(moved)
    await chart.focus()
    spoken = page.locator(".spoken")
    read: list[str] = []
    for key in (",", ",", ",", ",", "."):
        await page.keyboard.press(key)
        await expect(spoken).not_to_have_text(read[-1] if read else "")
        read.append(await spoken.text_content() or "")
    assert read[2] == read[4] != read[3]  # the first two may still move
    price = r"[0-9]{2},[0-9]{3}\.[0-9]{2}"
    said = rf"[0-9:]{{8}} UTC: open {price}, high {price}, low {price}, close {price}, volume [0-9]+\.[0-9]{{5}}"
    assert re.fullmatch(said, read[2])


async def test_the_crosshair_tells_exact_values_in_the_coins_tick_size(page: Page, mesh: LocalMesh) -> None:
    await page.goto("/?symbol=dogeusdt&interval=1s&overlays=")
    await is_live(page)
    box = await page.locator(".canvas").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    [tick] = [one for one in mesh.get("/api/instruments", q="dogeusdt")["instruments"] if one["symbol"] == "dogeusdt"]
    places = round(-math.log10(tick["tick_size"]))
    names = {"O": "open", "H": "high", "L": "low", "C": "close"}

    async def exact() -> bool:  # the candle may still move, and others come under the mouse
        bars = {bar["time"]: bar for bar in await page.evaluate("() => tickmesh().chart.bars")}
        when, *shown = await page.locator(".legend span").all_text_contents()
        [bar] = [bar for time, bar in bars.items() if datetime.fromtimestamp(time, UTC).strftime("%H:%M:%S") == when]
        return shown[:4] == [f"{name}{bar[field]:,.{places}f}" for name, field in names.items()]

    await eventually(exact, not_yet=(ValueError,))


@pytest.mark.timeout(300)
async def test_every_control_does_what_it_says(page: Page) -> None:
    await page.goto("/?symbol=btcusdt&overlays=")
    await is_live(page)
    for head in await page.locator(".coins thead button").all():
        for _ in range(2):
            await head.click()
        sort = head.locator("..")
        await expect(sort).to_have_attribute("aria-sort", re.compile("ascending|descending"))
    await page.locator(".coins thead button").first.click()
    await page.locator('.coins [data-symbol="ethusdt"]').click()
    await expect(page.locator("h1")).to_have_text("Ethereum (ETH)")
    for button in await page.locator("[data-interval]").all():
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "true")
        key = f"ethusdt {await button.get_attribute('data-interval')}"
        await page.wait_for_function("key => tickmesh().chart.key === key", arg=key)
        await page.wait_for_function("() => tickmesh().chart.bars.length > 0", timeout=20_000)
        before = await page.evaluate("() => tickmesh().chart.bars.at(-1)")
        await page.wait_for_function("last => tickmesh().chart.bars.at(-1).lastId > last.lastId", arg=before)
    for button in await page.locator("[data-toggle]").all():
        for pressed in ("true", "false"):
            await button.click()
            await expect(button).to_have_attribute("aria-pressed", pressed)
    await page.locator(".download summary").click()
    assert await serious(page) == []
    for link in await page.locator(".download a").all():
        answer = await page.request.get(await link.get_attribute("href") or "")
        assert (answer.status, bool(await answer.body())) == (200, True)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Keys", exact=True).click()
    await page.get_by_role("button", name="Close").click()
    before = await page.locator("html").get_attribute("data-theme")
    await page.get_by_role("button", name="Theme").click()
    await expect(page.locator("html")).not_to_have_attribute("data-theme", str(before))
    for view in VIEWS[1:]:
        await page.locator(f'nav [data-view="{view}"]').click()
        await expect(page.locator(f"#{view}")).to_be_visible()
        await expect(page.locator(f'nav [data-view="{view}"]')).to_have_attribute("aria-current", "page")
    for kind, value in (("above", "1"), ("below", "1"), ("move", "50"), ("stale", "3600")):
        await page.get_by_label("Condition").select_option(kind)
        await page.get_by_label("Value").fill(value)
        await expect(page.get_by_label("Within seconds")).to_be_visible(visible=kind == "move")
        await page.get_by_role("button", name="Set alert").click()
    await expect(page.locator(".alerts li")).to_have_count(4)
    await page.locator(".toasts button").click()
    await expect(page.locator(".toasts div")).to_have_count(0)
    for name in ("licences", "API"):
        answer = await page.request.get(await page.get_by_role("link", name=name).evaluate("link => link.href"))
        assert answer.status == 200
    await page.locator(".brand").click()
    await expect(page.locator("#market")).to_be_visible()


@pytest.mark.parametrize("view", VIEWS)
async def test_nothing_jumps_while_a_view_fills(page: Page, view: str) -> None:
    await page.add_init_script(NOTE_SHIFTS)
    await page.goto(f"/?symbol=btcusdt&interval=1s&view={view}")
    await is_live(page)
    await page.wait_for_function("() => tickmesh().delivery.delaysMs.length > 10", timeout=60_000)
    shifts = await page.evaluate("() => shifts")
    assert sum(value for value, _ in shifts) < 0.1, shifts  # what web.dev calls good


async def test_looking_is_local_and_selecting_is_one_explicit_act(page: Page, mesh: LocalMesh) -> None:
    selected = mesh.get("/api/symbol")["symbol"]
    other = "solusdt" if selected != "solusdt" else "btcusdt"
    await page.goto(f"/?symbol={other}")
    await is_live(page)
    assert mesh.get("/api/symbol")["symbol"] == selected
    await page.locator(".everybody").click()
    await page.get_by_role("button", name="Cancel").click()
    assert mesh.get("/api/symbol")["symbol"] == selected
    await page.keyboard.press("s")
    await page.screenshot(path=PICTURES / "select.png")
    await page.get_by_role("button", name="Select", exact=True).click()
    await expect(page.locator(".everybody")).to_have_text("★ Selected for everybody", timeout=20_000)
    assert mesh.get("/api/symbol")["symbol"] == other


async def test_the_address_says_what_is_shown(page: Page) -> None:
    await page.goto("/?symbol=btcusdt&interval=1m")
    await is_live(page)
    await page.set_viewport_size({"width": 1240, "height": 740})
    for name in ("vwap", "rsi", "macd"):
        await page.locator(f'[data-toggle="{name}"]').click()
    await page.locator('[data-interval="1s"]').click()
    query = await page.evaluate("() => location.search")
    assert "interval=1s&overlays=ema%2Cvwap&panes=rsi%2Cmacd" in query
    await page.goto(f"/{query}")
    await is_live(page)
    pressed = page.locator('[data-toggle][aria-pressed="true"]')
    await expect(pressed).to_have_text(["EMA", "VWAP", "RSI", "MACD"])
    await page.screenshot(path=PICTURES / "indicators.png")
    await page.go_back()
    await expect(page.locator('[data-interval="1m"]')).to_have_attribute("aria-pressed", "true")


async def test_a_link_with_a_symbol_that_is_none_says_so_once(page: Page) -> None:
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(f"{answer.status} {urlsplit(answer.url).path}"))
    await page.goto(f"/?{NO_SYMBOL}&interval=7x&view=nope&overlays=zzz&panes=%00")
    await expect(page.locator(".toasts")).to_contain_text("symbol")
    await expect(page.locator("h1")).to_have_text("A/B is not followed", timeout=20_000)
    await page.wait_for_function("() => tickmesh().status !== null")
    heard = await page.evaluate("() => tickmesh().heardMs")
    await page.wait_for_function("heard => tickmesh().heardMs > heard + 4000", arg=heard)
    assert asked.count("400 /api/candles") == 1
    await page.keyboard.press("2")
    heard = await page.evaluate("() => tickmesh().heardMs")
    await page.wait_for_function("heard => tickmesh().heardMs > heard + 4000", arg=heard)
    assert asked.count("400 /api/coverage") == 1
    await page.keyboard.press("1")
    await page.locator('.coins [data-symbol="ethusdt"]').click()
    await is_live(page)


async def test_scrolling_back_loads_older_candles_until_there_are_none(page: Page) -> None:
    async def small(route: Route) -> None:
        await route.continue_(url=route.request.url.replace("page_size=1000", "page_size=10"))

    await page.route("**/api/candles?*interval=1s*", small)
    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)

    async def scrolled_back() -> bool:
        await page.locator(".canvas").press("Home")
        return bool(await page.evaluate("() => tickmesh().chart.exhausted"))

    await eventually(scrolled_back, timeout_s=60)
    ids = await page.evaluate("() => tickmesh().chart.bars.map((bar) => bar.lastId)")
    assert ids == sorted(ids)


async def test_a_page_that_nobody_sees_costs_the_mesh_nothing_but_its_alerts(page: Page, mesh: LocalMesh) -> None:
    sent: list[dict[str, Any]] = []
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda frame: sent.append(json.loads(frame))),
    )
    hide = "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });"
    hide += " dispatchEvent(new Event('visibilitychange')); }"
    await page.goto("/?symbol=btcusdt&interval=1s&view=alerts")
    await is_live(page)
    await page.get_by_label("Value").fill("1000000")
    await page.get_by_role("button", name="Set alert").click()
    await page.evaluate(hide, True)
    await page.wait_for_function("() => Math.max(...Object.values(tickmesh().following)) === 0", timeout=30_000)

    def followed() -> list[tuple[str, list[str]]]:
        left = subscriptions(sent).values()
        return sorted((one["channel"], one.get("symbols", [])) for one in left)

    await eventually(lambda: followed() == [("status", []), ("ticks", ["btcusdt"])])
    asked.clear()
    before = await page.evaluate("() => tickmesh().coins.get('btcusdt').tradedMs")
    await page.wait_for_function("before => tickmesh().coins.get('btcusdt').tradedMs > before", arg=before)
    assert asked == []
    await page.evaluate(hide, False)
    await is_live(page)
    await equals_the_store(page, mesh)


async def test_prices_that_are_seen_come_fast_and_the_others_now_and_then(page: Page, mesh: LocalMesh) -> None:
    sent: list[dict[str, Any]] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(json.loads(frame))))
    every = sorted(coin["symbol"] for coin in mesh.get("/api/coins") if coin["followed"])

    def prices() -> list[tuple[float, list[str]]]:
        ticks = [one for one in subscriptions(sent).values() if one["channel"] == "ticks"]
        return sorted((one["rate"], sorted(one["symbols"])) for one in ticks)

    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)
    await eventually(lambda: prices() == [(2, every)])
    await page.keyboard.press("/")
    await page.keyboard.type("eth")
    await eventually(lambda: prices() == [(0.2, every), (2, ["btcusdt", "ethusdt"])])
    await page.keyboard.press("Escape")
    await page.keyboard.press("2")
    await eventually(lambda: prices() == [(0.2, every), (2, ["btcusdt"])])
    before = await page.evaluate("() => tickmesh().coins.get('ethusdt').tradedMs")
    await page.wait_for_function("before => tickmesh().coins.get('ethusdt').tradedMs > before", arg=before)


async def test_a_browser_that_keeps_nothing_shows_everything_all_the_same(page: Page) -> None:
    await page.add_init_script(NOTHING_IS_KEPT)
    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)
    before = await page.locator("html").get_attribute("data-theme")
    await page.keyboard.press("t")
    await expect(page.locator("html")).not_to_have_attribute("data-theme", str(before))
    await page.keyboard.press("4")
    await page.get_by_label("Value").fill("1")
    await page.get_by_role("button", name="Set alert").click()
    await expect(page.locator(".toasts")).to_contain_text("BTCUSDT above 1.00", timeout=20_000)


async def test_a_coin_that_is_followed_no_more_goes_and_its_page_says_so(page: Page) -> None:
    sockets: list[WebSocketRoute] = []
    gone: list[str] = []

    def without(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        mesh = socket.connect_to_server()

        def told(message: str | bytes) -> None:
            said = json.loads(message)
            if (said.get("status") or {}).get("symbols"):
                listed = said["status"]["symbols"]
                said["status"]["symbols"] = [one for one in listed if one["symbol"] not in gone]
            socket.send(json.dumps(said))

        mesh.on_message(told)

    async def coins(route: Route) -> None:
        listed = await (await route.fetch()).json()
        followed = [one | {"followed": one["followed"] and one["symbol"] not in gone} for one in listed]
        await route.fulfill(json=followed)

    await page.route_web_socket(re.compile("/ws"), without)
    await page.route("**/api/coins", coins)
    await page.goto("/?symbol=ethusdt&interval=1s")
    await is_live(page)
    await expect(page.locator('.coins [data-symbol="ethusdt"]')).to_be_visible()
    gone.append("ethusdt")
    await sockets[-1].close(code=1001, reason="the server is going away")
    await expect(page.locator("h1")).to_have_text("ETHUSDT is not followed")
    await expect(page.locator('.coins [data-symbol="ethusdt"]')).to_have_count(0)
    await page.locator('.coins [data-symbol="btcusdt"]').click()
    await is_live(page)


@pytest.mark.parametrize("view", VIEWS)
async def test_the_tab_key_reaches_everything_that_can_be_used(page: Page, view: str) -> None:
    await page.goto(f"/?view={view}&symbol=btcusdt&interval=1s")
    await is_live(page)
    await page.wait_for_function("view => view !== 'coverage' || tickmesh().day !== null", arg=view)
    usable = "a[href], button:not(:disabled), input, select, summary, [tabindex='0']"
    left = f"() => [...document.querySelectorAll(`{usable}`)].filter((one) => !one.seen && one.tabIndex >= 0"
    left += " && one.checkVisibility({ visibilityProperty: true })).map((one) => one.outerHTML.slice(0, 100))"
    assert await page.evaluate(left)
    for _ in range(120):
        await page.keyboard.press("Tab")
        await page.evaluate("() => { document.activeElement.seen = true; }")
    assert await page.evaluate(left) == []


async def test_how_the_mesh_is_comes_without_asking(page: Page, mesh: LocalMesh) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    await page.goto("/?symbol=btcusdt&interval=1s&view=coverage")
    await is_live(page)
    await page.wait_for_function("() => tickmesh().following.coverage > 0 && tickmesh().day !== null")
    before = await page.evaluate("() => tickmesh().coverage.stored")
    await page.wait_for_function("before => tickmesh().coverage.stored > before", arg=before)
    assert "/api/status" not in asked
    await page.wait_for_function("() => [...tickmesh().coins.values()].every((coin) => coin.session !== null)")
    assert "/api/summaries" in asked
    assert asked.count("/api/candles") < 10  # it does not ask coin by coin

    def summed() -> bool:
        known = {coin["symbol"] for coin in mesh.get("/api/coins") if coin["followed"]}
        return {each["symbol"] for each in mesh.get("/api/summaries")["summaries"]} == known

    await eventually(summed, timeout_s=120)  # a minute has closed of each


async def test_how_long_a_service_runs_is_told_as_soon_as_the_time_of_the_mesh_is_known(page: Page) -> None:
    services_shown, told = asyncio.Event(), asyncio.Event()

    def first_the_services_then_the_time(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        def passed_on(message: str | bytes) -> None:
            kind = json.loads(message)["type"]
            if kind != "status" and (kind != "heartbeat" or services_shown.is_set()):
                ws.send(message)

        server.on_message(passed_on)

    async def held(route: Route) -> None:  # what it asks for when nothing has come for some seconds
        await told.wait()
        await route.continue_()

    await page.route_web_socket(re.compile("/ws"), first_the_services_then_the_time)
    await page.route("**/api/status", held)
    await page.goto("/?view=status")
    facts = [page.get_by_role("region", name=name, exact=True).locator("dd").first for name in SERVICES]
    for runs_for in facts:
        await expect(runs_for).to_have_text("–")
    services_shown.set()
    for runs_for in facts:
        await expect(runs_for).to_contain_text(re.compile(r"^[\d.]+ (s|min)"))
    told.set()


async def test_the_delay_is_told_hop_by_hop(page: Page) -> None:
    await page.goto("/?symbol=btcusdt&interval=1s&view=status")
    await is_live(page)
    hops = ["exchange to ingest", "exchange to gateway", "gateway to page", "exchange to page", "page to screen"]
    await expect(page.locator(".hops tbody th")).to_have_text(hops)
    for row in await page.locator(".hops tbody tr").all():
        await expect(row.locator("td").nth(0)).to_contain_text(" ms")
        await expect(row.locator("td").nth(1)).to_contain_text(" ms")


@pytest.mark.parametrize("word", WORDS)
async def test_each_state_is_shown_by_word_shape_and_colour(page: Page, mesh: LocalMesh, word: str) -> None:
    def changed(socket: WebSocketRoute) -> None:
        mesh = socket.connect_to_server()

        def told(message: str | bytes) -> None:
            said = json.loads(message)
            if said.get("status"):
                said["status"] |= {"state": word, "message": f"as if it were {word}", "symbols": []}
            socket.send(json.dumps(said))

        mesh.on_message(told)

    await page.route_web_socket(re.compile("/ws"), changed)
    await page.goto("/?symbol=btcusdt")
    badge = page.locator("header .badge")
    await expect(badge).to_have_text(word, timeout=20_000)
    await page.wait_for_function("() => tickmesh().chart.key !== ''")
    shape = await badge.locator("path").get_attribute("d")
    colour = await badge.evaluate("badge => getComputedStyle(badge).color")
    assert shape
    assert colour
    old = word in ("STALE", "GAP", "BLOCKED", "OFFLINE")
    assert await page.locator(".market").get_attribute("data-old") == ("" if old else None)
    await page.screenshot(path=PICTURES / f"state-{word.lower()}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
async def test_axe_finds_nothing_serious(page: Page, view: str, scheme: Any) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await page.goto(f"/?view={view}&symbol=btcusdt&panes=rsi")
    await is_live(page)
    await page.wait_for_function(
        "view => view !== 'coverage' || tickmesh().coverage !== null", arg=view, timeout=20_000
    )
    assert await serious(page) == []
    await page.screenshot(path=PICTURES / f"{view}-{scheme}.png")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (768, 1024), (1920, 1080), (3840, 2160)])
async def test_every_width_shows_everything_without_scrolling_sideways(page: Page, width: int, height: int) -> None:
    await page.add_init_script(NOTE_FONTS)
    await page.set_viewport_size({"width": width, "height": height})
    for view in VIEWS:
        await page.goto(f"/?view={view}&symbol=btcusdt&interval=1s")
        await is_live(page)
        wide = await page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{view} is {wide} px too wide"
    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)
    root_px = 21 if width > 2400 else 16
    sizes = {size for font in await page.evaluate("() => [...fonts]") for size in re.findall(r"\d+px", font)}
    assert sizes == {f"{root_px * 0.72:.0f}px"}
    await page.screenshot(path=PICTURES / f"market-{width}.png")


async def test_an_alert_comes_and_stays_after_a_reload(page: Page) -> None:
    await page.goto("/?view=alerts&symbol=btcusdt")
    await is_live(page)
    await page.get_by_label("Value").fill("1")
    await page.get_by_role("button", name="Set alert").click()
    await expect(page.locator(".toasts")).to_contain_text("BTCUSDT above 1.00", timeout=20_000)
    await expect(page.locator(".alerts li")).to_contain_text("came at")
    await page.reload()
    await expect(page.locator(".alerts li")).to_contain_text("came at", timeout=20_000)
    await page.locator(".alerts button").click()
    await expect(page.locator(".alerts")).to_have_text("None yet.")


async def test_alerts_and_the_theme_are_those_of_the_browser_in_every_tab(page: Page) -> None:
    await page.goto("/?view=alerts&symbol=btcusdt")
    other = await page.context.new_page()
    await other.goto("/?view=alerts&symbol=ethusdt")
    for tab, level in ((page, "900001"), (other, "900002"), (page, "900003")):
        await is_live(tab)
        await tab.get_by_label("Value").fill(level)
        await tab.get_by_role("button", name="Set alert").click()
        for each in (page, other):
            await expect(each.locator(".alerts")).to_contain_text(f"{int(level):,}")
    await other.get_by_role("button", name="Remove: BTCUSDT above 900,001.00").click()
    await expect(page.locator(".alerts li")).to_have_count(2)
    await page.keyboard.press("t")
    await expect(other.locator("html")).to_have_attribute("data-theme", "light")
    await page.reload()
    await expect(page.locator(".alerts li")).to_contain_text(["ETHUSDT above 900,002", "BTCUSDT above 900,003"])


async def test_the_form_of_alerts_takes_what_is_seen_and_nothing_that_cannot_come(page: Page) -> None:
    await page.goto("/?view=alerts&symbol=btcusdt")
    await is_live(page)
    kind, within = page.get_by_label("Condition"), page.get_by_label("Within seconds")
    value, done = page.get_by_label("Value"), page.get_by_role("button", name="Set alert")
    await kind.select_option("move")
    await value.fill("50")
    for wrong in ("", "0"):
        await within.fill(wrong)
        await done.click()
        assert await page.evaluate("() => tickmesh().alerts") == []
    await kind.select_option("above")
    await value.fill("0")
    await done.click()
    assert await page.evaluate("() => tickmesh().alerts") == []
    await value.fill("900001")
    await done.click()
    await expect(page.locator(".alerts")).to_contain_text("BTCUSDT above 900,001.00")
    await page.keyboard.press("Escape")
    await page.locator('nav [data-view="market"]').click()
    await page.locator('.coins [data-symbol="solusdt"]').click()
    await page.locator('nav [data-view="alerts"]').click()
    await expect(page.get_by_label("Coin", exact=True)).to_have_value("solusdt")
    await page.reload()
    await expect(page.locator(".alerts li")).to_have_text(re.compile("BTCUSDT above 900,001.00"))


@pytest.mark.parametrize("permission", ["granted", "denied"])
async def test_an_alert_is_a_notification_where_the_browser_may_show_one(page: Page, permission: str) -> None:
    await page.context.grant_permissions(["notifications"] if permission == "granted" else [])  # all others are denied
    await page.add_init_script(NOTE_NOTIFICATIONS)
    await page.goto("/?view=alerts&symbol=btcusdt")
    await is_live(page)
    assert await page.evaluate("() => Notification.permission") == permission
    hint = "shows a notification" if permission == "granted" else "Notifications are not allowed"
    await expect(page.locator(".hint")).to_contain_text(hint)
    await page.get_by_label("Value").fill("1")
    await page.get_by_role("button", name="Set alert").click()
    await expect(page.locator(".toasts")).to_contain_text("BTCUSDT above 1.00", timeout=20_000)
    if permission == "granted":
        await page.wait_for_function("() => shown.length > 0")
    assert await page.evaluate("() => shown") == (["BTCUSDT above 1.00"] if permission == "granted" else [])


async def test_what_is_seen_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    await page.goto("/?symbol=btcusdt&interval=1s")
    await is_live(page)
    await page.locator(".download summary").click()
    async with page.expect_download() as waiting:
        await page.get_by_text("Candles, CSV").click()
    download = await waiting.value
    await download.save_as(tmp_path / "candles.csv")
    with (tmp_path / "candles.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["interval"] for row in rows} == {"1s"}
    assert download.suggested_filename.startswith("btcusdt-1s-")


@pytest.mark.timeout(300)
async def test_a_minute_of_the_calendar_leads_to_the_ledgers_row(page: Page, mesh: LocalMesh) -> None:
    def verified() -> bool:
        minutes = mesh.get("/api/coverage", symbol="btcusdt")["minutes"]
        return any(minute["state"] == "VERIFIED" for minute in minutes)

    await eventually(verified, timeout_s=180)
    await page.goto("/?view=coverage&symbol=btcusdt")
    await page.locator('.calendar [data-mark="verified"]').first.click(timeout=30_000)
    await expect(page.locator(".detail")).to_contain_text("VERIFIED")
    await page.screenshot(path=PICTURES / "coverage.png")


async def test_the_calendar_goes_back_to_any_day_and_to_the_ledgers_rows_of_it(page: Page, mesh: LocalMesh) -> None:
    mesh.query(
        "INSERT INTO minutes (venue, symbol, time, first_trade_id, last_trade_id, trade_count, open, high, low, close,"
        " volume, state, difference) SELECT 'sim', 'btcusdt', date_trunc('minute', now()) - interval '3 days 2 hours',"
        " 1, 5, 5, 1, 1, 1, 1, 1, 'VERIFIED', '' ON CONFLICT DO NOTHING RETURNING time"
    )
    await page.goto("/?view=coverage&symbol=btcusdt")
    later, earlier = page.get_by_role("button", name="Later"), page.get_by_role("button", name="Earlier")
    await page.wait_for_function("() => tickmesh().day !== null", timeout=30_000)
    await expect(later).to_be_disabled()
    for back in (1, 2, 3):
        await earlier.click()
        await page.wait_for_function("back => tickmesh().daysBack === back && tickmesh().day !== null", arg=back)
    verified = page.locator('.calendar [data-mark="verified"]')
    await expect(verified).to_have_count(1)
    await verified.click()
    await expect(page.locator(".detail")).to_contain_text("VERIFIED")
    await expect(page.locator(".detail")).to_contain_text("trades5")
    assert await serious(page) == []
    await page.screenshot(path=PICTURES / "coverage-earlier.png")
    chosen = page.locator(".calendar [aria-selected]")
    await expect(chosen).to_have_count(1)
    await later.click()
    await expect(verified).to_have_count(0)
    await expect(chosen).to_have_count(0)  # it is of another day


async def test_the_documentation_of_the_api_sends_requests(page: Page) -> None:
    await page.goto("/docs")
    await page.locator("#operations-SignalService-GetPrice, [id*=GetPrice]").first.click(timeout=30_000)
    await page.get_by_role("button", name="Execute").click()
    await expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


async def test_the_page_of_a_mesh_with_a_token_asks_for_it(page: Page, tmp_path: Path) -> None:
    token = "a-token-of-thirty-two-characters"
    with running_mesh(tmp_path, VENUE="sim", API_TOKEN=token, PROTECT_READS="true") as protected:
        await page.goto(f"{protected.url}/?symbol=btcusdt")
        await page.get_by_label("Token").fill(token)
        await page.screenshot(path=PICTURES / "token.png")
        await page.get_by_role("button", name="Enter").click()
        await is_live(page)
        await expect(page.locator(".door")).to_be_hidden()


async def test_live_trades_alone_may_need_the_token(page: Page, tmp_path: Path) -> None:
    token = "a-token-of-thirty-two-characters"
    with running_mesh(tmp_path, VENUE="sim", API_TOKEN=token) as protected:
        await page.goto(f"{protected.url}/?symbol=btcusdt")
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Enter").click()
        await is_live(page)


@pytest.mark.timeout(240)
async def test_the_picture_of_the_readme_shows_what_there_is(page: Page) -> None:
    await page.set_viewport_size({"width": 1260, "height": 760})
    await page.goto("/?symbol=btcusdt&interval=1s&overlays=ema,bollinger&panes=rsi,macd")
    await is_live(page)
    await page.wait_for_function("() => tickmesh().chart.bars.length > 130", timeout=200_000)
    await page.reload()  # with what an hour's line has by now
    await is_live(page)
    await page.wait_for_function("() => [...tickmesh().coins.values()].every((coin) => coin.session !== null)")
    await expect(page.locator("header .badge")).to_have_text("SIM")
    await page.screenshot(path=PICTURES / "readme.png")
