"""Logs: the standard library's loggers, rendered by structlog as JSON lines or as text for people."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog


def configure(service: str, *, level: str, form: Literal["auto", "json", "console"]) -> None:
    """Send everything logged in this process to stderr; `auto` is text on a terminal and JSON elsewhere."""
    as_text = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
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
            structlog.processors.format_exc_info if not as_text else structlog.processors.StackInfoRenderer(),
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


class Seldom:
    """Say the same thing at most once in a while: for waits that would otherwise fill the log.

    >>> seldom = Seldom(every_s=5)
    >>> if seldom.due(loop.time()): log.warning("waiting for the database")
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
