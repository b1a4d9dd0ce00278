"""Waiting for something without losing a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from mesh.service.lifecycle import wait_for


async def test_a_cancellation_that_comes_together_with_the_answer_is_not_lost() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_for(answer, 10))
    await asyncio.sleep(0)
    answer.set_result("too late")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_does_not_come_in_time_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await wait_for(asyncio.Event().wait(), 0.01)
