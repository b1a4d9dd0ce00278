"""`python -m store export`: all trades or candles of a range from the database into a file, without the mesh.

The file has its name only when it is whole: until then it is written beside it under another one. Both the file and its
name outlast a power cut from the moment at which the command ends with 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import psycopg

from mesh.service.errors import InvalidRequest
from mesh.service.settings import WrongSettings, load
from store.database import SyncConnection
from store.database.errors import first_line
from store.export.jobs import open_connection, read_pieces
from store.export.query import FORMATS, ExportQuery, read_query
from store.queries import sql
from store.settings import StoreSettings
from tickmesh.v1 import store_pb2

_REPORT_EVERY_S = {True: 0.5, False: 5.0}
"""By whether somebody watches: on a terminal one line changes, in a log lines follow each other."""


def main(arguments: list[str]) -> int:
    """Export what the command line asks for; return the exit code: 0 done, 1 something broke, 2 wrong arguments."""
    given = _parser().parse_args(arguments)
    try:
        query = read_query(_request(given))
        url = load(StoreSettings).read_url()
    except (InvalidRequest, WrongSettings, ValueError) as exc:
        return _fail(str(exc), 2)
    output: Path = given.output
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM removes the part, too
    try:
        try:
            with open_connection(url) as connection, part.open("wb") as file:
                _write(connection, _with_venue(connection, query), file, output)
            part.replace(output)
            _sync_folder(output.parent)
        finally:
            part.unlink(missing_ok=True)
    except KeyboardInterrupt:
        return _fail(f"stopped; {output} was not written", 1)
    except (psycopg.Error, OSError, InvalidRequest) as exc:
        return _fail(f"{output} was not written: {first_line(exc)}", 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m store export",
        description="Export all trades or candles of a range into a file, from the database at DATABASE_READ_URL, "
        "else DATABASE_URL.",
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=("trades", "candles"))
    parser.add_argument("symbol", help="the symbol: btcusdt")
    parser.add_argument("output", type=Path, help="the file; one that exists is replaced")
    parser.add_argument("--format", choices=FORMATS, help="of the file (default: by its name, else csv)")
    parser.add_argument("--venue", default="", help="the venue (default: that of the newest trade)")
    parser.add_argument("--interval", help="of candles: their length, such as 1s, 3m, 2h or 1w (default: 1m)")
    parser.add_argument("--start", help="only what is at or after this time: 2024-01-31 or 2024-01-31T12:34:56Z")
    parser.add_argument("--end", help="only what is before this time")
    return parser


def _request(given: argparse.Namespace) -> store_pb2.ExportTradesRequest | store_pb2.ExportCandlesRequest:
    suffix = given.output.suffix.removeprefix(".")
    form = given.format or (suffix if suffix in FORMATS else "")
    request: store_pb2.ExportTradesRequest | store_pb2.ExportCandlesRequest
    if given.what == "candles":
        request = store_pb2.ExportCandlesRequest(interval=given.interval or "")
    elif given.interval:
        raise InvalidRequest("--interval is of candles, and trades are asked for")
    else:
        request = store_pb2.ExportTradesRequest()
    request.symbol, request.venue, request.format = given.symbol, given.venue, form
    for name, text in (("start", given.start), ("end", given.end)):
        if text:
            moment = datetime.fromisoformat(text)
            getattr(request, name).FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return request


def _with_venue(connection: SyncConnection, query: ExportQuery) -> ExportQuery:
    if query.venue:
        return query
    row = connection.execute(sql.NEWEST_VENUE).fetchone()
    if row is None:
        raise InvalidRequest("no trade is stored")
    return replace(query, venue=row[0])


def _write(connection: SyncConnection, query: ExportQuery, file: BinaryIO, output: Path) -> None:
    row = connection.execute(query.table.estimate, query.parameters()).fetchone()
    expected = int(row[0] or 0) if row else 0
    on_terminal = sys.stderr.isatty()
    rows, size, began_s = 0, 0, time.monotonic()
    report_s = began_s + _REPORT_EVERY_S[on_terminal]

    def count(more: int) -> None:
        nonlocal rows
        rows += more

    def rate() -> float:
        return rows / max(time.monotonic() - began_s, 1e-3)

    for piece in read_pieces(connection, query, count):
        size += file.write(piece)
        if time.monotonic() >= report_s:
            report_s = time.monotonic() + _REPORT_EVERY_S[on_terminal]
            # The closed candles know how many trades there are, but for those of the last minutes.
            left_s = max(expected - rows, 0) / max(rate(), 1)
            of = f" of {expected:,}, {left_s:.0f} s left" if expected else ""
            sys.stderr.write(f"{rows:,} rows{of} ({rate():,.0f}/s)" + ("\x1b[K\r" if on_terminal else "\n"))
            sys.stderr.flush()
    file.flush()
    os.fsync(file.fileno())  # before it has its name: else a power cut could leave that name to a part of it
    sys.stderr.write(f"{rows:,} rows, {size / 1e6:,.1f} MB, {rate():,.0f} rows/s: {output}\n")


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _fail(problem: str, code: int) -> int:
    sys.stderr.write(f"store export: {problem}\n")
    return code
