"""Who looks for holes is told when one is opened, and not with each trade that is stored."""

from __future__ import annotations

from libsignal import Periods
from mesh.service.health import Health
from mesh.values.id_ranges import IdRanges
from store.database import Database
from store.intake.trade_writer import TradeWriter
from store.ledger.writer import LedgerWriter
from tests.fixtures.trades import columns

PERIODS = Periods(14, 14, 12, 26, 9, 20, 20)


async def test_trades_tell_of_a_hole_where_ids_before_them_are_missing(database_url: str) -> None:
    async with Database(database_url, health=Health("database")) as database:
        writer = TradeWriter(database, PERIODS)
        await writer.add(columns(1, 10))
        await writer.add(columns(11, 10))
        before = database.holes_opened.is_set()
        await writer.add(columns(31, 10))

        assert (before, database.holes_opened.is_set()) == (False, True)


async def test_a_correction_of_the_ledger_tells_of_a_hole(database_url: str) -> None:
    async with Database(database_url, health=Health("database")) as database:
        await TradeWriter(database, PERIODS).add(columns(1, 10))
        before = database.holes_opened.is_set()
        await LedgerWriter(database, PERIODS).correct("binance", "btcusdt", issued=IdRanges.of(1, 20))

        assert (before, database.holes_opened.is_set()) == (False, True)
