"""Nothing a venue says ends ingest: frames and answers from parsing to where they leave, by Hypothesis.

`make fuzz` runs the same with a hundred times as many examples, other ones each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.binance.http_api import BinanceHttpApi
from ingest.binance.session import BinanceSession
from ingest.catalog import MAX_CATALOG_BYTES, Catalog
from ingest.http.errors import VenueRequestError
from ingest.publish.bad_frames import BadFrames
from ingest.websocket.host_rotation import Endpoint
from ingest.websocket.silence_watchdog import SilenceWatchdog
from mesh.bus import control
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.outgoing_queue import OutgoingMessage, OutgoingQueue
from mesh.service.errors import BadMessage
from mesh.values.id_ranges import IdRange
from mesh.values.trades import refusal
from store.ledger import minutes
from tests.fixtures import venue_words
from tests.fixtures.binance import binance, connecting, following, http_api_of, nowhere_else
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.raw import trades_in
from tests.fixtures.venue_words import BODIES, FRAMES, HEADERS, STATUSES
from tickmesh.v1 import control_pb2

NO_BUS: Any = None  # nothing is sent before a queue runs


class Kept(PassedOn):
    """Takes what is published, and looks whether store could keep it."""

    def offer(self, subject: str, payload: bytes, **options: Any) -> bool:
        for trades in trades_in(subject, payload):
            assert refusal(trades) == ""
        return super().offer(subject, payload, **options)


class CheckedMinutes(OutgoingQueue):
    """Looks whether store could read what is put."""

    def __init__(self) -> None:
        super().__init__(NO_BUS, max_waiting=10)

    def put(self, message: OutgoingMessage) -> None:
        assert message.subject.startswith("candles.")
        minutes.read_minute(control.decode(control_pb2.VenueCandle, message.payload))
        super().put(message)


class CheckedLetters(DeadLetterQueue):
    """Looks whether the bus would take what is put."""

    def __init__(self) -> None:
        super().__init__(NO_BUS)

    def put_letter(self, letter: OutgoingMessage) -> None:
        assert len(letter.payload) <= 8192
        super().put_letter(letter)


async def hear(batches: list[list[bytes]]) -> list[int]:
    """Let a connection of two symbols, that asked for a third one, take in frames; return the published ids."""
    passed_on = Kept()
    trade_publisher = await trade_publisher_into(passed_on)
    await trade_publisher.follow("ethusdt")
    followed = following("btcusdt", "ethusdt")
    watchdog = SilenceWatchdog()
    connect = connecting(
        binance(),
        followed,
        trade_publisher,
        watchdog=watchdog,
        outgoing=CheckedMinutes(),
        bad_frames=BadFrames("frames", CheckedLetters()),
    )
    connection = connect(
        endpoint=Endpoint("wss://venue.example", plain=False), max_age_s=60, received_elsewhere=nowhere_else
    )
    connection.session = session = BinanceSession("binance", followed.symbols)
    session.want([*followed.symbols, "bnbusdt"])
    session.requests(0.0)
    for batch in batches:
        await connection.take_in(batch, received_time_us=1_723_161_255_343_000)
        session.requests(1.0)
        watchdog.doubt(session.followed, asyncio.get_running_loop().time() + 1000)
    await trade_publisher.give_up_all("the test is over")
    return passed_on.ids


def minute(**changes: int) -> list[list[bytes]]:
    closed = venue_words.KLINE | {"k": venue_words.KLINE["k"] | changes}  # type: ignore[operator]
    return [[venue_words.worded(closed)]]


@given(batches=st.lists(FRAMES, max_size=4))
@example(batches=minute(L=2**63))
@example(batches=minute(L=2**62, n=2**62))
@example(batches=[[b'{"id":1,"code":' + b"9" * 4000 + b"}"], [b'{"id":' + b"9" * 5000 + b',"code":1}']])
@example(batches=[[b'{"stream":"x","data":' + b'{"e":' * 3000]])
def test_no_frame_ends_ingest_and_what_is_passed_on_can_be_stored(batches: list[list[bytes]]) -> None:
    ids = asyncio.run(hear(batches))
    assert all(isinstance(trade_id, int) for trade_id in ids)


def answers(status: int, headers: dict[str, str], body: bytes) -> httpx.MockTransport:
    named = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return httpx.MockTransport(lambda _: httpx.Response(status, headers=named, stream=httpx.ByteStream(body)))


async def ask(transport: httpx.MockTransport) -> None:
    """Ask everything there is to ask, and hand on what is answered as the service does."""
    passed_on = Kept()
    trade_publisher = await trade_publisher_into(passed_on)
    followed = following("btcusdt")
    questions: list[Callable[[BinanceHttpApi], Awaitable[Any]]] = [
        lambda rest: rest.ping(),
        lambda rest: rest.newest_id("btcusdt"),
        lambda rest: rest.trades_from("btcusdt", 0),
        lambda rest: rest.trades_from("btcusdt", 30),
        lambda rest: rest.exchange_info(),
    ]
    async with httpx.AsyncClient(transport=transport) as client:
        for question in questions:
            keep = BadFrames("rows", CheckedLetters()).take
            rest = http_api_of(client, "https://one.example", "https://two.example", on_bad_row=keep)
            try:
                found = await question(rest)
            except (VenueRequestError, BadMessage):
                continue
            if isinstance(found, list):
                followed.learn(found)
                payload = Catalog("binance", followed, rest, NO_BUS, on_change=lambda: None).payload()
                assert len(payload) <= MAX_CATALOG_BYTES
            elif hasattr(found, "in_order"):
                for step in found.in_order:
                    if isinstance(step, IdRange):
                        await trade_publisher.absent("btcusdt", step)
                    else:
                        await trade_publisher.take(step, live=False)
    await trade_publisher.give_up_all("the test is over")


@given(status=STATUSES, headers=HEADERS, body=BODIES)
@example(status=200, headers={"X-MBX-USED-WEIGHT-1M": "9" * 5000}, body=b"[]")
@example(status=429, headers={"Retry-After": "9" * 5000}, body=b"")
@example(status=400, headers={}, body=b'{"code":' + b"9" * 5000 + b"}")
def test_no_answer_over_rest_ends_ingest(status: int, headers: dict[str, str], body: bytes) -> None:
    asyncio.run(ask(answers(status, headers, body)))
