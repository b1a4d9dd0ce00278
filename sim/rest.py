"""Binance's public REST, without the socket: a request in, an `Answer` out, from what the exchange remembers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from sim.candles import INTERVALS_US
from sim.exchange import Exchange
from sim.listing import Listing
from sim.rows import aggregate_rows, candle_row, symbol_info, trade_rows
from sim.weight import WEIGHT_LIMIT, WeightBook

MOST_ROWS: Final = 1000
USUAL_ROWS: Final = 500
MICROSECONDS_FROM: Final = 10**14  # times in parameters may be ms or us; the size tells

NUMBER: Final = "[0-9]{1,20}"
SYMBOL: Final = r"(?:[A-Z0-9-_.]|[^\x00-\x7F]){1,20}"  # there are symbols of Chinese letters
ANYTHING: Final = ".*"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _RefusedError(Exception):
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
    weight: int
    parameters: dict[str, str]  # name: legal range
    mandatory: tuple[str, ...]
    reply: Callable[[Rest, _Request], object]  # a JSON value


class Rest:
    """See the module. `unit` inside is what a microsecond time is divided by: 1000 for ms, 1 for us."""

    def __init__(self, exchange: Exchange, weights: WeightBook | None = None) -> None:
        self._exchange = exchange
        self._weights = weights or WeightBook()

    def answer(
        self, method: str, path: str, query: str, *, headers: Mapping[str, str], address: str, now_us: int
    ) -> Answer:
        """Answer one request.

        Args:
            query: as in the address, without the question mark.
            headers: names in lower case.
            address: of the client: weights are counted by it.
        """
        route = ROUTES.get(path)
        if route is None:
            return Answer(404, b"", {"Content-Type": "text/plain"})
        if method != "GET":
            return Answer(405, b"", {"Content-Type": "text/plain", "Allow": "GET"})
        verdict = self._weights.spend(address, route.weight, now_us)
        spent = {"X-MBX-USED-WEIGHT": str(verdict.used), "X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != 200:
            return _error(verdict.status, -1003, verdict.msg, spent | {"Retry-After": str(verdict.retry_after_s)})
        unit = 1 if headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND" else 1000
        try:
            value = route.reply(self, _Request(_parameters(route, query), now_us, unit))
        except _RefusedError as refusal:
            return _error(400, refusal.code, refusal.msg, spent)
        return Answer(200, msgspec.json.encode(value), {"Content-Type": "application/json;charset=UTF-8"} | spent)

    # One reply a path

    def ping(self, _: _Request) -> object:
        return {}

    def time(self, request: _Request) -> object:
        return {"serverTime": request.now_us // request.unit}

    def exchange_info(self, request: _Request) -> object:
        parameters = request.parameters
        if "symbol" in parameters and "symbols" in parameters:
            raise _RefusedError(-1128, "Combination of optional parameters invalid.")
        listings = list(self._exchange.listings.values())
        if "symbol" in parameters:
            listings = [self._listing(parameters)]
        if "symbols" in parameters:
            try:
                names = msgspec.json.decode(parameters["symbols"], type=list[str])
            except msgspec.MsgspecError as exc:
                legal = r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$'
                raise _RefusedError(
                    -1100, f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'."
                ) from exc
            listings = [self._listing({"symbol": name}) for name in names]
        return {
            "timezone": "UTC",
            "serverTime": request.now_us // request.unit,
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_LIMIT},
                {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
            ],
            "exchangeFilters": [],
            "symbols": [symbol_info(listing.coin) for listing in listings],
        }

    def trades(self, request: _Request) -> object:
        history = self._listing(request.parameters).history
        return trade_rows(history.rows(history.end - _limit(request.parameters), history.end), request.unit)

    def historical_trades(self, request: _Request) -> object:
        parameters = request.parameters
        if "fromId" not in parameters:
            return self.trades(request)
        history = self._listing(parameters).history
        start = history.search("trade_id", int(parameters["fromId"]))
        return trade_rows(history.rows(start, start + _limit(parameters)), request.unit)

    def aggregate_trades(self, request: _Request) -> object:
        parameters = request.parameters
        history, limit = self._listing(parameters).history, _limit(parameters)
        start_us, end_us = _time_us(parameters, "startTime"), _time_us(parameters, "endTime")
        if "fromId" in parameters and (start_us is not None or end_us is not None):
            raise _RefusedError(-1128, "Combination of optional parameters invalid.")
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
        return aggregate_rows(history.rows(start, stop), request.unit)

    def klines(self, request: _Request) -> object:
        parameters = request.parameters
        listing = self._listing(parameters)
        interval_us = INTERVALS_US.get(parameters["interval"])
        if interval_us is None:
            raise _RefusedError(-1120, "Invalid interval.")
        candles = listing.candles.of_interval(
            interval_us,
            start_us=_time_us(parameters, "startTime"),
            end_us=_time_us(parameters, "endTime"),
            limit=_limit(parameters),
        )
        return [candle_row(candle, interval_us, request.unit) for candle in candles]

    def _listing(self, parameters: Mapping[str, str]) -> Listing:
        listing = self._exchange.listings.get(parameters["symbol"].lower())
        if listing is None or listing.coin.name != parameters["symbol"]:
            raise _RefusedError(-1121, "Invalid symbol.")
        return listing


ROUTES: Final = {
    "/api/v3/ping": _Route(1, {}, (), Rest.ping),
    "/api/v3/time": _Route(1, {}, (), Rest.time),
    "/api/v3/exchangeInfo": _Route(
        20,
        {"symbol": SYMBOL} | dict.fromkeys(("symbols", "permissions", "showPermissionSets", "symbolStatus"), ANYTHING),
        (),
        Rest.exchange_info,
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


def _error(status: int, code: int, msg: str, headers: dict[str, str]) -> Answer:
    body = msgspec.json.encode({"code": code, "msg": msg})
    return Answer(status, body, {"Content-Type": "application/json;charset=UTF-8"} | headers)


def _parameters(route: _Route, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    parameters = dict(pairs)
    for name, _ in pairs:
        if sum(1 for other, _ in pairs if other == name) > 1:
            raise _RefusedError(-1101, f"Duplicate values for parameter '{name}'.")
    for name in route.mandatory:
        if not parameters.get(name):
            raise _RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    known = {name: value for name, value in parameters.items() if name in route.parameters}
    for name, value in known.items():
        if value == "":
            raise _RefusedError(-1105, f"Parameter '{name}' was empty.")
        if not re.fullmatch(route.parameters[name], value, re.ASCII):
            legal = f"^{route.parameters[name]}$"
            raise _RefusedError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
        if route.parameters[name] == NUMBER and int(value) >= 2**63:
            raise _RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    if len(known) < len(parameters):
        counts = f"read '{len(known)}' parameter(s) but was sent '{len(parameters)}'"
        raise _RefusedError(-1104, f"Not all sent parameters were read; {counts}.")
    return known


def _limit(parameters: Mapping[str, str]) -> int:
    # Spot Binance answers a greater limit with its greatest; only its futures refuse.
    limit = int(parameters.get("limit", USUAL_ROWS))
    if limit == 0:
        raise _RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, MOST_ROWS)


def _time_us(parameters: Mapping[str, str], name: str) -> int | None:
    if name not in parameters:
        return None
    value = int(parameters[name])
    return value if value >= MICROSECONDS_FROM else value * 1000
