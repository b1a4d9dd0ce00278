"""Binance's public REST, without the socket: a request in, a `RestAnswer` out, from what the exchange remembers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import numpy as np

from sim.exchange import Exchange
from sim.instruments import E8, ListedInstrument
from sim.klines import INTERVALS_US, Kline
from sim.listing import Listing, Rows
from sim.trades import decimal_text

_DAY_US: Final = 24 * 3600 * 1_000_000
MOST_ROWS: Final = 1000
USUAL_ROWS: Final = 500
MICROSECONDS_FROM: Final = 10**14  # times in parameters may be ms or us; the size tells

NUMBER: Final = "[0-9]{1,20}"
SYMBOL: Final = r"(?:[A-Z0-9-_.]|[^\x00-\x7F]){1,20}"  # there are symbols of Chinese letters
ANYTHING: Final = ".*"


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """An HTTP answer: status, body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _ApiError(Exception):
    def __init__(self, code: int, msg: str) -> None:
        super().__init__(code, msg)
        self.code = code
        self.msg = msg


@dataclass(frozen=True, slots=True)
class _Request:
    parameters: Mapping[str, str]
    now_us: int
    unit: int  # what a microsecond time is divided by: 1000 for ms, 1 for us


@dataclass(frozen=True, slots=True)
class _Route:
    weight: int | Callable[[str], int]  # of a query
    parameters: dict[str, str]  # name: legal range
    mandatory: tuple[str, ...]
    reply: Callable[[Rest, _Request], object]  # a JSON value


