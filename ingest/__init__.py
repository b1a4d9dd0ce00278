"""Venue -> bus: follows an exchange trade by trade and publishes what it says, in id order, each trade once.

Thinking (no socket, clock or environment): `binance`, `binance_rest` and `columns` read and write the venue's words,
`feed` holds one connection's conversation, `sequencer` puts one symbol's trades in order and sees the holes, `found`
says what an answer over REST proves, `following` knows which symbols and why, `habit` when a silence is one, `pace`
when to pass on what has arrived, `host` what a REST host offers and refuses, `budget` what may still be asked.

Doing: `line` keeps a `link` to the `venue` open, whose frames wait in a `mailbox`; all trades leave through the
`outlet`, whoever brings them: a link, `repair`, which fetches what is missing, or `requested`, which fetches what the
store asks for. `catalog` tells the mesh what is traded, `outbox` carries the small messages, `rest` asks; `service`
puts them together.
"""
