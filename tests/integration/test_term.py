from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.fixtures.fake_gateway import FakeGateway
from tests.fixtures.gateway import batch, receive, running_gateway
from tests.fixtures.slow_link import slow_link
from tests.fixtures.terminal import Terminal, open_terminal
from tickmesh_client.network import stream_url

TERM = (sys.executable, "-m", "term")


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    gateway = FakeGateway()
    await gateway.start()
    yield gateway
    await gateway.stop()


@asynccontextmanager
async def term(
    gateway: FakeGateway, *options: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    arguments = (*TERM, "--url", gateway.url, *options)
    async with open_terminal(arguments, environment=environment) as terminal:
        await terminal.shows("LIVE", "Ethereum (ETH)")
        yield terminal


def assert_left_clean(terminal: Terminal) -> None:
    assert not terminal.in_alternate_screen
    assert not terminal.cursor_hidden
    assert terminal.line_mode_restored


def assert_same_fields(found: object, real: object) -> None:
    """The fake may leave fields out, but must have none of its own, nor another kind of value in one."""
    if isinstance(found, list) and isinstance(real, list):
        found, real = found[0], real[0]
    assert isinstance(found, dict)
    assert isinstance(real, dict)
    assert {name: kind_of(value) for name, value in found.items()}.items() <= {
        name: kind_of(value) for name, value in real.items()
    }.items()


def kind_of(value: object) -> str:
    if isinstance(value, int | float):
        return "number"
    if value is None:
        return "null"
    assert isinstance(value, str)
    return "time" if re.fullmatch(r"[\d-]+T[\d:.]+Z", value) else "WORD" if re.fullmatch("[A-Z]+", value) else "text"


def fills_120_by_40(text: str) -> bool:
    lines = text.split("\n")
    return lines[0].endswith("● LIVE") and len(lines[0]) == 118 and lines[39].endswith("q quit")


async def test_a_trade_is_on_the_dashboard(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await terminal.shows("● current")
        terminal.press("\r")
        await gateway.trade(61_837.63)
        await terminal.shows("Bitcoin (BTC)  61,837.63", "SIM: not a real market", "61,837.13", "61,847.63", "1.23M")


async def test_a_trade_sends_the_terminal_what_has_changed_and_not_a_screen(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await gateway.trade(61_000)
        await terminal.shows("61,000.00")
        before = terminal.bytes_read
        await gateway.trade(61_001)
        await terminal.shows("61,001.00 ▲")
        assert 0 < terminal.bytes_read - before < 80 * 24 // 2


@pytest.mark.parametrize("options", [(), ("--no-color",)], ids=["colour", "no colour"])
async def test_a_market_that_is_not_real_is_marked_in_reverse(gateway: FakeGateway, options: tuple[str, ...]) -> None:
    async with term(gateway, *options) as terminal:
        await terminal.shows(" SIM ")
        assert terminal.in_reverse(" SIM ")
        assert not terminal.in_reverse("tickmesh")


async def test_the_price_alone_is_enough() -> None:
    gateway = FakeGateway(minimal=True)
    await gateway.start()
    async with term(gateway) as terminal:
        await terminal.shows("● current")
        terminal.press("\r")
        await gateway.trade(61_000.0)
        await gateway.trade(61_001.5)
        await terminal.shows("61,001.50 ▲")
        await terminal.shows("61,011.50")  # the session's high, asked for
    await gateway.stop()


async def test_enter_selects_the_coin_under_the_cursor(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await terminal.shows("Ethereum (ETH)")
        terminal.press("j\r")
        await terminal.shows("tickmesh  Ethereum (ETH)")
        await gateway.trade(3_402.5)
        await terminal.shows("3,402.50")
    assert gateway.requests.count("select ethusdt") == 1


@pytest.mark.parametrize("down", ["\x1bOB", "\x1b[B"], ids=["application mode", "normal mode"])
async def test_arrow_keys_work_in_both_modes_of_a_terminal(gateway: FakeGateway, down: str) -> None:
    async with term(gateway) as terminal:
        await terminal.shows("▸ Bitcoin (BTC)")
        terminal.press(down)
        await terminal.shows("▸ Ethereum (ETH)")


async def test_a_coin_changed_elsewhere_is_changed_here(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await terminal.shows("● current")
        await gateway.select("dogeusdt")
        await gateway.trade(0.12345)
        await terminal.shows("Dogecoin (DOGE)  0.12345")


async def test_prices_have_the_decimals_of_their_smallest_step(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await gateway.select("dogeusdt")
        await gateway.trade(0.5)
        await terminal.shows("Dogecoin (DOGE)  0.50000")


async def test_the_gateway_is_asked_to_tell_of_events(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await gateway.tell("status", state="waiting")
        await terminal.shows("trades have stopped: the gateway waits for a part of the mesh")
        await gateway.select("dogeusdt")
        await terminal.shows("tickmesh  Dogecoin (DOGE)")


@pytest.mark.parametrize("path", ["/api/coins", "/api/symbol", "/api/price", "/api/stats", "/api/history"])
async def test_the_fake_gateway_answers_as_the_real_one_does(gateway: FakeGateway, path: str) -> None:
    await gateway.trade(61_000.0)
    async with running_gateway() as real, httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
        found, expected = await http.get(path), await real.http.get(path)
    assert_same_fields(found.json(), expected.json())


async def test_the_fake_gateway_streams_as_the_real_one_does(gateway: FakeGateway) -> None:
    url = stream_url(gateway.url, "events=true")
    async with running_gateway() as real, real.ws() as real_stream, connect(url, proxy=None) as stream:
        selected = await receive(stream), await receive(real_stream)
        real.signal.push(batch("btcusdt", 7))
        await gateway.trade(61_000.0)
        trade = await receive(stream), await receive(real_stream)
    assert_same_fields(*selected)
    assert_same_fields(*trade)


async def test_history_scrolls_and_fetches_older_pages(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await terminal.shows("● current")
        terminal.press("h")
        await terminal.shows("1 to 18 of 100 fetched, more below")
        terminal.press("G")
        await terminal.shows("83 to 100 of 200 fetched")
        terminal.press("G")
        await terminal.shows("of 250 fetched")
        terminal.press("G")
        await terminal.shows("233 to 250 of 250 fetched", "899751")  # the oldest trade's id
        terminal.press("r")
        await terminal.shows("1 to 18 of 100 fetched")
        terminal.press("\x1b")
        await terminal.shows("session")


async def test_it_comes_back_after_the_gateway_restarts(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await gateway.trade(61_000.0)
        await terminal.shows("61,000.00")
        await gateway.stop()
        await terminal.shows("RECONNECTING #")
        await terminal.shows("connection refused")
        await gateway.start()
        await terminal.shows("LIVE")
        await gateway.trade(61_500.0)
        await terminal.shows("61,500.00")


async def test_after_a_reconnect_it_shows_what_happened_meanwhile(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        terminal.press("\x1b")
        await gateway.trade(61_000.0)
        await terminal.shows("61,000.00")
        await gateway.stop()
        await terminal.shows("RECONNECTING #")
        gateway.price = 62_000.5
        await gateway.start()
        await terminal.shows("LIVE", "62,000.50 ▲", "62,010.50")


async def test_it_starts_before_the_gateway() -> None:
    gateway = FakeGateway()
    await gateway.start()
    await gateway.stop()
    async with open_terminal((*TERM, "--url", gateway.url)) as terminal:
        await terminal.shows("CONNECTING #2 in")
        await gateway.start()
        await terminal.shows("LIVE")
        await terminal.shows("● current")
    await gateway.stop()


async def test_bad_frames_are_counted_and_survived(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        terminal.press("\x1b")
        for text in ("nonsense", "[1]", '{"price": "dear"}', '{"price": 1e999}', '{"type": "news"}', '{"price": NaN}'):
            await gateway.say_text(text)
        await gateway.say({"type": "lagged", "missed": 12})
        await gateway.trade(61_000.0)
        await terminal.shows("61,000.00")
        await terminal.shows("12 trades not sent to this screen, 5 bad frames")


async def test_the_size_is_the_terminals_whatever_is_exported(gateway: FakeGateway) -> None:
    async with term(gateway, environment={"COLUMNS": "40", "LINES": "12"}) as terminal:
        await terminal.shows("q quit")
        assert "q quit" in terminal.text.splitlines()[23]


async def test_a_resized_terminal_is_filled(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        await terminal.shows("● current")
        terminal.resize(120, 40)
        await terminal.shows_what(fills_120_by_40, "a screen of 120x40")
        terminal.resize(39, 12)
        await terminal.shows("it is 39x12, tickmesh needs 40x12")
        terminal.resize(80, 24)
        await terminal.shows("● current")


@pytest.mark.parametrize("name", ["C", "xx_XX.UTF-8"])
async def test_a_locale_without_box_drawing_gets_the_same_signs_in_ascii(gateway: FakeGateway, name: str) -> None:
    environment = {"LC_ALL": name, "TERM": "linux"}  # pyte does not know how xterm repeats a character
    async with term(gateway, environment=environment) as terminal:
        await terminal.shows("* LIVE", "> Bitcoin (BTC)", "-" * 80, "^v navigate")
        terminal.press("\x1b")
        await gateway.trade(61_000.0)
        await gateway.trade(61_001.0)
        await terminal.shows("61,001.00 ^", "^ +1.00 (0.00 %)", "-- session ---", "61,001.00 +", "'-'  |  | '-' '-'  |")
        assert terminal.text.isascii()


async def test_q_leaves_the_terminal_clean(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        assert terminal.in_alternate_screen
        terminal.press("q")
        assert await terminal.exit_code() == 0
        assert_left_clean(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
async def test_a_signal_leaves_the_terminal_clean(gateway: FakeGateway, number: signal.Signals) -> None:
    async with term(gateway) as terminal:
        terminal.signal(number)
        assert await terminal.exit_code() == 0
        assert_left_clean(terminal)


@pytest.mark.parametrize("key", ["\x03", "\x1c"], ids=["Ctrl-C", "Ctrl-backslash"])
async def test_a_key_that_is_a_signal_leaves_the_terminal_clean(gateway: FakeGateway, key: str) -> None:
    async with term(gateway) as terminal:
        terminal.press(key)
        assert await terminal.exit_code() == 0
        assert_left_clean(terminal)


async def test_a_closed_window_ends_the_program(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        terminal.hang_up()
        assert await terminal.exit_code() == 0


async def test_a_token_is_sent_with_requests_and_stream(gateway: FakeGateway) -> None:
    async with term(gateway, "--token", "secret") as terminal:
        await terminal.shows("● current")
    assert gateway.authorizations == {"Bearer secret"}


async def test_an_error_leaves_the_terminal_clean_and_is_told(gateway: FakeGateway) -> None:
    broken = "import sys, term.app, term.__main__ as m; term.app.draw = None; sys.exit(m.main(sys.argv[1:], {}))"
    arguments = (sys.executable, "-c", broken, "--url", gateway.url)
    async with open_terminal(arguments) as terminal:
        assert await terminal.exit_code() == 1
        assert_left_clean(terminal)
        assert "not callable" in terminal.text


async def test_a_proxy_that_cannot_be_used_ends_it_with_one_plain_line() -> None:
    environment = {"ALL_PROXY": "socks4://127.0.0.1:1"}
    async with open_terminal((*TERM, "--url", "http://mesh.example"), environment=environment) as terminal:
        assert await terminal.exit_code() == 2
        assert_left_clean(terminal)
        assert "term: found no way to http://mesh.example: Unknown scheme for proxy URL" in terminal.text
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("name", ["dumb", "no-such-terminal"])
async def test_a_terminal_that_cannot_show_a_screen_is_refused(name: str) -> None:
    async with open_terminal(TERM, environment={"TERM": name}) as terminal:
        assert await terminal.exit_code() == 2
        assert f"found TERM='{name}'" in terminal.text


def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run(TERM, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    assert done.returncode == 2
    assert b"found no terminal on standard input and output" in done.stderr


async def test_the_header_says_what_the_mesh_says_of_the_feed(gateway: FakeGateway) -> None:
    async with term(gateway) as terminal:
        terminal.press("5")
        await terminal.shows("feed        LIVE")
        await gateway.trade(61837.63)
        await gateway.tell_status("BLOCKED")
        await terminal.shows("▪ BLOCKED")
        await gateway.tell_status("LIVE")
        await terminal.shows("● LIVE")


async def test_an_alert_runs_the_persons_command_with_what_happened_in_its_environment(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = ["sh", "-c", 'printf "%s|%s|%s" "$TICKMESH_ALERT" "$TICKMESH_SYMBOL" "$TICKMESH_PRICE" >"$0"', str(told)]
    (tmp_path / "tickmesh").mkdir()
    settings = f'alerts = ["btcusdt > 61000"]\nalert_command = {json.dumps(command)}\ntheme = "pink"\n'
    (tmp_path / "tickmesh" / "term.toml").write_text(settings)
    async with term(gateway, environment={"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}) as screen:
        await screen.shows("line 3 of the settings: found 'pink'", "Ethereum (ETH)")
        await gateway.trade(61_000.5)
        await screen.shows("alert: Bitcoin (BTC) above 61,000")
        async with asyncio.timeout(20):
            while not (told.exists() and told.read_text()):
                await asyncio.sleep(0.02)
        assert told.read_text() == "Bitcoin (BTC) above 61,000|btcusdt|61000.5"


async def test_an_alert_is_told_by_notify_send_where_there_is_one(gateway: FakeGateway, tmp_path: Path) -> None:
    told, program = tmp_path / "told", tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >"{told}.part"\nmv "{told}.part" "{told}"\n')
    program.chmod(0o755)
    async with term(gateway, environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as screen:
        screen.press("6a")
        await screen.shows("alert: btcusdt > _")
        screen.press("61000\r")
        await screen.shows("watching: btcusdt > 61000")
        await gateway.trade(61_000.5)
        await screen.shows("has rung")
        async with asyncio.timeout(20):
            while not told.exists():
                await asyncio.sleep(0.02)
        assert told.read_text() == "tickmesh|Bitcoin (BTC) above 61,000|"


async def remembered_in(home: Path, text: str) -> None:
    """Wait until the program remembers something."""
    async with asyncio.timeout(20):
        while not ((file := home / "tickmesh" / "term.json").exists() and text in file.read_text()):
            await asyncio.sleep(0.02)


async def test_an_alert_outlives_a_program_that_is_killed_and_does_not_ring_twice(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    home = {"XDG_STATE_HOME": str(tmp_path)}
    async with term(gateway, environment=home) as screen:
        screen.press("6a")
        await screen.shows("alert: btcusdt > _")
        screen.press("61000\ra")
        await screen.shows("alert: btcusdt > _")
        screen.press("62000\r")
        await screen.shows("btcusdt > 62000")
        await gateway.trade(61_000.5)
        await screen.shows("has rung")
        await remembered_in(tmp_path, '"rung":["btcusdt > 61000"]')
        screen.signal(signal.SIGKILL)
        await screen.exit_code()
    async with term(gateway, "--view", "coins", environment=home) as screen:
        screen.press("6")
        await screen.shows("btcusdt > 61000", "btcusdt > 62000")
        await gateway.trade(61_001)
        await screen.shows("61,001.00", "has rung", "armed")
        assert "alert:" not in screen.text


async def test_a_terminal_that_has_changed_nothing_keeps_what_another_one_remembers(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    home = {"XDG_STATE_HOME": str(tmp_path)}
    async with term(gateway, environment=home) as first:
        async with term(gateway, environment=home) as second:
            second.press("f")
            await second.shows("*")
            second.press("q")
            assert await second.exit_code() == 0
        first.press("q")
        assert await first.exit_code() == 0
    await remembered_in(tmp_path, '"favourites":["btcusdt"]')


@pytest.mark.parametrize("name", ["linux", "screen", "screen-256color", "tmux-256color", "vt100"])
async def test_every_usual_terminal_shows_it_and_is_left_clean(gateway: FakeGateway, name: str) -> None:
    async with term(gateway, environment={"TERM": name}) as terminal:
        await terminal.shows("● current btcusdt", "Dogecoin (DOGE)", "q quit")
        terminal.press("q")
        assert await terminal.exit_code() == 0
        assert_left_clean(terminal)


DIRECT = r"""
xterm-direct|with colours of 24 bits,
    use=xterm-256color, RGB, colors#0x1000000, pairs#0x7FFF, ccc@, initc@, op=\E[39;49m,
    setaf=\E[%?%p1%{8}%<%t3%p1%d%e38;2;%p1%{65536}%/%d;%p1%{256}%/%{255}%&%d;%p1%{255}%&%d%;m,
"""


async def test_a_terminal_with_colours_of_24_bits_is_given_those(gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "direct.ti").write_text(DIRECT)
    subprocess.run(["tic", "-x", "-o", tmp_path, tmp_path / "direct.ti"], check=True)
    environment = {"TERM": "xterm-direct", "TERMINFO_DIRS": f"{tmp_path}:/etc/terminfo:/lib/terminfo"}
    async with term(gateway, environment=environment) as terminal:
        await terminal.shows("● LIVE", "q quit")
        assert terminal.colours_of("● LIVE") == {"5fd75f"}
        terminal.press("q")
        assert await terminal.exit_code() == 0


@pytest.mark.parametrize(
    ("options", "environment", "coloured"),
    [((), {}, True), ((), {"NO_COLOR": "1"}, False), (("--no-color",), {}, False), (("--theme", "mono"), {}, False)],
    ids=["colours", "NO_COLOR", "--no-color", "mono"],
)
async def test_there_are_colours_unless_one_wants_none(
    gateway: FakeGateway, options: tuple[str, ...], environment: dict[str, str], coloured: bool
) -> None:
    async with term(gateway, *options, environment={"NO_COLOR": ""} | environment) as terminal:
        await terminal.shows("● LIVE", "● current btcusdt")
        assert (terminal.colours_of("● LIVE") != {"default"}) is coloured


def ids_on_tape(text: str) -> list[int]:
    """Of the trades of the small signal, whose price is the id, or of the small store, where it is a hundredth."""
    prices = re.findall(r"\d\d:\d\d:\d\d [▲▼] +([\d,.]+) ", text)
    return [
        round(price) if price > 100 else round(100 * price) for price in (float(p.replace(",", "")) for p in prices)
    ]


async def test_over_a_link_of_300_ms_keys_are_answered_at_once_and_no_trade_is_lost_or_doubled() -> None:
    size = {"width": 120, "height": 40, "environment": {"TERM": "linux"}}  # pyte does not scroll as xterm does
    async with (
        running_gateway() as gateway,
        slow_link(gateway.port, delay_s=0.15) as link,
        open_terminal((*TERM, "--url", f"http://127.0.0.1:{link.port}"), **size) as terminal,  # type: ignore[arg-type]
    ):
        await terminal.shows("● current btcusdt", "Solana (SOL)")
        terminal.press("2")
        last = gateway.store.newest
        async with asyncio.timeout(20):
            while not ids_on_tape(terminal.text):
                last += 1
                gateway.signal.push(batch("btcusdt", last))
                gateway.store.newest = last
                await asyncio.sleep(0.05)
        first = ids_on_tape(terminal.text)[-1]

        link.hold()
        views = (
            ("5", "── status"),
            ("4", "── coverage"),
            ("3", "── trades, newest"),
            ("1", "── coins"),
            ("?", "── keys"),
        )
        for key, shown in views:  # none of them has to hear from the gateway first
            terminal.press(key)
            await terminal.shows(shown)
        terminal.press("?2")
        gateway.signal.push(batch("btcusdt", last + 1, 10))
        link.cut()  # with trades on their way
        gateway.store.newest = last + 10
        link.release()
        await terminal.shows_what(lambda text: ids_on_tape(text)[:1] == [last + 10], "the trades from during the loss")
        gateway.signal.push(batch("btcusdt", last + 11, 5))
        expected = [*range(last + 15, first - 1, -1)][:20]
        await terminal.shows_what(lambda text: ids_on_tape(text)[: len(expected)] == expected, expected)


@pytest.mark.skipif(not shutil.which("screen"), reason="GNU screen is not installed")
async def test_in_gnu_screen_it_is_shown_answers_keys_and_is_left_clean(gateway: FakeGateway, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    command = ("screen", "-U", "-c", "/dev/null", "-S", "term", *TERM, "--url", gateway.url)
    async with open_terminal(command, environment={"SCREENDIR": str(tmp_path)}) as terminal:
        await terminal.shows("● current btcusdt", "▸ Bitcoin (BTC)", "q quit")
        terminal.press("j")
        await terminal.shows("▸ Ethereum (ETH)")
        terminal.resize(120, 40)
        await terminal.shows_what(fills_120_by_40, "a screen of 120x40")
        terminal.press("q")
        assert await terminal.exit_code() == 0
        assert terminal.line_mode_restored
