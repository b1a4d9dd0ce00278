"""What both clients can do, said once: an operation has the parameters and the documentation of one of `calls`.

`price = asked(calls.price)` makes a method with the parameters of `calls.price`: with `Tickmesh` it returns a `Price`,
with `AsyncTickmesh` it has to be awaited.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeAlias, TypeVar, overload

import httpx

from tickmesh_client import calls
from tickmesh_client.calls import Call, Export, Query
from tickmesh_client.errors import WrongAddress
from tickmesh_client.listing import AsyncListing, Listing
from tickmesh_client.live import follow, follower_of, report_missing
from tickmesh_client.network import checked_url, http_options, reason_of, shown_url
from tickmesh_client.values import Coverage, Missing, Status, SymbolCandle, Tick, Trade

P = ParamSpec("P")
T = TypeVar("T")
Returned = TypeVar("Returned")
Awaited = TypeVar("Awaited")
Http = TypeVar("Http", bound=httpx.Client | httpx.AsyncClient)

MAX_TIMEOUT_S = 86_400.0
"""What every system's sockets can wait: some take no more than 2^31 milliseconds."""


class _Operation(Generic[P, Returned, Awaited]):
    """A method of both clients, as type checkers see it."""

    @overload
    def __get__(self, mesh: None, kind: type[_Blocking]) -> Callable[Concatenate[_Blocking, P], Returned]: ...
    @overload
    def __get__(self, mesh: None, kind: type[_Awaiting]) -> Callable[Concatenate[_Awaiting, P], Awaited]: ...
    @overload
    def __get__(self, mesh: _Blocking, kind: type[_Blocking]) -> Callable[P, Returned]: ...
    @overload
    def __get__(self, mesh: _Awaiting, kind: type[_Awaiting]) -> Callable[P, Awaited]: ...
    def __get__(self, mesh: Any, kind: Any) -> Any: ...


def _method(describe: Callable[..., Any], do: str) -> Any:  # Any: a plain function, to type checkers an _Operation
    @wraps(describe)
    def method(self: Any, /, *args: Any, **parameters: Any) -> Any:
        return getattr(self, do)(describe(*args, **parameters))

    shown = inspect.signature(describe)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    vars(method)["__signature__"] = inspect.Signature([itself, *shown.parameters.values()])
    return method


def asked(describe: Callable[P, Call[T]]) -> _Operation[P, T, Coroutine[Any, Any, T]]:
    """Make a method that returns the answer to a call."""
    method: _Operation[P, T, Coroutine[Any, Any, T]] = _method(describe, "perform")
    return method


def listed(describe: Callable[P, Query[T]]) -> _Operation[P, Listing[T], AsyncListing[T]]:
    """Make a method that returns a list, read in pages."""
    method: _Operation[P, Listing[T], AsyncListing[T]] = _method(describe, "_list")
    return method


def written(describe: Callable[P, Export]) -> _Operation[P, Path, Coroutine[Any, Any, Path]]:
    """Make a method that writes a file."""
    method: _Operation[P, Path, Coroutine[Any, Any, Path]] = _method(describe, "_write")
    return method


