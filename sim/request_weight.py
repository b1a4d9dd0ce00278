"""The request budget: weight per address and minute, then 429, then a ban for who goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WEIGHT_LIMIT: Final = 6000
MINUTE_US: Final = 60_000_000
REFUSALS_UNTIL_BAN: Final = 20
BAN_US: Final = 120_000_000
MOST_ADDRESSES: Final = 10_000


@dataclass(frozen=True, slots=True)
class WeightDecision:
    """What becomes of a request.

    Attributes:
        status: 200, 429 when the weight of this minute is used up, 418 while the address is banned.
        used: the weight that the address has used in this minute.
        retry_after_s: seconds to wait, where it is refused.
        msg: Binance's words for it.
    """

    status: int
    used: int
    retry_after_s: int = 0
    msg: str = ""


@dataclass(slots=True)
class _Account:
    minute: int
    used: int = 0
    refused: int = 0
    banned_until_us: int = 0


class RequestWeights:
    """What each address has used in this minute of the clock."""

    def __init__(self, limit: int = WEIGHT_LIMIT) -> None:
        self._limit = limit
        self._accounts: dict[str, _Account] = {}

    def spend(self, address: str, weight: int, now_us: int) -> WeightDecision:
        """Charge a request: status 200 and the weight used so far, 429 when it is too much, 418 while banned."""
        minute = now_us // MINUTE_US
        if address not in self._accounts and len(self._accounts) >= MOST_ADDRESSES:
            self._accounts.clear()
        account = self._accounts.setdefault(address, _Account(minute))
        if account.minute != minute:
            account.minute, account.used = minute, 0
        if now_us < account.banned_until_us:
            return self._banned(account, now_us)
        if account.used + weight <= self._limit:
            account.used += weight
            account.refused = 0
            return WeightDecision(200, account.used)
        account.refused += 1
        if account.refused > REFUSALS_UNTIL_BAN:
            account.refused = 0
            account.banned_until_us = now_us + BAN_US
            return self._banned(account, now_us)
        msg = (
            f"Too much request weight used; current limit is {self._limit} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        return WeightDecision(429, account.used, _seconds_up((minute + 1) * MINUTE_US - now_us), msg)

    def _banned(self, account: _Account, now_us: int) -> WeightDecision:
        msg = f"Way too much request weight used; IP banned until {account.banned_until_us // 1000}. "
        msg += "Please use WebSocket Streams for live updates to avoid bans."
        return WeightDecision(418, account.used, _seconds_up(account.banned_until_us - now_us), msg)


def _seconds_up(microseconds: int) -> int:
    return -(-microseconds // 1_000_000)
