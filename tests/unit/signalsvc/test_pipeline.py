"""What the pipeline promises about saving, with a bus that takes its time."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Any

from mesh.bus import wire
from mesh.bus.reader import Message
from mesh.service.health import Health
from mesh.values.trades import TradeColumns
from signalsvc.engine import CarriedSignals, Engine, SignalMessage
from signalsvc.pipeline import GatheredSignals, Pipeline, PublishedIds
from signalsvc.selection import Selection
from signalsvc.watchers import Watcher, Watchers
from tests.fixtures.trades import columns
from tickmesh.v1 import control_pb2, signal_pb2


class SlowSnapshots:
    """Takes the state at once, and is done with it only when the test says so."""

    def __init__(self) -> None:
        self.saved: list[dict[str, bytes]] = []
        self.raw_sequences: list[int] = []
        self.evicted: list[str] = []
        self.may_end = asyncio.Event()

    def has_evicted(self, venue: str, symbol: str) -> bool:
        return False

    async def save(
        self, entries: dict[str, bytes], settings: dict[str, float], *, raw_sequence: int, **_: object
    ) -> None:
        self.saved.append(entries)
        self.raw_sequences.append(raw_sequence)
        await self.may_end.wait()

    async def keep_evicted(self, last_ids: dict[str, int]) -> None:
        self.evicted += last_ids


class Settled:
    last_sequence = 0

    async def settle(self) -> bool:
        """Everything is published already."""
        return True


class OnlyOne:
    async def confirm(self) -> None:
        """No other instance works."""


def pipeline(engine: Engine, snapshots: SlowSnapshots) -> Any:
    one: Any = Pipeline(engine, Selection("btcusdt"), Watchers(), Health("bus"))
    one.publisher, one._snapshots, one._bus = Settled(), snapshots, OnlyOne()
    one._published = PublishedIds(dt.datetime.now(dt.UTC), {})
    one._after, one._after_us, one._raw_created = 0, 0, "today"
    return one


def message(first_id: int, trades: int, *, symbol: str = "btcusdt", venue: str = "binance") -> SignalMessage:
    signals = Engine().process(columns(first_id, trades, symbol=symbol, venue=venue), raw_sequence=1)
    assert signals is not None
    return SignalMessage.of(signals)


def test_signals_are_gathered_in_order_as_long_as_a_message_has_room_for_them_and_they_are_of_one_venue() -> None:
    gathered, parts = GatheredSignals(), [message(first_id, 2000) for first_id in (1, 2001, 4001)]
    other, elsewhere = message(1, 1, symbol="ethusdt"), message(1, 1, venue="sim")

    for one in map(CarriedSignals.of, (parts[0], other, parts[1])):
        assert gathered.fits(one)
        gathered.add(one)

    assert [gathered.fits(CarriedSignals.of(one)) for one in (parts[2], elsewhere, other)] == [False, False, True]
    assert wire.batches_of(gathered.payload) == [parts[0].payload, other.payload, parts[1].payload]
    assert (gathered.first, gathered.last, dict(gathered.rows)) == (
        parts[0], parts[1], {"btcusdt": 4000, "ethusdt": 1}
    )  # fmt: skip


async def save(one: Any) -> None:
    await (await one._begin_save(None))


async def test_trades_go_on_while_the_state_before_them_is_being_saved() -> None:
    engine, snapshots = Engine(), SlowSnapshots()
    engine.process(columns(1, 5), raw_sequence=1)
    before = engine.entries()
    one = pipeline(engine, snapshots)
    one._taken, one._unsaved = Message(1, "", b"", "", 0, 0), 1

    saving = asyncio.create_task(save(one))
    await asyncio.sleep(0)
    await one._take(Message(2, "trades.raw.binance.btcusdt", wire.encode_trades(columns(6, 1)), "", 0, 0))
    snapshots.may_end.set()
    one._ahead = True  # nobody is there to acknowledge to
    await saving

    assert snapshots.saved == [before]
    assert (engine.last_ids["binance.btcusdt"], one._saved.sequence, one._unsaved) == (6, 1, 1)


async def test_trades_go_on_while_states_are_noted_and_what_is_saved_counts_from_where_the_first_was() -> None:
    engine, snapshots = Engine(), SlowSnapshots()
    for symbol in ("btcusdt", "ethusdt"):
        engine.process(columns(1, 5, symbol=symbol), raw_sequence=1)
    one = pipeline(engine, snapshots)
    one._taken, one._unsaved, one._ahead = Message(2, "", b"", "", 0, 0), 2, True  # nobody is there to acknowledge to
    snapshots.may_end.set()

    async def take(sequence: int, trades: TradeColumns) -> None:
        subject = f"trades.raw.binance.{trades.symbol}"
        await one._take(Message(sequence, subject, wire.encode_trades(trades), "", 0, 0))

    snapshot = one._begin_snapshot()
    done = one._note(snapshot, most=1)
    await take(3, columns(6, 5))
    await take(4, columns(6, 5, symbol="ethusdt"))
    one._gathered = GatheredSignals()  # as if published
    await save(one)

    assert (done, snapshots.raw_sequences, one._saved.sequence, one._unsaved) == (False, [2], 2, 2)
    assert snapshot.states.last_ids == {"binance.btcusdt": 5, "binance.ethusdt": 10}
    assert snapshots.saved == [snapshot.states.entries]


async def test_a_symbol_that_has_traded_since_its_state_was_noted_stays_in_memory() -> None:
    engine, snapshots = Engine(), SlowSnapshots()
    for symbol in ("btcusdt", "ethusdt"):
        engine.process(columns(1, 5, symbol=symbol), raw_sequence=1)
    one = pipeline(engine, snapshots)
    one._selection.learn(control_pb2.Catalog(venue="sim"))  # so that nobody follows those of binance
    one._max_states = 1
    snapshots.may_end.set()

    one._save_now.set()
    one._note(one._begin_snapshot(), most=1)
    engine.process(columns(6, 1), raw_sequence=1)  # it is still the one that would go first
    await save(one)

    assert (snapshots.evicted, engine.last_ids) == ([], {"binance.btcusdt": 6, "binance.ethusdt": 5})


async def test_a_session_that_is_reset_while_the_state_is_being_saved_is_kept_by_the_next_save() -> None:
    engine, snapshots = Engine(), SlowSnapshots()
    engine.process(columns(1, 5), raw_sequence=1)
    one = pipeline(engine, snapshots)

    first = asyncio.create_task(one.reset_session("binance", "btcusdt"))
    await asyncio.sleep(0)
    saving = asyncio.create_task(save(one))
    await asyncio.sleep(0)
    second = asyncio.create_task(one.reset_session("binance", "btcusdt"))
    await asyncio.sleep(0)
    snapshots.may_end.set()
    await saving
    await asyncio.sleep(0)
    answered_too_early = second.done()
    await save(one)

    assert await asyncio.wait_for(asyncio.gather(first, second), 5) == [True, True]
    assert (answered_too_early, len(snapshots.saved)) == (False, 2)


async def test_a_save_that_fails_is_tried_again_for_whoever_waits_for_it() -> None:
    engine, snapshots = Engine(), SlowSnapshots()
    engine.process(columns(1, 5), raw_sequence=1)
    one = pipeline(engine, snapshots)

    async def away(*_: object, **__: object) -> None:
        raise TimeoutError("the bus is away")

    asked = asyncio.create_task(one.reset_session("binance", "btcusdt"))
    await asyncio.sleep(0)
    one._snapshots.save = away
    await save(one)
    answered_too_early = asked.done()
    del one._snapshots.save
    snapshots.may_end.set()
    await save(one)

    assert await asyncio.wait_for(asked, 5)
    assert not answered_too_early


async def test_what_was_published_a_moment_ago_is_sent_again_to_those_who_close_gaps_with_it() -> None:
    one = pipeline(Engine(), SlowSnapshots())
    one._published = PublishedIds(dt.datetime.now(dt.UTC), {"binance.btcusdt": 7})
    plain, gateway = Watcher(frozenset(), selected=False), Watcher(frozenset(), selected=False, repeats=True)
    with one._watchers.watching(plain), one._watchers.watching(gateway):
        now_us = time.time_ns() // 1000
        for first_id, taken_us in ((1, now_us - 120_000_000), (4, now_us), (7, now_us)):
            one._taken = Message(first_id, "", b"", "", taken_us, 0)
            await one._pass_on(CarriedSignals.of(message(first_id, 3)))

        assert await ids_of(gateway) == [[4, 5, 6], [7, 8, 9], [8, 9]]
        assert await ids_of(plain) == [[8, 9]]


async def test_of_a_symbol_that_comes_later_what_is_published_is_not_published_again() -> None:
    engine, snapshots = Engine(), SlowSnapshots()
    engine.process(columns(1, 5), raw_sequence=1)
    one = pipeline(engine, snapshots)
    snapshots.may_end.set()
    one._published = PublishedIds(dt.datetime.now(dt.UTC), {"binance.ethusdt": 7})
    await save(one)  # PROCESSED holds nothing else that the engine has not taken in
    watcher = Watcher(frozenset(), selected=False)
    with one._watchers.watching(watcher):
        for sequence, trades in enumerate((columns(6, 2), columns(1, 9, symbol="ethusdt"), columns(8, 1)), 2):
            message = Message(sequence, "trades.raw.binance", wire.one_of_many(wire.encode_trades(trades)), "", 0, 0)
            await one._take(message)

        assert await ids_of(watcher) == [[6, 7], [8, 9], [8]]


async def ids_of(watcher: Watcher) -> list[list[int]]:
    watcher.end()
    events = [signal_pb2.WatchResponse.FromString(event) async for event in watcher.events()]
    return [list(event.batch.trades.trade_id) for event in events]