class GatewayClient(Generic[Http]):
    """A gateway: what `Tickmesh` and `AsyncTickmesh` have in common. Each of them says what it takes and raises."""

    _http_kind: type[Http]

    def __init__(
        self, url: str = "http://127.0.0.1:8080", *, token: str = "", timeout_s: float = 10.0, retries: int = 3
    ) -> None:
        self._shown_url = shown_url(checked_url(url))
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(f"timeout_s is {timeout_s!r}, expected more than 0 and at most {MAX_TIMEOUT_S:g}")
        if retries < 0:
            raise ValueError(f"retries is {retries!r}, expected 0 or more")
        self._timeout_s = timeout_s
        self._retries = retries
        self._random = Random()  # noqa: S311  # for the delays between attempts
        self._url, self._token = url, token
        options: Any = http_options(url, token=token, timeout_s=timeout_s)
        try:
            self._http: Http = self._http_kind(**options)
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as exc:
            raise WrongAddress(f"found no way to {self._shown_url}: {reason_of(exc)}") from exc

    price = asked(calls.price)
    stats = asked(calls.stats)
    coins = asked(calls.coins)
    selected = asked(calls.selected)
    select = asked(calls.select)
    reset_session = asked(calls.reset_session)
    status = asked(calls.status)
    summaries = asked(calls.summaries)
    coverage = asked(calls.coverage)
    trade = asked(calls.trade)
    trades = listed(calls.trades)
    candles = listed(calls.candles)
    instruments = listed(calls.instruments)
    export = written(calls.export)

    @overload
    def live(
        self: _Blocking,
        symbols: str | Sequence[str],
        channel: Literal["trades"] = "trades",
        *,
        resume_from: Mapping[str, int | Trade] | None = None,
        missing: Callable[[Missing], object] | None = None,
    ) -> Generator[Trade, None, None]: ...
    @overload
    def live(
        self: _Awaiting,
        symbols: str | Sequence[str],
        channel: Literal["trades"] = "trades",
        *,
        resume_from: Mapping[str, int | Trade] | None = None,
        missing: Callable[[Missing], object] | None = None,
    ) -> AsyncGenerator[Trade, None]: ...
    @overload
    def live(
        self: _Blocking,
        symbols: str | Sequence[str],
        channel: Literal["ticks"],
        *,
        fields: Sequence[str] | None = None,
        resume_from: Mapping[str, int | Trade] | None = None,
        missing: Callable[[Missing], object] | None = None,
    ) -> Generator[Tick, None, None]: ...
    @overload
    def live(
        self: _Awaiting,
        symbols: str | Sequence[str],
        channel: Literal["ticks"],
        *,
        fields: Sequence[str] | None = None,
        resume_from: Mapping[str, int | Trade] | None = None,
        missing: Callable[[Missing], object] | None = None,
    ) -> AsyncGenerator[Tick, None]: ...
    @overload
    def live(
        self: _Blocking,
        symbols: str | Sequence[str],
        channel: Literal["candles"],
        *,
        interval: str = "1m",
    ) -> Generator[SymbolCandle, None, None]: ...
    @overload
    def live(
        self: _Awaiting,
        symbols: str | Sequence[str],
        channel: Literal["candles"],
        *,
        interval: str = "1m",
    ) -> AsyncGenerator[SymbolCandle, None]: ...
    @overload
    def live(
        self: _Blocking, symbols: str | Sequence[str], channel: Literal["coverage"]
    ) -> Generator[Coverage, None, None]: ...
    @overload
    def live(self: _Blocking, *, channel: Literal["status"]) -> Generator[Status, None, None]: ...
    @overload
    def live(
        self: _Awaiting, symbols: str | Sequence[str], channel: Literal["coverage"]
    ) -> AsyncGenerator[Coverage, None]: ...
    @overload
    def live(self: _Awaiting, *, channel: Literal["status"]) -> AsyncGenerator[Status, None]: ...
    def live(
        self: Any,
        symbols: str | Sequence[str] | None = None,
        channel: str = "trades",
        *,
        fields: Sequence[str] | None = None,
        interval: str | None = None,
        resume_from: Mapping[str, int | Trade] | None = None,
        missing: Callable[[Missing], object] | None = None,
    ) -> Any:
        """Follow trades as they happen, each once and in the order of its symbol's ids, until the caller ends it.

        Of candles it gives each closed one, each revision of the last 60, and the open one up to five times a second.
        One that is revised later than that is what `candles` answers; a hole that closes, of the channel `coverage`,
        tells when.
        Of coverage and status it gives what there is now, and again whenever something has changed.
        When the connection is lost, or this program was too slow, it goes on where it was: what was missed is fetched.

        Args:
            symbols: one symbol, or several; None with `status`.
            channel: `trades`, `ticks`, which are trades with the signals right after each, `candles`, `coverage` or
                `status`.
            fields: of ticks, the signals by their names in `Stats`; None for those of the list of trades.
            interval: of candles: a number and `s`, `m`, `h`, `d` or `w`, such as `3m`; None for `1m`.
            resume_from: symbol -> the last trade, or its id, that the caller has; without it the next one comes first.
            missing: is called with ids that the mesh itself does not have; None for a warning in the log.

        Raises:
            ValueError: no symbol is named, there is no such channel, or it does not have what is said of it.
            RequestRefused: a symbol is not followed, or there was never a trade to resume after, or that trade is of
                another venue than the one that is followed.
            ClientError: the gateway cannot be reached at the beginning.
        """
        said = {"fields": fields, "interval": interval, "resume_from": resume_from, "missing": missing}
        follower = follower_of(symbols, channel, **said)
        told = missing or report_missing
        return self._live(follow(follower, retries=self._retries, random=self._random, missing=told))


_Blocking: TypeAlias = GatewayClient[httpx.Client]
_Awaiting: TypeAlias = GatewayClient[httpx.AsyncClient]
