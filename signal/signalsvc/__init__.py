"""The signal service: trades from the bus through libsignal and back to the bus, and SignalService.

The library: `_libsignal` declares it, `_library` finds it, `libsignal` makes classes of it (`_inputs`, `_results`,
`_packed`, `_errors`), `signals` names what it works out.

The service: the `engine` has a state a symbol and makes signals of columns (`packed_columns`); the `pipeline` moves it
from RAW to PROCESSED (`published`: how far) and saves it (`snapshot`); `watchers` hear of every batch; the `selector`
keeps everybody's `selection`; `rpc` answers; `service` puts everything together.
"""

from __future__ import annotations
