"""Which symbol is selected and which venue is followed, as `control.symbol` and `control.catalog` tell."""

from __future__ import annotations

from mesh.bus import control, subjects
from mesh.bus.message import Message
from mesh.service.errors import NotReady


class Following:
    """What everybody looks at now; empty until somebody has told."""

    def __init__(self) -> None:
        self._symbol = ""
        self.venue = ""

    @property
    def symbol(self) -> str:
        """The selected symbol. Raises: NotReady: nobody has told yet."""
        if not self._symbol:
            raise NotReady("no symbol is selected yet: name one, or wait for the bus")
        return self._symbol

    def take(self, message: Message) -> None:
        """Take in a control message; raise `BadMessage` when it is none."""
        if message.subject == subjects.CONTROL_SYMBOL:
            self._symbol = control.decode_selection(message.payload)
        elif message.subject == subjects.CONTROL_CATALOG:
            self.venue = control.decode_catalog(message.payload).venue
