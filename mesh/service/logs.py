"""Logs: the standard library's loggers, rendered by structlog as JSON lines or as text for people."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

_OF_SEVERAL_LINES = ("exception", "stack")


def configure(service: str, *, level: str, form: Literal["auto", "json", "console"]) -> None:
    """Send everything logged in this process to stderr; `auto` is text on a terminal and JSON elsewhere.

    Args:
        service: the name that stands in every line.
        level: what is logged at least: debug, info, warning or error.
        form: `json`, `console` or `auto`.

    """
    as_text = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )

    def name_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_service,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            *([_escape] if as_text else []),  # JSON has escapes of its own
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("nats", "websockets", "httpx", "httpcore", "asyncio", "psycopg"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _escape(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Leave nothing in a line of text that a terminal obeys: much of what is logged was said by somebody outside."""
    return {
        name: printable(value, keep="\n\t" if name in _OF_SEVERAL_LINES else "") if isinstance(value, str) else value
        for name, value in event.items()
    }


class LogThrottle:
    """Say the same thing at most once in a while: for waits that would otherwise fill the log.

    >>> log_throttle = LogThrottle(every_s=5)
    >>> if log_throttle.due(loop.time()): log.warning("waiting for the database")
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self._every_s = every_s
        self._next_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Return whether to speak now; the next time is `every_s` later."""
        if self._next_s is not None and now_s < self._next_s:
            return False
        self._next_s = now_s + self._every_s
        return True


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with escapes in place of what would not be shown but done: `\x1b`, `\n`, `\u202e`.

    Control characters (also those of C1, which terminals obey too), line ends, characters that turn the direction of
    writing, lone surrogates and everything else that Unicode does not call printable.

    Args:
        text: from anywhere.
        keep: characters to leave as they are.

    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
