"""One REST host of a venue: what it offers, when it may be asked, and what its refusals mean. Pure.

Times are seconds of one steady clock.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ingest.http.errors import Reaction, RequestRejected, VenueRefusal

_FIRST_SHUT_S, _LONGEST_SHUT_S = 2.0, 300.0
_NOT_OFFERED_S = 300.0  # a 404 may be a slip of the venue's, and what it has not today it may have tomorrow


class Host:
    """What one host is known to offer, and until when it is left alone.

    Args:
        url: where it is.

    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = urlsplit(url).netloc
        self._not_offered_until_s: dict[str, float] = {}  # by path
        self._refusals = 0  # in a row: each makes us stay away for longer
        self._shut_until_s = float("-inf")

    def offers(self, path: str, now_s: float) -> bool:
        """Return whether it has such a path, as far as is known: what it said of that is forgotten after minutes.

        Args:
            path: of the endpoint.
            now_s: the time, in seconds of one steady clock.

        """
        return now_s >= self._not_offered_until_s.get(path, float("-inf"))

    def is_shut(self, now_s: float) -> bool:
        """Return whether it is not to be asked now."""
        return now_s < self._shut_until_s

    def answered(self) -> None:
        """Take note that it answers again."""
        self._refusals = 0

    def refused(self, path: str, refusal: VenueRefusal, now_s: float) -> tuple[str, bool]:
        """Take note of a refusal; return it in plain words, and whether a person should hear of it.

        Args:
            path: that was asked.
            refusal: how it was refused.
            now_s: the time, in seconds of one steady clock.

        Raises:
            RequestRejected: the request itself is wrong.

        """
        words = f"{self.name} {refusal.why} ({refusal.said}), asked for {path}"
        if refusal.reaction is Reaction.REJECTED:
            raise RequestRejected(words)
        if refusal.reaction is Reaction.LEAVE_HOST:
            self._shut(now_s)
        elif refusal.reaction is Reaction.NOT_OFFERED:
            self._not_offered_until_s[path] = now_s + _NOT_OFFERED_S
        return words, refusal.reaction is not Reaction.ASK_AGAIN

    def _shut(self, now_s: float) -> None:
        # Twice as long each time: a refusal may be for ever, or over in a moment.
        self._shut_until_s = now_s + min(_LONGEST_SHUT_S, _FIRST_SHUT_S * 2**self._refusals)
        self._refusals += 1
