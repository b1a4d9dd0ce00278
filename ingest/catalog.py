"""The catalog: asks the venue what it trades, and tells the mesh what is traded and followed (`control.catalog`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from nats.errors import Error as NatsError

from ingest.following import Following
from ingest.rest.client import Rest
from ingest.rest.refusal import RestError
from mesh import control, subjects
from mesh.backoff import backoff
from mesh.bus import Bus
from mesh.errors import BadMessage
from mesh.logs import Seldom
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.catalog")

REFRESH_S = 3600.0
MAX_INSTRUMENTS = 5000
"""More would not fit into one message of the bus; some 180 bytes each."""


class Catalog:
    """See the module.

    Args:
        venue: its name.
        following: what is followed; learns here what the venue trades.
        rest: the venue.
        bus: where to tell it.
        on_change: called when what is to be followed has changed.

    """

    def __init__(
        self, venue: str, following: Following, rest: Rest, bus: Bus, *, on_change: Callable[[], None]
    ) -> None:
        self._venue = venue
        self._following = following
        self._rest = rest
        self._bus = bus
        self._on_change = on_change
        self._changed = asyncio.Event()
        self.told = asyncio.Event()
        """The mesh knows which venue is followed: its trades come after that."""

    def changed(self) -> None:
        """Tell the mesh again, soon."""
        self._changed.set()

    async def keep_learning(self) -> None:
        """Ask the venue what it trades, now and every hour, for ever; a task of the service's own."""
        delays = backoff(first_s=0.5, max_s=60)
        seldom = Seldom(every_s=30)
        while True:
            try:
                instruments = await self._rest.exchange_info()
            except (RestError, BadMessage) as exc:
                if seldom.due(asyncio.get_running_loop().time()):
                    log.warning("what %s trades is not known yet: %s", self._venue, exc)
                await asyncio.sleep(max(next(delays), getattr(exc, "again_after_s", 0.0)))
                continue
            if silent := self._following.learn(instruments):
                log.error("%s does not trade %s now: nothing will come of it", self._venue, ", ".join(silent))
            log.info("%s trades %d instruments", self._venue, len(instruments))
            self._on_change()
            self.changed()
            await asyncio.sleep(REFRESH_S)
            delays = backoff(first_s=0.5, max_s=60)

    async def keep_telling(self) -> None:
        """Publish the catalog, now and after every change, for ever; a task of the service's own."""
        while True:
            self._changed.clear()
            payload = control.encode(self.message())
            for delay_s in backoff(max_s=5):
                try:
                    await self._bus.js.publish(subjects.CONTROL_CATALOG, payload)
                    self.told.set()
                    break
                except (NatsError, TimeoutError) as exc:
                    log.warning("the catalog did not reach the bus: %s", str(exc) or type(exc).__name__)
                    await asyncio.sleep(delay_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._changed.wait()

    def message(self) -> control_pb2.Catalog:
        """Return what the mesh is told now."""
        instruments = self._following.instruments
        if len(instruments) > MAX_INSTRUMENTS:
            followed = set(self._following.symbols)
            # Stable: the followed first, the others in the venue's order.
            instruments = tuple(sorted(instruments, key=lambda one: one.symbol not in followed))[:MAX_INSTRUMENTS]
            log.warning("%d instruments are told, of %d", len(instruments), len(self._following.instruments))
        return control_pb2.Catalog(
            venue=self._venue,
            followed=self._following.symbols,
            instruments=[
                control_pb2.Instrument(
                    symbol=one.symbol,
                    base_asset=one.base_asset,
                    quote_asset=one.quote_asset,
                    tick_size_e8=one.tick_size_e8,
                    step_size_e8=one.step_size_e8,
                )
                for one in instruments
            ],
        )
