"""`python -m term print`, `watch`, `history` and `--once`, as a script runs them: the real gateway, and pipes."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.access import AdmissionRules
from mesh.service.access import Access
from tests.fixtures.gateway import Gateway, batch, running_gateway
from tests.fixtures.ports import free_ports


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _homes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as gateway:
        yield gateway


async def started(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "term", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, "TERM": "dumb", **environment},
    )


async def term(gateway: Gateway, *arguments: str, **environment: str) -> Ended:
    """Run it to its end."""
    process = await started(*arguments, "--url", str(gateway.http.base_url), **environment)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_print_gives_a_row_a_coin_in_every_format(gateway: Gateway) -> None:
    as_json = await term(gateway, "print", "BTCUSDT", "--format", "json")
    [row] = json.loads(as_json.out, parse_float=Decimal)
    assert (as_json.code, as_json.err) == (0, "")
    assert (row["symbol"], row["price"], row["change_percent"]) == ("btcusdt", Decimal("61837.63"), Decimal("0.0043"))
    ndjson = await term(gateway, "print", "btcusdt", "--format", "ndjson")
    assert json.loads(ndjson.out, parse_float=Decimal) == row
    as_csv = await term(gateway, "print", "btcusdt", "--format", "csv")
    [fields] = csv.DictReader(as_csv.out.splitlines())
    assert (fields["price"], fields["time"]) == (str(row["price"]), row["time"])
    table = (await term(gateway, "print", "btcusdt")).out.splitlines()
    assert table[0].split()[:3] == ["symbol", "venue", "price"]
    assert table[1].split()[:3] == ["btcusdt", "sim", "61837.63"]


async def test_history_is_printed_to_its_end_and_asks_for_a_time(gateway: Gateway) -> None:
    done = await term(gateway, "history", "btcusdt", "--format", "ndjson", "--from", "2023-11-14T00:00:00Z")
    assert [json.loads(line)["trade_id"] for line in done.out.splitlines()] == list(range(250, 0, -1))
    assert gateway.store.asked.start_time.seconds == 1_699_920_000
    assert len((await term(gateway, "history", "--limit", "7", "--format", "csv")).out.splitlines()) == 8
    assert len(json.loads((await term(gateway, "history", "--limit", "3", "--format", "json")).out)) == 3


async def test_watch_prints_each_trade_as_it_comes(gateway: Gateway) -> None:
    url = str(gateway.http.base_url)
    process = await started("watch", "btcusdt", "--count", "2", "--format", "ndjson", "--url", url)
    assert process.stdout is not None
    lines: list[str] = []
    number = 300
    while len(lines) < 2:
        gateway.store.newest = number
        gateway.signal.push(batch("btcusdt", number))
        number += 1
        try:
            lines.append((await asyncio.wait_for(process.stdout.readline(), 0.5)).decode())
        except TimeoutError:
            continue  # not subscribed yet
    first, second = (json.loads(line)["trade_id"] for line in lines)
    assert second == first + 1
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_watch_prints_the_coins_again_and_again(gateway: Gateway) -> None:
    done = await term(gateway, "watch", "btcusdt", "ethusdt", "--every", "0.05", "--count", "4", "--format", "csv")
    rows = [line.split(",")[0] for line in done.out.splitlines()]
    assert rows == ["symbol", "btcusdt", "ethusdt", "btcusdt", "ethusdt"]


async def test_ctrl_c_ends_watch_with_a_code_of_its_own(gateway: Gateway) -> None:
    process = await started("watch", "btcusdt", "--every", "0.05", "--url", str(gateway.http.base_url))
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, err) == (130, b"")


async def test_a_reader_that_has_gone_is_no_error(gateway: Gateway) -> None:
    process = await started("watch", "btcusdt", "--every", "0.01", "--url", str(gateway.http.base_url))
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # as `head -1` does
    assert await asyncio.wait_for(process.wait(), 20) in (0, -signal.SIGPIPE)
    assert await process.stderr.read() == b""


async def test_a_coin_that_is_not_followed_has_its_own_exit_code(gateway: Gateway) -> None:
    done = await term(gateway, "print", "nopeusdt")
    assert done.code == 4
    assert "nopeusdt" in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


async def test_a_gateway_that_is_away_has_its_own_exit_code() -> None:
    [port] = free_ports(1)
    process = await started("print", "--url", f"http://127.0.0.1:{port}")
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 3
    assert b"term: " in err
    assert b"Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [("print", "--format", "xml"), ("watch", "--count", "0"), ("history", "--from", "yesterday"), ("--size", "9x9")],
)
async def test_wrong_arguments_are_refused(gateway: Gateway, arguments: tuple[str, ...]) -> None:
    done = await term(gateway, *arguments)
    assert done.code in (2, 4)
    assert "expected" in done.err or "invalid choice" in done.err


async def test_a_screen_is_printed_once_as_text(gateway: Gateway) -> None:
    done = await term(gateway, "--once", "--view", "history", "--size", "60x15")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert "1 to 10 of 100 fetched" in lines[1]
    assert len(lines) == 15
    assert "\x1b" not in done.out
    dashboard = await term(gateway, "--once", "--view", "dashboard")
    assert (dashboard.code, "61,837.63" in dashboard.out) == (0, True)


async def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    async with running_gateway(admission=AdmissionRules(tokens=Access("secret", protect_reads=True))) as gateway:
        assert (await term(gateway, "print", "btcusdt", "--token-file", str(tmp_path / "token"))).code == 0
        assert (await term(gateway, "print", "btcusdt")).code == 4
        missing = await term(gateway, "print", "--token-file", str(tmp_path / "none"))
    assert missing.code == 2
    assert "argument --token-file: " in missing.err


async def test_the_settings_file_holds_and_a_wrong_line_does_not_stop_it(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "tickmesh").mkdir()
    (tmp_path / "tickmesh" / "term.toml").write_text(f'url = "{gateway.http.base_url}"\ntheme = "pink"\n')
    process = await started("print", "btcusdt", "--format", "csv", XDG_CONFIG_HOME=str(tmp_path))
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"btcusdt,sim" in out) == (0, True)
