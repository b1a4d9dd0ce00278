"""When a batch is written: by trades, by bytes, by age."""

from __future__ import annotations

from dataclasses import replace

from mesh.bus.reader import Message
from store.intake.trades import MAX_BYTES, Batch, PendingBatch, PendingMessage
from tests.fixtures.trades import columns


def message(sequence: int, *, trades: int = 10, size: int = 100) -> PendingMessage:
    read = Message(sequence, "trades.raw.binance.btcusdt", bytes(size), reply="", taken_us=0, pending=0)
    return PendingMessage(read, batches=[PendingBatch(read, columns(sequence * 100, trades))])


def batch(*, max_trades: int = 100, max_age_s: float = 0.1) -> Batch:
    return Batch(max_trades=max_trades, max_age_s=max_age_s)


def test_an_empty_batch_is_never_due() -> None:
    assert not batch().due(1e9)


def test_a_batch_is_due_when_its_oldest_message_has_waited_long_enough() -> None:
    waiting = batch(max_age_s=0.1)
    waiting.add(message(1), now_s=5.0)
    waiting.add(message(2), now_s=5.09)

    assert [waiting.due(now_s) for now_s in (5.0, 5.09, 5.11)] == [False, False, True]


def test_a_batch_is_due_when_it_has_its_trades() -> None:
    waiting = batch(max_trades=20)
    waiting.add(message(1), now_s=0)
    assert not waiting.due(0)

    waiting.add(message(2), now_s=0)

    assert waiting.due(0)


def test_a_batch_is_due_when_it_has_its_bytes() -> None:
    waiting = batch(max_trades=10**6)

    waiting.add(message(1, size=MAX_BYTES), now_s=0)

    assert waiting.due(0)


def test_a_message_that_would_make_it_too_long_does_not_fit() -> None:
    waiting = batch(max_trades=15)
    waiting.add(message(1), now_s=0)

    assert not waiting.fits(message(2))


def test_a_message_is_never_split_so_the_first_always_fits() -> None:
    assert batch(max_trades=1).fits(message(1, trades=500))


def test_the_trades_of_all_batches_of_a_message_count() -> None:
    waiting = batch(max_trades=25)
    waiting.add(message(1), now_s=0)

    assert waiting.fits(message(2))
    read = message(2)
    assert not waiting.fits(replace(read, batches=[*read.batches, *read.batches]))


def test_a_rejected_message_takes_no_room_but_waits_with_the_others() -> None:
    waiting = batch(max_trades=10)
    waiting.add(message(1), now_s=0)
    read = message(2)
    rejected = read.batches[0].rejected("no batch")

    assert rejected.is_rejected
    assert waiting.fits(replace(read, batches=[rejected]))


def test_taking_gives_the_messages_in_order_and_begins_anew() -> None:
    waiting = batch()
    waiting.add(message(1), now_s=0)
    waiting.add(message(2), now_s=0)

    taken = waiting.take()

    assert [each.message.sequence for each in taken] == [1, 2]
    assert not waiting
    assert not waiting.due(1e9)
