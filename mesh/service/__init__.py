"""What a service needs whatever it does: settings, logs, metrics, health, gRPC, tokens, and its start and end."""

from __future__ import annotations
