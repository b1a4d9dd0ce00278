"""The terminal client: `python -m term` shows one coin live, its history, and lets one choose another.

What happens is an event (`events.py`), what follows from it is decided by `update.update` (pure), what it looks like by
`view.render` (pure). Only three files do anything: `client.py` speaks REST and WebSocket, `screen.py` speaks curses,
`app.py` is the loop between them. Nothing here knows the rest of the mesh; the gateway's HTTP API is all it needs.
"""
