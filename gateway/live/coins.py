"""What signal lists, asked for by one call for all who want to know it, however many they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

import grpc

from mesh.service.rpc import authorization
from tickmesh.v1 import signal_pb2

if TYPE_CHECKING:
    from tickmesh.v1.signal_pb2_grpc import SignalServiceAsyncStub  # only the types know it

log = logging.getLogger("gateway.live.coins")

CALL_LIMIT_S = 1.0
"""How long a handshake, or the first trades of a stream, wait for the list; both go on without it."""
KEPT_S = 1.0
"""How long a list tells what is followed; who is not on it is looked for on a new one."""
AT_MOST_EVERY_S = 0.1


class CoinList:
    """The list of coins, kept for a moment.

    Args:
        signal: SignalService.
        token: what signal wants to be shown; None when nothing.

    """

    def __init__(self, signal: SignalServiceAsyncStub, *, token: str | None = None) -> None:
        self._signal = signal
        self._metadata = authorization(token)
        self._asking = asyncio.Lock()
        self._asked_s = float("-inf")  # when the call began whose answer is here
        self._coins: tuple[signal_pb2.Coin, ...] = ()

    async def names(self) -> dict[str, str]:
        """Return symbol -> name as signal lists them now; nothing when it does not answer."""
        await self._ask(since_s=asyncio.get_running_loop().time())
        return {coin.symbol: coin.name for coin in self._coins}

    async def unfollowed(self, symbols: Collection[str]) -> list[str]:
        """Return those symbols that are not followed, sorted; none when signal cannot tell."""
        now_s = asyncio.get_running_loop().time()
        await self._ask(since_s=now_s - KEPT_S)
        found = self._missing(symbols)
        if found:
            await self._ask(since_s=now_s)  # it may have been selected a moment ago
            found = self._missing(symbols)
        return found

    def _missing(self, symbols: Collection[str]) -> list[str]:
        # A signal that is older than we are says of none that it is followed.
        followed = {coin.symbol for coin in self._coins if coin.followed}
        return sorted(set(symbols) - followed) if followed else []

    async def _ask(self, *, since_s: float) -> None:
        """Have an answer to a call that began at this time or later; whoever waits meanwhile shares it."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            if self._asked_s >= since_s:
                return
            await asyncio.sleep(self._asked_s + AT_MOST_EVERY_S - loop.time())
            began_s = loop.time()
            try:
                response = await self._signal.ListCoins(
                    signal_pb2.ListCoinsRequest(), timeout=CALL_LIMIT_S, metadata=self._metadata
                )
                self._coins = tuple(response.coins)
            except grpc.aio.AioRpcError as exc:
                log.debug("no list of coins: %s: %s", exc.code().name, exc.details())
                self._coins = ()
            self._asked_s = began_s
