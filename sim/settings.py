"""What the command line and the environment say, checked; all that is wrong is said at once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from sim.client_session import VenueLimits
from sim.instruments import INSTRUMENTS, instrument_named
from sim.pacing import Pace, parse_rate

SYMBOLS = tuple(instrument.symbol for instrument in INSTRUMENTS)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run the exchange. See `--help` for the meaning of each."""

    host: str = "127.0.0.1"
    ws_port: int = 9443
    rest_port: int = 9080
    seed: int = 1
    symbols: tuple[str, ...] | None = None
    tape: Path | None = None
    keep_times: bool = False
    pace: Pace = Pace.BURSTS
    rate: float = 50.0
    count: int | None = None
    history: int = 0
    keep: int = 1_000_000
    wait_for_client: bool = False
    log: Path | None = None
    faults: Path | None = None
    max_buffer_bytes: int = 32 * 1024 * 1024
    limits: VenueLimits = field(default_factory=VenueLimits)


class SettingsError(ValueError):
    """The settings are wrong; the message names every one."""


def parse_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Args:
        arguments: the command line without the program's name.
        environ: of the process.

    Raises:
        SettingsError: some are wrong.
        SystemExit: argparse has said why, or has printed the help.

    """
    given = _parser(environ).parse_args(arguments)
    wrong = []
    pace = Pace(given.pace or ("even" if given.tape else "bursts"))
    rate = math.nan
    try:
        rate = parse_rate(given.rate)
    except ValueError as exc:
        wrong.append(f"--rate: {exc}")
    symbols = None if given.symbols is None else tuple(dict.fromkeys(filter(None, given.symbols.lower().split(","))))
    if not given.tape:
        symbols = SYMBOLS if symbols is None else symbols
        for symbol in symbols:
            try:
                instrument_named(symbol)
            except ValueError as exc:
                wrong.append(f"--symbols: {exc}")
        if pace is Pace.RECORDED:
            wrong.append("--pace: found recorded without --tape, expected even or bursts")
        if given.keep_times:
            wrong.append("--keep-times: found without --tape")
    elif pace is Pace.BURSTS:
        wrong.append("--pace: found bursts with --tape, expected even or recorded")
    if symbols == ():
        wrong.append("--symbols: found none, expected at least one")
    for name, low, high in (
        *(("ws_port", 0, 65535), ("rest_port", 0, 65535), ("seed", 0, 2**63)),
        *(("history", 0, 10**7), ("keep", 1, 10**8), ("max_buffer_bytes", 1024, 2**40)),
        ("max_connections_5m", 1, 10**9),
    ):
        if not low <= getattr(given, name) <= high:
            flag = "--" + name.replace("_", "-")
            wrong.append(f"{flag}: found {getattr(given, name)}, expected {low} to {high}")
    if given.count is not None and given.count < 0:
        wrong.append(f"--count: found {given.count}, expected at least 0")
    wrong += [
        f"--{name.replace('_', '-')}: found {getattr(given, name)}, expected more than 0"
        for name in ("max_connection_s", "ping_s", "pong_timeout_s")
        if not getattr(given, name) > 0
    ]
    if wrong:
        raise SettingsError("\n".join(wrong))
    limits = VenueLimits(
        max_connection_s=given.max_connection_s,
        ping_every_s=given.ping_s,
        pong_within_s=given.pong_timeout_s,
        connections_per_5m=given.max_connections_5m,
    )
    taken = {one.name: getattr(given, one.name) for one in fields(Settings) if one.name != "limits"}
    return Settings(**taken | {"symbols": symbols, "pace": pace, "rate": rate, "limits": limits})


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sim",
        description="A Binance-compatible exchange on loopback. Once ready it prints its addresses as a line of JSON.",
    )
    limits = VenueLimits()
    add = parser.add_argument_group("addresses").add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    port = environ.get("SIM_WS_PORT", "9443")
    add("--ws-port", type=int, default=port, help="0 picks a free one (default %(default)s, or SIM_WS_PORT)")
    port = environ.get("SIM_REST_PORT", "9080")
    add("--rest-port", type=int, default=port, help="0 picks a free one (default %(default)s, or SIM_REST_PORT)")

    add = parser.add_argument_group("market").add_argument
    add("--seed", type=int, default=1, help="of the random market: same seed, same trades (default %(default)s)")
    add(
        "--symbols",
        help=f"traded symbols, comma-separated (default {','.join(SYMBOLS)}, or the tape's; "
        "coin1usdt and the like are made up)",
    )
    add("--tape", type=Path, help="replay this .jsonl or .jsonl.gz: a frame of Binance's combined stream a line")
    add("--keep-times", action="store_true", help="trades keep the tape's times (default: the time of issue)")
    add("--history", type=int, default=0, metavar="N", help="trades of before the start, in REST only")
    add("--keep", type=int, default=1_000_000, metavar="N", help="trades a symbol in REST (default %(default)s)")

    add = parser.add_argument_group("pace").add_argument
    add("--rate", default="50", help="trades/s over all symbols; 0 pauses, max is flat out (default %(default)s)")
    add(
        "--pace",
        choices=[pace.value for pace in Pace],
        help="bursts: whole orders at once, the rate on average (default); even: one by one (default with --tape); "
        "recorded: as on the tape",
    )
    add("--count", type=int, metavar="N", help="issue N trades in all, then only stay up")
    add("--wait-for-client", action="store_true", help="issue nothing until a client follows a trade stream")

    add = parser.add_argument_group("truth").add_argument
    add("--log", type=Path, metavar="FILE", help="append issued trades as CSV; go on after those it holds")

    add = parser.add_argument_group("faults").add_argument
    add("--faults", type=Path, metavar="FILE", help="what goes wrong when, as JSON: see sim/README.md")

    add = parser.add_argument_group("limits").add_argument
    add("--max-connection-s", type=float, default=limits.max_connection_s, help="a client's age (default 24 h)")
    add("--ping-s", type=float, default=limits.ping_every_s, help="between pings (default %(default)s)")
    add("--pong-timeout-s", type=float, default=limits.pong_within_s, help="for the pong (default %(default)s)")
    add(
        "--max-connections-5m",
        type=int,
        default=limits.connections_per_5m,
        help="new WebSocket connections in 5 minutes from one address (default %(default)s)",
    )
    add("--max-buffer-bytes", type=int, default=32 * 1024 * 1024, help="unread bytes of a client (default 32 MiB)")
    return parser
