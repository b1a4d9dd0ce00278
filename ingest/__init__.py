"""Venue -> bus: follows an exchange trade by trade and publishes what it says, in id order, each trade once.

Thinking (no socket, clock or environment): `binance` and `binance_rest` read and write the venue's words, `feed` holds
one connection's conversation, `sequencer` puts one symbol's trades in order and sees the holes, `following` knows which
symbols and why, `budget` counts REST weights. Doing: `rest`, `venue`, `outlet`, `repair`, `connection`, `catalog` and
`service`, which puts them together.
"""
