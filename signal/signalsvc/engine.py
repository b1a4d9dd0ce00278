"""Trades in, signals out: one libsignal state per venue and symbol. Pure but for the library it calls.

Deterministic: the same batches in the same order give the same signals. A trade whose id is not above the last one of
its symbol is a repeat (or was repaired too late for the signals) and is left out; so redelivery changes nothing.
"""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from libsignal import (
    INDICATOR_OFFSETS,
    OUTPUT_OFFSETS,
    PROCESS_ADDRESS,
    CandleBuffer,
    RefusedTrade,
    SignalGroups,
    SignalState,
    UnusableState,
)
from mesh.bus import subjects, wire
from mesh.service.errors import BadMessage, TickmeshError
from mesh.values.signals import SIGNAL_NAMES
from mesh.values.trades import MAX_TRADE_ID, SignalColumns, TradeColumns, latest_us
from tickcodec.batches import (
    BatchProcessor,
    CandleLayout,
    LatestRow,
    Output,
    ProcessedBatch,
    ProcessedBatches,
    SymbolStates,
    trades_of_symbols,
)

log = logging.getLogger("signal.engine")

ENTRY_VERSION = 1
_CAPACITY = 16  # rows libsignal is bound to beforehand; longer batches bind as they come, and nearly all are carried
_MAX_ROWS = wire.MAX_SIGNAL_BYTES // wire.ROW_BYTES - 256  # of batches that fit into one message with many candles
MAX_TOGETHER = 1024
"""So many trades at most are taken in, and sent to watchers, in one piece, or one batch if that is longer."""
_OUTPUTS = [Output(number, OUTPUT_OFFSETS[name]) for name, number in wire.SIGNAL_FIELDS.items()]


class UnusableEntry(TickmeshError):
    """A saved entry is damaged, foreign, or of another version."""


class _Entry(msgspec.Struct, frozen=True):
    """One symbol's saved state."""

    version: int
    state: bytes
    """What libsignal saved."""
    latest: bytes
    """The last trade with its signals, as a SignalBatch of one row."""
    checksum: int
    """CRC-32 of both."""


class LeftBatch(NamedTuple):
    """A batch that is not as batches nearly always are; `Engine.process` takes in what it holds."""

    part: int
    """Which of the message's batches it is, from 1 on."""
    payload: bytes


class SignalMessage(NamedTuple):
    """A batch's signals as they are sent, and what is asked of them next."""

    venue: str
    symbol: str
    rows: int
    """How many trades there are."""
    first_id: int
    last_id: int
    raw_sequence: int
    payload: bytes
    """A serialized `SignalBatch`."""

    @classmethod
    def of(cls, signals: SignalColumns) -> SignalMessage:
        """Serialize a batch's signals."""
        trades = signals.trades
        ids, payload = trades.trade_id, wire.encode_signals(signals)
        return cls(trades.venue, trades.symbol, len(trades), int(ids[0]), int(ids[-1]), signals.raw_sequence, payload)


class _Unread(NamedTuple):
    """What `CarriedSignals.messages` are made of when they are asked for."""

    found: ProcessedBatches
    symbols: Sequence[tuple[str, str]]
    """By the numbers that `found` has, with their venues."""
    raw_sequence: int

    def read(self) -> list[SignalMessage]:
        return list(map(self._message_of, self.found.each()))

    def one(self, place: int) -> SignalMessage:
        return self._message_of(self.found.one(place))

    def _message_of(self, batch: ProcessedBatch) -> SignalMessage:
        number, payload, rows, first_id, last_id = batch
        return SignalMessage(*self.symbols[number], rows, first_id, last_id, self.raw_sequence, payload)


