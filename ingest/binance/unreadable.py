"""What reading JSON of the venue's may raise, when it is not what was expected. Pure."""

from __future__ import annotations

import msgspec

# RecursionError: a field that nobody asked for, with brackets in brackets a thousand deep, is passed over by msgspec
# level by level; UnicodeDecodeError, which is a ValueError: text that is no UTF-8.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""To be caught wherever something of the venue's is decoded: nothing it sends may end us."""
