"""What every service stands on: values, the bus, and the life of a service; and `python -m mesh`, the local runner.

`values` is pure; `service` is what a service needs whatever it does; `bus` is NATS, made ordered and complete; `local`
runs real servers and every service on this machine. Imports go in this order, never back: values, service, bus, local.
"""

from __future__ import annotations

__all__ = ["bus", "service", "values"]