@dataclass(slots=True)
class CarriedSignals:
    """The signals of some batches of a message, all of one venue, and the same together.

    What each batch has is read only when it is asked for: of 300 symbols nearly each trade is one, and who passes
    signals on wants them together.
    """

    venue: str
    payload: bytes
    """All of them as a serialized `SignalBatches`."""
    trades: int
    """How many they have: at most `MAX_TOGETHER`, or one batch."""
    _batches: list[SignalMessage] | _Unread

    @classmethod
    def of(cls, *messages: SignalMessage) -> CarriedSignals:
        """Return the signals of some batches, at least one, as if they had come in one message."""
        payload = b"".join(wire.one_of_many(each.payload) for each in messages)
        return cls(messages[0].venue, payload, sum(each.rows for each in messages), list(messages))

    @property
    def messages(self) -> list[SignalMessage]:
        """The signals of each batch."""
        if isinstance(self._batches, _Unread):
            self._batches = self._batches.read()
        return self._batches

    @property
    def first(self) -> SignalMessage:
        """The signals of the first batch."""
        return self._batches.one(0) if isinstance(self._batches, _Unread) else self._batches[0]

    @property
    def last(self) -> SignalMessage:
        """The signals of the last batch."""
        batches = self._batches
        return batches.one(batches.found.batches - 1) if isinstance(batches, _Unread) else batches[-1]

    @staticmethod
    def trades_by_symbol(carried: Iterable[CarriedSignals]) -> Mapping[str, int]:
        """Return how many trades of each symbol there are in signals of an engine, all of one venue, together."""
        trades: dict[str, int] = defaultdict(int)
        unread: list[_Unread] = []
        for each in carried:
            if isinstance(each._batches, _Unread):
                unread.append(each._batches)
                continue
            for message in each._batches:
                trades[message.symbol] += message.rows
        if unread:
            for number, count in trades_of_symbols([each.found for each in unread]).items():
                _, symbol = unread[-1].symbols[number]
                trades[symbol] += count
        return trades


@dataclass(frozen=True, slots=True)
class Latest:
    """The last trade of a symbol with its signals; prices and quantities scaled by 1e8."""

    venue: str
    symbol: str
    trade_id: int
    price_e8: int
    quantity_e8: int
    time_us: int
    signals: dict[str, float]
    """By their names in SIGNAL_NAMES."""


