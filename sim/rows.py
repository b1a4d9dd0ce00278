"""How REST words trades, aggregates, candles and symbols. `unit` is what microseconds are divided by: 1000 or 1."""

from __future__ import annotations

import numpy as np

from sim.candles import Candle
from sim.coins import E8, Coin
from sim.history import Rows
from sim.trades import decimal_text


def trade_rows(rows: Rows, unit: int) -> list[dict[str, object]]:
    return [
        {
            "id": trade_id,
            "price": decimal_text(price_e8),
            "qty": decimal_text(quantity_e8),
            "quoteQty": decimal_text(price_e8 * quantity_e8 // E8),
            "time": time_us // unit,
            "isBuyerMaker": is_buyer_maker,
            "isBestMatch": True,
        }
        for trade_id, price_e8, quantity_e8, time_us, _, is_buyer_maker in rows.tolist()
    ]


def aggregate_rows(rows: Rows, unit: int) -> list[dict[str, object]]:
    starts = np.flatnonzero(np.diff(rows["aggregate_id"], prepend=-1))
    ends = np.append(starts[1:], len(rows))
    quantities = np.add.reduceat(rows["quantity_e8"], starts)
    return [
        {
            "a": aggregate_id,
            "p": decimal_text(price_e8),
            "q": decimal_text(int(quantity_e8)),
            "f": first_id,
            "l": int(rows["trade_id"][end - 1]),
            "T": time_us // unit,
            "m": is_buyer_maker,
            "M": True,
        }
        for (first_id, price_e8, _, time_us, aggregate_id, is_buyer_maker), quantity_e8, end in zip(
            rows[starts].tolist(), quantities, ends, strict=True
        )
    ]


def candle_row(candle: Candle, interval_us: int, unit: int) -> list[object]:
    return [
        candle.open_us // unit,
        *map(decimal_text, (candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8, candle.volume_e8)),
        (candle.open_us + interval_us) // unit - 1,
        decimal_text(candle.quote_e16 // E8),
        candle.count,
        decimal_text(candle.taker_buy_volume_e8),
        decimal_text(candle.taker_buy_quote_e16 // E8),
        "0",
    ]


def symbol_info(coin: Coin) -> dict[str, object]:
    most = decimal_text(10**6 * E8)
    tick, step = decimal_text(coin.tick_e8), decimal_text(coin.step_e8)
    return {
        "symbol": coin.name,
        "status": "TRADING",
        "baseAsset": coin.base,
        "baseAssetPrecision": 8,
        "quoteAsset": coin.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": most, "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }
