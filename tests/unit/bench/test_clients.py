from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.clients import Client, FrameBuffer, Noted


def frame(kind: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes([kind, len(payload)]) + payload
    if len(payload) < 65536:
        return bytes([kind, 126]) + len(payload).to_bytes(2) + payload
    return bytes([kind, 127]) + len(payload).to_bytes(8) + payload


@given(st.lists(st.binary(min_size=2, max_size=300), max_size=5), st.lists(st.integers(0, 1500), max_size=9))
def test_frames_are_whole_however_they_arrive(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(0x81, payload) for payload in payloads)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    buffer = FrameBuffer()
    found = [one for start, end in itertools.pairwise(edges) for one in buffer.frames(data[start:end])]

    assert found == [(0x81, payload) for payload in payloads]


def test_a_delay_is_from_the_trades_time_until_it_was_received() -> None:
    stamps = [[b'"1970-01-01T00:00:01.25Z","si', b' "1970-01-01T00:00:01Z"}'], [b'"1970-01-01T00:00:02Z"']]
    noted = Noted(times=list(zip((1.5, 2), stamps, strict=True)))

    assert noted.delays_ms().tolist() == [250.0, 500.0, 0.0]
    assert Noted(times=[(1.5, [b"1400000,"])]).delays_ms().tolist() == [100.0]
    assert not len(Noted().delays_ms())


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data


@pytest.mark.parametrize("several", [True, False])
async def test_what_many_clients_get_counts_for_each_and_each_answers_its_pings(several: bool) -> None:
    noted = Noted(several=several)
    trade = frame(0x81, b'{"timestamp":"1970-01-01T00:00:01Z"}')
    pieces = [
        trade,
        trade,
        trade + frame(0x89, b"ping"),
        trade[:9],
        trade[9:],
        frame(0x81, b'{"type":"lagged","missed":7}'),
        frame(0x81, b'{"type":"lagged","subscription":1,"sequence":2,"symbol":"btcusdt","first_id":5,"count":3}'),
    ]
    transports = []
    for _ in range(2):
        client = Client("ws://127.0.0.1/ws", noted, stalled=False)
        transports.append(transport := Written())
        client.connection_made(transport)
        for data in (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", *pieces):
            client.data_received(data)
    assert (noted.told, len(noted.delays_ms()), noted.missed) == (8, 8, 20)
    assert all(transport.data.endswith(b"\r\n\r\n\x8a\x84\x00\x00\x00\x00ping") for transport in transports)
