"""The signal service: trades from the bus through libsignal and back to the bus, and SignalService.

The `engine` has a libsignal state a symbol and makes signals of columns; the `pipeline` moves it from RAW to PROCESSED
and saves it (`snapshots`); `watchers` get every batch; `selection` is the selected symbol, which `selection_sync` keeps
the same on the bus; `rpc` answers; `service` puts everything together. libsignal's binding is a package of its own:
`libsignal/python`.
"""

from __future__ import annotations

__all__ = ["settings"]
