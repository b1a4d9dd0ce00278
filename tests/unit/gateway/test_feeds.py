from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.live import feeds
from gateway.live.feeds import ChannelFeed, ChannelFeeds


class Counting(ChannelFeed):
    """A feed whose first answer cannot be understood."""

    def __init__(self, *key: str) -> None:
        super().__init__("counting", *key)
        self.begun = 0

    async def follow(self) -> None:
        self.begun += 1
        self.current = True
        if self.begun == 1:
            raise ZeroDivisionError
        self.number += 1
        self.wake()
        await asyncio.Event().wait()


async def test_a_feed_that_ends_by_a_fault_of_ours_begins_again_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feeds, "FIRST_DELAY_S", 0.01)
    woken = asyncio.Event()
    watched = ChannelFeeds({"counting": Counting})
    feed = watched.watch(("counting", "btcusdt"), woken.set)
    async with asyncio.timeout(20):
        await woken.wait()
    assert (feed.number, feed.current) == (1, True)
    [record] = caplog.records
    assert (record.levelno, record.exc_info and record.exc_info[0]) == (logging.ERROR, ZeroDivisionError)
    assert "the feed of counting btcusdt has ended by a fault of ours" in record.message
    watched.unwatch(feed, woken.set)


async def test_all_who_watch_the_same_share_one_feed_which_ends_with_the_last_of_them() -> None:
    one, other = asyncio.Event(), asyncio.Event()
    watched = ChannelFeeds({"counting": Counting})
    feed = watched.watch(("counting", "btcusdt"), one.set)
    assert watched.watch(("counting", "btcusdt"), other.set) is feed
    assert watched.watch(("counting", "ethusdt"), one.set) is not feed
    watched.unwatch(feed, one.set)
    assert watched.watch(("counting", "btcusdt"), other.set) is feed
    watched.unwatch(feed, other.set)
    assert watched.watch(("counting", "btcusdt"), other.set) is not feed
