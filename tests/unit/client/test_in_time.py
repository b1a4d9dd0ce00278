from __future__ import annotations

import asyncio

import pytest

from tickmesh_client.asynchronous import in_time


async def test_a_result_in_time_is_returned() -> None:
    assert await in_time(asyncio.sleep(0, "here"), 10) == "here"


async def test_what_takes_longer_is_ended_and_told() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await never

    with pytest.raises(asyncio.TimeoutError):
        await in_time(wait(), 0.01)
    await asyncio.sleep(0)
    assert never.cancelled()


async def test_a_cancellation_counts_although_the_result_comes_at_the_same_moment() -> None:
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def receive() -> str:
        return await arrived

    task = asyncio.create_task(in_time(receive(), 10))
    for _ in range(3):
        await asyncio.sleep(0)
    arrived.set_result("a message")
    await asyncio.sleep(0)  # the inner task has it, the outer one does not know yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
