"""`python -m store replay-dead`: try to store the dead letters again, and remove those that are stored now.

The store may run meanwhile. What still cannot be stored stays in DEAD, and is logged with its reason.
"""

from __future__ import annotations

import logging
import time

import psycopg
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from libsignal import Periods
from mesh.bus import subjects, wire
from mesh.bus.connection import DEAD_STREAM, Bus
from mesh.bus.dead_letters import REASON, SEQUENCE, SUBJECT
from mesh.service.errors import BadMessage
from mesh.service.lifecycle import Stop
from mesh.values.trades import refusal
from store.database.errors import ErrorReaction, first_line, reaction
from store.intake.trade_writer import TradeWriter
from store.intake.trades import OTHER_EPOCH
from store.maintenance import database_and_bus
from store.settings import StoreSettings

log = logging.getLogger("store.intake.replay")


async def main(settings: StoreSettings, stop: Stop) -> None:
    """Replay all that DEAD holds now; return when done or asked to stop.

    Args:
        settings: of the store.
        stop: ends it between two messages.

    Raises:
        psycopg.Error: what only a person can mend.
        NotReady: asked to stop while the database is unavailable.

    """
    async with database_and_bus(settings, stop) as (database, bus):
        async with stop.interrupts():
            state = (await bus.declare(DEAD_STREAM)).state
        writer = TradeWriter(database, Periods(**settings.periods()))
        replayed, stay = 0, 0
        for sequence in range(state.first_seq, state.last_seq + 1):
            if stop.asked:
                break
            message = await _get(bus, sequence)
            if message is None:
                continue
            reason = await _replay(writer, message)
            if reason:
                stay += 1
                headers = message.headers or {}
                log.warning(
                    "%s message %s stays: %s (its reason was: %s)",
                    *(headers.get(SUBJECT), headers.get(SEQUENCE), reason, headers.get(REASON)),
                )
            else:
                replayed += 1
                await bus.js.delete_msg(subjects.DEAD, sequence)
        log.info("%d messages replayed, %d stay", replayed, stay)


async def _get(bus: Bus, sequence: int) -> RawStreamMsg | None:
    try:
        return await bus.js.get_msg(subjects.DEAD, sequence)
    except NotFoundError:
        return None


async def _replay(writer: TradeWriter, message: RawStreamMsg) -> str:
    """Store what a message holds; return why it cannot be stored, empty when it is."""
    if not (message.subject or "").startswith(subjects.dead(subjects.RAW)):  # of any partition
        return "only trades can be replayed"
    if (message.headers or {}).get(REASON, "").startswith(OTHER_EPOCH):
        return "its trades have other ids, under which they have been requested"
    try:
        trades = wire.decode_trades(message.data or b"")
        if reason := refusal(trades, now_us=time.time_ns() // 1000):
            return reason
        written = await writer.add(trades)
    except BadMessage as exc:
        return str(exc)
    except psycopg.Error as exc:
        if reaction(exc) is ErrorReaction.END:
            raise
        return first_line(exc)
    log.info(
        "%s %s: %d trades stored, %d were there",
        *(trades.venue, trades.symbol),
        len(trades) - written.repeated,
        written.repeated,
    )
    return ""
