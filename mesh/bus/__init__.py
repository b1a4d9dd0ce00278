"""The bus: a NATS connection that waits, streams written and read in order, the messages' form, and who may write."""

from __future__ import annotations
