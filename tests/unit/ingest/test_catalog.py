"""What the mesh is told of the venue's list, and how often the venue is asked for it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp
from nats.js.api import RawStreamMsg

from ingest.catalog import LOOKUP_EVERY_S, LOOKUPS_AT_ONCE, MAX_CATALOG_BYTES, Allowance, Catalog
from ingest.followed_symbols import FollowedSymbols
from ingest.messages import Instrument
from mesh.bus import control
from tests.fixtures.binance import following as following_of
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2

NOTHING: Any = None  # neither a bus nor a venue is asked


def told(following: FollowedSymbols) -> control_pb2.Catalog:
    payload = Catalog("binance", following, NOTHING, NOTHING, on_change=lambda: None).payload()
    assert len(payload) <= MAX_CATALOG_BYTES
    return control.decode(control_pb2.Catalog, payload)


def test_what_is_traded_needs_no_word_and_what_rests_says_why() -> None:
    following = following_of("btcusdt")
    following.learn([Instrument("btcusdt", "BTC", "USDT", 1, 2), Instrument("oldusdt", "OLD", "USDT", 1, 2, "BREAK")])
    catalog = told(following)
    assert [(one.symbol, one.status) for one in catalog.instruments] == [("btcusdt", ""), ("oldusdt", "BREAK")]


def test_of_more_than_a_message_holds_what_is_followed_and_traded_is_told() -> None:
    names = [f"coin{number}" + "x" * 20 for number in range(9000)]
    instruments = [
        Instrument(name, "币" * 40, "币" * 40, 1, 1, "TRADING" if number % 2 else "BREAK")
        for number, name in enumerate(names)
    ]
    following = following_of(names[-2], names[-1])
    following.learn(instruments)
    catalog = told(following)
    assert {one.symbol for one in catalog.instruments[:2]} == {names[-2], names[-1]}
    assert {one.status for one in catalog.instruments[2:]} == {""}
    assert len(catalog.instruments) > 1000


def test_something_is_allowed_a_few_times_at_once_and_then_once_in_a_while() -> None:
    allowance = Allowance(LOOKUPS_AT_ONCE, LOOKUP_EVERY_S)
    allowed = [now_s for now_s in range(3600) if allowance.take(float(now_s))]
    assert allowed[:4] == [0, 1, 2, LOOKUP_EVERY_S]
    assert len(allowed) <= LOOKUPS_AT_ONCE + 3600 / LOOKUP_EVERY_S
    assert allowance.take(10_000)


class SlowBus:
    """A bus that takes a while to say what an ingest before this one told."""

    def __init__(self, kept: control_pb2.Catalog) -> None:
        self.js = self
        self.may_answer = asyncio.Event()
        self._kept = kept

    async def get_last_msg(self, stream: str, subject: str) -> RawStreamMsg:
        await self.may_answer.wait()
        return RawStreamMsg(subject=subject, seq=1, data=control.encode(self._kept))


class QuickRest:
    """A venue that answers at once, and lists one coin."""

    async def exchange_info(self) -> list[Instrument]:
        return [Instrument("btcusdt", "BTC", "USDT", 1, 2)]


async def test_while_the_venue_is_away_its_last_list_is_told_with_the_time_when_it_came() -> None:
    before = control_pb2.Catalog(venue="binance", listed_time=Timestamp(seconds=1_700_000_000, nanos=5000))
    before.instruments.add(symbol="btcusdt", base_asset="BTC", quote_asset="USDT", tick_size_e8=1, step_size_e8=2)
    bus = SlowBus(before)
    catalog = Catalog("binance", following_of("btcusdt"), NOTHING, cast("Any", bus), on_change=lambda: None)
    assert not control.decode(control_pb2.Catalog, catalog.payload()).HasField("listed_time")
    bus.may_answer.set()
    publishing = asyncio.create_task(catalog.keep_publishing())

    def told_now() -> control_pb2.Catalog:
        told = control.decode(control_pb2.Catalog, catalog.payload())
        assert told.instruments
        return told

    told_then = await eventually(told_now)
    publishing.cancel()
    assert (told_then.listed_time, list(told_then.instruments)) == (before.listed_time, list(before.instruments))


async def test_what_was_listed_before_the_start_is_known_even_where_the_venue_answers_sooner_than_the_bus() -> None:
    before = [control_pb2.Instrument(symbol=name, tick_size_e8=1, step_size_e8=1) for name in ("btcusdt", "ethusdt")]
    long_ago = Timestamp(seconds=1_700_000_000)
    bus, rest, following = (
        SlowBus(control_pb2.Catalog(venue="binance", instruments=before, listed_time=long_ago)),
        QuickRest(),
        following_of(),
    )
    following.select("ethusdt")
    catalog = Catalog("binance", following, cast("Any", rest), cast("Any", bus), on_change=lambda: None)
    learning = asyncio.create_task(catalog.keep_learning())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bus.may_answer.set()
    await eventually(lambda: following.resting)
    learning.cancel()
    listed = control.decode(control_pb2.Catalog, catalog.payload()).listed_time
    assert listed.seconds > long_ago.seconds, "the list that the venue sent now is told as such"
    assert following.symbols == ("ethusdt",)
    assert following.resting == {"ethusdt": "UNLISTED"}
