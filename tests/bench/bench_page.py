"""The page in Chromium while 300 coins trade: `make bench-page` says what it takes of a core, and of memory, twice.

The processor time is that of all of Chromium's processes, drawing in software; the memory is the page's heap after a
collection, half way and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import psutil
from playwright.async_api import CDPSession, async_playwright

from tests.fixtures.mesh import running_mesh
from tests.fixtures.sim import running_sim

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def processor_s() -> float:
    """Return the processor time of every process of the browser that this process started."""
    found = 0.0
    for process in psutil.Process().children(recursive=True):
        if "chrom" in process.name():
            times = process.cpu_times()
            found += times.user + times.system
    return found


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
            print(f"{part}: {share:.0%} of a core, heap {await heap_mb(cdp):.1f} MB, {lost}")
        await browser.close()


def main() -> None:
    """Measure with an exchange of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", default="1000")
    options = parser.parse_args()
    symbols = ",".join(f"coin{number}usdt" for number in range(300))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sim("--rate", options.rate, "--symbols", symbols) as sim,
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
