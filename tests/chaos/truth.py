"""What the exchange issued against what the mesh has: the rows, the ledger and the signals, to the last digit."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
from nats.js.errors import NotFoundError
from pydantic import SecretStr

from mesh.bus import control, subjects, wire
from mesh.bus.connection import Bus, connect
from mesh.bus.partitions import partitions
from mesh.bus.reader import Reader
from mesh.service.health import Health
from mesh.service.settings import BusSettings
from mesh.values import epochs
from mesh.values.candles import INDICATORS
from mesh.values.trades import TradeColumns
from signalsvc.engine import Engine
from signalsvc.settings import SignalSettings
from tests.chaos.world import World

_E8 = 10**8
_MOST_TOLD = 5
_CANDLE = "count, first_trade_id, last_trade_id, open, high, low, close, volume, quote_volume"


def _of(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _CANDLE.split(", "))


_BEHIND = """trades LEFT JOIN unnest(%(symbols)s::text[], %(keys)s::bigint[]) AS agreed (symbol, key) USING (symbol)
    WHERE venue = 'binance' AND trade_id > coalesce(key, -1)"""
# A row as sim's log words it; of those behind the given keys of their symbols.
_ROWS = f"""COPY (
    SELECT symbol, trade_id, price::numeric(38, 8), quantity::numeric(38, 8),
           (extract(epoch FROM time) * 1000000)::bigint, is_buyer_maker::text
    FROM {_BEHIND}
) TO STDOUT (FORMAT csv)"""
# Whatever is changed, removed or doubled changes it; digests of parts add up to that of the whole.
_DIGEST = "SELECT coalesce(sum(hash_record_extended(trades, 0)), 0) FROM "
_DIGEST_OF_ALL = _DIGEST + "trades WHERE venue = 'binance'"
_DIGEST_BEHIND = _DIGEST + _BEHIND
_CANDLES = f"""SELECT (interval, symbol, time), ({_CANDLE})::text, (extract(epoch FROM time) * 1000000)::bigint
FROM candles WHERE venue = 'binance' AND interval IN ('1s', '1m', '5m')"""
_LONGEST_US = 300_000_000
# Closed candles that are not those of the stored trades, which are those that were issued. A symbol's newest interval
# may still be open.
_WRONG_CANDLES = f"""
WITH since AS (SELECT timestamptz 'epoch' + %(since)s * interval '1 microsecond' AS time),
intervals(interval, length) AS (VALUES ('1s', interval '1 second'), ('1m', '1 minute'), ('5m', '5 minutes')),
whole AS (
    SELECT interval, symbol, length, date_bin(length, time, timestamptz 'epoch') AS time, count(*) AS count,
           min(trade_id) AS first_trade_id, max(trade_id) AS last_trade_id,
           (array_agg(price ORDER BY trade_id))[1] AS open, max(price) AS high, min(price) AS low,
           (array_agg(price ORDER BY trade_id DESC))[1] AS close,
           sum(quantity) AS volume, sum(price * quantity) AS quote_volume
    FROM trades, intervals WHERE venue = 'binance' AND time >= (SELECT time FROM since)
    GROUP BY interval, symbol, length, 4
),
newest AS (SELECT interval, symbol, max(time) AS open_from FROM whole GROUP BY 1, 2),
expected AS (SELECT whole.* FROM whole JOIN newest USING (interval, symbol) WHERE time < open_from),
found AS (
    SELECT candles.* FROM candles JOIN newest USING (interval, symbol)
    WHERE venue = 'binance' AND time >= (SELECT time FROM since) AND time < open_from
)
SELECT interval, symbol, time
FROM expected FULL JOIN found USING (interval, symbol, time)
WHERE ({_of("expected")}) IS DISTINCT FROM ({_of("found")})
"""
# Of candles that were not made again for trades that came late or were corrected: those have a revision.
_INDICATORS = (
    f"SELECT interval, symbol, (extract(epoch FROM time) * 1000000)::bigint, {', '.join(INDICATORS)} "
    "FROM candles WHERE venue = 'binance' AND revision = 0"
).encode()


@dataclass(frozen=True, slots=True)
class Difference:
    """How the mesh differs from the truth; all counts but `issued` and `stored` are to be 0."""

    issued: int
    stored: int
    doubled: int
    missing: int
    foreign: int
    ledger: str
    signals_missing: int
    signals_doubled: int
    signals_wrong: int
    candles_wrong: int

    @property
    def trades_kept(self) -> bool:
        """Whether every trade is stored once and unchanged, and the ledger says so."""
        return not (self.doubled or self.missing or self.foreign or self.ledger)

    @property
    def all_kept(self) -> bool:
        """Whether nothing at all is to be complained of."""
        return self.trades_kept and self.signals_kept and not self.candles_wrong

    @property
    def signals_kept(self) -> bool:
        """Whether every trade has its signals once, as an uninterrupted run gives them."""
        return not (self.signals_missing or self.signals_doubled or self.signals_wrong)


@dataclass(frozen=True, slots=True)
class _Agreed:
    """What was stored as it was issued when all of it was looked at last, so that it need only be what it was."""

    lines: int = 0
    keys: dict[str, int] = field(default_factory=dict)  # by symbol: the newest trade
    newest_us: dict[str, int] = field(default_factory=dict)  # by symbol
    digest: Decimal = Decimal(0)
    candles: dict[Any, tuple[str, int]] = field(default_factory=dict)  # text and time

    @property
    def open_us(self) -> int:
        """The time from which on an interval may have been open."""
        return min(self.newest_us.values(), default=0) // _LONGEST_US * _LONGEST_US

    def candles_before(self, time_us: int) -> dict[Any, tuple[str, int]]:
        """Return the candles that begin before."""
        return {key: candle for key, candle in self.candles.items() if candle[1] < time_us}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is stored behind what has agreed before, against what is issued."""

    agreed: _Agreed | None
    stored: int
    doubled: int
    missing: int
    foreign: int
    candles_wrong: int = 0


