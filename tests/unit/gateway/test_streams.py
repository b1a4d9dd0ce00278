from __future__ import annotations

import pytest

from gateway.transcode.streams import NDJSON, SERVER_SENT_EVENTS, StreamFormat, choose


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", NDJSON),
        ("*/*", NDJSON),
        ("text/event-stream", SERVER_SENT_EVENTS),
        ("application/x-ndjson", NDJSON),
        ("Text/Event-Stream; charset=utf-8", SERVER_SENT_EVENTS),
        ("text/*", SERVER_SENT_EVENTS),
        ("application/x-ndjson;q=0.5, text/event-stream;q=0.8", SERVER_SENT_EVENTS),
        ("text/event-stream;q=0.8, */*;q=0.1", SERVER_SENT_EVENTS),
        ("*/*, application/x-ndjson;q=0", SERVER_SENT_EVENTS),
        ("text/event-stream;q=0, */*", NDJSON),
        ("text/html, application/json", None),
        ("*/*;q=0", None),
        ("text/event-stream; q=0.000", None),
        ("nonsense", None),
        ("nonsense, text/event-stream", SERVER_SENT_EVENTS),
    ],
)
def test_a_stream_is_written_as_the_client_likes_it_best(accept: str, expected: StreamFormat | None) -> None:
    assert choose(accept) is expected
