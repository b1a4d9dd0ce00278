"""Bus -> database: keeps every trade exactly once, knows what is missing, and answers from history.

Into the database: `intake` takes trades from RAW in `batch`es, `candle_intake` closed candles from PROCESSED,
`minute_intake` the venue's own `minutes` from CANDLES (`minute_rows`), each from its position in its `streams`; the
`writer` has one transaction a batch, which it copies as `rows` (`replaced` removes those with the same ids); what
cannot be stored goes to `dead` and comes back by `replay`.

What is missing: the `ledger` is the arithmetic, `ledger_rows` its rows; `check` holds it against the trades at each
start, `minute_judge` against the venue's minutes, `repair` asks for holes (`asking` says when) until they end, and
`retention` takes what is too old out of both.

Candles that late trades change are made again by `candle_rows`, their `indicators` by `candle_indicators`.

Out of the database: `rpc` answers; `pages`, `candle_pages` (both with `tokens`) and `coverage` read questions and
word answers.

Below all: `db` (who writes, who reads, whether it is there), `outage`, `migrations`; SQL stands in `queries` and in
`statements`, `candle_statements` and `retention_statements`. `service` puts everything together, `beside` keeps its
tasks, `following` hears what is selected, `metrics` count.
"""

from __future__ import annotations
