"""What a service needs whatever it does: settings, logs, metrics, health, gRPC, tokens, and its start and end."""

from __future__ import annotations

__all__ = [
    "access",
    "backoff",
    "cli",
    "constraints",
    "direct",
    "environment",
    "errors",
    "fanout",
    "health",
    "healthcheck",
    "lifecycle",
    "logs",
    "metrics",
    "nats_url",
    "rpc",
    "setting_kinds",
    "settings",
    "shared_library",
    "status",
    "tls",
    "wrong_tokens",
]
