"""What the ack subject of a message tells, in both of its forms."""

from __future__ import annotations

import pytest

from mesh.bus.reader import Delivery, delivery


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.RAW.store.1.17.4.1763800000123456789.9",
        "$JS.ACK.domain.hash.RAW.store.1.17.4.1763800000123456789.9",
        "$JS.ACK.domain.hash.RAW.store.1.17.4.1763800000123456789.9.random",
    ],
)
def test_numbers_are_read_from_every_form(reply: str) -> None:
    assert delivery(reply) == Delivery(sequence=17, delivered=4, taken_us=1763800000123456, pending=9)
