"""How a stream ends: what its writer goes on from."""

from __future__ import annotations

from nats.js.errors import NotFoundError

from mesh.bus.connection import Bus
from mesh.bus.message import MESSAGE_ID
from mesh.service.errors import TickmeshError


class StreamGoneError(TickmeshError):
    """The stream does not exist any more; who starts anew declares it again."""


async def end_of_stream(bus: Bus, stream: str) -> tuple[int, str | None]:
    """Return sequence and id of the last message ever; no id where limits have removed it.

    Raises:
        StreamGoneError: there is no such stream any more.

    """
    info = await bus.stream_info(stream)
    if info is None:
        raise StreamGoneError(f"stream {stream} is gone: has the bus lost its files?")
    if not info.state.messages:
        return info.state.last_seq, None
    try:
        last = await bus.js.get_msg(stream, info.state.last_seq)
    except NotFoundError:
        return info.state.last_seq, None
    return info.state.last_seq, (last.headers or {}).get(MESSAGE_ID, "")
