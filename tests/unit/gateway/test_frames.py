from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from gateway.live.connection import text_frames


@pytest.mark.parametrize("length", [0, 1, 125, 126, 500, 1023, 1024, 65535, 65536, 100_000])
def test_a_frame_is_what_websockets_makes(length: int) -> None:
    payload = b"x" * length
    assert text_frames([payload]) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_each_message_is_a_frame() -> None:
    assert text_frames([b"a", b"", b"bc"]) == b"\x81\x01a\x81\x00\x81\x02bc"
