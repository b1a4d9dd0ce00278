"""`python -m term print`, `watch`, `history` and `--once`, as a script runs them: the real gateway, and pipes."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.access import AdmissionRules
from mesh.service.access import Access
from term.command_line import parser_of
from term.settings import CHECKS
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
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"btcusdt,sim" in out) == (0, True)
    assert b"term: term.toml: line 2 of the settings: found 'pink'" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "nonsense"', "line 1 of the settings: found the address 'nonsense'"),
        ('token_file = "/nowhere/token"', "line 1 of the settings: [Errno 2]"),
    ],
)
async def test_an_address_or_a_token_file_that_is_wrong_in_the_settings_does_not_stop_it(
    gateway: Gateway, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "tickmesh").mkdir()
    (tmp_path / "tickmesh" / "term.toml").write_text(f"{line}\n")
    done = await term(gateway, "print", "btcusdt", "--format", "csv")
    assert (done.code, "btcusdt,sim" in done.out) == (0, True)
    assert said in done.err


async def test_settings_that_cannot_be_read_are_told(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "tickmesh" / "term.toml").mkdir(parents=True)
    done = await term(gateway, "print", "btcusdt")
    assert (done.code, "btcusdt" in done.out) == (0, True)
    assert "term.toml: Is a directory, expected settings that can be read" in done.err


async def test_every_setting_is_an_option_too(gateway: Gateway) -> None:
    options = ("--sort", "volume", "--favourites", "ethusdt", "--alerts", "btcusdt > 62,000; ethusdt stale 30s")
    done = await term(gateway, "--once", *options)
    assert (done.code, "volume▼" in done.out) == (0, True)
    assert done.out.splitlines()[3].strip().startswith("*")
    alerts = await term(gateway, "--once", *options, "--view", "alerts")
    assert "btcusdt > 62000" in alerts.out
    assert "ethusdt stale 30s" in alerts.out
    chart = ("--chart", "braille", "--interval", "1h", "--overlays", "s,b", "--alert-command", "logger 'an alert'")
    dashboard = await term(gateway, "--once", "--view", "dashboard", *chart)
    assert (dashboard.code, "1h braille" in dashboard.out) == (0, True)
    wrong = await term(gateway, "--once", "--interval", "7m")
    assert (wrong.code, "argument --interval: found '7m', expected one of 1s" in wrong.err) == (2, True)


def test_the_options_have_the_names_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser_of({}, {}).parse_args(["--help"])
    said = capsys.readouterr().out
    assert [name for name in CHECKS if f"--{name.replace('_', '-')} " not in said] == []


async def through(command: str, gateway: Gateway, **environment: str) -> Ended:
    """Run a line of a shell, in which `$TERM_CLIENT` is the program."""
    client = f"{sys.executable} -m term --url {gateway.http.base_url}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-o", "pipefail", "-c", command.replace("$TERM_CLIENT", client)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TERM": "dumb", **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("what", ["print", "history", "--once", "--once --view status"])
async def test_a_reader_that_has_gone_before_the_first_line_is_no_error(gateway: Gateway, what: str) -> None:
    done = await through(f"$TERM_CLIENT {what} | (exec <&-; sleep 0)", gateway)
    assert (done.err, done.code in (0, 128 + signal.SIGPIPE)) == ("", True)


@pytest.mark.parametrize("what", ["print", "history", "--once"])
async def test_a_full_disk_is_told_in_one_line(gateway: Gateway, what: str) -> None:
    done = await through(f"$TERM_CLIENT {what} >/dev/full", gateway)
    assert done.code == 5
    assert done.err == "term: found No space left on device on standard output, expected that it can be written\n"


async def test_where_output_is_not_utf_8_a_screen_is_drawn_in_ascii(gateway: Gateway) -> None:
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = await term(gateway, "--once", "--view", "dashboard", **environment)
    assert (done.code, done.err, done.out.isascii()) == (0, "", True)
    assert "-- session ---" in done.out


async def test_ctrl_c_ends_a_screen_that_waits_with_the_code_of_watch() -> None:
    asked = asyncio.Event()
    connections: set[asyncio.Task[None] | None] = set()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        asked.set()
        with suppress(ConnectionError):
            while await reader.read(1 << 16):
                continue
        writer.close()

    async with await asyncio.start_server(never_answers, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await started("--once", "--url", f"http://127.0.0.1:{port}")
        await asyncio.wait_for(asked.wait(), 20)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        await asyncio.gather(*filter(None, connections))
    assert (process.returncode, err) == (130, b"")


async def test_a_coin_that_has_not_traded_yet_has_an_empty_row(gateway: Gateway) -> None:
    done = await term(gateway, "print", "btcusdt", "solusdt", "--format", "csv")
    assert done.code == 0
    assert [line.split(",")[:3] for line in done.out.splitlines()[1:]] == [
        ["btcusdt", "sim", "61837.63"],
        ["solusdt", "", ""],
    ]
    alone = await term(gateway, "print", "solusdt")
    assert (alone.code, alone.out, "has not traded yet" in alone.err) == (3, "", True)


async def test_a_coin_that_cannot_be_told_leaves_no_half_of_a_list(gateway: Gateway) -> None:
    done = await term(gateway, "print", "btcusdt", "nopeusdt", "--format", "json")
    assert (done.code, done.out) == (4, "")
