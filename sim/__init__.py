"""A Binance-compatible exchange on loopback, for when the real one is out of reach or must misbehave on command.

It was written from Binance's own documents and imports nothing of ours, so that a misreading of Binance in ``ingest``
cannot be cancelled out by the same misreading here. ``python -m sim --help`` starts it; README.md says more.

Pure modules: ``market`` and ``tape`` make trades, which ``exchange`` takes through a ``trade_source`` when they are due
(``pacing``) and records in ``listing``, ``trade_history`` and ``klines``; ``frames`` encodes them; ``client_session``
is the conversation with one WebSocket client; ``rest`` answers requests; ``fault_plan`` decides what goes wrong when.
Modules with sockets, clocks and files: ``issuer``, ``issue_log``, ``client_socket``, ``rest_app`` and ``server``.
"""
