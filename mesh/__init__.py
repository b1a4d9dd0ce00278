"""What makes a service part of the mesh; and `python -m mesh`, the local runner.

Values (pure): `trades` in columns, `candles`, `symbols`, `fixed` (exact decimals), `errors`, `venue_hosts` (which
host is whose).

The bus: `nats_url` says where it is, `subjects` names everything on it, `wire` lays batches out through `wire_twin`;
`bus` connects and declares streams; `leases` let one instance of a service work at a time; the `publisher` writes a
stream in order (`unconfirmed`, `ack`, `stream_end`, `room`), the `reader` reads one in order (`durable`, `pull`,
`message`); `control` reads and writes the small messages.

Services: `settings` (made of `setting_kinds`), `logs`, `health`, `status` (of the whole mesh, from `status_reports` on
the bus), `healthcheck`, `metrics`, `rpc` (gRPC), `access` (tokens), `service` (start, stop, exit codes), `cli`,
`backoff`, `wait_for` (a mended asyncio), `surroundings` (a mended environment).

`local/` is the runner: real servers and all services as processes on this machine.
"""

from __future__ import annotations
