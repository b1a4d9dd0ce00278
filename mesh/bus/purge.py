"""Room in a full stream: its oldest messages go, as far as every reader is done with them.

Without this a full stream would take nothing more until its messages are too old, also when everybody has long read
them. It keeps what it can: nothing is removed before the stream is full, then a quarter at a time. What ingest reads,
when it starts, to go on after the last trade of each symbol always stays: the last message of each subject, and of the
messages of all symbols those behind the one that tells the last trades again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from nats.js.errors import NotFoundError

from mesh.bus import subjects
from mesh.bus.connection import Bus

log = logging.getLogger("mesh.bus.purge")

_AT_ONCE = 4


async def purge_oldest(bus: Bus, stream: str, readers: Sequence[str]) -> int:
    """Remove the oldest quarter of a stream's messages, or as many of it as all `readers` have acknowledged.

    Args:
        bus: the connection.
        stream: the stream's name.
        readers: its durables. One that does not exist is about to be made anew, so nothing is removed.

    Returns:
        how many messages were removed; 0 when somebody still needs the first one.

    """
    try:
        done = min([(await bus.js.consumer_info(stream, reader)).ack_floor.stream_seq for reader in readers], default=0)
    except NotFoundError:
        return 0
    before = (await bus.js.stream_info(stream, subjects_filter=">")).state
    # From the end, as the first message may be the last one of a quiet subject, from long ago.
    upto = min(done, before.last_seq - before.messages + before.messages // _AT_ONCE)
    for subject in before.subjects or {}:
        kept_from = subject if subjects.is_of_one_symbol(subject) else subjects.last_trades(subject)
        try:
            last = await bus.js.get_last_msg(stream, kept_from)
        except NotFoundError:
            continue
        assert last.seq is not None
        await bus.js.purge_stream(stream, subject=subject, seq=min(upto + 1, last.seq))
    removed = before.messages - (await bus.js.stream_info(stream)).state.messages
    if removed:
        log.info("stream %s was full: removed its oldest %d messages, which every reader is done with", stream, removed)
    return removed
