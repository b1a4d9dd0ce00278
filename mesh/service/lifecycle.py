"""The life of a service: settings, logs, signals, drain, exit code.

0  stopped as asked, drained
1  something broke; the log's last lines say what
2  wrong settings, all named at once on stderr
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import uvloop
from pydantic_settings import PydanticBaseSettingsSource

from mesh.service import environment, logs
from mesh.service.errors import LeaseLostError
from mesh.service.settings import MeshSettings, WrongSettings, load

log = logging.getLogger("mesh.service.lifecycle")

S = TypeVar("S", bound=MeshSettings)
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

DRAIN_LIMIT_S = 15.0


class Stopped(Exception):
    """The service was asked to stop while it was still waiting for something; `run` takes it as a clean end."""


class Stop:
    """Whether the service was asked to stop; its loops watch it."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask to stop."""
        self._asked.set()

    async def wait(self) -> None:
        """Wait until asked."""
        await self._asked.wait()

    @asynccontextmanager
    async def interrupts(self) -> AsyncIterator[None]:
        """Leave the block with `Stopped` as soon as asked: for waits that have nothing to drain.

        >>> async with AsyncExitStack() as stack:
        ...     async with stop.interrupts():
        ...         bus = await stack.enter_async_context(connect(settings, name="store", health=health))
        """
        task = asyncio.current_task()
        assert task is not None
        cancelled = 0

        async def insist() -> None:
            nonlocal cancelled
            await self._asked.wait()
            while True:  # what waits may lose a cancellation that comes at the wrong moment, nats-py's connect does
                cancelled += 1
                task.cancel()
                await asyncio.sleep(0.25)

        insisting = asyncio.create_task(insist())
        try:
            yield
        except asyncio.CancelledError:
            foreign = task.cancelling() - cancelled
            for _ in range(cancelled):
                task.uncancel()
            if self.asked and not foreign:
                raise Stopped from None
            raise
        finally:
            insisting.cancel()


def run(
    name: str,
    settings: type[S],
    main: Callable[[S, Stop], Awaitable[None]],
    given: PydanticBaseSettingsSource | None = None,
) -> int:
    """Run a service to its end and return its exit code.

    Args:
        name: of the service, for logs.
        settings: its class of settings, read from the environment.
        main: lives until `stop.wait()` returns, then drains and returns; given DRAIN_LIMIT_S for that.
        given: settings that count more than the environment: those of a command line.

    """
    try:
        checked = load(settings, _cli_settings_source=given)
    except WrongSettings as exc:
        print(f"{name}: wrong settings\n{exc}", file=sys.stderr)  # noqa: T201 - before there are logs
        return 2
    logs.configure(name, level=checked.log_level, form=checked.log_format)
    _install_wait_for()
    for problem in environment.unset_unusable(os.environ):
        log.error("%s", problem)
    try:
        while not uvloop.run(_live(checked, main)):
            pass
    except WrongSettings as exc:  # which only the bus or the database could tell
        log.error("%s: wrong settings: %s", name, exc)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 1
    except BaseException as exc:
        _tell(name, exc)
        return 1
    return 0


async def _live(settings: S, main: Callable[[S, Stop], Awaitable[None]]) -> bool:
    """Live until asked to stop and return True, or until another instance has taken over and return False."""
    loop = asyncio.get_running_loop()
    stop = Stop()

    asked = False

    def on_signal(signum: int) -> None:
        nonlocal asked
        if asked:
            log.warning("asked again: stopping at once")
            os._exit(1)
        asked = True
        log.info("%s: draining", signal.Signals(signum).name)
        stop.ask()
        loop.call_later(DRAIN_LIMIT_S, give_up)

    def give_up() -> None:
        log.error("not drained within %g s: stopping at once", DRAIN_LIMIT_S)
        os._exit(1)

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal, signum)
    _calm_garbage_collection()
    log.info("starting")
    lost: LeaseLostError | None = None
    wrong: WrongSettings | None = None
    try:
        await main(settings, stop)
    except* Stopped:
        pass
    except* LeaseLostError as found:
        lost = first_of(found)
    except* WrongSettings as found:
        wrong = first_of(found)
    if wrong is not None:
        raise wrong
    if lost is not None and not asked:
        log.error("%s: this one stood still for too long, and begins again behind it", lost)
        return False
    log.info("stopped")
    return True


def _calm_garbage_collection() -> None:
    # Trades make many small objects and hardly a cycle. Python's own thresholds would look for cycles hundreds of times
    # a second, through everything that was ever imported too: measured, more than half of the delay at 1,000 trades/s.
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def first_of(group: BaseExceptionGroup[E]) -> E:
    """Return the first of the errors in a group, however deep it is in there."""
    one = group.exceptions[0]
    return first_of(one) if isinstance(one, BaseExceptionGroup) else one


def _tell(name: str, exc: BaseException) -> None:
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    if isinstance(exc, OSError) and not isinstance(exc, ConnectionError):
        log.error("%s ends: %s", name, exc)
    else:
        log.error("%s ends: %s: %s", name, type(exc).__name__, exc, exc_info=exc)


# Before Python 3.12 asyncio's own loses a cancellation that comes together with what is waited for: it returns the
# result, and the task lives on although nobody wants it any more. nats-py waits by it for every answer, so a service in
# which something fails could wait for ever for its tasks to end (https://github.com/python/cpython/issues/86296).
async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """Wait for something to be done, as `asyncio.wait_for` of Python 3.12 does it.

    Args:
        fut: what is awaited.
        timeout: seconds at most; None for ever.

    Raises:
        TimeoutError: it took longer.

    """
    async with asyncio.timeout(timeout):
        return await fut


def _install_wait_for() -> None:
    if sys.version_info < (3, 12):
        asyncio.wait_for = wait_for  # type: ignore[assignment]
