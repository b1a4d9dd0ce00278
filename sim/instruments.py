"""The traded symbols: what Binance lists about each and where its seeded market begins."""

from __future__ import annotations

import re
from dataclasses import dataclass

E8 = 10**8


@dataclass(frozen=True, slots=True)
class ListedInstrument:
    """One symbol. Prices and quantities are integers scaled by 1e8.

    Attributes:
        symbol: lower case, as in stream names; REST and frames say it in upper case.
        base: what is traded, like BTC.
        quote: what it is paid with, like USDT.
        tick_e8: the smallest step of a price.
        step_e8: the smallest step of a quantity.
        start_price_e8: where the seeded market begins.
        typical_steps: the unit a seeded quantity is built from, in steps.
        first_trade_id: the id of its first trade in the seeded market.
        weight: the symbol's share of the seeded market's orders, against the other instruments' weights.
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
        """The symbol in upper case, as REST and frames say it."""
        return self.symbol.upper()


INSTRUMENTS = (
    ListedInstrument("btcusdt", "BTC", "USDT", E8 // 100, E8 // 100_000, 61_837_63 * E8 // 100, 8, 3_735_683_259, 30),
    ListedInstrument("ethusdt", "ETH", "USDT", E8 // 100, E8 // 10_000, 2_683_41 * E8 // 100, 16, 1_546_902_117, 25),
    ListedInstrument("solusdt", "SOL", "USDT", E8 // 100, E8 // 1_000, 162_35 * E8 // 100, 40, 902_114_508, 17),
    ListedInstrument("bnbusdt", "BNB", "USDT", E8 // 100, E8 // 1_000, 524_90 * E8 // 100, 12, 811_300_742, 10),
    ListedInstrument("xrpusdt", "XRP", "USDT", E8 // 10_000, E8 // 10, 6_117 * E8 // 10_000, 90, 662_781_390, 10),
    ListedInstrument("dogeusdt", "DOGE", "USDT", E8 // 100_000, E8, 10_684 * E8 // 100_000, 50, 739_255_006, 8),
)

NOT_IN_ASCII = ListedInstrument(
    "币安人生usdt", "币安人生", "USDT", E8 // 10_000, E8 // 10, 1_672 * E8 // 10_000, 90, 41_207_593, 8
)
"""An instrument whose name is not ASCII, as Binance has one; listed only where it is asked for."""

EVERY_INSTRUMENT = (*INSTRUMENTS, NOT_IN_ASCII)


_MADE_UP = re.compile(r"coin([0-9]{1,4})usdt")


def instrument_named(symbol: str) -> ListedInstrument:
    """Return the instrument of `symbol` (lower case): a coin of ours, or `coin0usdt` to `coin9999usdt`, made up.

    Raises:
        ValueError: the seeded market has no such instrument.
    """
    for instrument in EVERY_INSTRUMENT:
        if instrument.symbol == symbol:
            return instrument
    if made_up := _MADE_UP.fullmatch(symbol):
        base = symbol.removesuffix("usdt").upper()
        return ListedInstrument(symbol, base, "USDT", E8 // 10_000, E8 // 10, (1 + int(made_up[1])) * E8, 90, 1, 10)
    known = " ".join(instrument.symbol for instrument in EVERY_INSTRUMENT)
    raise ValueError(f"unknown symbol {symbol!r}, expected one of {known}, or coin1usdt and the like")


def instrument_on_tape(symbol: str) -> ListedInstrument:
    """Return what is known of a symbol that a tape names: one of ours, or the finest grid Binance has."""
    for instrument in EVERY_INSTRUMENT:
        if instrument.symbol == symbol:
            return instrument
    for quote in ("usdt", "usdc", "fdusd", "tusd", "busd", "eur", "try", "btc", "eth", "bnb"):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            base = symbol.removesuffix(quote)
            return ListedInstrument(symbol, base.upper(), quote.upper(), 1, 1, E8, 1, 1, 1)
    return ListedInstrument(symbol, symbol.upper(), "", 1, 1, E8, 1, 1, 1)
