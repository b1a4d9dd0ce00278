"""`follow` against a model of the gateway that loses, doubles, lags and restarts: every trade comes once, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh_client import AsyncTickmesh, Missing, RequestRefused, Tickmesh, Trade, Unavailable, Unreachable
from tickmesh_client.live import (
    CandleFill,
    Connect,
    CoverageFollower,
    Disconnect,
    Fill,
    Key,
    KnownCandles,
    Perform,
    Receive,
    Send,
    StatusFollower,
    StreamLost,
    TradeFollower,
    Wait,
    follow,
    follower_of,
)
from tickmesh_client.values import Coverage, Hole, NextTrades, Status

TIME = datetime(2026, 1, 2, tzinfo=UTC)
ENCODER = msgspec.json.Encoder(decimal_format="number")


def trade(key: Key, symbol: str = "btcusdt", venue: str = "sim") -> Trade:
    return Trade(venue, symbol, key[1], Decimal(key[1] + 1), Decimal(1), TIME, "BUY", key[0])


def message(**members: Any) -> str:
    return ENCODER.encode(members).decode()


def ids(first: Key, last: Key) -> dict[str, int]:
    assert first[0] == last[0]
    return {"first_id": first[1], "last_id": last[1]} | ({"epoch": last[0]} if last[0] else {})


class End(Exception):
    """Nothing happens any more."""


class Mesh:
    """What the venue has issued, what of it the mesh has, and one connection.

    Args:
        actions: what happens, one thing whenever the client waits for a message.
        absent: which of the issued trades, counted, the venue does not have either.
    """

    def __init__(self, actions: list[str], absent: set[int]) -> None:
        self.actions = iter(actions)
        self.absent = absent
        self.issued: list[Key] = []
        self.lost: list[Key] = []
        self.stored = 0
        self.next_key: Key = (0, 5)
        self.cursor: Key | None = None
        self.sequence = 0
        self.waiting: list[str] = []
        self.connected = False
        self.began_after: Key | None = None
        self.ending = False

    @property
    def newest(self) -> Key | None:
        return self.issued[-1] if self.issued else None

    def issue(self, count: int = 1) -> None:
        for _ in range(count):
            begins = self.next_key[1] == 0  # whether an epoch's first ids are lost nobody can know
            if len(self.issued) + len(self.lost) in self.absent and self.issued and not begins:
                self.lost.append(self.next_key)
                self.next_key = (self.next_key[0], self.next_key[1] + 1)
            self.issued.append(self.next_key)
            self.next_key = (self.next_key[0], self.next_key[1] + 1)

    # --- what the client does ---

    def do(self, command: Any) -> Any:
        match command:
            case Connect():
                assert not self.connected
                if next(self.actions, "") == "away":
                    raise Unreachable("connection refused")
                self.connected, self.sequence, self.waiting = True, 0, []
            case Disconnect():
                self.connected = False
            case Send(text):
                self.subscribe(json.loads(text))
            case Wait():
                self.stored = len(self.issued)
            case Receive():
                return self.say()
            case Perform(call):
                if not self.ending and next(self.actions, "") == "away":
                    raise Unavailable("store is away", status=503)
                return self.answer(call.path, call.parameters)
        return None

    def subscribe(self, wanted: Any) -> None:
        assert wanted["op"] == "subscribe"
        self.tell(type="subscribed", id=wanted["id"], subscription=1, sequenced=False)
        resume = wanted.get("resume_from", {}).get("btcusdt")
        self.cursor = (resume["epoch"], resume["trade_id"]) if resume else self.newest
        if self.began_after is None and not resume:
            self.began_after = self.newest or (0, -1)
        last = {} if self.cursor is None else ids(self.cursor, self.cursor)
        last.pop("first_id", None)
        self.tell(type="snapshot", symbol="btcusdt", trades=[], **({"last_id": None} | last))

    def tell(self, **members: Any) -> None:
        if members.pop("sequenced", True):
            self.sequence += 1
            members |= {"subscription": 1, "sequence": self.sequence}
        self.waiting.append(message(**members))

    def say(self) -> str:
        if not self.waiting:
            action = next(self.actions, "end")
            if action == "end":
                if self.ending and self.cursor == self.newest:
                    raise End
                self.ending = True
                action = "issue"
            self.act(action)
        return self.waiting.pop(0) if self.waiting else message(type="heartbeat", time="", subscriptions=[])

    def act(self, action: str) -> None:
        if action == "drop":
            raise StreamLost("closed by the gateway")
        if action == "restart":
            self.next_key = (self.next_key[0] + 1, 0)
        if action == "lose":
            self.sequence += 1
        if action == "silent":
            self.issue(3)
            return
        if action == "beat":
            self.tell(type="heartbeat", sequenced=False, subscriptions=[{"subscription": 1, "sequence": self.sequence}])
            return
        if action == "garbage":
            self.waiting.append("[")
            return
        if action in ("issue", "lag", "lose"):
            self.issue(2)
        self.send(lagging=action == "lag", doubled=action == "double")

    def send(self, *, lagging: bool, doubled: bool) -> None:
        """Send what comes after the cursor, or leave it out; ids between two trades are left out by name."""
        after = [key for key in self.issued if self.cursor is None or key > self.cursor]
        if doubled:
            after = self.issued[-len(after) - 2 :]
        for key in after:
            before = self.cursor
            if before is not None and before[0] == key[0] and key[1] > before[1] + 1:
                self.tell(type="lagged", symbol="btcusdt", **ids((key[0], before[1] + 1), (key[0], key[1] - 1)))
            if lagging:
                self.tell(type="lagged", symbol="btcusdt", **ids(key, key))
            else:
                self.tell(type="trades", symbol="btcusdt", trades=[trade(key)], **ids(key, key))
            self.cursor = max(key, before or key)

    # --- what the store says ---

    def answer(self, path: str, parameters: Any) -> NextTrades | Coverage:
        if path == "/api/coverage":
            holes = tuple(Hole(key[1], key[1], key[0], state="ABSENT") for key in self.lost)
            return Coverage("sim", "btcusdt", True, 0, 0, 0, 0, (), holes, (), (), 0, 0)
        after = (int(parameters["epoch"]), int(path.split("/")[4]))
        stored = self.issued[: self.stored]
        found = [trade(key) for key in stored if key > after][:3]
        epoch, newest = stored[-1] if stored else (0, -1)
        return NextTrades(tuple(found), newest, epoch)


def run(mesh: Mesh, follower: TradeFollower) -> tuple[list[Key], list[Missing]]:
    """Do what `follow` says until nothing happens any more; return the trades and the ids that are missing."""
    trades: list[Key] = []
    missing: list[Missing] = []
    doing = follow(follower, retries=10_000, random=Random(1), missing=missing.append)
    step = next(doing)
    while True:
        if isinstance(step, Trade):
            trades.append(step.key)
            step = next(doing)
            continue
        try:
            result = mesh.do(step)
        except End:
            return trades, missing
        except (Unreachable, Unavailable, StreamLost) as exc:
            step = doing.throw(exc)
        else:
            step = doing.send(result)


ACTIONS = ["issue", "issue", "silent", "lag", "double", "lose", "drop", "restart", "beat", "garbage", "away", ""]


@given(st.lists(st.sampled_from(ACTIONS), max_size=40), st.sets(st.integers(1, 60), max_size=5), st.booleans())
def test_every_trade_comes_once_and_in_order_and_what_does_not_is_named(
    actions: list[str], absent: set[int], traded_before: bool
) -> None:
    mesh = Mesh(actions, absent)
    if traded_before:
        mesh.issue(4)
        mesh.stored = 4
    trades, missing = run(mesh, TradeFollower("btcusdt"))
    began = mesh.began_after
    assert began is not None
    assert trades == [key for key in mesh.issued if key > began]
    assert all(each.first_trade_id <= each.last_trade_id for each in missing)
    named = {(each.epoch, number) for each in missing for number in range(each.first_trade_id, each.last_trade_id + 1)}
    assert named == {key for key in mesh.lost if key > began and key < (mesh.newest or began)}


def started(follower: TradeFollower) -> TradeFollower:
    """Return a follower whose subscription is acknowledged and has a snapshot at trade 10."""
    follower.subscribe()
    follower.receive(message(type="subscribed", id=0, subscription=1))
    follower.receive(message(type="snapshot", subscription=1, sequence=1, symbol="btcusdt", last_id=10))
    return follower


def update(sequence: int, *keys: Key, **members: Any) -> str:
    trades = [trade(key) for key in keys]
    told = {"type": "trades", "subscription": 1, "symbol": "btcusdt"}
    return message(sequence=sequence, trades=trades, **told, **(ids(keys[0], keys[-1]) | members))


def keys_of(found: Sequence[Any]) -> list[Any]:
    return [each.key if isinstance(each, Trade) else (each.after, each.through) for each in found]


def test_ids_that_no_message_names_are_fetched_all_the_same() -> None:
    found = started(TradeFollower("btcusdt")).receive(update(2, (0, 11), (0, 14), last_id=15))
    assert keys_of(found) == [(0, 11), ((0, 11), (0, 13)), (0, 14), ((0, 14), (0, 15))]


def test_a_heartbeat_proves_that_nothing_was_missed() -> None:
    follower = started(TradeFollower("btcusdt"))
    follower.receive(message(type="heartbeat", subscriptions=[{"subscription": 1, "sequence": 1}]))
    with pytest.raises(StreamLost, match="found message 2 of subscription 1, expected 1"):
        follower.receive(message(type="heartbeat", subscriptions=[{"subscription": 1, "sequence": 2}]))


def test_many_symbols_are_subscribed_to_in_parts_and_go_on_where_each_was() -> None:
    follower = TradeFollower(
        [f"coin{number}usdt" for number in range(65)], {"COIN3USDT": 7, "coin64usdt": trade((2, 9))}
    )
    first, second = (json.loads(text) for text in follower.subscribe())
    assert (len(first["symbols"]), second["symbols"]) == (64, ["coin64usdt"])
    assert first["resume_from"] == {"coin3usdt": {"trade_id": 7, "epoch": 0}}
    assert second["resume_from"] == {"coin64usdt": {"trade_id": 9, "epoch": 2, "venue": "sim"}}
    follower.receive(message(type="subscribed", id=0, subscription=1))
    assert not follower.subscribed
    follower.receive(message(type="subscribed", id=1, subscription=2))
    assert follower.subscribed


def test_another_venue_has_ids_of_its_own() -> None:
    follower = started(TradeFollower("btcusdt"))
    assert keys_of(follower.receive(update(2, (0, 11)))) == [(0, 11)]
    changed = update(3, (0, 5)).replace('"venue":"sim"', '"venue":"binance"')
    assert keys_of(follower.receive(changed)) == [(0, 5)]


def test_after_the_mesh_has_changed_over_to_another_venue_only_what_is_of_that_one_goes_on() -> None:
    follower = TradeFollower(["btcusdt", "ethusdt"], {"btcusdt": trade((0, 11)), "ethusdt": 7})
    follower.subscribe()
    follower.receive(message(type="subscribed", id=0, subscription=1))
    with pytest.raises(StreamLost):
        follower.receive(refusal("resume_from.btcusdt.venue"))
    [again] = map(json.loads, follower.subscribe())
    assert again["resume_from"] == {"ethusdt": {"trade_id": 7, "epoch": 0}}
    follower.receive(message(type="subscribed", id=0, subscription=1))
    follower.receive(message(type="snapshot", subscription=1, sequence=1, symbol="btcusdt", last_id=5))
    assert keys_of(follower.receive(update(2, (0, 6)))) == [(0, 6)]


def test_a_trade_to_resume_after_that_is_of_another_venue_is_refused() -> None:
    follower = TradeFollower("btcusdt", {"btcusdt": trade((0, 11))})
    [asked] = map(json.loads, follower.subscribe())
    assert asked["resume_from"] == {"btcusdt": {"trade_id": 11, "epoch": 0, "venue": "sim"}}
    with pytest.raises(RequestRefused):
        follower.receive(refusal("resume_from.btcusdt.venue"))


def test_a_gateway_that_knows_no_venue_to_resume_in_is_told_none() -> None:
    follower = TradeFollower("btcusdt", {"btcusdt": trade((0, 11))})
    follower.subscribe()
    with pytest.raises(StreamLost):
        follower.receive(refusal("venue"))
    [again] = map(json.loads, follower.subscribe())
    assert again["resume_from"] == {"btcusdt": {"trade_id": 11, "epoch": 0}}
    with pytest.raises(RequestRefused):
        follower.receive(refusal("venue"))


def test_what_was_left_out_is_fetched_of_the_venue_whose_ids_they_are() -> None:
    """The mesh may have changed over to another venue meanwhile, whose ids say nothing of these."""
    follower = started(TradeFollower("btcusdt"))
    [_, fill] = follower.receive(update(2, (0, 11), last_id=13))
    assert isinstance(fill, Fill)
    asked = fill.call()
    assert asked is not None
    assert asked.parameters["venue"] == "sim"
    fill.take(NextTrades((), 20, 0))  # the store is past the place and has none of them: is the hole still open?
    looked = fill.call()
    assert looked is not None
    assert (looked.path, looked.parameters["venue"]) == ("/api/coverage", "sim")


def test_ids_that_begin_anew_are_followed_from_there() -> None:
    follower = started(TradeFollower("btcusdt"))
    follower.receive(message(type="snapshot", subscription=1, sequence=2, symbol="btcusdt", last_id=None))
    assert keys_of(follower.receive(update(3, (0, 3)))) == [(0, 3)]


def refusal(field: str) -> str:
    return message(type="error", id=0, field=field, found="'x'", expected="another", message="wrong")


def test_what_the_gateway_does_not_take_is_an_error_that_says_what() -> None:
    follower = TradeFollower("nope")
    follower.subscribe()
    with pytest.raises(RequestRefused) as caught:
        follower.receive(refusal("symbols[0]"))
    assert (caught.value.field, caught.value.found, caught.value.expected) == ("symbols[0]", "'x'", "another")


def test_what_was_taken_before_is_tried_again_but_not_for_ever() -> None:
    follower = started(TradeFollower("btcusdt"))
    with pytest.raises(StreamLost):
        follower.receive(refusal("symbols[0]"))
    follower.receive(update(2, (0, 11)))
    for _ in range(3):
        with pytest.raises(StreamLost):
            follower.receive(refusal("resume_from.btcusdt"))
    with pytest.raises(RequestRefused):
        follower.receive(refusal("resume_from.btcusdt"))


@pytest.mark.parametrize("symbols", ["", [], ["btcusdt", ""], ["btcusdt", 7]])
def test_no_symbol_is_refused(symbols: Any) -> None:
    with pytest.raises(ValueError, match="expected one symbol or more"):
        TradeFollower(symbols)


def test_a_channel_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="channel is 'trade', expected one of trades, ticks, candles, cover"):
        follower_of("btcusdt", "trade", fields=None, interval="1m", resume_from=None)


def test_coverage_is_put_together_from_what_changes_and_is_not_told_again_after_a_reconnect() -> None:
    counts: dict[str, Any] = dict.fromkeys(
        ("stored", "open", "absent", "lost", "minutes_verified", "minutes_mismatched"), 0
    )
    whole = counts | {name: [] for name in ("ranges", "holes", "epochs", "minutes")}
    whole |= {"venue": "sim", "symbol": "btcusdt", "complete": True}
    follower = CoverageFollower("btcusdt")

    def tell(kind: str, sequence: int, **coverage: Any) -> list[Any]:
        said = {"type": kind, "symbol": "btcusdt", "subscription": 1, "sequence": sequence, "coverage": coverage}
        return list(follower.receive(message(**said)))

    for _ in range(2):
        [asked] = follower.subscribe()
        assert json.loads(asked) == {"op": "subscribe", "channel": "coverage", "id": 0, "symbols": ["btcusdt"]}
        follower.receive(message(type="subscribed", id=0, subscription=1))
        if not follower._known:
            [first] = tell("snapshot", 1, **whole)
            [later] = tell("coverage", 2, stored=7, complete=False)
    assert (first.stored, first.complete, later.stored, later.complete) == (0, True, 7, False)
    assert tell("snapshot", 1, **whole | {"stored": 7, "complete": False}) == []
    with pytest.raises(StreamLost, match="cannot be read"):
        tell("coverage", 2, stored="many")


def test_the_status_is_asked_for_without_symbols_and_put_together_from_what_changes() -> None:
    follower = StatusFollower()
    [asked] = follower.subscribe()
    assert json.loads(asked) == {"op": "subscribe", "channel": "status", "id": 0}
    follower.receive(message(type="subscribed", id=0, subscription=1))
    whole: dict[str, Any] = {
        "state": "LIVE",
        "message": "",
        "venue": "sim",
        "services": [],
        "symbols": [],
        "time": None,
    }
    begin = {"type": "snapshot", "channel": "status", "symbol": "", "subscription": 1}
    assert follower.receive(message(**begin, sequence=1, status=whole)) == [msgspec.convert(whole, Status)]
    changed = {"state": "STALE", "time": "2026-01-02T00:00:00Z"}
    [found] = follower.receive(message(type="status", subscription=1, sequence=2, status=changed))
    assert found == msgspec.convert(whole | changed, Status)


@pytest.mark.parametrize(
    ("channel", "said", "problem"),
    [
        ("candles", {"resume_from": {"btcusdt": 7}}, r"resume_from is \{'btcusdt': 7\} with the channel candles"),
        (
            "candles",
            {"fields": ["vwap"]},
            r"fields is \['vwap'\] with the channel candles, expected it with ticks",
        ),
        ("candles", {"missing": print}, "missing is .* with the channel candles, expected it with trades or ticks"),
        ("coverage", {"interval": "1m"}, "interval is '1m' with the channel coverage, expected it with candles only"),
        ("status", {}, "symbols is 'btcusdt' with the channel status, expected it with trades or ticks or candles or"),
        ("trades", {"interval": "1m"}, "interval is '1m' with the channel trades, expected it with candles only"),
        ("ticks", {"interval": ""}, "interval is '' with the channel ticks"),
        ("trades", {"fields": []}, r"fields is \[\] with the channel trades"),
        ("ticks", {"fields": "vwap"}, "fields is 'vwap', expected a list"),
        ("trades", {"resume_from": {"btcusdt": "7"}}, "resume_from has '7' for 'btcusdt', expected a trade or its id"),
    ],
)
@pytest.mark.parametrize("kind", [Tickmesh, AsyncTickmesh])
def test_what_a_channel_does_not_have_is_refused_at_once(
    kind: type[Tickmesh | AsyncTickmesh], channel: str, said: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        getattr(kind(), "live")("btcusdt", channel, **said)  # noqa: B009 - as the types would not let it


def test_a_symbol_to_resume_has_to_be_followed() -> None:
    with pytest.raises(ValueError, match="resume_from has 'ethusdt', expected one of btcusdt"):
        TradeFollower("btcusdt", {"ethusdt": 1})


def test_where_there_was_never_a_connection_it_is_tried_only_so_often() -> None:
    doing = follow(TradeFollower("btcusdt"), retries=2, random=Random(1), missing=print)
    steps = [next(doing)]
    with pytest.raises(Unreachable, match="refused"):
        for _ in range(10):
            failed = isinstance(steps[-1], Connect)
            steps.append(doing.throw(Unreachable("refused")) if failed else doing.send(None))
    assert sum(isinstance(step, Connect) for step in steps) == 3


def test_a_hole_that_the_mesh_still_asks_for_is_waited_for_and_then_named() -> None:
    def looks(state: str) -> Iterator[float]:
        fill = Fill("btcusdt", (0, 10), (0, 12))
        hole = Hole(11, 11, state=state)
        while (call := fill.call()) is not None:
            if call.path == "/api/coverage":
                fill.take(Coverage("sim", "btcusdt", False, 0, 1, 0, 0, (), (hole,), (), (), 0, 0))
                yield fill.wait_s
            else:
                fill.take(NextTrades((trade((0, 12)),), 12))
        assert fill.missing == [Missing(11, 11, symbol="btcusdt")]

    assert list(looks("ABSENT")) == [0]
    assert list(looks("OPEN")) == [1.0] * 60 + [0]


def test_what_store_does_not_have_yet_is_waited_for() -> None:
    fill = Fill("btcusdt", (0, 10), (0, 12))
    assert fill.take(NextTrades((trade((0, 11)),), 11)) == [trade((0, 11))]
    assert fill.take(NextTrades((), 11)) == []
    assert fill.wait_s > 0
    assert fill.take(NextTrades((trade((0, 12)), trade((0, 13))), 13)) == [trade((0, 12))]
    assert fill.call() is None


def test_what_the_network_did_not_carry_is_asked_for_in_smaller_parts_but_not_in_ever_smaller_ones() -> None:
    follower = TradeFollower("btcusdt", {"btcusdt": 10})
    doing = follow(follower, retries=0, random=Random(1), missing=print)
    assert isinstance(next(doing), Connect)
    for answer in (None, None, message(type="subscribed", id=0, subscription=1)):
        doing.send(answer)
    snapshot = message(type="snapshot", subscription=1, sequence=1, symbol="btcusdt", last_id=2000)
    step = doing.send(snapshot)

    def rows_asked_for() -> int:
        assert isinstance(step, Perform)
        return int(step.call.parameters["page_size"])

    asked = [rows_asked_for()]
    for _ in range(6):
        assert isinstance(doing.throw(Unreachable("closed in the middle of an answer")), Wait)
        step = doing.send(None)
        asked.append(rows_asked_for())
    assert asked == [1000, 500, 250, 125, 62, 50, 50]
    assert isinstance(doing.throw(Unavailable("store is away", status=503)), Wait)
    step = doing.send(None)
    assert rows_asked_for() == 50  # an answer that says no has come through
    assert doing.send(NextTrades((trade((0, 11)),), 2000)) == trade((0, 11))
    step = doing.send(None)
    assert rows_asked_for() == 100


def test_candles_are_asked_for_in_parts_as_small_as_is_wanted() -> None:
    call = CandleFill(KnownCandles("btcusdt"), "1m").call(62)
    assert call is not None and call.parameters["page_size"] == "62"
