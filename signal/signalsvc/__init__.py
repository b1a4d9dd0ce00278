"""The signal service: trades from the bus through libsignal and back to the bus, and SignalService."""

from __future__ import annotations
