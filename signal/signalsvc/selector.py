"""The selected symbol on the bus: follows `control.symbol` and `control.catalog`, and tells everybody of a new one."""

from __future__ import annotations

import contextlib
import logging

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from mesh import control, subjects
from mesh.bus import Bus
from mesh.dead_letters import DeadLetterQueue
from mesh.errors import BadMessage, InvalidRequest, NotReady
from mesh.message import Message
from mesh.reader import Reader
from signalsvc.selection import Selection
from signalsvc.watchers import Watchers
from tickmesh.v1 import control_pb2

log = logging.getLogger("signal.selector")


class Selector:
    """Keeps the selection and the bus of one mind; useful from `begin` on."""

    def __init__(self, selection: Selection, watchers: Watchers) -> None:
        self._selection = selection
        self._watchers = watchers
        self._bus: Bus | None = None

    async def begin(self, bus: Bus) -> None:
        """Announce the selected symbol of the first start, if none was ever selected."""
        self._bus = bus
        try:
            await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_SYMBOL)
        except NotFoundError:
            await self._announce(self._selection.symbol)

    async def select(self, symbol: str) -> None:
        """Make a checked symbol the selected one everywhere.

        Raises:
            NotReady: the bus is away.

        """
        await self._announce(symbol)
        self._take(symbol)

    async def follow(self, dead: DeadLetterQueue) -> None:
        """Take in what the bus says, for ever; a task of the service's own. What cannot be read goes to `dead`."""
        assert self._bus is not None
        async with Reader(self._bus, subjects.CONTROL, "control-signal", after=None) as reader:
            while True:
                for message in await reader.next():
                    try:
                        await self._hear(message)
                    except BadMessage as exc:
                        dead.put(
                            subjects.CONTROL,
                            sequence=message.sequence,
                            taken_us=message.taken_us,
                            subject=message.subject,
                            payload=message.payload,
                            reason=str(exc),
                        )
                        await self._put_right(message)
                    except NotReady as exc:
                        log.warning("%s is ignored: %s", message.subject, exc)

    async def _put_right(self, refused: Message) -> None:
        """Say again what is selected, where nonsense now stands: whoever starts later reads it there."""
        if refused.subject == subjects.CONTROL_SYMBOL:
            with contextlib.suppress(NotReady):
                await self._announce(self._selection.symbol)

    async def _hear(self, message: Message) -> None:
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
                self._selection.symbol = symbol
            self._watchers.tell_selected(self._selection.response())
        elif message.subject == subjects.CONTROL_SYMBOL:
            symbol = control.decode_selection(message.payload)
            if symbol == self._selection.symbol:
                return
            try:
                self._take(self._selection.check(symbol))
            except InvalidRequest as exc:
                log.warning("control.symbol is refused, %s stays selected: %s", self._selection.symbol, exc)
                await self._announce(self._selection.symbol)

    def _take(self, symbol: str) -> None:
        if symbol != self._selection.symbol:
            log.info("selected %s", symbol)
            self._selection.symbol = symbol
            if self._watchers:
                self._watchers.tell_selected(self._selection.response())

    async def _announce(self, symbol: str) -> None:
        if self._bus is None or not self._bus.connected:
            raise NotReady("the bus is away, so nobody would hear of another symbol")
        payload = control.encode(control_pb2.SymbolSelection(symbol=symbol))
        try:
            await self._bus.js.publish(subjects.CONTROL_SYMBOL, payload)
        except (NatsError, TimeoutError) as exc:
            raise NotReady(f"the bus did not take control.symbol: {str(exc) or type(exc).__name__}") from exc
