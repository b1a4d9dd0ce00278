"""One asyncio loop between the person, the clock, the gateway and the screen. `update.update` decides, not this."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from term.asking import wanted_rows
from term.cells import Canvas, text_of
from term.client import Client
from term.events import Announce, Effect, Event, Follow, KeyPressed, LoadDay, LoadSession, Quit, Resized, Ticked
from term.keys import Click, View
from term.model import ASKING_STATUS, Model, Remembered, start
from term.screen import Screen
from term.update import update
from term.view import clicked, draw, render
from tickmesh_client.network import shown_url

FRAME_S = 1 / 20
"""Between two frames while trades come: each is on the screen so much later at most."""
KEY_FRAME_S = 1 / 30
"""Likewise where the second one answers a key."""
TICK_S = 0.25
SECOND_US = 1_000_000
ONCE_S = 10.0
"""How long a screen that is printed once waits for what it shows."""
COMMAND_S = 10.0
MAX_COMMANDS = 8
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


async def run(
    url: str,
    *,
    token: str = "",
    remembered: Remembered | None = None,
    notices: Sequence[str] = (),
    alert_command: Sequence[str] = (),
    keep: Callable[[Model], None] = lambda _: None,
) -> None:
    """Show the gateway at `url` until the person or a signal ends it. The terminal is given back in any case.

    Args:
        url: where the gateway is, like `http://127.0.0.1:8080`.
        token: what it asks for; empty for none.
        remembered: how to begin.
        notices: what the person should be told first.
        alert_command: a program and its arguments, run for each alert that rings.
        keep: is called with the model now and then, at the start and at the end: what is worth it can be remembered.

    Raises:
        ClientError: the URL, or the environment's proxies or certificates, cannot be used.
        ScreenError: there is no terminal that could show it.
    """
    with Screen() as screen:
        first = {"remembered": remembered, "notices": notices, "keep": keep}
        app = App(screen.size, url=url, token=token, alert_command=alert_command, **first)  # type: ignore[arg-type]
        await app.run(screen)


async def once(url: str, *, token: str, size: tuple[int, int], remembered: Remembered) -> tuple[str, bool]:
    """Return a screen as text, as soon as it shows what it is for, and whether it does.

    Args:
        url: where the gateway is.
        token: what it asks for; empty for none.
        size: width and height in cells.
        remembered: which screen, and how.

    Raises:
        ClientError: the URL, or the environment's proxies or certificates, cannot be used.
    """
    app = App(size, url=url, token=token, remembered=remembered)
    return await app.once()


class App:
    """The running program: the model of the moment and the tasks that feed it.

    Args:
        size: width and height of the screen in cells.
        url: where the gateway is.
        token: what the gateway asks for; empty for none.
        remembered: how to begin.
        notices: what the person should be told first.
        alert_command: a program and its arguments, run for each alert that rings.
        keep: is called with the model now and then, at the start and at the end.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        url: str,
        token: str,
        remembered: Remembered | None = None,
        notices: Sequence[str] = (),
        alert_command: Sequence[str] = (),
        keep: Callable[[Model], None] = lambda _: None,
    ) -> None:
        self._now_us = Clock().now_us
        self._keep_model = keep
        self._alert_command = alert_command
        self._changed = asyncio.Event()
        told = {"emit": self.handle, "arrived": self._changed.set, "now_us": self._now_us}
        self._client = Client(url, token=token, random=Random(), **told)  # type: ignore[arg-type]  # noqa: S311 jitter
        self._readable = asyncio.Event()
        self._pressed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._screen: Screen | None = None
        self._canvas = Canvas(*size)
        self._requests: set[asyncio.Task[None]] = set()
        self._commands: set[asyncio.Task[None]] = set()
        self._following: dict[Any, tuple[object, asyncio.Task[None] | None]] = {}  # by a method and what is followed
        self.model, self._first_effects = start(
            url=shown_url(url),
            width=size[0],
            height=size[1],
            now_us=self._now_us(),
            remembered=remembered,
            notices=notices,
        )

    async def run(self, screen: Screen) -> None:
        """Run until stopped; an error in any task ends all of them and is raised."""
        self._screen = screen
        self._keep_model(self.model)
        async with self._client, asyncio.TaskGroup() as self._tasks:
            with self._watching():
                loops = [self._tasks.create_task(loop) for loop in self._loops(screen)]
                self._perform(self._first_effects)
                await self._stopped.wait()
            self._keep_model(self.model)
            screen.leave()  # before closing the stream, which may take a moment
            for task in self._running(loops):
                task.cancel()

    async def once(self) -> tuple[str, bool]:
        """Run without a screen until there is something to show."""
        async with self._client, asyncio.TaskGroup() as self._tasks:
            loops = [self._tasks.create_task(loop) for loop in (self._client.follow(), self._tick())]
            self._perform(self._first_effects)
            with suppress(TimeoutError):
                async with asyncio.timeout(ONCE_S):
                    while not _shows_all(self.model) or wanted_rows(self.model) or self.model.outstanding:
                        await self._changed.wait()
                        self._changed.clear()
                        self._client.pass_on()
            for task in self._running(loops):
                task.cancel()
        return text_of(render(self.model)), _shows_all(self.model)

    def handle(self, event: Event) -> None:
        """Take in an event: change the model, do what follows, and have it shown if it looks different."""
        before = self.model
        self.model, effects = update(before, event)
        if self._screen is None or not self.model.looks_like(before):
            self._changed.set()
        self._perform(effects)

    def stop(self) -> None:
        """End the program."""
        self._stopped.set()

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Quit):
                self.stop()
            elif isinstance(effect, Follow):
                self._follow(effect)
            elif isinstance(effect, Announce):
                self._announce(effect)
            else:
                # The model never has the same request twice on its way, so these are a handful at most.
                self._keep(self._client.perform(effect), self._requests)

    def _follow(self, wanted: Follow) -> None:
        followed: dict[Any, tuple[object, ...]] = {
            self._client.follow_coins: (wanted.coins,),
            self._client.follow_shown: (wanted.shown,),
            self._client.follow_candles: (wanted.shown, wanted.interval),
            self._client.follow_coverage: (wanted.coverage,),
            self._client.follow_status: (wanted.status,),
        }
        for follow, what in followed.items():
            before, task = self._following.get(follow, ((), None))
            if what == before:
                continue
            if task is not None:
                task.cancel()
            self._following[follow] = what, self._tasks.create_task(follow(*what)) if all(what) else None

    def _announce(self, alert: Announce) -> None:
        if self._screen is not None:
            self._screen.ring()
        said = {"TICKMESH_ALERT": alert.text, "TICKMESH_SYMBOL": alert.symbol, "TICKMESH_PRICE": alert.price}
        notify = shutil.which("notify-send")
        for command in ([notify, "tickmesh", alert.text] if notify else [], self._alert_command):
            if command and len(self._commands) < MAX_COMMANDS:
                self._keep(self._command(command, said), self._commands)

    def _running(self, loops: Iterable[asyncio.Task[None]]) -> Iterable[asyncio.Task[None]]:
        follows = (task for _, task in self._following.values() if task is not None)
        return (*loops, *follows, *self._requests, *self._commands)

    def _keep(self, doing: Coroutine[None, None, None], kept: set[asyncio.Task[None]]) -> None:
        task = self._tasks.create_task(doing)
        kept.add(task)
        task.add_done_callback(kept.discard)

    async def _command(self, command: Sequence[str], said: dict[str, str]) -> None:
        """Run a program, without a shell and without our terminal; what it says or how it ends is its own affair."""
        null = asyncio.subprocess.DEVNULL
        streams = {"stdin": null, "stdout": null, "stderr": null}
        try:
            process = await asyncio.create_subprocess_exec(*command, env=os.environ | said, **streams)  # type: ignore[arg-type]
        except OSError as exc:
            self.model = self.model.noticed(f"cannot run {command[0]}: {exc.strerror}")
            return
        try:
            async with asyncio.timeout(COMMAND_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _loops(self, screen: Screen) -> tuple[Coroutine[None, None, None], ...]:
        return self._client.follow(), self._draw(screen), self._read_keys(screen), self._tick()

    async def _draw(self, screen: Screen) -> None:
        time_s = asyncio.get_running_loop().time
        while True:
            await self._changed.wait()
            self._client.pass_on()
            self._changed.clear()
            drawn_s = time_s()
            self._canvas = draw(self.model)
            screen.paint(self._canvas.grid(), self.model.theme)
            self._pressed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(FRAME_S):
                    await self._pressed.wait()
                    await asyncio.sleep(drawn_s + KEY_FRAME_S - time_s())

    async def _read_keys(self, screen: Screen) -> None:
        while True:
            await self._readable.wait()
            self._readable.clear()
            keys = screen.read_keys()
            for key in keys:
                self._pressed.set()
                event = clicked(self._canvas, *key) if isinstance(key, Click) else KeyPressed(key)
                if event is not None:
                    self.handle(event)
            if not keys and screen.hung_up():
                self.stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_us, before_us = self._now_us(), self.model.now_us
            if now_us // SECOND_US != before_us // SECOND_US or self.model.flashing:  # ages are shown in seconds
                self._changed.set()
            self.handle(Ticked(now_us))
            self._keep_model(self.model)

    def _resize(self) -> None:
        assert self._screen is not None
        self.handle(Resized(*self._screen.resize()))
        self._changed.set()  # also at the same size: the screen is empty

    def _suspend(self) -> None:
        """Stop as Ctrl-Z stops other programs: the terminal is the shell's until we go on, perhaps at another size."""
        assert self._screen is not None
        self._screen.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._resize()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._readable.set)
        loop.add_signal_handler(signal.SIGWINCH, self._resize)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)  # not curses' own, amid a frame
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            loop.remove_reader(sys.stdin.fileno())


def _shows_all(model: Model) -> bool:
    asked = [request for request in model.outstanding if not isinstance(request, LoadDay | LoadSession)]
    if not model.stream.open or asked or model.shown is None or model.mesh == ASKING_STATUS:
        return False
    if model.view is View.COINS:
        followed = [coin.symbol for coin in model.coins if coin.followed]
        return bool(model.board) and all(symbol in model.board for symbol in followed)
    if model.view is View.DASHBOARD:
        return model.quote.price is not None and (model.candles.fetched or not model.chart.interval)
    told = {View.STATUS: model.mesh, View.COVERAGE: model.coverage}.get(model.view)
    return not isinstance(told, str)


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
