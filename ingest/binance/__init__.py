"""Binance's words, read and written: frames of the WebSocket, answers of REST, refusals of both. Pure."""

from __future__ import annotations
