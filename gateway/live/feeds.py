"""What subscriptions of `/ws` are told beside trades: asked of a service once for all clients, while they want it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from mesh.service.backoff import backoff

log = logging.getLogger("gateway.live.feeds")

FAULTS = Counter("tickmesh_gateway_ws_feed_faults_total", "feeds of /ws that ended by a fault of ours and began again")
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a message says.

    Attributes:
        body: the value of the member that has the channel's name, as JSON; empty when there is nothing to say.
        first_key: of the first trade that it covers; None when none is covered.
        last_key: of the last one.

    """

    body: bytes
    first_key: int | None = None
    last_key: int | None = None


class ChannelFeed:
    """What is followed once for all who watch it.

    Args:
        key: the channel, and what of it: `("candles", "btcusdt", "1m")`.

    """

    def __init__(self, *key: str) -> None:
        self.key = key
        self.number = 0
        """Of the last change."""
        self.answered = False
        """Whether there has ever been an answer."""
        self.current = False
        """Whether the last answer came."""
        self.watchers: dict[Callable[[], None], None] = {}

    def newest(self) -> Told:
        """Return what a snapshot says."""
        raise NotImplementedError

    def since(self, number: int) -> Told | None:
        """Return what has changed after a change, by its number; None when some of it is not kept any more."""
        raise NotImplementedError

    async def follow(self) -> None:
        """Ask again and again, and `wake` who watches when something has changed, until cancelled."""
        raise NotImplementedError

    def wake(self) -> None:
        """Wake everybody who watches."""
        for wake in tuple(self.watchers):
            wake()

    async def run(self) -> None:
        """Follow until cancelled, and begin again after a fault of our own: nobody else would notice that it ended."""
        delays = backoff(first_s=FIRST_DELAY_S, max_s=MAX_DELAY_S)
        while True:
            try:
                await self.follow()
            except Exception:
                FAULTS.inc()
                log.exception("the feed of %s has ended by a fault of ours, and begins again", " ".join(self.key))
            finally:
                self.current = False
            await asyncio.sleep(next(delays))


class ChannelFeeds:
    """The feeds that are watched; without a watcher there is none.

    Args:
        make: channel -> what makes a feed of it from the rest of its key.

    """

    def __init__(self, make: Mapping[str, Callable[..., ChannelFeed]]) -> None:
        self._make = make
        self._feeds: dict[tuple[str, ...], tuple[ChannelFeed, asyncio.Task[None]]] = {}

    def __contains__(self, channel: str) -> bool:
        """Tell whether a channel has feeds."""
        return channel in self._make

    def watch(self, key: tuple[str, ...], wake: Callable[[], None]) -> ChannelFeed:
        """Return a feed.

        Args:
            key: the channel, and what of it.
            wake: called when something has changed.

        """
        if key not in self._feeds:
            feed = self._make[key[0]](*key[1:])
            self._feeds[key] = feed, asyncio.create_task(feed.run(), name=".".join(key))
        feed = self._feeds[key][0]
        feed.watchers[wake] = None
        return feed

    def unwatch(self, feed: ChannelFeed, wake: Callable[[], None]) -> None:
        """End what `watch` began.

        Args:
            feed: that `watch` returned.
            wake: that it was given.

        """
        feed.watchers.pop(wake, None)
        if not feed.watchers and (found := self._feeds.pop(feed.key, None)):
            found[1].cancel()
