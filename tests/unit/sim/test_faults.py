from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sim.faults import KINDS, Disconnect, Drop, FaultError, RestStatus, SkippedIds, parse_faults, rest_body

README = Path(__file__).parents[3] / "sim" / "README.md"
EVERY_KIND = """
[{"kind": "drop", "at_trade": 5, "count": 3, "symbol": "btcusdt"}, {"kind": "duplicate", "copies": 2},
 {"kind": "reorder", "count": 10}, {"kind": "garble", "how": "html"}, {"kind": "hole", "symbol": "btcusdt", "count": 7},
 {"kind": "disconnect", "at_s": 1.5, "for_s": 3}, {"kind": "refuse", "for_s": 2, "status": 403},
 {"kind": "silence", "pongs": true}, {"kind": "shutdown", "lead_s": 2}, {"kind": "expire"},
 {"kind": "slow_frames", "for_s": 5, "delay_s": 0.2}, {"kind": "rest", "status": 418, "retry_after_s": 120, "for_s": 9},
 {"kind": "slow_rest", "delay_s": 1, "requests": 3, "path": "/historicalTrades"}]
"""


def test_every_kind_of_the_manual_can_be_ordered() -> None:
    faults = parse_faults(EVERY_KIND)

    assert [fault.kind for fault in faults] == [
        *("drop", "duplicate", "reorder", "garble", "hole", "disconnect", "refuse", "silence", "shutdown", "expire"),
        *("slow_frames", "rest", "slow_rest"),
    ]


def test_every_kind_is_in_the_readme() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE))

    assert told == {*KINDS, "begin_again", "misstate", "random"}


@pytest.mark.parametrize(
    "text",
    [
        '[{"kind": "drop", "at_trade": 5}]',
        '{"faults": [{"kind": "drop", "at_trade": 5}]}',
        '{"kind": "drop", "at_trade": 5}',
    ],
)
def test_a_list_an_object_or_a_single_fault_will_do(text: str) -> None:
    assert parse_faults(text) == [Drop(at_trade=5)]


def test_what_is_not_said_has_a_default() -> None:
    assert parse_faults('[{"kind":"disconnect"}]') == [Disconnect(for_s=0)]
    assert parse_faults('[{"kind":"hole","symbol":"btcusdt"}]') == [SkippedIds(symbol="btcusdt", count=1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "truncated"),
        ("7", "Expected `array`"),
        ('[{"kind": "explode"}]', "Invalid value 'explode' - at `$[0].kind`"),
        ('[{"at_s": 1}]', "missing required field `kind`"),
        ('[{"kind": "drop", "cuont": 1}]', "unknown field `cuont` - at `$[0]`"),
        ('[{"kind": "drop", "count": 0}]', "Expected `int` >= 1 - at `$[0].count`"),
        ('[{"kind": "drop", "at_s": 1, "at_trade": 1}]', "found both at_trade and at_s"),
        ('[{"kind": "drop", "times": 2}]', "found times without every"),
        ('[{"kind": "drop", "at_trade": 1, "every": 1.5, "times": 2}]', "expected whole trades"),
        ('[{"kind": "reorder", "count": 1}]', "Expected `int` >= 2"),
        ('[{"kind": "hole"}]', "missing required field `symbol`"),
        ('[{"kind": "rest", "status": 200}]', "Expected `int` >= 400"),
        ('[{"kind": "garble", "how": "sing"}]', "Invalid enum value 'sing'"),
    ],
)
def test_what_no_fault_has_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_faults(text)

    assert words in str(caught.value)


@pytest.mark.parametrize("status", [418, 429])
def test_slow_down_and_ban_carry_retry_after(status: int) -> None:
    body, headers = rest_body(RestStatus(status=status, retry_after_s=7))

    assert headers["Retry-After"] == "7"
    assert json.loads(body)["code"] == -1003


def test_the_firewall_answers_html_and_the_lawyers_json() -> None:
    assert rest_body(RestStatus(status=403))[0].startswith(b"<html>")
    assert "restricted location" in json.loads(rest_body(RestStatus(status=451))[0])["msg"]
