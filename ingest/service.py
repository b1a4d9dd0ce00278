"""ingest put together: the bus, the venue, and the tasks between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import AsyncExitStack

from ingest.catalog import Catalog
from ingest.connection.line import Line
from ingest.connection.link import Ends
from ingest.connection.silence_watchdog import SilenceWatchdog
from ingest.following import Following
from ingest.order.outlet import Outlet
from ingest.order.repair import Repairs
from ingest.order.requested import RequestedRepairs
from ingest.outbox import Outbox
from ingest.rest.client import Rest
from ingest.rest.client import connect as connect_rest
from ingest.venue import Venue, choose
from mesh import control, leases, subjects
from mesh.bus import CANDLE_STREAM, CONTROL_STREAM, DEAD_STREAM, Bus, connect, raw_stream
from mesh.errors import BadMessage
from mesh.health import Health
from mesh.metrics import served
from mesh.publisher import Publisher
from mesh.reader import Reader
from mesh.service import Stop
from mesh.settings import IngestSettings

log = logging.getLogger("ingest.service")

REPAIRED_WITHIN_S = 2.0
"""So long a stopping ingest waits for what has arrived to be passed on, and for REST to bring what is missing."""
SETTLE_S = 10.0
"""So long a stopping ingest waits for the bus to take what is on its way; what it does not take is fetched again."""


async def main(settings: IngestSettings, stop: Stop) -> None:
    """Follow the venue until asked to stop; then stop reading, pass on what has arrived, and return."""
    health = Health("bus", "lease", "venue")
    async with AsyncExitStack() as stack:
        stack.enter_context(served(settings, health))
        async with stop.interrupts():
            bus = await stack.enter_async_context(connect(settings, name="ingest", health=health))
            await stack.enter_async_context(leases.held(bus, "ingest", health=health))
            await bus.declare(raw_stream(settings.raw_max_bytes))
            await bus.declare(CONTROL_STREAM)
            await bus.declare(CANDLE_STREAM)
            await bus.declare(DEAD_STREAM)
            venue = await choose(settings)
            venue_rest = await stack.enter_async_context(connect_rest(venue.name, venue.rest_urls))
        following = Following(settings.symbols)
        log.info("following %s: %s", venue.name, ", ".join(following.symbols))
        if following.left_out:
            log.error(
                "SYMBOLS has %d symbols, expected at most %d: the last %d are not followed, %s",
                len(settings.symbols),
                len(following.symbols),
                len(following.left_out),
                ", ".join(following.left_out),
            )
        publisher = Publisher(bus, subjects.RAW, readers=(subjects.DURABLE_SIGNAL, subjects.DURABLE_STORE))
        async with asyncio.TaskGroup() as keepers:
            async with stop.interrupts():
                await publisher.open()
            publishing = keepers.create_task(publisher.run(), name="publisher")
            outlet = Outlet(venue.name, bus, publisher)
            brought = await _follow(settings, stop, health, bus, venue, venue_rest, following, outlet)
            await _settle(outlet, publisher, brought)
            publishing.cancel()


async def _follow(
    settings: IngestSettings,
    stop: Stop,
    health: Health,
    bus: Bus,
    venue: Venue,
    venue_rest: Rest,
    following: Following,
    outlet: Outlet,
) -> set[str]:
    """Follow the venue until asked to stop; return the symbols whose missing trades REST was just bringing."""
    async with asyncio.TaskGroup() as tasks:
        repairs = Repairs(venue_rest, outlet, tasks)
        outbox = Outbox(bus)
        venue_rest.keep_aside_in(outbox)
        watchdog = SilenceWatchdog()
        ends = Ends(
            venue,
            following,
            outlet,
            watchdog,
            newest_id=venue_rest.newest_id,
            on_followed=repairs.catch_up,
            outbox=outbox,
        )
        line = Line(ends, max_age_s=settings.connection_max_age_s, health=health, on_away=venue_rest.stay_away)
        catalog = Catalog(venue.name, following, venue_rest, bus, on_change=line.wake)
        requested = RequestedRepairs(bus, venue_rest, outlet)
        loops = [
            tasks.create_task(line.run(), name="line"),
            tasks.create_task(outbox.run(), name="outbox"),
            tasks.create_task(requested.run(), name="requested repairs"),
            tasks.create_task(outlet.keep_bounds(), name="bounds"),
            tasks.create_task(catalog.keep_learning(), name="learning"),
            tasks.create_task(catalog.keep_telling(), name="telling"),
            tasks.create_task(_listen(bus, venue.name, following, line, catalog), name="listening"),
        ]
        await stop.wait()
        await wind_down(loops, repairs)
    return repairs.brought


async def wind_down(loops: Collection[asyncio.Task[None]], repairs: Repairs) -> None:
    """End the loops, and then the repairs: the line passes on what has arrived, REST brings what it has.

    Each gets a moment only: where the bus takes nothing, the line may wait behind a repair, which waits for the bus.
    """
    for task in loops:
        task.cancel()
    await asyncio.wait(loops, timeout=REPAIRED_WITHIN_S)
    await repairs.finish(within_s=REPAIRED_WITHIN_S)


async def _listen(bus: Bus, venue: str, following: Following, line: Line, catalog: Catalog) -> None:
    """Follow the symbols that people select, for ever."""
    async with Reader(bus, subjects.CONTROL, "control-ingest", after=None, subject=subjects.CONTROL_SYMBOL) as reader:
        while True:
            for message in await reader.next():
                try:
                    symbol = control.decode_selection(message.payload)
                except BadMessage as exc:
                    log.warning("ignored a selection: %s", exc)
                else:
                    if symbol in following.symbols:
                        log.debug("%s is followed already", symbol)
                    elif following.select(symbol):
                        log.info("%s was selected: following it too", symbol)
                        line.wake()
                        catalog.changed()
                    else:
                        log.warning("ignored the selection of %s: %s does not trade it", symbol, venue)
                await reader.ack(message)


async def _settle(outlet: Outlet, publisher: Publisher, brought: set[str]) -> None:
    try:
        async with asyncio.timeout(SETTLE_S):
            # What waits behind a gap has arrived and may never come again; the ids before it stay open in the ledger.
            # Where REST has them, all of it comes again at the next start, in order: so the signals have them too.
            await outlet.give_up_all("asked to stop while waiting for them", but=brought)
            await publisher.settle()
    except TimeoutError:
        log.warning(
            "the bus did not take the last %d messages within %g s: their trades are fetched again at the next start",
            publisher.pending,
            SETTLE_S,
        )
