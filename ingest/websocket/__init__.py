"""The stream of frames from the venue: always open, on one connection, and for a moment on two."""

from __future__ import annotations

__all__ = ["connection", "session", "silence_watchdog", "stream", "venue_socket"]