class Rest:
    """Answers requests from what an exchange remembers; one per exchange.

    Args:
        exchange: whose trades and klines are told.
        weights: what each address has used; None for a fresh account with Binance's limit.
    """

    def __init__(self, exchange: Exchange, weights: RequestWeights | None = None) -> None:
        self._exchange = exchange
        self._weights = weights or RequestWeights()

    def answer(
        self, method: str, path: str, query: str, *, headers: Mapping[str, str], address: str, now_us: int
    ) -> RestAnswer:
        """Answer one request.

        Args:
            method: GET or another.
            path: like `/api/v3/trades`.
            query: as in the address, without the question mark.
            headers: names in lower case.
            address: of the client: weights are counted by it.
            now_us: the time, in microseconds since 1970 UTC.
        """
        route = ROUTES.get(path)
        if route is None:
            return RestAnswer(404, b"", {"Content-Type": "text/plain"})
        if method != "GET":
            return RestAnswer(405, b"", {"Content-Type": "text/plain", "Allow": "GET"})
        weight = route.weight(query) if callable(route.weight) else route.weight
        verdict = self._weights.spend(address, weight, now_us)
        spent = {"X-MBX-USED-WEIGHT": str(verdict.used), "X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != 200:
            return _error(verdict.status, -1003, verdict.msg, spent | {"Retry-After": str(verdict.retry_after_s)})
        unit = 1 if headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND" else 1000
        try:
            value = route.reply(self, _Request(_parameters(route, query), now_us, unit))
        except _ApiError as refusal:
            return _error(400, refusal.code, refusal.msg, spent)
        return RestAnswer(200, msgspec.json.encode(value), {"Content-Type": "application/json;charset=UTF-8"} | spent)

    # One reply a path

    def ping(self, _: _Request) -> object:
        """Answer `/api/v3/ping`."""
        return {}

    def time(self, request: _Request) -> object:
        """Answer `/api/v3/time`."""
        return {"serverTime": request.now_us // request.unit}

    def exchange_info(self, request: _Request) -> object:
        """Answer `/api/v3/exchangeInfo`."""
        listings = self._listings(request.parameters)
        return {
            "timezone": "UTC",
            "serverTime": request.now_us // request.unit,
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_LIMIT},
                {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
            ],
            "exchangeFilters": [],
            "symbols": [_symbol_info(listing.instrument) for listing in listings],
        }

    def day_tickers(self, request: _Request) -> object:
        """Answer `/api/v3/ticker/24hr`: each symbol's newest trade, and what it did in the day before."""
        return [_ticker(listing, request) for listing in self._listings(request.parameters)]

    def trades(self, request: _Request) -> object:
        """Answer `/api/v3/trades`: the newest trades."""
        history = self._listing(request.parameters).history
        return _trade_rows(history.rows(history.end - _limit(request.parameters), history.end), request.unit)

    def historical_trades(self, request: _Request) -> object:
        """Answer `/api/v3/historicalTrades`: trades from an id on."""
        parameters = request.parameters
        if "fromId" not in parameters:
            return self.trades(request)
        history = self._listing(parameters).history
        start = history.search("trade_id", int(parameters["fromId"]))
        return _trade_rows(history.rows(start, start + _limit(parameters)), request.unit)

    def aggregate_trades(self, request: _Request) -> object:
        """Answer `/api/v3/aggTrades`."""
        parameters = request.parameters
        history, limit = self._listing(parameters).history, _limit(parameters)
        start_us, end_us = _time_us(parameters, "startTime"), _time_us(parameters, "endTime")
        if "fromId" in parameters and (start_us is not None or end_us is not None):
            raise _ApiError(-1128, "Combination of optional parameters invalid.")
        if history.end == history.start:
            return []
        newest = int(history.rows(history.end - 1, history.end)["aggregate_id"][0])
        stop = history.end if end_us is None else history.search("time_us", end_us + 1)
        if "fromId" in parameters:
            start = history.search("aggregate_id", int(parameters["fromId"]))
        elif start_us is not None:
            start = history.search("time_us", start_us)
        else:
            last = newest if stop == history.end else int(history.rows(stop - 1, stop)["aggregate_id"].max(initial=0))
            start = history.search("aggregate_id", last - limit + 1)
        if start >= stop:
            return []
        first = int(history.rows(start, start + 1)["aggregate_id"][0])
        stop = min(stop, history.search("aggregate_id", first + limit))
        return _aggregate_rows(history.rows(start, stop), request.unit)

    def klines(self, request: _Request) -> object:
        """Answer `/api/v3/klines`."""
        parameters = request.parameters
        listing = self._listing(parameters)
        interval_us = INTERVALS_US.get(parameters["interval"])
        if interval_us is None:
            raise _ApiError(-1120, "Invalid interval.")
        klines = listing.klines.of_interval(
            interval_us,
            start_us=_time_us(parameters, "startTime"),
            end_us=_time_us(parameters, "endTime"),
            limit=_limit(parameters),
        )
        return [_kline_row(kline, interval_us, request.unit) for kline in klines]

    def _listings(self, parameters: Mapping[str, str]) -> list[Listing]:
        """Return what is asked for by `symbol` or `symbols`, all that is listed without them."""
        if "symbol" in parameters and "symbols" in parameters:
            raise _ApiError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in parameters:
            return [self._listing(parameters)]
        if "symbols" not in parameters:
            return list(self._exchange.listings.values())
        try:
            names = msgspec.json.decode(parameters["symbols"], type=list[str])
        except msgspec.MsgspecError as exc:
            legal = r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$'
            raise _ApiError(
                -1100, f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'."
            ) from exc
        return [self._listing({"symbol": name}) for name in names]

    def _listing(self, parameters: Mapping[str, str]) -> Listing:
        listing = self._exchange.listings.get(parameters["symbol"].lower())
        if listing is None or listing.instrument.name != parameters["symbol"]:
            raise _ApiError(-1121, "Invalid symbol.")
        return listing


def _ticker_weight(query: str) -> int:
    """Return what a question for day tickers weighs: by how many symbols it names."""
    named = dict(parse_qsl(query))
    if "symbol" in named:
        return 2
    if "symbols" not in named:
        return 80
    count = named["symbols"].count(",") + 1
    return 2 if count <= 20 else 40 if count <= 100 else 80


ROUTES: Final = {
    "/api/v3/ping": _Route(1, {}, (), Rest.ping),
    "/api/v3/time": _Route(1, {}, (), Rest.time),
    "/api/v3/exchangeInfo": _Route(
        20,
        {"symbol": SYMBOL} | dict.fromkeys(("symbols", "permissions", "showPermissionSets", "symbolStatus"), ANYTHING),
        (),
        Rest.exchange_info,
    ),
    "/api/v3/ticker/24hr": _Route(
        _ticker_weight, {"symbol": SYMBOL, "symbols": ANYTHING, "type": "MINI"}, (), Rest.day_tickers
    ),
    "/api/v3/trades": _Route(25, {"symbol": SYMBOL, "limit": NUMBER}, ("symbol",), Rest.trades),
    "/api/v3/historicalTrades": _Route(
        25, {"symbol": SYMBOL, "limit": NUMBER, "fromId": NUMBER}, ("symbol",), Rest.historical_trades
    ),
    "/api/v3/aggTrades": _Route(
        4,
        {"symbol": SYMBOL, "limit": NUMBER, "fromId": NUMBER, "startTime": NUMBER, "endTime": NUMBER},
        ("symbol",),
        Rest.aggregate_trades,
    ),
    "/api/v3/klines": _Route(
        2,
        {"symbol": SYMBOL, "interval": ANYTHING, "timeZone": ANYTHING}
        | dict.fromkeys(("limit", "startTime", "endTime"), NUMBER),
        ("symbol", "interval"),
        Rest.klines,
    ),
}


def _error(status: int, code: int, msg: str, headers: dict[str, str]) -> RestAnswer:
    body = msgspec.json.encode({"code": code, "msg": msg})
    return RestAnswer(status, body, {"Content-Type": "application/json;charset=UTF-8"} | headers)


def _parameters(route: _Route, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    parameters = dict(pairs)
    for name, _ in pairs:
        if sum(1 for other, _ in pairs if other == name) > 1:
            raise _ApiError(-1101, f"Duplicate values for parameter '{name}'.")
    for name in route.mandatory:
        if not parameters.get(name):
            raise _ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    known = {name: value for name, value in parameters.items() if name in route.parameters}
    for name, value in known.items():
        if value == "":
            raise _ApiError(-1105, f"Parameter '{name}' was empty.")
        if not re.fullmatch(route.parameters[name], value, re.ASCII):
            legal = f"^{route.parameters[name]}$"
            raise _ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
        if route.parameters[name] == NUMBER and int(value) >= 2**63:
            raise _ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    if len(known) < len(parameters):
        counts = f"read '{len(known)}' parameter(s) but was sent '{len(parameters)}'"
        raise _ApiError(-1104, f"Not all sent parameters were read; {counts}.")
    return known


def _limit(parameters: Mapping[str, str]) -> int:
    # Spot Binance answers a greater limit with its greatest; only its futures refuse.
    limit = int(parameters.get("limit", USUAL_ROWS))
    if limit == 0:
        raise _ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, MOST_ROWS)


def _time_us(parameters: Mapping[str, str], name: str) -> int | None:
    if name not in parameters:
        return None
    value = int(parameters[name])
    return value if value >= MICROSECONDS_FROM else value * 1000


# How things are worded. `unit` is what microseconds are divided by: 1000 or 1.


def _trade_rows(rows: Rows, unit: int) -> list[dict[str, object]]:
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


def _ticker(listing: Listing, request: _Request) -> dict[str, object]:
    history, from_us = listing.history, request.now_us - _DAY_US
    rows = history.rows(history.search("time_us", from_us), history.end)
    day = rows[rows["time_us"] >= from_us]
    prices, quantities = day["price_e8"], day["quantity_e8"]
    quote = int(np.dot(prices.astype(float), quantities.astype(float)))  # of a million rows, and for show alone
    ends = (prices[0], prices.max(), prices.min(), prices[-1]) if len(day) else (0, 0, 0, 0)
    names = ("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume")
    sums = (quantities.sum(), quote // E8)
    return {
        "symbol": listing.instrument.name,
        **dict(zip(names, (decimal_text(int(value)) for value in (*ends, *sums)), strict=True)),
        "openTime": from_us // request.unit,
        "closeTime": request.now_us // request.unit,
        "firstId": int(day["trade_id"][0]) if len(day) else -1,
        "lastId": int(day["trade_id"][-1]) if len(day) else -1,
        "count": len(day),
    }


def _aggregate_rows(rows: Rows, unit: int) -> list[dict[str, object]]:
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


def _kline_row(kline: Kline, interval_us: int, unit: int) -> list[object]:
    return [
        kline.open_us // unit,
        *map(decimal_text, (kline.open_e8, kline.high_e8, kline.low_e8, kline.close_e8, kline.volume_e8)),
        (kline.open_us + interval_us) // unit - 1,
        decimal_text(kline.quote_e16 // E8),
        kline.count,
        decimal_text(kline.taker_buy_volume_e8),
        decimal_text(kline.taker_buy_quote_e16 // E8),
        "0",
    ]


def _symbol_info(instrument: ListedInstrument) -> dict[str, object]:
    most = decimal_text(10**6 * E8)
    tick, step = decimal_text(instrument.tick_e8), decimal_text(instrument.step_e8)
    return {
        "symbol": instrument.name,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
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


# --- the request budget -----------------------------------------------------------------------------------------------
# The request budget: weight per address and minute, then 429, then a ban for who goes on.

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
        """Charge a request: status 200 and the weight used so far, 429 when it is too much, 418 while banned.

        Args:
            address: of the client.
            weight: of the request.
            now_us: the time, in microseconds since 1970 UTC.

        """
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
