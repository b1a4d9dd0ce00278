from __future__ import annotations

import json

import numpy as np
import pytest

from sim.exchange import Exchange, IssuedBatch
from sim.fault_plan import HELD_AT_MOST_S, FaultPlan, Sent
from sim.faults import (
    GARBLINGS,
    Disconnect,
    Drop,
    Duplicate,
    Fault,
    Garble,
    Misstate,
    Random,
    Reorder,
    RestStatus,
    SkippedIds,
    SlowRest,
    parse_faults,
)
from sim.frames import BatchFrames, FollowedStreams, garbled_frame, text_frame
from sim.instruments import INSTRUMENTS
from sim.market import Market
from sim.pacing import Pace, Pacer

NOW_US = 1_795_348_800_123_456


class Stage:
    """An exchange and a plan, played as the issuer plays them."""

    def __init__(self, *faults: Fault, seed: int = 1) -> None:
        self.exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0))
        self.plan = FaultPlan(seed)
        self.plan.add(faults, number=0, now_s=0.0)
        self.issued: list[tuple[int, int]] = []  # (symbol, id)
        self.sent: list[tuple[int, int]] = []
        self.garbled: dict[tuple[int, int], str] = {}
        self.strikes: list[tuple[int, str]] = []

    def play(self, count: int, *, piece: int = 7, now_s: float = 0.0) -> Stage:
        while count > 0:
            for fault in self.plan.strike(self.exchange.issued, now_s):
                self.strikes.append((self.exchange.issued, fault.kind))
            room = self.plan.room(self.exchange.issued)
            batch = self.exchange.issue(min(count, piece, room), NOW_US)
            assert batch is not None
            count -= len(batch.trades)
            self.issued += batch.trades[["symbol", "trade_id"]].tolist()
            self.hear(self.plan.tamper(batch.first_number, batch.trades, now_s, INSTRUMENTS))
        return self

    def hear(self, sent: Sent) -> None:
        self.sent += sent.trades[["symbol", "trade_id"]].tolist()
        self.garbled |= sent.garbled


def test_without_faults_what_is_issued_is_sent() -> None:
    stage = Stage().play(100)

    assert stage.sent == stage.issued


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_exactly_the_ordered_trades_are_dropped(piece: int) -> None:
    stage = Stage(Drop(at_trade=10, count=3)).play(50, piece=piece)

    assert stage.sent == stage.issued[:10] + stage.issued[13:]


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_exactly_the_ordered_trades_are_doubled(piece: int) -> None:
    stage = Stage(Duplicate(at_trade=20, count=2, copies=2)).play(50, piece=piece)

    first, second = stage.issued[20], stage.issued[21]
    assert stage.sent == stage.issued[:20] + [first] * 3 + [second] * 3 + stage.issued[22:]


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_exactly_the_ordered_trades_change_their_order(piece: int) -> None:
    stage = Stage(Reorder(at_trade=15, count=20)).play(60, piece=piece)

    assert stage.sent[:15] + stage.sent[35:] == stage.issued[:15] + stage.issued[35:]
    assert stage.sent[15:35] != stage.issued[15:35]
    assert sorted(stage.sent[15:35]) == sorted(stage.issued[15:35])


def test_the_new_order_comes_from_the_seed_and_not_from_the_batches() -> None:
    orders = [Stage(Reorder(at_trade=15, count=20), seed=3).play(60, piece=piece).sent for piece in (1, 13)]
    other = Stage(Reorder(at_trade=15, count=20), seed=4).play(60).sent

    assert orders[0] == orders[1] != other


def test_two_trades_do_change_places() -> None:
    for seed in range(10):
        stage = Stage(Reorder(at_trade=5, count=2), seed=seed).play(10)
        assert stage.sent[5:7] == [stage.issued[6], stage.issued[5]]


def test_trades_that_wait_in_vain_for_their_new_order_are_let_go() -> None:
    stage = Stage(Reorder(at_trade=5, count=20)).play(10)

    assert stage.plan.release(HELD_AT_MOST_S - 0.1) is None
    sent = stage.plan.release(HELD_AT_MOST_S)

    assert sent is not None
    stage.hear(sent)
    assert sorted(stage.sent) == sorted(stage.issued)


@pytest.mark.parametrize("kind", [Drop, Reorder])
def test_a_fault_of_one_symbol_leaves_the_others_alone(kind: type[Drop | Reorder]) -> None:
    stage = Stage(kind(at_trade=10, count=30, symbol="btcusdt")).play(60)

    others = [key for key in stage.issued if key[0] != 0]
    assert [key for key in stage.sent if key[0] != 0] == others
    assert stage.sent != stage.issued


