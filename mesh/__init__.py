"""What every service stands on: values, the bus, and the life of a service; and `python -m mesh`, the local runner.

`values` is pure; `service` is what a service needs whatever it does; `bus` is NATS, made ordered and complete; `local`
runs real servers and every service on this machine. Imports go in this order, never back: values, service, bus, local.
"""

from __future__ import annotations

__all__ = ["bus", "service", "values"]

import os

# grpc reads it when it is first imported. With its event engine a message wakes threads one after the other: at 1,000
# trades/s the gateway 2.3 times a trade instead of 0.9, and its CPU was a quarter more. What the user sets counts.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
