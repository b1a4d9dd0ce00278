"""What a venue and a mesh say to one ingest, as bytes: records, each a letter and its words.

| letter | what happens |
| --- | --- |
| `f` | the venue sends this text frame |
| `F` | the venue sends this text frame together with the next one |
| `b` | the venue sends this binary frame |
| `x` | these bytes come by the WebSocket, whatever they are |
| `h` | the next handshake is answered with these bytes |
| `r` | the next question over REST is answered with these bytes |
| `d` | the WebSockets end without a word |
| `n` | the venue refuses connections (`n1`), or no longer (`n0`) |
| `p` | the venue leaves pings and requests without an answer (`p1`), or no longer |
| `m` | how REST behaves: one digit, a place in MODES |
| `t` | time passes: seconds, at most 100 |
| `g`, `G` | so many trades happen, at most 50, and come (`g`) or do not |
| `o` | so many trades happen, and come in another order: the first one last |
| `a` | the last trades, so many, are told again |
| `w` | a trade is told wrong: of `{"back": 0, "id": 5, "time": -1}` the newest, 5 too high and 1 us too early |
| `W` | trades happen, and come with other ids: `{"count": 3, "id": 1000}` are three, each with an id 1000 too high |
| `z` | the venue's ids begin again |
| `s` | somebody has selected a symbol: the payload of `control.symbol` |
| `l` | signal looks for a symbol: the payload of `control.lookup` |
| `q` | store asks for trades: the payload of `control.repair.<venue>.<symbol>` |
| `v` | the venue behaves for so many seconds, 200 to 900; then its newest trades must have been passed on |
| `Q` | store asks for what RAW misses of the trades since the last beginning |

A first record `P` makes it quick: what follows is only parsed (`f`, `r`); `B`: only read from the bus (`parsing.py`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from tests.fixtures import venue_words
from tests.fuzz.memory_loop import START_S
from tests.fuzz.memory_venue import answered, told_live
from tickmesh.v1 import signal_pb2, trade_pb2

SEPARATOR = b"\x1e"
MODES = ("sound", "empty", "broken", "no history", "only aggregates", "away", "silent")
MAX_RECORDS = 40
MAX_BYTES = 60_000

Record = tuple[bytes, bytes]

NOW_US = int(START_S * 1e6)
_INTERESTING: tuple[Any, ...] = (
    *(0, -1, 1, 2, 19, 20, 21, 22, 25, 100, 999, 1000, 1001, 199_999, 200_020, 2**31, 2**32, 2**53, 2**55),
    *(2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400, 1.5, 1e308, True, None),
    *("", "0", "-1", "1e9", "NaN", "0.00000001", "9" * 39, "9" * 5000, "92233720368.54775807", "1" * 10 + ".00000000"),
    *(
        "BTCUSDT",
        "btcusdt",
        "ETHUSDT",
        "币安人生USDT",
        "A.B",
        "A>*",
        "\x1b[2J",
        "\u202e",
        "x" * 3000,
        "TRADING",
        "BREAK",
    ),
    *([], {}, [[]], NOW_US, NOW_US // 1000, NOW_US + 10**8, NOW_US - 10**10, NOW_US + 10**12, 10**14, 10**16),
)
_HEADERS = (
    b"Retry-After: 7\r\n",
    b"Retry-After: 999999999\r\n",
    b"Retry-After: " + b"9" * 5000 + b"\r\n",
    b"Retry-After: Wed, 99 Oct 99999999 99:99:99\r\n",
    b"Retry-After: Thu, 08 Aug 2024 23:59:59 GMT\r\nRetry-After: 3\r\n",
    b"X-MBX-USED-WEIGHT-1M: 5999\r\n",
    b"X-MBX-USED-WEIGHT-1M: " + b"9" * 5000 + b"\r\n",
    b"Content-Encoding: gzip, gzip\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Set-Cookie: a=b; Domain=.example; Max-Age=99999999999999999\r\n",
    b"Location: http://else.example/\r\n",
    b"\xff\xfe: \x00\r\n",
)
_STATUSES = (
    200,
    200,
    200,
    204,
    206,
    301,
    302,
    400,
    401,
    403,
    404,
    407,
    408,
    418,
    429,
    451,
    500,
    503,
    100,
    101,
    199,
    999,
)


def joined(records: Iterable[Record]) -> bytes:
    """Return records as bytes."""
    return SEPARATOR.join(letter + words for letter, words in records)


def parted(data: bytes) -> list[Record]:
    """Return the records of bytes, whatever they are."""
    parts = data[:MAX_BYTES].split(SEPARATOR, MAX_RECORDS)
    return [(part[:1], part[1:]) for part in parts[:MAX_RECORDS] if part]


def frame(value: dict[str, Any]) -> bytes:
    """Return a combined frame."""
    return json.dumps({"stream": "btcusdt@trade", "data": value}).encode()


def trade(trade_id: int, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
    """Return the frame of a trade of about now."""
    return frame(told_live(symbol, trade_id, NOW_US + 10**6) | changes)


def minute(**changes: Any) -> bytes:
    """Return the frame of a minute."""
    told = json.loads(json.dumps(venue_words.KLINE))
    told["k"] |= {"t": NOW_US - NOW_US % 60_000_000, "f": 10, "L": 20, "n": 11} | changes
    return frame(told)


def rows(*ids: int, **changes: Any) -> bytes:
    """Return the body of an answer of REST."""
    row = venue_words.ROW | venue_words.AGGREGATE | {"time": NOW_US, "T": NOW_US}
    return json.dumps([row | {"id": at, "a": at, "f": at, "l": at} | changes for at in ids]).encode()


def ok(body: bytes, headers: bytes = b"") -> bytes:
    """Return a whole answer of REST."""
    return answered(200, headers, body)


def listed(*symbols: str, **changes: Any) -> bytes:
    """Return the body of exchangeInfo."""
    return json.dumps({"symbols": [venue_words.LISTED | {"symbol": symbol} | changes for symbol in symbols]}).encode()


def seeds() -> list[list[Record]]:
    """Return conversations to begin with: what is usual, and what once went wrong."""
    f, r, t = b"f", b"r", b"t"
    doubted: list[Record] = [(b"g", b"3"), (b"w", b'{"back":0,"id":199000,"time":0}'), (t, b"12")]
    in_a_row = [(b"g", b"9"), (b"W", b'{"count":3,"id":100000}'), (b"g", b"2")]
    far_in_a_row = [(b"g", b"9"), (b"m", b"2"), (b"W", b'{"count":8,"id":1099511627776}'), (b"g", b"2"), (t, b"70")]
    return [
        [(b"Q", b"")],
        # Ids too high, three in a row, went on; then the price stood still until the right ones had reached them.
        [*in_a_row, (t, b"70"), (b"v", b"200"), (b"Q", b"")],
        [*far_in_a_row, (b"v", b"200"), (b"Q", b"")],
        # A doubted id of the old count went on into the new one as if REST had told it, and the price stood still.
        [*doubted, (b"z", b""), (b"d", b""), (b"g", b"5"), (b"v", b"200")],
        [*doubted, (b"z", b""), (b"g", b"5"), (b"v", b"200")],
        [(f, b'{"id":1,"code":-1121,"msg":"\x1b[2J\\u001b[31m"}'), (f, trade(20, "A\x1b[2J")), (r, b"\x1b"), (t, b"9")],
        [(b"g", b"5"), (t, b"9"), (f, trade(900)), (b"v", b"")],
        [(b"g", b"5"), (b"d", b""), (b"z", b""), (t, b"9"), (b"g", b"3"), (b"v", b"")],
        [
            (b"g", b"5"),
            (b"o", b"4"),
            (b"a", b"9"),
            (b"w", b'{"back":0,"id":5,"time":0}'),
            (b"g", b"3"),
            (t, b"9"),
            (b"Q", b""),
        ],
        [
            (b"g", b"5"),
            (b"w", b'{"back":2,"id":-9,"time":7200000000}'),
            (b"w", b'{"back":0,"id":300000,"time":0}'),
            (t, b"30"),
        ],
        [
            (b"P", b""),
            (f, trade(20)),
            (b"F", trade(21, "ETHUSDT")),
            (f, minute()),
            (f, minute(x=False, L=-1, f=-1, n=0)),
        ],
        [
            (b"P", b""),
            (b"F", b'{"result":null,"id":1}'),
            (f, b'{"error":{"code":2,"msg":"x"},"id":"a"}'),
            (f, trade(22)),
        ],
        [(b"P", b""), (r, rows(1, 2, 3)), (r, rows(5, 6, T=NOW_US // 1000)), (r, listed("BTCUSDT", "币安人生USDT"))],
        [
            (b"P", b""),
            (r, b'{"code":-1003,"msg":"IP banned until 1723161259999"}'),
            (b"h", b"Thu, 08 Aug 2024 23:59:59 GMT"),
        ],
        [(b"g", b"5"), (t, b"3"), (f, minute()), (b"d", b""), (b"g", b"3"), (t, b"20")],
        [(f, trade(20)), (f, trade(21)), (b"F", trade(23)), (f, trade(24)), (t, b"1"), (r, ok(rows(22))), (t, b"9")],
        [(b"g", b"1"), (b"G", b"3"), (b"g", b"2"), (t, b"9"), (b"m", b"3"), (b"G", b"30"), (b"g", b"2"), (t, b"30")],
        [
            (b"g", b"1"),
            (b"m", b"4"),
            (b"G", b"30"),
            (b"g", b"2"),
            (t, b"30"),
            (b"m", b"1"),
            (b"G", b"3"),
            (b"g", b"2"),
            (t, b"90"),
        ],
        [(f, trade(2**54)), (t, b"1"), (b"g", b"3"), (t, b"30"), (f, trade(30, T=4_000_000_000_000_000)), (t, b"9")],
        [(b"g", b"9"), (t, b"20"), (b"z", b""), (b"g", b"5"), (t, b"60"), (b"g", b"2"), (t, b"9")],
        [(b"d", b""), (b"z", b""), (b"G", b"4"), (t, b"30"), (b"g", b"5"), (t, b"60")],
        [
            (f, minute(L=2**62, n=2**62)),
            (f, minute(L=2**63)),
            (f, minute(v="9" * 31)),
            (f, b'{"e":"serverShutdown","E":1}'),
        ],
        [(f, b'{"id":1,"code":' + b"9" * 4000 + b"}"), (f, b'{"id":' + b"9" * 5000 + b',"code":1}'), (t, b"9")],
        [
            (b"p", b"1"),
            (b"s", b'{"symbol":"bnbusdt"}'),
            (t, b"2"),
            (f, b'{"code":2,"msg":"Invalid request","id":1}'),
            (t, b"40"),
        ],
        [
            (b"s", b'{"symbol":"bnbusdt"}'),
            (t, b"5"),
            (b"g", b"3"),
            (b"l", b'{"symbol":"newusdt","request":5}'),
            (t, b"5"),
        ],
        [(b"q", b'{"venue":"binance","symbol":"btcusdt","first_trade_id":3,"last_trade_id":9}'), (t, b"5")],
        [
            (b"g", b"1"),
            (b"q", b'{"venue":"binance","symbol":"btcusdt","first_trade_id":3,"last_trade_id":900}'),
            (t, b"5"),
        ],
        [(b"h", answered(429, b"Retry-After: 7\r\n", b"")), (b"d", b""), (t, b"20")],
        [
            (b"h", answered(404, b"", b"")),
            (b"d", b""),
            (t, b"20"),
            (b"h", answered(451, b"", b"")),
            (b"d", b""),
            (t, b"9"),
        ],
        [
            (b"h", b"HTTP/1.1 101 x\r\n\r\n"),
            (b"d", b""),
            (t, b"9"),
            (b"x", b"\xff\xff\xff"),
            (t, b"9"),
            (b"b", trade(20)),
        ],
        *(
            [
                (b"d", b""),
                (r, answered(status, headers, b'{"code":-1121,"msg":"x"}')),
                (b"G", b"2"),
                (b"g", b"1"),
                (t, b"20"),
            ]
            for status, headers in zip(_STATUSES, _HEADERS * 2, strict=False)
        ),
        [
            (t, b"1"),
            (r, ok(listed("BTCUSDT", "ETHUSDT", status="BREAK"))),
            (b"l", b'{"symbol":"aausdt","request":1}'),
            (t, b"70"),
        ],
        [
            (t, b"1"),
            (r, ok(listed("X" * 40, "A.B", "btc", baseAsset="\x1b"))),
            (b"l", b'{"symbol":"aausdt","request":1}'),
        ],
        [
            (b"n", b"1"),
            (b"d", b""),
            (t, b"30"),
            (b"n", b"0"),
            (t, b"30"),
            (b"g", b"3"),
            (b"m", b"6"),
            (b"G", b"2"),
            (b"g", b"2"),
        ],
        [(b"g", b"1"), (b"m", b"2"), (b"G", b"2"), (b"g", b"3"), (t, b"90"), (b"m", b"0"), (t, b"60")],
    ]


def bus_seeds() -> list[list[Record]]:
    """Return messages of the bus to begin with, a letter of `parsing.read_bus` before each."""
    batch = signal_pb2.SignalBatch(raw_sequence=7)
    batch.trades.CopyFrom(
        trade_pb2.TradeBatch(
            venue="binance",
            symbol="btcusdt",
            received_time_us=NOW_US,
            trade_id=[1, 2, 3],
            price_e8=[10**8] * 3,
            quantity_e8=[10**8] * 3,
            time_us=[NOW_US] * 3,
            is_buyer_maker=[True] * 3,
        )
    )
    candle = batch.candles.add(interval="1s", open_e8=5, high_e8=5, low_e8=5, close_e8=5, count=3, last_trade_id=3)
    candle.time.seconds = int(START_S)
    for name in ("volume_decimal", "quote_volume_decimal", "taker_buy_volume_decimal"):
        setattr(candle, name, "1.5")
    told: dict[bytes, dict[str, Any]] = {
        b"m": {"venue": "binance", "symbol": "btcusdt", "open_time_us": "1723161240000000", "first_trade_id": "1"}
        | {"last_trade_id": "3", "trade_count": "3", "open_e8": "5", "volume_decimal": "1.5"},
        b"k": {
            "venue": "binance",
            "followed": ["btcusdt"],
            "instruments": [{"symbol": "btcusdt", "tick_size_e8": "1"}],
        },
        b"s": {"symbol": "btcusdt"},
        b"p": {"venue": "binance", "symbol": "btcusdt", "epoch": 1},
        b"q": {"venue": "binance", "symbol": "btcusdt", "first_trade_id": "1", "last_trade_id": "3"},
        b"r": {"venue": "binance", "symbol": "btcusdt", "first_trade_id": "1", "last_trade_id": "3", "found": "2"}
        | {"absent": [{"first_trade_id": "2", "last_trade_id": "2"}], "lost": [], "problem": "x", "raw_sequence": "5"},
    }
    told[b"f"] = told[b"k"]
    return [
        [(b"B", b""), (b"w", batch.trades.SerializeToString())],
        [(b"B", b""), (b"c", batch.SerializeToString()), (b"e", batch.SerializeToString())],
        [(b"B", b""), *((letter, json.dumps(value).encode()) for letter, value in told.items())],
    ]


class Mutator:
    """Changes conversations as records, and what they say as JSON or as HTTP, more often than as bytes."""

    def __init__(self) -> None:
        self._records = [record for one in seeds() for record in one if record[0] != b"P"]
        self._bus_records = [record for one in bus_seeds() for record in one[1:]]

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Return a changed conversation."""
        chance = random.Random(seed)
        if chance.random() < 0.02:
            return _change_bytes(data, chance)[:max_size]
        records = parted(data)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
            self._change(records, chance)
        changed = joined(records[:MAX_RECORDS])
        return changed[: min(max_size, MAX_BYTES)]

    def cross(self, one: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        """Return a conversation of the beginning of one and the end of another."""
        chance = random.Random(seed)
        first, second = parted(one), parted(other)
        records = first[: chance.randint(0, len(first))] + second[chance.randint(0, len(second)) :]
        return joined(records[:MAX_RECORDS])[:max_size]

    def _change(self, records: list[Record], chance: random.Random) -> None:
        is_bus = bool(records) and records[0][0] == b"B"
        from_at = 1 if records and records[0][0] in b"PB" else 0
        at = chance.randrange(from_at, len(records)) if len(records) > from_at else from_at
        kind = chance.random()
        if kind < 0.25 or len(records) <= from_at:
            new = chance.choice(self._bus_records if is_bus else self._records)
            records.insert(chance.randint(from_at, len(records)), new)
        elif kind < 0.32:
            del records[at]
        elif kind < 0.38:
            records.insert(at, records[at])
        elif kind < 0.44:
            other = chance.randrange(from_at, len(records))
            records[at], records[other] = records[other], records[at]
        else:
            letter, words = records[at]
            records[at] = letter, self._change_words(letter, words, chance).replace(SEPARATOR, b"")

    def _change_words(self, letter: bytes, words: bytes, chance: random.Random) -> bytes:
        if letter in (b"r", b"h") and chance.random() < 0.9:
            return self._change_answer(words, chance)
        if words[:1] in b"{[" and chance.random() < 0.9:
            return _change_json(words, chance) or _change_bytes(words, chance)
        if letter in b"tgGmnpoa" and chance.random() < 0.9:
            return b"%d" % chance.choice((0, 1, 2, 3, 4, 5, 6, 11, 30, 61, 99))
        return _change_bytes(words, chance)

    def _change_answer(self, words: bytes, chance: random.Random) -> bytes:
        head, _, body = words.partition(b"\r\n\r\n")
        status_line, _, fields = head.partition(b"\r\n")
        kind = chance.random()
        if kind < 0.6 and body:
            body = _change_json(body, chance) or _change_bytes(body, chance)
        elif kind < 0.75:
            status_line = b"HTTP/1.1 %d x" % chance.choice(_STATUSES)
        elif kind < 0.9:
            fields = chance.choice(_HEADERS) + fields
        else:
            return _change_bytes(words, chance)
        kept = [field for field in fields.split(b"\r\n") if chance.random() < 0.9]
        if chance.random() < 0.95:
            kept = [field for field in kept if not field.startswith(b"Content-Length")]
            kept.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([status_line, *kept]) + b"\r\n\r\n" + body


def _change_bytes(words: bytes, chance: random.Random) -> bytes:
    """Return bytes with some of them changed, removed, doubled or added."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, until = sorted((chance.randint(0, len(words)), chance.randint(0, len(words))))
        match chance.randrange(5):
            case 0:
                words = words[:at] + chance.randbytes(chance.randint(1, 4)) + words[at:]
            case 1:
                words = words[:at] + words[until:]
            case 2:
                words = words[:until] + words[at : at + 2000]
            case 3:
                words = words[:at] + chance.randbytes(1) + words[at + 1 :]
            case _:
                words = (
                    words[:at] + chance.choice((b"9" * 5000, b"[" * 3000, b"-1", b'"', b"\x00", b"\xff")) + words[at:]
                )
    return words


def _change_json(words: bytes, chance: random.Random) -> bytes | None:
    """Return JSON with something changed in it; None where it is none."""
    try:
        value = json.loads(words)
    except (ValueError, RecursionError):
        return None
    places: list[tuple[Any, Any]] = []
    _find(value, places)
    if not places:
        return json.dumps(chance.choice(_INTERESTING)).encode()
    for _ in range(chance.choice((1, 1, 2, 3))):
        holder, key = chance.choice(places)
        if isinstance(holder, list) and key >= len(holder):
            continue
        _change_place(holder, key, places, chance)
    try:
        return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return None


def _change_place(holder: Any, key: Any, places: list[tuple[Any, Any]], chance: random.Random) -> None:
    kind = chance.random()
    old = holder.get(key) if isinstance(holder, dict) else holder[key]
    if kind < 0.35:
        holder[key] = chance.choice(_INTERESTING)
    elif kind < 0.65 and isinstance(old, int):
        step = chance.choice((1, -1, 2, 3, 10, -10, 1000, 60_000_000, 10**9, old or 1))
        holder[key] = old + step
    elif kind < 0.72 and isinstance(holder, list):
        holder.insert(chance.randint(0, len(holder)), json.loads(json.dumps(old)))
    elif kind < 0.80:
        if isinstance(holder, list) or key in holder:
            del holder[key]
    elif kind < 0.86 and isinstance(holder, dict):
        holder[chance.choice((*"esktpqTmfLidn", "data", "error", "code", "symbols", "x"))] = chance.choice(_INTERESTING)
    else:
        other, other_key = chance.choice(places)
        with_value = other.get(other_key) if isinstance(other, dict) else other[other_key : other_key + 1]
        holder[key] = json.loads(json.dumps(with_value))


def _find(value: Any, places: list[tuple[Any, Any]]) -> None:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        places.append((value, key))
        _find(value[key], places)
