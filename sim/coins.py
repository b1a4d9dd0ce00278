"""The traded symbols: what Binance lists about each and where its seeded market begins."""

from __future__ import annotations

from dataclasses import dataclass

E8 = 10**8


@dataclass(frozen=True, slots=True)
class Coin:
    """One symbol. Prices and quantities are integers scaled by 1e8.

    Attributes:
        symbol: lower case, as in stream names; REST and frames say it in upper case.
        typical_steps: the unit a seeded quantity is built from, in steps.
        weight: the symbol's share of the seeded market's orders, against the other coins' weights.
    """

    symbol: str
    base: str
    quote: str
    tick_e8: int
    step_e8: int
    start_price_e8: int
    typical_steps: int
    first_trade_id: int
    weight: int

    @property
    def name(self) -> str:
        return self.symbol.upper()


COINS = (
    Coin("btcusdt", "BTC", "USDT", E8 // 100, E8 // 100_000, 61_837_63 * E8 // 100, 8, 3_735_683_259, 30),
    Coin("ethusdt", "ETH", "USDT", E8 // 100, E8 // 10_000, 2_683_41 * E8 // 100, 16, 1_546_902_117, 25),
    Coin("solusdt", "SOL", "USDT", E8 // 100, E8 // 1_000, 162_35 * E8 // 100, 40, 902_114_508, 17),
    Coin("bnbusdt", "BNB", "USDT", E8 // 100, E8 // 1_000, 524_90 * E8 // 100, 12, 811_300_742, 10),
    Coin("xrpusdt", "XRP", "USDT", E8 // 10_000, E8 // 10, 6_117 * E8 // 10_000, 90, 662_781_390, 10),
    Coin("dogeusdt", "DOGE", "USDT", E8 // 100_000, E8, 10_684 * E8 // 100_000, 50, 739_255_006, 8),
)

NOT_IN_ASCII = Coin("币安人生usdt", "币安人生", "USDT", E8 // 10_000, E8 // 10, 1_672 * E8 // 10_000, 90, 41_207_593, 8)
"""A coin whose name is not ASCII, as Binance has one; listed only where it is asked for."""

EVERY_COIN = (*COINS, NOT_IN_ASCII)


def coin_named(symbol: str) -> Coin:
    """Return the coin of `symbol` (lower case).

    Raises:
        ValueError: the seeded market has no such coin.
    """
    for coin in EVERY_COIN:
        if coin.symbol == symbol:
            return coin
    raise ValueError(f"unknown symbol {symbol!r}, expected one of {' '.join(coin.symbol for coin in EVERY_COIN)}")


def coin_on_tape(symbol: str) -> Coin:
    """Return what is known of a symbol that a tape names: one of the six coins, or the finest grid Binance has."""
    for coin in EVERY_COIN:
        if coin.symbol == symbol:
            return coin
    for quote in ("usdt", "usdc", "fdusd", "tusd", "busd", "eur", "try", "btc", "eth", "bnb"):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            base = symbol.removesuffix(quote)
            return Coin(symbol, base.upper(), quote.upper(), 1, 1, E8, 1, 1, 1)
    return Coin(symbol, symbol.upper(), "", 1, 1, E8, 1, 1, 1)
