"""One asyncio loop between the person, the clock, the gateway and the screen. `update.update` decides, not this."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from random import Random

from term.cells import Grid
from term.client import Client
from term.events import Effect, Event, KeyPressed, Quit, Resized, Ticked
from term.model import start
from term.screen import Screen
from term.update import update
from term.view import render
from tickmesh_client.network import shown_url

FRAME_S = 1 / 20
TICK_S = 0.25
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


async def run(url: str, *, token: str = "", colour: bool = True) -> None:
    """Show the gateway at `url` until the person or a signal ends it. The terminal is given back in any case.

    Args:
        url: where the gateway is, like `http://127.0.0.1:8080`.
        token: what it asks for; empty for none.
        colour: whether to use colours, where the terminal has any.

    Raises:
        ClientError: the URL, or the environment's proxies or certificates, cannot be used.
        ScreenError: there is no terminal that could show it.
    """
    with Screen(colour=colour) as screen:
        await App(screen, url=url, token=token).run()


class App:
    """The running program: the model of the moment and the tasks that feed it.

    Args:
        screen: shows it, and gives the keys.
        url: where the gateway is.
        token: what the gateway asks for; empty for none.
    """

    def __init__(self, screen: Screen, *, url: str, token: str) -> None:
        self._screen = screen
        self._now_us = Clock().now_us
        self._client = Client(url, token=token, emit=self.handle, now_us=self._now_us, random=Random())  # noqa: S311 jitter
        self._dirty = asyncio.Event()
        self._readable = asyncio.Event()
        self._stopped = asyncio.Event()
        self._resized = False
        self._requests: set[asyncio.Task[None]] = set()
        width, height = screen.size
        self._model, self._first_effects = start(url=shown_url(url), width=width, height=height, now_us=self._now_us())

    async def run(self) -> None:
        """Run until stopped; an error in any task ends all of them and is raised."""
        async with self._client, asyncio.TaskGroup() as self._tasks:
            with self._watching():
                loops = [self._tasks.create_task(loop) for loop in self._loops()]
                self._perform(self._first_effects)
                await self._stopped.wait()
            self._screen.leave()  # before closing the stream, which may take a moment
            for task in (*loops, *self._requests):
                task.cancel()

    def handle(self, event: Event) -> None:
        """Take in an event: change the model, do what follows, and have it shown."""
        self._model, effects = update(self._model, event)
        self._dirty.set()
        self._perform(effects)

    def stop(self) -> None:
        """End the program."""
        self._stopped.set()

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Quit):
                self.stop()
                continue
            # The model never has the same request twice on its way, so these are a handful at most.
            task = self._tasks.create_task(self._client.perform(effect))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    def _loops(self) -> tuple[Coroutine[None, None, None], ...]:
        return self._client.follow(), self._draw(), self._read_keys(), self._tick()

    async def _draw(self) -> None:
        shown: Grid = ()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            grid = render(self._model)
            if grid != shown or self._resized:
                self._resized = False
                self._screen.paint(grid)
                shown = grid
            await asyncio.sleep(FRAME_S)

    async def _read_keys(self) -> None:
        while True:
            await self._readable.wait()
            self._readable.clear()
            keys = self._screen.read_keys()
            for key in keys:
                self.handle(KeyPressed(key))
            if not keys and self._screen.hung_up():
                self.stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.handle(Ticked(self._now_us()))

    def _resize(self) -> None:
        self._resized = True
        self.handle(Resized(*self._screen.resize()))

    @contextmanager
    def _watching(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._readable.set)
        loop.add_signal_handler(signal.SIGWINCH, self._resize)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            loop.remove_reader(sys.stdin.fileno())


class Clock:
    """This machine's time in microseconds since 1970 UTC, which never goes back.

    Silence is watched by it: after a step back the clock on the wall would say for as long that the last trade is new.

    Args:
        wall_ns: the clock on the wall, in nanoseconds since 1970 UTC.
        steady_ns: one that only goes forward, in nanoseconds.

    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._ahead_ns = wall_ns() - steady_ns()

    def now_us(self) -> int:
        """Return the time: the wall's, or, after that stepped back, what it would be by now without."""
        steady_ns = self._steady_ns()
        self._ahead_ns = max(self._ahead_ns, self._wall_ns() - steady_ns)
        return (steady_ns + self._ahead_ns) // 1000
