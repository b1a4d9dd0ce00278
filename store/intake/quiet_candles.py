"""Candles that no trade closes: a quiet symbol's intervals end when the venue has closed their minute, or by the clock.

Signal closes a candle when a later trade comes, so that its output follows from its input alone. For a quiet symbol
that may be hours later. The trades are stored by then; so the same candles are made of them here, and signal's, when
they come, are equal. A trade that comes later still changes them as it changes any closed candle.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import psycopg
from nats.errors import Error as NatsError

from libsignal import Periods
from mesh.bus import subjects
from mesh.bus.connection import Bus
from mesh.bus.partitions import Partition, partition_of
from mesh.bus.position import Position
from mesh.service.errors import NotReady
from mesh.service.logs import LogThrottle
from store.candles import rows as candle_rows
from store.database import Connection, Database, fetch_all
from store.database.errors import first_line, write_or_reject
from store.intake import sql
from store.ledger import rows as ledger_rows

log = logging.getLogger("store.intake.quiet_candles")

_Ended: TypeAlias = tuple[tuple[str, str], int]
"""Venue and symbol, and until when their intervals have ended, in microseconds since 1970 UTC."""
_LOOK_EVERY_S = 2.0
_AGAIN_S = 30.0
GRACE = dt.timedelta(seconds=30)
"""So long after its end a minute is closed by the clock: the venue's own minute comes within seconds."""
TOLD = dt.timedelta(seconds=3)
"""So long ago the venue must have told a minute that closes candles: of what trades on signal has closed them by then.

Without it those of all symbols were made of their trades, with their indicators, and a moment later signal's came: with
300 symbols 0.3 s of CPU a minute, in one go.
"""
_AT_ONCE = 50
"""Symbols whose candles are closed in one transaction: trades wait for it."""


class QuietCandles:
    """Closes the candles of symbols that do not trade.

    Args:
        bus: where RAW is.
        database: where the trades, the venue's minutes and the candles are.
        periods: of the candles' indicators.
        stored: says how far a partition's RAW is stored.

    """

    def __init__(
        self, bus: Bus, database: Database, periods: Periods, *, stored: Callable[[Partition], Position | None]
    ) -> None:
        self._bus = bus
        self._database = database
        self._periods = periods
        self._stored = stored
        self._log_throttle = LogThrottle(every_s=_AGAIN_S)

    async def run(self) -> None:
        """Close candles whose time is over, for ever."""
        while True:
            try:
                await self._close_ended()
            except NotReady as exc:
                log.debug("not closing candles: %s", exc)
            except (NatsError, TimeoutError) as exc:
                log.debug("the bus does not say where RAW ends: %s", exc)
            except psycopg.Error as exc:  # no reason to stop storing: later trades close them
                log.error("quiet candles are not closed, trying again in %g s: %s", _AGAIN_S, first_line(exc))
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _close_ended(self) -> None:
        async with self._database.reading(internal=True) as connection:
            ended = await fetch_all(connection, sql.ENDED, {"grace": GRACE, "told": TOLD})
        if not ended:
            return
        # Of what waits in RAW the trades would all be late: intervals are closed as far as it is stored.
        named = [((venue, symbol), ended_us) for venue, symbol, ended_us in ended]
        stored_us = {each: await self._stored_until(each) for each in {self._partition(*name) for name, _ in named}}
        reached = [(name, ended_us) for name, ended_us in named if ended_us <= stored_us[self._partition(*name)]]
        for start in range(0, len(reached), _AT_ONCE):
            await write_or_reject(reached[start : start + _AT_ONCE], self._close, self._reject)

    async def _close(self, reached: Sequence[_Ended]) -> None:
        async def work(connection: Connection) -> None:
            await ledger_rows.lock(connection, {self._partition(*name) for name, _ in reached})
            await candle_rows.close(connection, dict(reached), self._periods)

        await self._database.write(work)

    async def _reject(self, ended: _Ended, exc: psycopg.Error) -> None:
        if self._log_throttle.due(time.monotonic()):
            log.error("the database refuses quiet candles of %s %s: %s", *ended[0], first_line(exc))

    def _partition(self, venue: str, symbol: str) -> Partition:
        return partition_of(venue, symbol, self._database.partitions)

    async def _stored_until(self, partition: Partition) -> int:
        """Return up to when all that a partition's RAW has taken is stored, in microseconds since 1970 UTC."""
        now_us = time.time_ns() // 1000
        raw, position = await self._bus.stream_info(partition.name(subjects.RAW)), self._stored(partition)
        if raw is None or position is None:
            return 0
        return now_us if raw.state.last_seq <= position.sequence else position.taken_us
