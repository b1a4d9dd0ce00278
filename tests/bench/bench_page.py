"""The page in Chromium while 300 coins trade: `make bench-page` says what it takes of a core, and of memory, twice.

The processor time is that of all of Chromium's processes, drawing in software; the memory is the page's heap after a
collection, half way and at the end. With --beside it says instead how much later a client of `/ws` has its trades while
three pages are open, in turns with none: Chromium runs on this machine, too, but gives way to the mesh (nice). What of
that is the gateway's own work is told apart, by clients that subscribe to what a page subscribes to and draw nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from playwright.async_api import CDPSession, async_playwright
from playwright.sync_api import Browser, Page, sync_playwright

from tests.bench.figures import Figures
from tests.bench.whole_mesh import Load, fed_mesh, run
from tests.fixtures.mesh import ROOT, running_mesh
from tests.fixtures.sim import running_sim

MOST_SHARE, MOST_MB = 0.30, 150
"""Of a core, and of the page's heap: with more than that this program fails."""
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def chromium() -> list[psutil.Process]:
    """Return every process of the browser that this process started."""
    return [process for process in psutil.Process().children(recursive=True) if "chrom" in process.name()]


def processor_s() -> float:
    """Return the processor time of the browser."""
    return float(sum(sum(process.cpu_times()[:2]) for process in chromium()))


async def heap_mb(cdp: CDPSession) -> float:
    """Return the size of what the page really holds."""
    await cdp.send("HeapProfiler.collectGarbage")
    usage = await cdp.send("Runtime.getHeapUsage")
    return float(usage["usedSize"]) / 2**20


async def durations_s(cdp: CDPSession) -> dict[str, float]:
    """Return how long the page's main thread has been at each kind of work."""
    names = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")
    metrics = (await cdp.send("Performance.getMetrics"))["metrics"]
    return {one["name"].removesuffix("Duration"): one["value"] for one in metrics if one["name"] in names}


async def measure(url: str, seconds: float) -> None:
    """Open the page, let it run, and print what it took."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        began = time.monotonic()
        await page.goto(url)
        await page.wait_for_function("() => tickmesh().chart.key !== '' && tickmesh().following.candles > 0")
        print(f"first candles after {time.monotonic() - began:.2f} s")
        await page.wait_for_function("() => tickmesh().coins.size >= 300")
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Performance.enable")
        too_much = False
        for part in ("half way", "at the end"):
            before, since, worked = processor_s(), time.monotonic(), await durations_s(cdp)
            await asyncio.sleep(seconds / 2)
            share = (processor_s() - before) / (time.monotonic() - since)
            delivery = await page.evaluate("() => tickmesh().delivery")
            lost = f"{delivery['missed']} trades missed, {delivery['skipped']} messages skipped"
            passed = time.monotonic() - since
            work = ", ".join(
                f"{name} {(value - worked[name]) / passed:.1%}" for name, value in (await durations_s(cdp)).items()
            )
            print(f"{part}: main thread: {work}")
            heap = await heap_mb(cdp)
            print(f"{part}: {share:.0%} of a core, heap {heap:.1f} MB, {lost}")
            too_much = too_much or share >= MOST_SHARE or heap >= MOST_MB
        await browser.close()
    if too_much:
        raise SystemExit(f"expected less than {MOST_SHARE:.0%} of a core and {MOST_MB} MB")


def settled(page: Page, url: str) -> Page:
    """Return a page that has loaded all it needs: what loading costs is told apart."""
    page.set_default_timeout(120_000)  # it gives way to all others here
    page.goto(url)
    page.wait_for_function("() => tickmesh().following.candles > 0 && tickmesh().following.trades > 0")
    page.wait_for_load_state("networkidle")
    return page


def subscriptions(browser: Browser, url: str) -> list[dict[str, Any]]:
    """Return what a page subscribes to: only from where on it resumes is left out."""
    said: list[dict[str, Any]] = []
    page = browser.new_page()
    page.on("websocket", lambda opened: opened.on("framesent", lambda frame: said.append(json.loads(frame))))
    settled(page, url)
    page.wait_for_function("() => tickmesh().rows.length > 0")
    page.wait_for_timeout(2000)  # it looks once a second whose rows are seen
    page.close()
    begun = dict(enumerate((one for one in said if one["op"] == "subscribe"), 1))
    for one in said:
        if one["op"] == "unsubscribe":
            del begun[one["subscription"]]
    return [{k: v for k, v in one.items() if k != "resume_from"} for one in begun.values()]


@contextlib.contextmanager
def page_clients(ws_url: str, count: int, said: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Follow what pages follow while inside; then what they were sent is in the result."""
    command = [sys.executable, "-m", "tests.bench.page_clients", ws_url + "?channels=", "--clients", str(count)]
    counted: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(json.dumps(said) + "\n")
        clients.stdin.flush()
        assert clients.stdout.readline() == "ready\n"
        yield counted
        clients.stdin.close()
        counted |= json.loads(clients.stdout.readline())


def beside(rate: float, seconds: float, pages: int = 3, turns: int = 5) -> None:
    """Measure the delays of a client of `/ws` with pages open and without, in turns, and print them.

    Args:
        rate: trades a second of all coins together.
        seconds: of each turn.
        pages: how many are open.
        turns: how many of each kind.

    """
    load = Load(rate, seconds)
    runs: dict[str, list[Figures]] = {"alone": [], "pages": [], "subscriptions": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        fed_mesh(Path(folder)) as fed,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS)) as browser,
    ):
        for process in chromium():
            process.nice(19)
            with contextlib.suppress(OSError):  # where sessions share the processors first, their processes only then
                Path(f"/proc/{process.pid}/autogroup").write_text("19")
        run(fed, load)  # warms up
        url = fed.ws_url.replace("ws", "http", 1).removesuffix("/ws") + "/?symbol=btcusdt&interval=1s"
        said = subscriptions(browser, url)
        for _ in range(turns):
            runs["alone"].append(run(fed, load))
            opened = [settled(browser.new_page(), url) for _ in range(pages)]
            runs["pages"].append(run(fed, load))
            for page in opened:
                page.close()
            with page_clients(fed.ws_url, pages, said) as counted:
                runs["subscriptions"].append(run(fed, load))
    for kind, (messages, size) in sorted(counted.items()):
        print(f"a page is sent {messages:.1f} {kind} a second, {size / 1000:.1f} KB")
    for name in ("delay_ms.p50", "delay_ms.p99", "cpu_us.gateway", "cpu_us.mesh"):
        alone = median(one[name] for one in runs["alone"])
        for which in ("pages", "subscriptions"):
            found = median(one[name] for one in runs[which])
            print(f"{rate:,.0f}/s, {name}: {alone:.2f}, with {pages} {which} {found:.2f}: {found / alone - 1:+.0%}")


def main() -> None:
    """Measure with an exchange of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--beside", action="store_true", help="measure /ws with three pages open and without")
    options = parser.parse_args()
    if options.beside:
        beside(options.rate, options.seconds)
        return
    symbols = ",".join(f"coin{number}usdt" for number in range(300))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sim("--rate", str(options.rate), "--symbols", symbols) as sim,
        running_mesh(
            Path(folder),
            VENUE="binance",
            BINANCE_WS_URL=sim.ws,
            BINANCE_REST_URL=sim.rest,
            SYMBOLS=symbols,
            SYMBOL="coin0usdt",
        ) as mesh,
    ):
        asyncio.run(measure(mesh.url + "/", options.seconds))


if __name__ == "__main__":
    main()
