"""The page in Chromium while 300 coins trade: `make bench-page` says what it takes of a core, and of memory, twice.

The processor time is that of all of Chromium's processes, drawing in software; the memory is the page's heap after a
collection, half way and at the end. With --beside it says instead how much later a client of `/ws` has its trades while
three pages are open, in turns with none: Chromium runs on this machine, too, but gives way to the mesh (nice).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from playwright.async_api import CDPSession, async_playwright
from playwright.sync_api import sync_playwright

from tests.bench.figures import Figures
from tests.bench.whole_mesh import Load, fed_mesh, run
from tests.fixtures.mesh import running_mesh
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


def beside(rate: float, seconds: float, pages: int = 3, turns: int = 5) -> None:
    """Measure the delays of a client of `/ws` with pages open and without, in turns, and print them.

    Args:
        rate: trades a second of all coins together.
        seconds: of each turn.
        pages: how many are open.
        turns: how many of each kind.

    """
    load = Load(rate, seconds)
    runs: dict[str, list[Figures]] = {"alone": [], "beside": []}
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
        url = fed.ws_url.replace("ws", "http", 1).removesuffix("/ws")
        for _ in range(turns):
            runs["alone"].append(run(fed, load))
            opened = [browser.new_page() for _ in range(pages)]
            for page in opened:
                page.goto(f"{url}/?symbol=btcusdt&interval=1s")
                page.wait_for_function("() => tickmesh().following.candles > 0")
            for page in opened:
                page.wait_for_load_state("networkidle")  # what loading costs is told apart
            runs["beside"].append(run(fed, load))
            for page in opened:
                page.close()
    for name in ("delay_ms.p50", "delay_ms.p99", "cpu_us.gateway", "cpu_us.mesh"):
        alone, with_pages = (median(one[name] for one in runs[which]) for which in ("alone", "beside"))
        print(f"{rate:,.0f}/s, {name}: {alone:.2f}, with {pages} pages {with_pages:.2f}: {with_pages / alone - 1:+.0%}")


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