@dataclass(slots=True)
class NotedStates:
    """States that are noted some at a time, while trades go on; one that is noted later knows more of them.

    Attributes:
        entries: the state of each symbol, by its name: `binance.btcusdt`.
        last_ids: the last trade that it knows, likewise.

    """

    entries: dict[str, bytes] = field(default_factory=dict)
    last_ids: dict[str, int] = field(default_factory=dict)
    _left: list[tuple[str, str]] = field(default_factory=list)

    def left_of(self, symbols: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return which of the symbols, with their venues, are not noted; who notes some takes them out."""
        if not self._left:  # at first, and for those that have come meanwhile
            self._left = [key for key in symbols if entry_name(*key) not in self.entries]
        return self._left


class Engine:
    """The signals of every followed symbol."""

    def __init__(self, **settings: float) -> None:
        """Make an engine that has seen no trade; `settings` are those of `SignalState`, windows and the like."""
        self.settings = settings
        self._states: dict[tuple[str, str], SignalState] = {}
        self._latest: dict[tuple[str, str], LatestRow] = {}  # but for newer ones, which went through C++
        self._candles = CandleBuffer(SignalGroups.CANDLES)
        self._carrying = SymbolStates()  # those that `_latest` has
        self._symbols: list[tuple[str, str]] = []  # by their numbers, which they keep
        self._numbers: dict[tuple[str, str], int] = {}
        self._processor = BatchProcessor(
            PROCESS_ADDRESS,
            self._carrying,
            _OUTPUTS,
            candles=CandleLayout(INDICATOR_OFFSETS, self._candles.place),
            max_rows=_MAX_ROWS,
            max_together=MAX_TOGETHER,
            max_bytes=wire.MAX_SIGNAL_BYTES,
            max_id=MAX_TRADE_ID,
        )
        self.repeats = 0
        self.refused = 0

    def carry(self, message: bytes, *, raw_sequence: int, now_us: int) -> Iterator[CarriedSignals | LeftBatch]:
        """Take in the batches of a message as they came, as far as they are as nearly always, many in one call.

        Args:
            message: a serialized `TradeBatches`.
            raw_sequence: of the RAW message that it is.
            now_us: the clock here.

        Returns:
            what is to be sent, in order, and between that what is left: `process` takes it in before the next is asked
            for.

        Raises:
            BadMessage: the message holds no batches.

        """
        count = self._processor.split(message)
        if not count:
            return itertools.starmap(LeftBatch, enumerate(wire.batches_of(message), 1))
        return self._carry(message, count, raw_sequence=raw_sequence, max_time_us=latest_us(now_us, received_time_us=0))

    def _carry(
        self, message: bytes, count: int, *, raw_sequence: int, max_time_us: int
    ) -> Iterator[CarriedSignals | LeftBatch]:
        done = 0
        while done < count:
            found = self._processor.process(message, first=done, max_time_us=max_time_us, raw_sequence=raw_sequence)
            if found is None:
                yield LeftBatch(done + 1, self._processor.batch(message, done))
                done += 1
                continue
            done += found.batches
            venue, _ = self._symbols[found.first_symbol]
            yield CarriedSignals(venue, found.message, found.trades, _Unread(found, self._symbols, raw_sequence))

    def process(self, trades: TradeColumns, *, raw_sequence: int) -> SignalColumns | None:
        """Take in a batch and return its signals; None when no trade of it is new.

        Args:
            trades: of one symbol, in the order of the stream.
            raw_sequence: of the message that carried them.

        """
        key = trades.venue, trades.symbol
        trades = self._only_new(trades, after=self.last_id(*key))
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = SignalState(capacity=_CAPACITY, **self.settings)  # type: ignore[arg-type]
        while len(trades):
            try:
                signals = state.process(trades)
            except RefusedTrade as exc:
                log.error("%s %s: left out of the signals: %s", *key, exc)
                self.refused += 1
                trades = trades.rows(np.arange(len(trades)) != exc.row)
                continue
            candles = tuple(candle.closed() for candle in signals.candles)
            found: dict[str, Any] = {name: getattr(signals, name) for name in SIGNAL_NAMES}
            columns = SignalColumns(trades=trades, raw_sequence=raw_sequence, candles=candles, **found)
            self._take_note(key, columns)
            return columns
        return None

    def _take_note(self, key: tuple[str, str], signals: SignalColumns) -> None:
        """Let a symbol's last trade be that of these signals, and C++ take in those that follow."""
        if key not in self._numbers:
            self._numbers[key] = len(self._symbols)
            self._symbols.append(key)
        if key in self._latest:
            self._carrying.forget_latest(self._numbers[key])
        else:
            self._carrying.put(self._numbers[key], wire.trade_names(*key), self._states[key].address)
        last = signals.rows(slice(-1, None))
        self._latest[key] = LatestRow(wire.encode_signals(last), int(last.trades.trade_id[0]), signals.raw_sequence)

    def _latest_of(self, key: tuple[str, str]) -> LatestRow:
        return self._carrying.latest(self._numbers[key]) or self._latest[key]

    def latest(self, venue: str, symbol: str) -> Latest | None:
        """Return the last trade of a symbol with its signals; None before the first one.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        if (venue, symbol) not in self._latest:
            return None
        columns = wire.decode_signals(self._latest_of((venue, symbol)).payload)
        return Latest(
            venue=venue,
            symbol=symbol,
            trade_id=int(columns.trades.trade_id[-1]),
            price_e8=int(columns.trades.price_e8[-1]),
            quantity_e8=int(columns.trades.quantity_e8[-1]),
            time_us=int(columns.trades.time_us[-1]),
            signals={name: getattr(columns, name)[-1].item() for name in SIGNAL_NAMES},
        )

    def last_trades(self) -> Iterator[SignalMessage]:
        """Yield the last trade of each symbol with its signals."""
        for key in self._latest:
            payload, last_id, raw_sequence = self._latest_of(key)
            yield SignalMessage(*key, 1, last_id, last_id, raw_sequence, payload)

    def reset_session(self, venue: str, symbol: str) -> bool:
        """Begin a new session with the symbol's next trade; return whether the symbol has traded at all.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        state = self._states.get((venue, symbol))
        if state is not None:
            state.reset_session()
        return state is not None

    @property
    def last_ids(self) -> Mapping[str, int]:
        """The last trade of each symbol, by the names of their entries."""
        return {entry_name(*key): self.last_id(*key) for key in self._latest}

    def last_id(self, venue: str, symbol: str) -> int:
        """Return the id of a symbol's last trade; -1 before the first one.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        key = venue, symbol
        if (latest := self._latest.get(key)) is None:
            return -1
        carried = self._carrying.last_id(self._numbers[key])
        return latest.last_id if carried is None else carried

    def __len__(self) -> int:
        return len(self._states)

    def knows(self, venue: str, symbol: str) -> bool:
        """Tell whether a symbol has a state here.

        Args:
            venue: whose symbol it is: `binance`.
            symbol: in lower case: `btcusdt`.

        """
        return (venue, symbol) in self._states

    def idle(self, *, venue: str, followed: Collection[str], most: int) -> list[str]:
        """Return the entries of symbols that may go, so that no more than `most` are left.

        Those that are followed never go; of the others those whose last trade is longest ago go first.

        Args:
            venue: whose symbols are followed now.
            followed: the symbols to keep.
            most: how many states may be kept, the followed ones counted.

        """
        excess = len(self._latest) - most
        if excess <= 0:
            return []
        others = [key for key in self._latest if key[0] != venue or key[1] not in followed]
        others.sort(key=lambda key: self._latest_of(key).raw_sequence)
        return [entry_name(*key) for key in others[:excess]]

    def evict(self, names: Iterable[str]) -> dict[str, int]:
        """Forget symbols by the names of their entries; return the last trade of each."""
        evicted = {}
        keys = []
        for name in names:
            venue, _, token = name.partition(".")
            keys.append((venue, subjects.symbol_of(token)))
            evicted[name] = self.last_id(*keys[-1])
        self._carrying.remove([self._numbers[key] for key in keys])
        for key in keys:
            del self._latest[key], self._states[key]
        return evicted

    def adopt(self, name: str, saved: bytes) -> None:
        """Go on from the saved entry of one symbol that has no state here.

        Args:
            name: of the entry: `binance.btcusdt`.
            saved: its bytes, as `entries` returned them.

        Raises:
            UnusableEntry: it is damaged, foreign, or of another version.

        """
        state, columns = _read_entry(name, saved)
        key = columns.trades.venue, columns.trades.symbol
        self._states[key] = state
        self._take_note(key, columns)

    def entries(self) -> dict[str, bytes]:
        """Return the whole state, an entry a symbol: `binance.btcusdt`; the same state gives the same bytes."""
        noted = NotedStates()
        self.note(noted, most=len(self._latest))
        return noted.entries

    def note(self, noted: NotedStates, *, most: int) -> bool:
        """Note the states of some symbols that are not noted yet; return whether those of all are.

        No symbol may be evicted while not all are.

        Args:
            noted: gets them.
            most: how many.

        """
        left = noted.left_of(self._latest)
        for key in left[:most]:
            name, state, latest = entry_name(*key), self._states[key].save(), self._latest_of(key).payload
            entry = _Entry(ENTRY_VERSION, state, latest, crc32(latest, crc32(state)))
            noted.entries[name] = msgspec.msgpack.encode(entry)
            noted.last_ids[name] = self.last_id(*key)
        del left[:most]
        return len(noted.entries) == len(self._latest)

    def restore(self, entries: Mapping[str, bytes]) -> None:
        """Go on from saved entries; nothing changes when one of them cannot be used.

        Raises:
            UnusableEntry: an entry is damaged, foreign, or of another version.

        """
        found = [_read_entry(name, saved) for name, saved in entries.items()]
        self._carrying.remove([self._numbers[key] for key in self._latest])
        self._states, self._latest = {}, {}
        for state, columns in found:
            key = columns.trades.venue, columns.trades.symbol
            self._states[key] = state
            self._take_note(key, columns)

    def _only_new(self, trades: TradeColumns, *, after: int) -> TradeColumns:
        ids = trades.trade_id
        if ids[0] > after and (len(ids) == 1 or bool((ids[1:] > ids[:-1]).all())):
            return trades
        # The highest id so far, before each row.
        before = np.maximum.accumulate(np.concatenate(([after], ids[:-1])))
        new = ids > before
        self.repeats += int(len(ids) - np.count_nonzero(new))
        return trades.rows(new)


@lru_cache(maxsize=4096)
def entry_name(venue: str, symbol: str) -> str:
    """Return under which name a symbol's state is saved, as the end of its subjects is: `binance.btcusdt`.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    """
    return f"{venue}.{subjects.token(symbol)}"


def _read_entry(name: str, saved: bytes) -> tuple[SignalState, SignalColumns]:
    try:
        entry = msgspec.msgpack.decode(saved, type=_Entry)
        if entry.version != ENTRY_VERSION:
            raise UnusableEntry(f"{name}: version {entry.version}, expected {ENTRY_VERSION}")
        if entry.checksum != crc32(entry.latest, crc32(entry.state)):
            raise UnusableEntry(f"{name}: damaged, its checksum is another")
        columns = wire.decode_signals(entry.latest, whole=False)
        if (found := entry_name(columns.trades.venue, columns.trades.symbol)) != name:
            raise UnusableEntry(f"{name}: its last trade is one of {found}")
        return SignalState.load(entry.state, capacity=_CAPACITY), columns
    except (UnusableState, BadMessage, msgspec.DecodeError) as exc:
        raise UnusableEntry(f"{name}: {exc}") from exc