class Truth:
    """Compares all there is, again and again: what has agreed once by its digest, what is new row by row."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log_offset = 0
        self._issued: set[str] = set()
        self._fresh: set[str] = set()  # of those the ones behind what has agreed
        self._agreed = _Agreed()
        self._newest: dict[str, int] = {}  # by symbol: the key of the newest line
        self._signals = _Signals()
        self._late: set[str] = set()  # lines whose trades came too late for their signals, and may have

    def issued(self) -> set[str]:
        """Return all lines of the exchange's log, with keys (`mesh.epochs`) for ids: those may have begun again."""
        with self._world.log.open("rb") as log:
            log.seek(self._log_offset)
            lines = log.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        fresh = whole.decode().splitlines()
        if not self._log_offset:
            fresh = fresh[1:]  # the header
        self._log_offset += len(whole)
        fresh = list(map(self._with_key, fresh))
        self._issued.update(fresh)
        self._fresh.update(fresh)
        return self._issued

    def _with_key(self, line: str) -> str:
        symbol, trade_id, rest = line.split(",", 2)
        newest = self._newest.get(symbol, 0)
        key = epochs.key_of(epochs.epoch_of(newest), int(trade_id))
        if key < newest:
            key += epochs.IDS
        self._newest[symbol] = key
        return f"{symbol},{key},{rest}"

    def counts(self) -> tuple[int, int, int]:
        """Return how many trades are issued and stored by now, and how many ids never were."""
        [(stored,)] = self._world.query("SELECT count(*) FROM trades WHERE venue = 'binance'")
        return len(self.issued()), stored, sum(last - first + 1 for _, first, last in self._absent())

    def difference(self, *, signals: bool) -> Difference:
        """Compare, the signals too where asked for; the exchange must be silent."""
        issued = self.issued()
        with psycopg.connect(self._world.mesh.env["DATABASE_URL"]) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = self._compare(connection)
            if found.agreed is None and self._agreed.lines:  # all of it, to count what is wrong
                self._agreed, self._fresh = _Agreed(), set(issued)
                found = self._compare(connection)
            holes = connection.execute(
                b"SELECT symbol, first_trade_id, last_trade_id, state FROM holes "
                b"WHERE venue = 'binance' AND state <> 'FILLED'"
            ).fetchall()
            indicators = connection.execute(_INDICATORS).fetchall() if signals else []
        if found.agreed is not None:
            self._agreed, self._fresh = found.agreed, set()
        never_issued = self._absent()
        if signals:
            asyncio.run(self._signals.take_in(self._world.mesh.env["NATS_URL"]))
        return Difference(
            issued=len(issued),
            stored=found.stored,
            doubled=found.doubled,
            missing=found.missing,
            foreign=found.foreign,
            ledger=_compare_ledger(never_issued, holes),
            signals_missing=len(issued - self._signals.lines - self._late) if signals else 0,
            signals_doubled=self._signals.doubled,
            signals_wrong=self._signals.wrong,
            candles_wrong=found.candles_wrong + self._signals.candles_wrong(indicators),
        )

    def _compare(self, connection: psycopg.Connection) -> _Found:
        """Compare what is issued behind what has agreed row by row; `agreed` is None where anything is otherwise."""
        agreed, issued = self._agreed, self._fresh
        behind = {"symbols": list(agreed.keys), "keys": list(agreed.keys.values())}
        with connection.cursor().copy(_ROWS, behind) as copy:
            lines = b"".join(copy).decode().splitlines()
        stored = set(lines)
        counts = {
            "stored": agreed.lines + len(lines),
            "doubled": len(lines) - len({tuple(line.split(",", 2)[:2]) for line in lines}),
            "missing": len(issued - stored),
            "foreign": len(stored - issued),
        }
        [(digest,)] = connection.execute(_DIGEST_OF_ALL).fetchall()
        [(digest_behind,)] = connection.execute(_DIGEST_BEHIND, behind).fetchall()
        # Of trades that are not all there the candles need not be right.
        if stored != issued or len(lines) != len(stored) or digest - digest_behind != agreed.digest:
            return _Found(None, **counts)
        times_us = [(int(time_us), symbol) for symbol, _, _, _, time_us, _ in (line.split(",") for line in lines)]
        newest_us = agreed.newest_us | {symbol: time_us for time_us, symbol in sorted(times_us)}
        found = {key: (text, time_us) for key, text, time_us in connection.execute(_CANDLES).fetchall()}
        now = _Agreed(counts["stored"], dict(self._newest), newest_us, digest, found)
        since_us = min([agreed.open_us, *(time_us for time_us, _ in times_us)]) // _LONGEST_US * _LONGEST_US
        wrong = connection.execute(_WRONG_CANDLES, {"since": since_us}).fetchall()
        changed = agreed.candles_before(since_us) != now.candles_before(since_us)
        return _Found(None if wrong or changed else now, **counts, candles_wrong=len(wrong))

    def forgive_late_signals(self) -> None:
        """Expect no signals of trades that have none by now: those that come after them are compared all the same."""
        asyncio.run(self._signals.take_in(self._world.mesh.env["NATS_URL"]))
        self._late |= self.issued() - self._signals.lines

    def _absent(self) -> set[tuple[str, int, int]]:
        symbols = self._world.sim.status()["symbols"]
        return {
            (symbol, epochs.key_of(epoch, first), epochs.key_of(epoch, last))
            for symbol, told in symbols.items()
            for epoch, first, last in (
                *told["absent_before"],
                *((told["begun_again"], *ends) for ends in told["absent"]),
            )
        }


