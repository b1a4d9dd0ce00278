"""Live candles against a model of the gateway: each closed one and its last revision comes, whatever happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tickmesh_client import Candle, Rows, SymbolCandle, Unavailable, Unreachable
from tickmesh_client.calls import Page
from tickmesh_client.live import CandleFollower, Connect, Disconnect, Perform, Receive, Send, StreamLost, follow

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ENCODER = msgspec.json.Encoder(decimal_format="number")
PAGE = 3
REVISED = {"revise": 2, "revise an old one": 9}
"""Which candle from the end is computed again."""


def candle(number: int) -> Candle:
    fields: dict[str, Any] = dict.fromkeys(Candle.__struct_fields__)
    fields |= {"time": NOON + timedelta(minutes=number), "interval": "1m", "closed": False}
    fields |= dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"), Decimal(1))
    fields |= dict.fromkeys(("first_trade_id", "last_trade_id", "revision", "epoch"), 0) | {"count": 1}
    return Candle(**fields)


class End(Exception):
    """Nothing happens any more."""


class Mesh:
    """The candles of a symbol, and one connection.

    Args:
        actions: what happens, one thing whenever the client waits for a message.
    """

    def __init__(self, actions: list[str]) -> None:
        self.actions = iter([*actions, "drop"])
        self.candles: list[Candle] = []
        self.told: dict[datetime, Candle] = {}
        self.sequence = 0
        self.waiting: list[str] = []
        self.began_at: datetime | None = None

    def do(self, command: Any) -> Any:
        match command:
            case Connect():
                if next(self.actions, "") == "away":
                    raise Unreachable("connection refused")
                self.sequence, self.waiting = 0, []
            case Send(text):
                wanted = json.loads(text)
                assert (wanted["channel"], wanted["interval"], wanted["symbols"]) == ("candles", "1m", ["btcusdt"])
                self.waiting.append(self.message(type="subscribed", id=wanted["id"], subscription=1))
                newest = self.candles[-1:]
                if newest and self.began_at is None:
                    self.began_at = newest[0].time
                self.told = {each.time: each for each in self.candles}
                self.tell("snapshot", newest)
            case Receive():
                if not self.waiting:
                    self.act(next(self.actions, "end"))
                return self.waiting.pop(0) if self.waiting else self.message(type="heartbeat", subscriptions=[])
            case Perform(call):
                if (action := next(self.actions, "")) == "away":
                    raise Unavailable("store is away", status=503)
                if action in CHANGES:  # an answer is newer than the snapshot that came before the question
                    self.change(action)
                asked = call.parameters
                assert (asked["order"], asked["open"], asked["interval"]) == ("asc", "true", "1m")
                at = int(asked.get("page_token", 0))
                found = [each for each in self.candles if each.time >= datetime.fromisoformat(asked["start_time"])]
                more = str(at + PAGE) if len(found) > at + PAGE else ""
                return Page(Rows(Candle, found[at : at + PAGE], newest_first=False), more)
        return None

    def message(self, **members: Any) -> str:
        return ENCODER.encode(members).decode()

    def tell(self, kind: str, candles: list[Candle]) -> None:
        self.sequence += 1
        told = {"subscription": 1, "sequence": self.sequence, "symbol": "btcusdt", "candles": candles}
        self.waiting.append(self.message(type=kind, **told))

    def act(self, action: str) -> None:
        if action == "drop":
            raise StreamLost("closed by the gateway")
        self.change(action.removeprefix("silent "))
        if action.startswith("silent "):  # the client learns of it only because the connection is lost
            raise StreamLost("closed by the gateway")
        changed = [each for each in self.candles if self.told.get(each.time) != each]
        if action == "end" and not changed:
            raise End
        self.told |= {each.time: each for each in changed}
        if self.began_at is None and changed:
            self.began_at = changed[0].time
        if changed:
            self.tell("candles", changed)

    def change(self, action: str) -> None:
        replace = msgspec.structs.replace
        if action == "close" or not self.candles:
            self.candles = [replace(each, closed=True) for each in self.candles] + [candle(len(self.candles))]
        elif action == "trade":
            self.candles[-1] = replace(self.candles[-1], count=self.candles[-1].count + 1)
        elif action in REVISED and len(self.candles) >= REVISED[action]:
            at = -REVISED[action]
            self.candles[at] = replace(self.candles[at], revision=self.candles[at].revision + 1)
        elif action == "close many":
            for _ in range(7):
                self.change("close")


def run(mesh: Mesh) -> list[SymbolCandle]:
    """Do what `follow` says until nothing happens any more; return the candles."""
    found: list[SymbolCandle] = []
    doing = follow(CandleFollower("BTCusdt", interval="1m"), retries=10_000, random=Random(1), missing=print)
    step = next(doing)
    while True:
        if isinstance(step, SymbolCandle):
            found.append(step)
            step = next(doing)
            continue
        try:
            result = mesh.do(step)
        except End:
            return found
        except (Unreachable, Unavailable, StreamLost) as exc:
            step = doing.throw(exc)
        else:
            step = doing.send(result)


CHANGES = ("trade", "close", *REVISED, "close many")
ACTIONS = [*CHANGES, "drop", "away", "", *(f"silent {action}" for action in CHANGES)]


@given(st.lists(st.sampled_from(ACTIONS), max_size=40), st.integers(0, 6))
def test_every_closed_candle_comes_once_a_revision_and_in_order(actions: list[str], before: int) -> None:
    mesh = Mesh(actions)
    for _ in range(before):
        mesh.change("close")
    found = run(mesh)
    states = [(each.time, each.closed, each.revision, each.count) for each in found]
    assert len(set(states)) == len(states)
    assert {each.symbol for each in found} <= {"btcusdt"}
    closed = list(dict.fromkeys(each.time for each in found if each.closed))
    assert closed == sorted(closed)
    last = {each.time: each for each in found}
    began = mesh.began_at
    expected = [] if began is None else [each for each in mesh.candles if each.time >= began]
    assert [msgspec.structs.asdict(each) | {"symbol": "btcusdt"} for each in expected] == [
        msgspec.structs.asdict(last[time]) for time in sorted(last)
    ]


def test_the_connection_is_closed_before_another_one() -> None:
    doing = follow(CandleFollower("btcusdt", interval="1m"), retries=1, random=Random(1), missing=print)
    assert isinstance(next(doing), Connect)
    assert isinstance(doing.throw(Unreachable("refused")), Disconnect)
