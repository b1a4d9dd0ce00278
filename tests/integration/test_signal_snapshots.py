"""The engine's saved state in a real KV bucket: of any size, and whole or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
from nats.js.kv import KeyValue

from mesh.bus import subjects, wire
from mesh.bus.connection import Bus, connect, processed_stream
from mesh.bus.reader import taken_us_of
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from signalsvc import snapshots as snapshots_module
from signalsvc.engine import Engine
from signalsvc.pipeline import PublishedIds
from signalsvc.snapshots import PublishedState, Snapshots
from tests.fixtures.nats import NatsServer
from tests.fixtures.trades import columns

MESSAGE_BYTES = 2**20
LONG = {"moving_average_window": 60_000, "vwap_window": 60_000}
MADE = "2026-01-01 00:00:00+00:00"


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    settings = BusSettings.model_validate({"nats_url": nats_server.url_of("signal")})
    async with connect(settings, name="signal", health=Health("bus")) as bus:
        yield bus


class FailingBucket:
    """A bucket that breaks after so many puts, as when the process is killed between two of them."""

    def __init__(self, bucket: KeyValue, *, puts: int) -> None:
        self._bucket = bucket
        self._puts = puts

    async def update(self, key: str, value: bytes, last: int) -> int:
        if not self._puts:
            raise TimeoutError("killed")
        self._puts -= 1
        return await self._bucket.update(key, value, last=last)


def engine(trades: int, **settings: float) -> Engine:
    one = Engine(**settings)
    feed(one, 1, trades)
    return one


def feed(one: Engine, first_id: int, trades: int) -> None:
    for start in range(first_id, first_id + trades, 8192):
        one.process(columns(start, min(8192, first_id + trades - start)), raw_sequence=1)


async def save(snapshots: Snapshots, one: Engine, raw_sequence: int) -> None:
    await snapshots.save(
        one.entries(), one.settings, raw_sequence=raw_sequence, raw_taken_us=raw_sequence * 1000, raw_created=MADE
    )


async def loaded(bus: Bus, **settings: float) -> tuple[int, dict[str, bytes]]:
    """Load as a new process would; return the sequence it goes on after, and its state."""
    one = Engine(**settings)
    position = await (await Snapshots.open(bus)).load(one)
    assert position is not None
    assert (str(position.created), position.taken_us) == (MADE, position.sequence * 1000)
    return position.sequence, one.entries()


async def test_a_state_larger_than_a_message_is_kept(bus: Bus) -> None:
    long = engine(70_000, **LONG)
    [entry] = long.entries().values()
    assert len(entry) > MESSAGE_BYTES

    await save(await Snapshots.open(bus), long, 7)

    assert await loaded(bus, **LONG) == (7, long.entries())


async def test_a_state_that_grows_beyond_a_message_is_kept_before_and_after(bus: Bus) -> None:
    long, snapshots = engine(100, **LONG), await Snapshots.open(bus)
    await save(snapshots, long, 1)
    small = await loaded(bus, **LONG)
    feed(long, 101, 70_000)
    await save(snapshots, long, 2)

    assert small[0] == 1
    assert await loaded(bus, **LONG) == (2, long.entries())


@pytest.mark.parametrize("puts", range(3))
async def test_a_save_that_breaks_off_leaves_the_last_state_whole(bus: Bus, puts: int) -> None:
    long, snapshots = engine(70_000, **LONG), await Snapshots.open(bus)
    await save(snapshots, long, 1)
    before = long.entries()
    feed(long, 70_001, 1000)
    whole, snapshots._bucket = snapshots._bucket, FailingBucket(snapshots._bucket, puts=puts)  # type: ignore[assignment]

    with pytest.raises(TimeoutError):
        await save(snapshots, long, 2)
    broken_off = await loaded(bus, **LONG)
    snapshots._bucket = whole
    await save(snapshots, long, 2)

    assert broken_off == (1, before)
    assert await loaded(bus, **LONG) == (2, long.entries())


@pytest.mark.parametrize("puts", [0, 1, 17, 39, 40])
async def test_a_save_of_many_symbols_that_breaks_off_counts_for_nothing_until_it_is_whole(bus: Bus, puts: int) -> None:
    many, snapshots = Engine(), await Snapshots.open(bus)
    entries = []
    for raw_sequence, first_id in ((1, 1), (2, 101)):
        for n in range(40):
            many.process(columns(first_id, 100, symbol=f"coin{n}usdt"), raw_sequence=raw_sequence)
        entries.append(many.entries())
        if raw_sequence == 1:
            await save(snapshots, many, 1)
    whole, snapshots._bucket = snapshots._bucket, FailingBucket(snapshots._bucket, puts=puts)  # type: ignore[assignment]

    with pytest.raises(TimeoutError):
        await save(snapshots, many, 2)
    position, broken_off = await loaded(bus)
    snapshots._bucket = whole
    await save(snapshots, many, 2)

    assert position == 1
    assert sum(entry == entries[1][name] for name, entry in broken_off.items()) == puts
    assert all(entry in (entries[0][name], entries[1][name]) for name, entry in broken_off.items())
    assert await loaded(bus) == (2, entries[1])


async def test_a_service_that_goes_on_puts_its_pieces_beside_those_it_was_loaded_from(bus: Bus) -> None:
    long = engine(70_000, **LONG)
    await save(await Snapshots.open(bus), long, 1)
    again, snapshots = Engine(**LONG), await Snapshots.open(bus)
    await snapshots.load(again)
    feed(again, 70_001, 10)
    snapshots._bucket = FailingBucket(snapshots._bucket, puts=2)  # type: ignore[assignment]

    with pytest.raises(TimeoutError):
        await save(snapshots, again, 2)

    assert await loaded(bus, **LONG) == (1, long.entries())


PUBLISHED = PublishedState(dt.datetime.fromisoformat(MADE), 7, 7000, {"binance.btcusdt": 100})


async def test_what_was_published_stays_known_when_the_state_itself_cannot_be_used(bus: Bus) -> None:
    one, snapshots = engine(100), await Snapshots.open(bus)
    await snapshots.save(
        one.entries(), one.settings, raw_sequence=1, raw_taken_us=1, raw_created=MADE, published=PUBLISHED
    )
    again = await Snapshots.open(bus)
    assert await again.load(Engine(moving_average_window=7)) is None
    assert again.published == PUBLISHED


@pytest.mark.parametrize("lost", [False, True])
async def test_published_is_what_the_state_says_and_what_came_after_it_or_all_that_is_there_if_the_end_was_lost(
    bus: Bus, lost: bool
) -> None:
    info = await bus.declare(processed_stream(2**20))
    assert info.created is not None
    for number, (symbol, first_id) in enumerate([("btcusdt", 1), ("ethusdt", 1), ("btcusdt", 11)]):
        signals = Engine().process(columns(first_id, 10, symbol=symbol), raw_sequence=number + 1)
        assert signals is not None
        payload = wire.one_of_many(wire.encode_signals(signals))
        await bus.js.publish(subjects.processed("binance"), payload)
    taken_us = await taken_us_of(bus, subjects.PROCESSED, 2)
    known = {"binance.btcusdt": 10, "binance.ethusdt": 10, "binance.solusdt": 7}  # of the last one all are gone
    saved = PublishedState(info.created, 2, taken_us + 1_000_000 * lost, known)

    found = await PublishedIds.read(bus, saved)

    expected = {"binance.btcusdt": 20, "binance.ethusdt": 10}
    assert found.last_ids == (expected if lost else expected | {"binance.solusdt": 7})


def three(*symbols: str) -> Engine:
    one = Engine()
    for number, symbol in enumerate(symbols, 1):
        one.process(columns(1, 300, symbol=symbol), raw_sequence=number)
    return one


async def test_what_nobody_follows_leaves_memory_and_goes_on_where_it_was(bus: Bus) -> None:
    one, whole = three("btcusdt", "ethusdt", "solusdt"), three("btcusdt", "ethusdt", "solusdt")
    snapshots = await Snapshots.open(bus)
    await save(snapshots, one, 3)
    names = one.idle(venue="binance", followed={"btcusdt"}, most=1)
    assert names == ["binance.ethusdt", "binance.solusdt"]
    await snapshots.keep_evicted(one.evict(names))
    await save(snapshots, one, 4)
    assert len(one) == 1

    again, others = Engine(), await Snapshots.open(bus)  # a new process: it reads what it needs
    position = await others.load(again)
    assert position is not None
    assert position.sequence == 4
    assert (len(again), others.has_evicted("binance", "ethusdt")) == (1, True)
    for engine_, kept in ((one, snapshots), (again, others)):
        await kept.restore_evicted(engine_, "binance", "ethusdt")
        more = columns(301, 20, symbol="ethusdt")
        engine_.process(more, raw_sequence=5)
    whole.process(more, raw_sequence=5)
    name = "binance.ethusdt"
    assert one.entries()[name] == again.entries()[name] == whole.entries()[name]

    await save(others, again, 6)
    assert not others.has_evicted("binance", "ethusdt") and others.has_evicted("binance", "solusdt")


async def test_a_symbol_that_is_not_ascii_leaves_memory_and_comes_back_like_any_other(bus: Bus) -> None:
    one, symbol = three("币安人生usdt"), "币安人生usdt"
    before, snapshots = one.entries(), await Snapshots.open(bus)
    await save(snapshots, one, 1)
    await snapshots.keep_evicted(one.evict(one.idle(venue="binance", followed=(), most=0)))
    assert not one.knows("binance", symbol) and snapshots.has_evicted("binance", symbol)
    await snapshots.restore_evicted(one, "binance", symbol)
    assert one.entries() == before


async def test_an_entry_in_pieces_can_be_put_aside_too(bus: Bus) -> None:
    long, snapshots = engine(70_000, **LONG), await Snapshots.open(bus)
    expected = long.entries()
    await save(snapshots, long, 1)
    await snapshots.keep_evicted(long.evict(expected))
    await save(snapshots, long, 2)
    await snapshots.restore_evicted(long, "binance", "btcusdt")
    assert long.entries() == expected
    feed(long, 70_001, 100)
    await save(snapshots, long, 3)
    assert await loaded(bus, **LONG) == (3, long.entries())


async def test_what_is_put_aside_is_bounded_and_the_oldest_is_forgotten(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots_module, "MAX_EVICTED", 1)
    one, snapshots = three("btcusdt", "ethusdt"), await Snapshots.open(bus)
    await save(snapshots, one, 1)
    names = one.idle(venue="binance", followed=(), most=0)
    await snapshots.keep_evicted(one.evict(names))
    assert [snapshots.has_evicted("binance", symbol) for symbol in ("btcusdt", "ethusdt")] == [False, True]


async def test_a_damaged_entry_begins_anew_and_does_not_stop_the_others(bus: Bus) -> None:
    one, snapshots = three("btcusdt"), await Snapshots.open(bus)
    await save(snapshots, one, 1)
    await snapshots.keep_evicted(one.evict(["binance.btcusdt"]))
    await (await bus.js.key_value(subjects.ENGINE_BUCKET)).put("binance.btcusdt", b"nonsense")
    await snapshots.restore_evicted(one, "binance", "btcusdt")
    assert not one.knows("binance", "btcusdt") and not snapshots.has_evicted("binance", "btcusdt")
