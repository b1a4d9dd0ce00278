"""Background tasks: they end with the main work, and never keep it from ending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from mesh.service.errors import NotReady
from mesh.service.lifecycle import Stop

log = logging.getLogger("store.background_tasks")

_CANCEL_AGAIN_S = 0.25


class BackgroundTasks:
    """Tasks that live until their work is done or the block is left.

    >>> async with BackgroundTasks(stop) as background:
    ...     background.start(database.watch())

    An error in one of them asks the service to stop, and is raised on leaving the block: so the main work drains first.
    A task group would cancel the main work instead, once; and Python 3.11's `wait_for` can lose a cancellation that
    comes together with what it waits for. For the same reason tasks are cancelled here until they have ended.

    Args:
        stop: asked when a task fails.

    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[Exception] = []

    async def __aenter__(self) -> BackgroundTasks:
        return self

    async def __aexit__(self, *raised: object) -> None:
        pending = {task for task in self._tasks if not task.done()}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        if self._failed:
            raise self._failed[0]

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task."""
        self._tasks.add(asyncio.create_task(self._run(work)))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except NotReady as exc:  # only ever when stopping: until then everything waits
            log.info("not finished: %s", exc)
        except Exception as exc:
            log.error("stopping, because %s: %s", type(exc).__name__, exc)
            self._failed.append(exc)
            self._stop.ask()
