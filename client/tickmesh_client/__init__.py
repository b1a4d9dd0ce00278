"""Read a tickmesh from Python: `Tickmesh` for programs and notebooks, `AsyncTickmesh` for those with asyncio."""

from __future__ import annotations

from tickmesh_client import calls, network
from tickmesh_client.asynchronous import AsyncTickmesh
from tickmesh_client.blocking import Tickmesh
from tickmesh_client.calls import Answer, Call
from tickmesh_client.errors import (
    ClientError,
    ExtraMissing,
    NotAllowed,
    NotFound,
    RequestRefused,
    TimedOut,
    Unavailable,
    Unreachable,
    WrongAddress,
    WrongAnswer,
)
from tickmesh_client.listing import AsyncListing, Listing
from tickmesh_client.rows import Rows
from tickmesh_client.values import (
    Candle,
    Coin,
    Condition,
    Coverage,
    EpochCoverage,
    Feed,
    Hole,
    IdRange,
    Instrument,
    Minute,
    Missing,
    Price,
    ServiceReport,
    ServiceStatus,
    Stats,
    Status,
    Summaries,
    Summary,
    Symbol,
    SymbolCandle,
    SymbolFeed,
    Tick,
    Trade,
)

__all__ = [
    "Answer",
    "AsyncListing",
    "AsyncTickmesh",
    "Call",
    "Candle",
    "ClientError",
    "Coin",
    "Condition",
    "Coverage",
    "EpochCoverage",
    "ExtraMissing",
    "Feed",
    "Hole",
    "IdRange",
    "Instrument",
    "Listing",
    "Minute",
    "Missing",
    "NotAllowed",
    "NotFound",
    "Price",
    "RequestRefused",
    "Rows",
    "ServiceReport",
    "ServiceStatus",
    "Stats",
    "Status",
    "Summaries",
    "Summary",
    "Symbol",
    "SymbolCandle",
    "SymbolFeed",
    "Tick",
    "Tickmesh",
    "TimedOut",
    "Trade",
    "Unavailable",
    "Unreachable",
    "WrongAddress",
    "WrongAnswer",
    "calls",
    "network",
]

__version__ = "0.1.0"
