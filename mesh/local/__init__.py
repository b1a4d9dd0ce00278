"""The local runner: real servers and the services of the mesh as processes on this machine, without Docker.

`commands` are what a person types; `up` checks everything (with `settings`), prepares the servers' files (`nats`,
`postgres`) and plans the `programs`; supervisord keeps them (`supervisor`, `patient_supervisord`), and `watch` looks
at it, and at what nats-server says of itself, until asked to stop. `repartition` changes the number of partitions.

`state` is STATE_DIR: the record of what runs, by process (`pids`), the `passwords`, the `logs`. `report` asks the
gateway how the mesh is, and says it.
"""

from __future__ import annotations

__all__ = ["commands", "logs", "postgres", "repartition", "settings", "state", "supervisor", "up"]
