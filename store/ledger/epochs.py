"""Epochs of what is stored, published to the bus where it has forgotten them: the disk of a new bus is empty."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.service.errors import BadMessage, NotReady
from store.database import Database
from store.database.errors import ErrorReaction, first_line, reaction
from store.ledger import rows
from tickmesh.v1 import control_pb2

log = logging.getLogger("store.ledger.epochs")

_AGAIN_S = 1.0
_EVERY_S = 10.0


class EpochAnnouncer:
    """Publishes in which epoch each symbol is, for ingest, which begins new ids by it.

    Args:
        bus: where the epochs are published.
        database: where the trades are.

    """

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database

    async def run(self) -> None:
        """Publish what the bus does not know, for ever.

        Raises:
            psycopg.Error: what only a person can mend.

        """
        news = asyncio.Event()  # a bus that is back may be a new one
        self._bus.on_reconnect(news.set)
        while True:
            news.clear()
            again_s = _AGAIN_S
            try:
                async with self._database.reading(internal=True) as connection:
                    epochs = await rows.newest_epochs(connection)
                for (venue, symbol), epoch in epochs.items():
                    await self._announce(venue, symbol, epoch)
                await self._announce_that_all_are_known(len(epochs))
                again_s = _EVERY_S
            except (NotReady, NatsError, TimeoutError) as exc:
                log.debug("not publishing epochs: %s", exc)
            except psycopg.Error as exc:
                if reaction(exc) is ErrorReaction.END:
                    raise
                log.error("epochs are not published: %s", first_line(exc))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), again_s)

    async def _announce(self, venue: str, symbol: str, epoch: int) -> None:
        subject = subjects.epoch(venue, symbol)
        try:
            known = control.decode_epoch((await self._bus.js.get_last_msg(subjects.CONTROL, subject)).data or b"")
        except (NotFoundError, BadMessage):
            known = control_pb2.Epoch()
        if known.epoch < epoch:
            message = control_pb2.Epoch(venue=venue, symbol=symbol, epoch=epoch)
            await self._bus.js.publish(subject, control.encode(message))
            log.info("published that %s %s is in epoch %d", venue, symbol, epoch)

    async def _announce_that_all_are_known(self, count: int) -> None:
        """Say that every other symbol is in its first epoch, so that ingest need not wait any longer."""
        try:
            await self._bus.js.get_last_msg(subjects.CONTROL, subjects.EPOCHS_TOLD)
        except NotFoundError:
            await self._bus.js.publish(subjects.EPOCHS_TOLD, control.encode(control_pb2.EpochsTold(symbols=count)))
