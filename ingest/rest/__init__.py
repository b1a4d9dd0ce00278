"""Asking the venue over REST: the `client` asks, everything else here knows what may be asked and what answers prove.

Pure but for the client: `host`, `refusal`, `budget`, `search` and `found`.
"""

from __future__ import annotations