def test_garbled_trades_are_sent_and_named() -> None:
    stage = Stage(Garble(at_trade=10, count=2)).play(20)

    assert stage.sent == stage.issued
    assert set(stage.garbled) == set(stage.issued[10:12])


def test_faults_may_overlap() -> None:
    stage = Stage(Drop(at_trade=10, count=4), Garble(at_trade=12, count=4), Duplicate(at_trade=15)).play(30)

    assert stage.sent == stage.issued[:10] + stage.issued[14:16] + stage.issued[15:]
    assert set(stage.garbled) == set(stage.issued[14:16])


def test_a_fault_repeats_as_often_as_ordered() -> None:
    stage = Stage(Drop(at_trade=10, every=10, times=3)).play(60)

    assert stage.sent == [key for number, key in enumerate(stage.issued) if number not in (10, 20, 30)]
    assert stage.plan.waiting == 0


def test_a_strike_comes_after_exactly_so_many_trades() -> None:
    stage = Stage(Disconnect(at_trade=33), SkippedIds(symbol="btcusdt", at_trade=20)).play(60)

    assert stage.strikes == [(20, "hole"), (33, "disconnect")]
    assert [strike["kind"] for strike in stage.plan.struck] == ["hole", "disconnect"]


def test_a_strike_by_time_waits_for_its_time() -> None:
    stage = Stage(Disconnect(at_s=2.5))

    stage.play(10, now_s=2.4)
    assert stage.strikes == []
    stage.play(10, now_s=2.5)

    assert stage.strikes == [(10, "disconnect")]


def test_faults_of_a_request_count_from_the_request() -> None:
    stage = Stage().play(100)

    stage.plan.add([Drop(at_trade=5), Drop()], number=100, now_s=50.0)
    stage.play(20, now_s=50.0)

    assert stage.sent == [key for number, key in enumerate(stage.issued) if number not in (100, 105)]


def test_an_exchange_that_goes_on_forgets_what_has_struck() -> None:
    stage = Stage(Drop(at_trade=5), Drop(at_trade=50), Drop(at_trade=10, every=15, times=5))

    stage.plan.forget_before(41)

    assert stage.plan.waiting == 2  # the one at 50, and the repeated one at 55
    assert stage.plan.room(41) == 9


def test_clearing_ends_what_lasts_and_what_waits() -> None:
    stage = Stage(Drop(at_trade=0, count=1000), Drop(at_trade=50)).play(10)

    stage.plan.clear()
    stage.play(90)

    assert stage.sent == stage.issued[10:]


def test_rest_faults_touch_the_next_request_only() -> None:
    stage = Stage(RestStatus(status=429)).play(1)

    assert [len(stage.plan.touch_rest("/api/v3/trades", 0.0)) for _ in range(3)] == [1, 0, 0]


def test_rest_faults_may_last_for_requests_or_seconds_and_for_one_path() -> None:
    stage = Stage(RestStatus(requests=2, path="/klines"), SlowRest(for_s=5, delay_s=1)).play(1)

    met = [[fault.kind for fault in stage.plan.touch_rest(path, now_s)] for path, now_s in (
        *(("/api/v3/ping", 0.0), ("/api/v3/klines", 1.0), ("/api/v3/klines", 4.9)),
        *(("/api/v3/klines", 5.0), ("/api/v3/ping", 5.0)),
    )]  # fmt: skip

    assert met == [["slow_rest"], ["rest", "slow_rest"], ["rest", "slow_rest"], [], []]


def test_chaos_is_chosen_by_the_seed_and_repeats() -> None:
    def kinds(seed: int) -> list[object]:
        chaos = parse_faults('[{"kind": "random", "at_trade": 10, "every": 60, "times": 30, "most_trades": 20}]')
        return [strike["kind"] for strike in Stage(*chaos, seed=seed).play(2000).plan.struck]

    assert kinds(1) == kinds(1) != kinds(2)
    assert len(kinds(1)) == 30
    assert len(set(kinds(1))) > 5


def test_chaos_keeps_to_the_kinds_it_was_given() -> None:
    stage = Stage(Random(at_trade=0, every=10, times=20, of=("drop", "garble"))).play(300)

    assert {strike["kind"] for strike in stage.plan.struck} == {"drop", "garble"}


