"""The whole of ingest, as its service puts it together, in a conversation: a clock that jumps, a bus in memory."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
from typing import Any, cast
from unittest.mock import patch

from ingest import service
from ingest.binance import BinanceAdapter
from ingest.network import Network
from ingest.publish import repair_requests
from ingest.settings import IngestSettings
from ingest.venue import Venue
from mesh.bus import control, subjects
from mesh.bus.partitions import WHOLE
from mesh.bus.status_reports import encode_report, encode_symbols
from mesh.service import logs
from mesh.service.health import Health
from mesh.service.lifecycle import Stop
from mesh.values import epochs
from tests.fuzz.conversation import MODES, Record
from tests.fuzz.memory_bus import MemoryBus
from tests.fuzz.memory_loop import START_S, MemoryLoop, wall_clock
from tests.fuzz.memory_venue import SYMBOLS, MemoryVenue, told_live
from tickmesh.v1 import control_pb2, status_pb2

MAX_SECONDS = 300.0
"""So long a conversation lasts at most."""

BEHAVES_AT_LEAST_S = 200
"""So long a venue behaves before its trades must have been passed on."""

MAX_HELD = 250_000
_VENUE = Venue(
    "binance",
    ("ws://one.example:9443", "ws://two.example:9443"),
    ("http://one.example", "http://two.example"),
    BinanceAdapter(),
    Network(),
)
_SETTINGS = IngestSettings(
    _env_file=None, venue="binance", symbols=("btcusdt", "ethusdt"), epoch_wait_s=0.0, connection_max_age_s=120.0
)
_TRADED = ("BTCUSDT", "ETHUSDT")


class _Log(io.StringIO):
    """Looks at every line of the log."""

    def write(self, text: str) -> int:
        assert text.replace("\n", "").replace("\t", "").isprintable(), f"a terminal obeys what is logged: {text!r}"
        assert len(text) < 100_000, f"a line of {len(text)} characters is logged"
        return len(text)


def configure_log() -> None:
    """Let everything be worded as for people, and looked at."""
    logs.configure("ingest", level="info", form="console")
    for handler in logging.getLogger().handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(_Log())
        handler.addFilter(_without_exception)


def _without_exception(record: logging.LogRecord) -> bool:
    assert record.exc_info is None, f"an exception is logged: {record.getMessage()}: {record.exc_info!r}"
    return True


class _Choice:
    """Stays with one venue."""

    async def successor(self, venue: Venue) -> Venue:
        return await cast("asyncio.Future[Venue]", asyncio.get_running_loop().create_future())

    real = _VENUE
    sim = Venue("sim", (), (), BinanceAdapter())


class Conversation:
    """One ingest, its venue and its bus."""

    def __init__(self) -> None:
        self.venue: MemoryVenue
        self.bus = MemoryBus()
        self._feed = service.FeedReport()
        self._seconds = 0.0
        self._together: list[bytes] = []

    async def hold(self, records: list[Record]) -> None:
        """Say everything, one after the other; then stop ingest, and see it stop."""
        loop = asyncio.get_running_loop()
        stop, health = Stop(), Health("bus", "lease", "venue")
        any_bus: Any = self.bus
        choice: Any = _Choice()
        following = asyncio.ensure_future(
            service._follow(
                _SETTINGS, stop, health, any_bus, _VENUE, {WHOLE: any_bus}, choice, self._feed, asyncio.Event()
            )
        )
        try:
            await asyncio.sleep(1)
            for letter, words in records:
                await self._happen(letter, words)
                if following.done():
                    break
                self._look()
            assert not following.done() or following.exception() is not None, "ingest ended by itself"
            stop.ask()
            began_s = loop.time()
            await following
            assert loop.time() - began_s < 30, "ingest took its time to stop"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _look(self) -> None:
        report = status_pb2.ServiceReport()
        symbols = self._feed.describe(report)
        encode_report(report, [encode_symbols(symbols)])
        assert sum(one.held_trades for one in symbols) < MAX_HELD

    async def _happen(self, letter: bytes, words: bytes) -> None:
        venue = self.venue
        match letter:
            case b"f" | b"b":
                for frame in self._together:
                    venue.send(frame)
                self._together.clear()
                venue.send(words, opcode=1 if letter == b"f" else 2)
            case b"F":
                self._together.append(words)
                return
            case b"x":
                for socket in list(venue.sockets):
                    socket.transport.deliver(words)
            case b"h":
                venue.handshakes.append(words)
                return
            case b"r":
                venue.answers.append(words)
                return
            case b"d":
                for socket in list(venue.sockets):
                    socket.drop()
            case b"n":
                venue.refuses = words == b"1"
                return
            case b"p":
                venue.answers_pings = venue.answers_requests = words != b"1"
                return
            case b"m":
                venue.mode = MODES[_number(words, len(MODES) - 1)]
                return
            case b"t":
                seconds = min(_number(words, 100), MAX_SECONDS - self._seconds)
                self._seconds += seconds
                await asyncio.sleep(seconds)
            case b"g" | b"G":
                told = [each for symbol in _TRADED for each in venue.trade(symbol, _number(words, 50))]
                for each in told if letter == b"g" else ():
                    venue.send(service_frame(each))
            case b"z":
                for symbol in SYMBOLS:
                    venue.begin_again(symbol)
            case b"o":
                for symbol in _TRADED:
                    first, *others = venue.trade(symbol, max(1, _number(words, 50)))
                    for each in (*others, first):
                        venue.send(service_frame(each))
            case b"a":
                for symbol in _TRADED:
                    for trade_id, time_us in venue.traded[symbol][-_number(words, 50) :]:
                        venue.send(service_frame(told_live(symbol, trade_id, time_us)))
            case b"w":
                self._tell_wrong(words)
            case b"W":
                self._tell_in_a_row(words)
            case b"v":
                await self._behave(max(_number(words or b"900", 900), BEHAVES_AT_LEAST_S))
            case b"Q":
                await self._ask_for_missing()
            case b"s":
                self.bus.put(subjects.CONTROL_SYMBOL, words)
            case b"l":
                await self.bus.look_up(words)
            case b"q":
                self.bus.put("control.repair.binance.btcusdt", words)
        await asyncio.sleep(0.02)

    def _tell_wrong(self, words: bytes) -> None:
        """Tell a trade with an id or a time that is not its own."""
        try:
            told = json.loads(words)
            back, id_by, time_by = (int(told[name]) for name in ("back", "id", "time"))
            trade_id, time_us = self.venue.traded[_TRADED[0]][-1 - back]
        except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
            return
        wrong = told_live(_TRADED[0], trade_id, time_us) | {"t": trade_id + id_by, "T": time_us + time_by}
        self.venue.send(service_frame(wrong))

    def _tell_in_a_row(self, words: bytes) -> None:
        """Let trades happen, and tell them with ids that are not their own."""
        try:
            told = json.loads(words)
            count, id_by = int(told["count"]), int(told["id"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return
        for each in self.venue.trade(_TRADED[0], max(0, min(count, 50))):
            self.venue.send(service_frame(each | {"t": each["t"] + id_by}))

    async def _ask_for_missing(self) -> None:
        """Ask as store does for what is not in RAW of the trades since the ids began."""
        for symbol in _TRADED:
            missing, published = self.missing(symbol), self.bus.keys.get(symbol.lower())
            if not missing or not published:
                continue
            epoch = epochs.epoch_of(published[-1])
            request = control_pb2.RepairRequest(
                venue="binance",
                symbol=symbol.lower(),
                first_trade_id=epochs.key_of(epoch, missing[0]),
                last_trade_id=epochs.key_of(epoch, missing[-1]),
            )
            self.bus.put(subjects.repair("binance", symbol.lower()), control.encode(request))
        await asyncio.sleep(5)

    def missing(self, symbol: str) -> list[int]:
        """Return the ids of trades that RAW does not hold, from the first one on that it holds of their count."""
        told = self.bus.told.get(symbol.lower(), {})
        if not told:
            return [trade_id for trade_id, _ in self.venue.traded[symbol]]
        epoch = epochs.epoch_of(max(told))
        ids = {epochs.venue_id(key) for key in told if epochs.epoch_of(key) == epoch}
        return [trade_id for trade_id, _ in self.venue.traded[symbol] if trade_id not in ids and trade_id > min(ids)]

    async def _behave(self, seconds: int) -> None:
        """Let the venue behave, and look whether its trades are passed on again."""
        venue = self.venue
        venue.mode, venue.answers_pings, venue.answers_requests, venue.refuses = MODES[0], True, True, False
        venue.answers.clear()
        venue.handshakes.clear()
        for _ in range(max(1, seconds // 10)):
            await self._happen(b"g", b"3")
            await asyncio.sleep(10)
        for symbol in _TRADED:
            newest_id, keys = venue.traded[symbol][-1][0], self.bus.keys.get(symbol.lower(), [-1])
            assert epochs.venue_id(keys[-1]) == newest_id, f"{symbol} stands still at {keys[-1]}, not {newest_id}"


def service_frame(told: dict[str, Any]) -> bytes:
    """Return the frame of a trade."""
    return json.dumps({"stream": f"{told['s'].lower()}@trade", "data": told}).encode()


def _number(words: bytes, most: int) -> int:
    return min(int(words), most) if words.isdigit() and len(words) < 10 else 1


def converse(records: list[Record]) -> Conversation:
    """Hold a conversation; raises whatever goes wrong in it."""
    random.seed(0)
    conversation = Conversation()
    loop = MemoryLoop()
    conversation.venue = venue = MemoryVenue(lambda: int((START_S + loop.time()) * 1e6))
    loop.connect = venue.connect
    reader = conversation.bus.reader
    with (
        wall_clock(loop.time),
        patch.object(service, "Reader", reader),
        patch.object(repair_requests, "Reader", reader),
    ):
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(conversation.hold(records))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    assert not loop.broken, loop.broken
    return conversation
