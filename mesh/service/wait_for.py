"""`asyncio.wait_for` as Python 3.12 has it, for those before.

Before 3.12 it loses a cancellation that comes together with what is waited for: it returns the result, and the task
lives on although nobody wants it any more. nats-py waits by it for every answer, so a service in which something fails
could wait for ever for its tasks to end (https://github.com/python/cpython/issues/86296).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """Wait for something to be done, at most so many seconds. Raises: TimeoutError."""
    async with asyncio.timeout(timeout):
        return await fut


def install() -> None:
    """Put it in the place of asyncio's own where that is the old one."""
    if sys.version_info < (3, 12):
        asyncio.wait_for = wait_for  # type: ignore[assignment]