def test_a_hole_is_never_issued_and_told_as_absent() -> None:
    exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0))
    exchange.issue(100, NOW_US)
    last = exchange.listings["btcusdt"].last_id
    assert last is not None

    exchange.skip_ids("btcusdt", 40)
    exchange.issue(100, NOW_US)

    btc = exchange.listings["btcusdt"]
    assert list(btc.absent) == [(last + 1, last + 40)]
    ids = btc.history.rows(0, btc.history.end)["trade_id"].tolist()
    assert last in ids
    assert last + 41 in ids
    assert not set(ids) & set(range(last + 1, last + 41))


def test_ids_that_begin_again_begin_with_0_and_rest_forgets_the_past() -> None:
    exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0))
    exchange.issue(100, NOW_US)
    others = exchange.listings["ethusdt"].last_id

    exchange.begin_again("btcusdt")
    exchange.begin_again("btcusdt")
    exchange.skip_ids("btcusdt", 3)
    exchange.issue(100, NOW_US + 1000)

    btc, eth = exchange.listings["btcusdt"], exchange.listings["ethusdt"]
    ids = btc.history.rows(0, btc.history.end)["trade_id"].tolist()
    assert ids == list(range(3, 3 + len(ids)))
    assert (list(btc.absent), btc.begun_again, btc.last_id) == ([(0, 2)], 2, ids[-1])
    assert others is not None
    assert eth.last_id is not None
    assert eth.last_id > others


def test_ids_that_began_again_do_so_after_a_restart_too() -> None:
    before, after = (Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0)) for _ in range(2))
    batches: list[IssuedBatch | None] = [before.issue(100, NOW_US)]
    before.begin_again("btcusdt")
    batches.append(before.issue(50, NOW_US))
    before.begin_again("btcusdt")
    before.begin_again("ethusdt")
    batches.append(before.issue(100, NOW_US))
    logged = np.concatenate([batch.trades for batch in batches if batch is not None])

    after.resume([logged[:120], logged[120:]])

    assert after.issued == before.issued
    for symbol in ("btcusdt", "ethusdt", "solusdt"):
        one, other = before.listings[symbol], after.listings[symbol]
        assert one.begun_again == other.begun_again
        assert (one.last_id, one.skipped_ids, one.issued) == (other.last_id, other.skipped_ids, other.issued)
        rows = [listing.history.rows(0, listing.history.end)["trade_id"].tolist() for listing in (one, other)]
        assert rows[0] == rows[1]


def test_a_hole_survives_the_restart() -> None:
    before, after = (Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0)) for _ in range(2))
    batches: list[IssuedBatch | None] = [before.issue(100, NOW_US)]
    before.skip_ids("btcusdt", 40)
    batches.append(before.issue(100, NOW_US))

    after.resume([batch.trades for batch in batches if batch is not None])
    one, other = before.issue(100, NOW_US), after.issue(100, NOW_US)

    assert one is not None
    assert other is not None
    assert one.trades["trade_id"].tolist() == other.trades["trade_id"].tolist()
    assert after.listings["btcusdt"].absent == before.listings["btcusdt"].absent


@pytest.mark.parametrize("how", GARBLINGS)
def test_a_garbled_frame_is_whole_but_its_message_is_not(how: str) -> None:
    exchange = Exchange(Market(1, INSTRUMENTS), Pacer(Pace.EVEN, 0))
    batch = exchange.issue(1, NOW_US)
    assert batch is not None
    view = FollowedStreams(
        frozenset(instrument.symbol for instrument in INSTRUMENTS), frozenset(), frozenset(), True, False
    )
    key = tuple(batch.trades[["symbol", "trade_id"]].tolist()[0])

    (good,) = BatchFrames(batch, exchange).trades(view)
    (bad,) = BatchFrames(batch, exchange, Sent(batch.trades, {key: how})).trades(view)  # type: ignore[dict-item]

    payload = bad[4 if bad[1] == 126 else 2 :]
    assert bad == text_frame(payload) == garbled_frame(good, how)  # type: ignore[arg-type]
    try:
        data = json.loads(payload)["data"]
    except ValueError:
        return
    assert "t" not in data or not data["p"].replace(".", "").isdecimal()


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_exactly_the_ordered_trades_are_told_with_another_id(piece: int) -> None:
    stage = Stage(Misstate(at_trade=20, count=2, id_by=1000)).play(50, piece=piece)

    wrong = [(symbol, trade_id + 1000) for symbol, trade_id in stage.issued[20:22]]
    assert stage.sent == stage.issued[:20] + wrong + stage.issued[22:]
    history = stage.exchange.listings[INSTRUMENTS[stage.issued[20][0]].symbol].history
    assert stage.issued[20][1] in history.rows(history.start, history.end)["trade_id"].tolist()
