"""A Binance-compatible exchange on loopback, for when the real one is out of reach or must misbehave on command.

It was written from Binance's own documents and imports nothing of ours, so that a misreading of Binance in ``ingest``
cannot be cancelled out by the same misreading here. ``python -m sim --help`` starts it; README.md says more.

Thinking: ``market`` and ``tape`` make trades, a ``supply`` for ``exchange``, which issues them into ``history`` and
``candles``, ``frames`` words them, ``venue`` converses with one WebSocket client, ``rest`` answers requests, ``plan``
says what goes wrong when. Doing: ``issuer``, ``log``, ``sockets``, ``control`` and ``server``.
"""
