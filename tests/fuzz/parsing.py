"""The quick half of what is fuzzed: the venue's words through the parsers, the bus' messages through their readers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from ingest.binance import answers
from ingest.binance.aggregates import from_aggregates
from ingest.binance.answers import parse_exchange_info
from ingest.binance.http_api import read_refusal, used_weight
from ingest.binance.session import BinanceSession
from ingest.http.backfill import BackfillResult, from_history, from_newest, without_spoiled
from ingest.http.retry_after import LEAST_S, LONGEST_S, retry_after_s
from ingest.publish import repair_requests
from mesh.bus import control, wire
from mesh.bus.reader import Message
from mesh.service.errors import BadMessage
from mesh.values.id_ranges import IdRange
from mesh.values.trades import refusal
from signalsvc.selection import Selection
from store.candles import rows as candle_rows
from store.catalog_view import CatalogView
from store.intake.trades import joined_trades, pending_of, read_trades
from store.ledger import minutes
from store.ledger.repair import HoleRepair
from tests.fuzz.conversation import NOW_US, Record
from tests.fuzz.memory_loop import START_S
from tickcodec.copy_rows import trade_rows
from tickmesh.v1 import control_pb2


def parse(records: Sequence[Record]) -> None:
    """Parse what a venue says; anything but BadMessage is an error of ours."""
    session = BinanceSession("binance", ["btcusdt", "ethusdt"])
    session.want(["btcusdt", "ethusdt", "bnbusdt"])
    session.requests(0.0)
    together: list[bytes] = []
    now_s = 0.0
    for letter, words in records:
        now_s += 1.0
        if letter == b"F":
            together.append(words)
        elif letter == b"f":
            for event in session.receive([*together, words], received_time_us=NOW_US):
                str(event)
            together.clear()
            session.requests(now_s)
            session.unanswered(now_s)
        elif letter == b"h":
            _read_headers(words)
        else:
            body = words.partition(b"\r\n\r\n")[2] or words
            _read_body(body)


def _read_headers(words: bytes) -> None:
    text = words.decode("latin-1")
    assert LEAST_S <= retry_after_s(text, now_s=START_S) <= LONGEST_S
    headers = httpx.Headers([(b"Retry-After", words), (b"X-MBX-USED-WEIGHT-1M", words)])
    assert 0 <= used_weight(headers) <= 10**6
    _read_refusals(headers, words)


def _read_body(body: bytes) -> None:
    with contextlib.suppress(BadMessage):
        page = answers.parse_trades(body, venue="binance", symbol="btcusdt", received_time_us=NOW_US)
        trades = page.content
        if len(trades):
            assert refusal(trades) == ""
        for from_id in (0, 3, int(trades.trade_id[0]) if len(trades) else 9):
            if not len(trades) or trades.trade_id[0] >= from_id:
                _check_found(
                    without_spoiled(from_history(trades, from_id=from_id, limit=1000 - len(page.bad)), page.spoiled)
                )
            _check_found(without_spoiled(from_newest(trades, from_id=from_id), page.spoiled))
    with contextlib.suppress(BadMessage):
        told = answers.parse_aggregates(body, venue="binance", symbol="btcusdt", received_time_us=NOW_US)
        _check_found(from_aggregates(told.content, from_id=3, until_id=None, limit=1000))
        _check_found(from_aggregates(told.content, from_id=3, until_id=30, limit=1000))
    with contextlib.suppress(BadMessage):
        for instrument in parse_exchange_info(body).content:
            assert instrument.symbol
    _read_refusals(httpx.Headers(), body)


def _read_refusals(headers: httpx.Headers, body: bytes) -> None:
    for status in (400, 403, 404, 418, 429, 500):
        read = read_refusal(status, headers, body)
        assert len(read.said) < 300
        assert 0 <= read.away_s <= LONGEST_S


def _check_found(found: BackfillResult) -> None:
    """See that the steps of what was found rise and do not overlap."""
    reached = -1
    for step in found.in_order:
        first_id, last_id = (
            (step.first_id, step.last_id)
            if isinstance(step, IdRange)
            else (int(step.trade_id[0]), int(step.trade_id[-1]))
        )
        assert reached < first_id <= last_id, f"{first_id} to {last_id} after {reached}"
        reached = last_id
    assert found.next_id is None or found.next_id > reached


def read_bus(records: Sequence[Record]) -> None:
    """Read messages of the bus as each of their readers does; the letter says which reader."""
    nothing: Any = None
    for letter, payload in records:
        readers: dict[bytes, Callable[[bytes], object]] = {
            b"w": _read_trades,
            b"c": _read_closed,
            b"e": wire.decode_end,
            b"b": wire.batches_of,
            b"m": lambda data: minutes.read_minute(control.decode(control_pb2.VenueCandle, data)),
            b"k": lambda data: Selection("btcusdt").learn(control.decode_catalog(data)),
            b"s": control.decode_selection,
            b"p": control.decode_epoch,
            b"q": lambda data: repair_requests._check(control.decode(control_pb2.RepairRequest, data)),
            b"f": lambda data: CatalogView().take(Message(7, "control.catalog", data, "", 0, 0)),
            b"r": lambda data: HoleRepair(nothing, nothing, nothing, stored=nothing, venue=lambda: "binance").take(
                Message(1, "control.repaired.binance.btcusdt", data, "", 0, 0)
            ),
        }
        if letter in readers:
            try:
                readers[letter](payload)
            except BadMessage as exc:
                assert 0 < len(str(exc)) < 2000


def _read_trades(payload: bytes) -> None:
    for subject in ("trades.raw.binance.btcusdt", "trades.raw.binance"):
        for taken in read_trades(Message(7, subject, payload, "", 0, 0)):
            if taken.trades is not None and not refusal(taken.trades):
                trade_rows([taken.trades])
        joined = joined_trades([pending_of(Message(7, subject, payload, "", 0, 0))])
        if joined and not refusal(joined.trades):
            trade_rows(joined)


def _read_closed(payload: bytes) -> None:
    closed = wire.decode_closed(payload)
    if closed is None:
        return
    for candle in closed.candles:
        candle_rows._row(closed.venue, closed.symbol, candle)
