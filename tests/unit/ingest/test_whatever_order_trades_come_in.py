"""Whatever order trades come in, and whatever is told wrong of them: RAW gets each real one once, by rising ids.

The whole of ingest on a clock that jumps, with a venue and a bus in memory (`tests/fuzz`). `make fuzz` runs many more.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.values import epochs
from tests.fuzz.conversation import Record
from tests.fuzz.memory_venue import price
from tests.fuzz.whole_ingest import converse

_SOUND, _EMPTY, _BROKEN, _NO_HISTORY, _ONLY_AGGREGATES, _AWAY, _SILENT = range(7)
_IDS = st.sampled_from([-(10**6), -300, -20, -3, -2, -1, 1, 2, 3, 9, 100, 199_000, 300_000, 2**40, 2**54])
_TIMES_US = st.sampled_from([-(10**13), -7_200_000_000, -61_000_000, 0, 0, 61_000_000, 7_200_000_000, 10**15])
_COUNTS = st.integers(1, 8)


def _record(letter: bytes, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Record]:
    return numbers.map(lambda number: (letter, b"%d" % number))


_WRONG = st.fixed_dictionaries({"back": st.integers(0, 5), "id": _IDS | st.just(0), "time": _TIMES_US})
_IN_A_ROW = st.fixed_dictionaries({"count": st.integers(1, 8), "id": _IDS})
_RECORDS = st.one_of(
    _record(b"g", _COUNTS),
    _record(b"G", _COUNTS),
    _record(b"o", _COUNTS),
    _record(b"a", _COUNTS),
    _WRONG.map(lambda told: (b"w", json.dumps(told).encode())),
    _IN_A_ROW.map(lambda told: (b"W", json.dumps(told).encode())),
    _record(b"m", st.sampled_from([_SOUND, _SOUND, _EMPTY, _BROKEN, _NO_HISTORY, _ONLY_AGGREGATES, _AWAY, _SILENT])),
    _record(b"t", st.sampled_from([1, 3, 12, 70])),
    st.just((b"d", b"")),
)
assert settings.default is not None
_EXAMPLES = max(1, settings.default.max_examples // 4)
_END: list[Record] = [(b"v", b"200"), (b"Q", b"")]


@given(records=st.lists(_RECORDS, max_size=14), resets=st.booleans(), after=st.lists(_RECORDS, max_size=6))
@settings(max_examples=_EXAMPLES, deadline=None)
def test_every_real_trade_reaches_raw_once_whatever_is_told_wrong_between(
    records: list[Record], resets: bool, after: list[Record]
) -> None:
    again: list[Record] = [(b"m", b"0"), (b"z", b""), *after] if resets else after

    conversation = converse([(b"g", b"3"), *records, *again, *_END])  # looks at every message: ids rise, names are new

    assert conversation.missing("BTCUSDT") == []
    assert conversation.missing("ETHUSDT") == []
    told = conversation.bus.told["ethusdt"]  # of which nothing wrong was told
    real = {trade_id: (time_us, price(trade_id)) for trade_id, time_us in conversation.venue.traded["ETHUSDT"]}
    epoch = epochs.epoch_of(max(told))
    for key, (time_us, price_e8) in told.items():
        if epochs.epoch_of(key) == epoch:
            assert (time_us, f"{price_e8 / 1e8:.8f}") == real[epochs.venue_id(key)]


def test_ids_too_high_in_a_row_hold_up_the_right_ones_no_longer_than_rest_takes() -> None:
    told = json.dumps({"count": 3, "id": 100_000}).encode()
    first_of_epoch = epochs.key_of(1, 0)
    asked = {"venue": "binance", "symbol": "btcusdt", "first_trade_id": first_of_epoch}
    request = json.dumps(asked | {"last_trade_id": first_of_epoch + 30}).encode()

    conversation = converse([(b"g", b"9"), (b"W", told), (b"g", b"2"), (b"t", b"70"), *_END, (b"q", request), *_END])

    keys = sorted(conversation.bus.told["btcusdt"])
    right = [epochs.venue_id(key) for key in keys if epochs.epoch_of(key) == 1 or key < 100_000]
    newest_id = conversation.venue.traded["BTCUSDT"][-1][0]
    assert right == list(range(20, newest_id + 1))  # each once: in one epoch or in the other