def _compare_ledger(never_issued: set[tuple[str, int, int]], holes: list[tuple[str, int, int, str]]) -> str:
    """Return in words where the ledger's missing ids differ from those that never existed."""
    still_open = [hole for hole in holes if hole[3] == "OPEN"]
    if still_open:
        return f"{sum(last - first + 1 for _, first, last, _ in still_open)} ids in {len(still_open)} holes are OPEN"
    wanted = {(symbol, id_) for symbol, first, last in never_issued for id_ in range(first, last + 1)}
    told = {(symbol, id_) for symbol, first, last, _ in holes for id_ in range(first, last + 1)}
    if wanted != told:
        wrong = [
            f"{symbol} {first} to {last} {state}"
            for symbol, first, last, state in holes
            if (symbol, first) not in wanted
        ]
        return (
            f"{len(wanted - told)} ids that never were are not ABSENT, {len(told - wanted)} are that were"
            f" ({', '.join(wrong[:_MOST_TOLD])})"
        )
    return ""


class _Signals:
    """PROCESSED as it grows, held against an engine that was never interrupted."""

    def __init__(self) -> None:
        self._engine = Engine(**SignalSettings().of_signals())
        self._read: dict[str, int] = {}  # by stream: the last message
        self._last_ids: dict[str, int] = {}
        self._indicators: dict[tuple[str, str, int], tuple[float | None, ...]] = {}
        self.lines: set[str] = set()
        self.doubled = 0
        self.wrong = 0

    async def take_in(self, nats_url: str) -> None:
        """Read what PROCESSED has got since the last call, in each of its partitions."""
        health = Health("bus")
        async with connect(BusSettings(nats_url=SecretStr(nats_url)), name="chaos", health=health) as bus:
            count = 1
            with contextlib.suppress(NotFoundError):  # a bus that has lost everything, which services are back on
                told = await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_PARTITIONS)
                count = control.decode_partitions(told.data or b"")
            for partition in partitions(count):
                await self._take_in(bus, partition.name(subjects.PROCESSED))

    async def _take_in(self, bus: Bus, stream: str) -> None:
        last = (await bus.js.stream_info(stream)).state.last_seq
        async with Reader(bus, stream, "chaos", after=self._read.get(stream, 0)) as reader:
            while self._read.get(stream, 0) < last:
                for message in await reader.next():
                    self._read[stream] = message.sequence
                    for batch in wire.batches_of(message.payload):
                        self._compare(batch)

    def _compare(self, payload: bytes) -> None:
        said = wire.decode_signals(payload)
        trades = said.trades
        ids = np.concatenate(([self._last_ids.get(trades.symbol, -1)], trades.trade_id))
        self.doubled += int((np.diff(ids) <= 0).sum())
        self._last_ids[trades.symbol] = int(trades.trade_id[-1])
        self.lines.update(_lines(trades))
        expected = self._engine.process(trades, raw_sequence=said.raw_sequence)
        for candle in () if expected is None else expected.candles:
            values = (getattr(candle, name) for name in INDICATORS)
            key = candle.interval, trades.symbol, candle.time_us
            self._indicators[key] = tuple(None if math.isnan(value) else value for value in values)
        self.wrong += expected is None or wire.encode_signals(expected) != payload

    def candles_wrong(self, rows: list[tuple[Any, ...]]) -> int:
        """Return how many rows of candles have other indicators than the engine that was never interrupted gives."""
        return sum(self._indicators.get(row[:3], row[3:]) != row[3:] for row in rows)


def _lines(trades: TradeColumns) -> list[str]:
    columns = (trades.trade_id, trades.price_e8, trades.quantity_e8, trades.time_us, trades.is_buyer_maker)
    return [
        f"{trades.symbol},{id_},{price // _E8}.{price % _E8:08d},{quantity // _E8}.{quantity % _E8:08d},{time_us},"
        f"{'true' if maker else 'false'}"
        for id_, price, quantity, time_us, maker in zip(*(column.tolist() for column in columns), strict=True)
    ]
