"""The selected symbol on the bus: follows `control.symbol` and `control.catalog`, and tells everybody of a new one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from google.protobuf.message import Message as Proto
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.dead_letters import DeadLetterQueue
from mesh.bus.reader import SELDOM_HEARTBEAT_S, Message, Reader
from mesh.service.backoff import backoff
from mesh.service.errors import BadMessage, NotReady
from mesh.values.symbols import parse_symbol
from signalsvc.selection import Selection, UnknownSymbol
from signalsvc.watchers import Watchers
from tickmesh.v1 import control_pb2

log = logging.getLogger("signal.selection_sync")

LOOK_UP_WITHIN_S = 3.5
"""So long a lookup may take; whoever asks for a symbol over REST waits for 5 s."""

REFUSED_FOR_S = 5.0
"""A symbol that was looked up in vain is not looked up again before."""

MAX_REFUSED = 1000


class SelectionSync:
    """Keeps the selection and the bus of one mind; useful from `begin` on.

    A symbol that the catalog does not hold is not refused before ingest has asked the venue for it once more
    (`control.lookup`): it may have been listed since.
    """

    def __init__(self, selection: Selection, watchers: Watchers) -> None:
        self._selection = selection
        self._watchers = watchers
        self._bus: Bus | None = None
        self._fallback = selection.symbol  # the last one that was surely right
        self._request = 0
        self._answered = 0  # the last request that ingest has answered
        self._problem = ""
        self._news = asyncio.Condition()
        self._refused_s: dict[str, float] = {}  # when a symbol was looked up in vain
        self._lookup_task: asyncio.Task[None] | None = None

    async def begin(self, bus: Bus) -> None:
        """Announce the selected symbol of the first start, if none was ever selected."""
        self._bus = bus
        try:
            await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_SYMBOL)
        except NotFoundError:
            await self._announce(self._selection.symbol)

    async def select(self, text: str) -> str:
        """Make a symbol the selected one everywhere; return it as we write it.

        Raises:
            InvalidRequest: no symbol, or one that the venue does not list.
            NotReady: the bus is away, or the venue cannot be asked whether it lists the symbol by now.

        """
        try:
            symbol = self._selection.check(text)
        except UnknownSymbol:
            symbol = parse_symbol(text)
            if problem := await self._look_up(symbol):
                raise NotReady(f"nobody knows whether {symbol!r} is listed: {problem}") from None
            self._selection.check(symbol)
        await self._announce(symbol)
        self._apply(symbol)
        return symbol

    async def follow(self, dead: DeadLetterQueue) -> None:
        """Take in what the bus says, for ever; a task of the service's own. What cannot be read goes to `dead`."""
        assert self._bus is not None
        try:
            durable = self._bus.own("control-signal")
            reader = Reader(
                *(self._bus, subjects.CONTROL, durable),
                after=None,
                subjects=[subjects.CONTROL_CATALOG, subjects.CONTROL_SYMBOL, subjects.CONTROL_LOOKED_UP],
                heartbeat_s=SELDOM_HEARTBEAT_S,
            )
            async with reader:
                while True:
                    for message in await reader.next():
                        try:
                            await self._receive(message)
                        except BadMessage as exc:
                            dead.put(subjects.CONTROL, message, str(exc))
                            await self._republish_selection(message)
                        except NotReady as exc:
                            log.warning("%s is ignored: %s", message.subject, exc)
        finally:
            if self._lookup_task is not None:
                self._lookup_task.cancel()
                await asyncio.gather(self._lookup_task, return_exceptions=True)

    async def _republish_selection(self, refused: Message) -> None:
        """Say again what is selected, where nonsense now stands: whoever starts later reads it there."""
        if refused.subject == subjects.CONTROL_SYMBOL:
            with contextlib.suppress(NotReady):
                await self._announce(self._selection.symbol)

    async def _receive(self, message: Message) -> None:
        if message.subject == subjects.CONTROL_CATALOG:
            self._selection.learn(control.decode_catalog(message.payload))
            if (symbol := self._selection.replacement()) is not None:
                log.warning(
                    "%s does not trade %s, which was selected at another venue: selecting %s",
                    self._selection.venue,
                    self._selection.symbol,
                    symbol,
                )
                await self._announce(symbol)
                self._selection.symbol = self._fallback = symbol
            if not self._selection.refutes(self._selection.symbol):
                if self._selection.status(self._selection.symbol):
                    self._fallback = self._selection.symbol
            else:
                self._start_lookup(self._selection.symbol)
            async with self._news:
                self._news.notify_all()
            self._watchers.notify_selected(self._selection.response())
        elif message.subject == subjects.CONTROL_SYMBOL:
            symbol = control.decode_selection(message.payload)
            if symbol == self._selection.symbol:
                return
            if self._selection.refutes(symbol):
                self._start_lookup(symbol)
            else:  # what was selected before stays so, also where nobody has told yet what is listed
                self._apply(symbol)
        elif message.subject == subjects.CONTROL_LOOKED_UP:
            answer = control.decode(control_pb2.SymbolLookedUp, message.payload)
            async with self._news:
                self._answered, self._problem = max(self._answered, answer.request), answer.problem
                self._news.notify_all()

    def _start_lookup(self, symbol: str) -> None:
        """Have a symbol looked up that the bus says is selected, and take or refuse it then."""
        if self._lookup_task is None or self._lookup_task.done():
            self._lookup_task = asyncio.create_task(self._take_or_refuse(symbol))

    async def _take_or_refuse(self, symbol: str) -> None:
        problem = await self._look_up(symbol)
        if not self._selection.refutes(symbol):
            self._apply(symbol)
            return
        if self._selection.symbol == symbol:
            self._apply(self._fallback)
        log.warning(
            "control.symbol is refused, %s stays selected: %s does not list %r%s",
            self._selection.symbol,
            self._selection.venue,
            symbol,
            f" ({problem})" if problem else "",
        )
        for delay_s in backoff(max_s=5):
            try:
                await self._announce(self._selection.symbol)
                return
            except NotReady:
                await asyncio.sleep(delay_s)

    async def _look_up(self, symbol: str) -> str:
        """Have ingest ask the venue for a symbol, and wait until the catalog holds it or it is known that it does not.

        Returns:
            why that is not known; empty when it is. An ingest that does not answer leaves it at what it last told.

        """
        loop = asyncio.get_running_loop()
        if loop.time() - self._refused_s.get(symbol, float("-inf")) < REFUSED_FOR_S:
            return ""
        self._request = request = max(time.time_ns() // 1000, self._request + 1)
        await self._publish(subjects.CONTROL_LOOKUP, control_pb2.SymbolLookup(symbol=symbol, request=request))
        try:
            async with asyncio.timeout(LOOK_UP_WITHIN_S), self._news:
                await self._news.wait_for(lambda: self._answered >= request or not self._selection.refutes(symbol))
        except TimeoutError:
            log.warning("nobody has looked up %r within %g s: is ingest there?", symbol, LOOK_UP_WITHIN_S)
            return ""
        if not self._selection.refutes(symbol):
            return ""
        if not self._problem:
            while len(self._refused_s) >= MAX_REFUSED:
                del self._refused_s[next(iter(self._refused_s))]
            self._refused_s[symbol] = loop.time()
        return self._problem

    def _apply(self, symbol: str) -> None:
        if symbol != self._selection.symbol:
            log.info("selected %s", symbol)
            self._selection.symbol = symbol
            if self._selection.status(symbol):
                self._fallback = symbol
            if self._watchers:
                self._watchers.notify_selected(self._selection.response())

    async def _announce(self, symbol: str) -> None:
        await self._publish(subjects.CONTROL_SYMBOL, control_pb2.SymbolSelection(symbol=symbol))

    async def _publish(self, subject: str, message: Proto) -> None:
        if self._bus is None or not self._bus.connected:
            raise NotReady("the bus is away, so nobody would hear of another symbol")
        try:
            await self._bus.js.publish(subject, control.encode(message))
        except (NatsError, TimeoutError) as exc:
            raise NotReady(f"the bus did not take {subject}: {str(exc) or type(exc).__name__}") from exc
