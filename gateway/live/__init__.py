"""`/ws`: the one stream of trades from signal, prepared once, to every client at its own pace."""

from __future__ import annotations

__all__ = ["connection", "endpoint", "fanout"]
