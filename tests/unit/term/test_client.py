from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from term.__main__ import main
from term.backoff import MOST_S, backoff
from term.client import is_loopback, shown_url, stream_url


@pytest.mark.parametrize(
    ("url", "stream"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws?events=true"),
        ("https://mesh.example/tick/", "wss://mesh.example/tick/ws?events=true"),
        ("http://[::1]:8080/", "ws://[::1]:8080/ws?events=true"),
    ],
)
def test_the_live_stream_is_beside_the_api_and_tells_of_events(url: str, stream: str) -> None:
    assert stream_url(url) == stream


def test_a_password_is_not_shown() -> None:
    assert shown_url("https://me:secret@mesh.example:8080/tick") == "https://mesh.example:8080/tick"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://127.0.0.1:1", True), ("http://[::1]", True), ("http://localhost:8080", True), ("http://10.0.0.1", False)],
)
def test_this_machine_is_known(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_delays_grow_to_a_limit_and_differ_by_chance() -> None:
    delays_s = list(islice(backoff(Random(1)), 20))
    assert 0.25 <= delays_s[0] <= 0.5
    assert all(MOST_S / 2 <= delay_s <= MOST_S for delay_s in delays_s[5:])
    assert len(set(delays_s)) == 20


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "http://", "http://x:0", "http://x:99999", "http://[::1"])
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_bad_url_ends_with_an_error(url: str, by_environment: bool, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, environment = ([], {"TICKMESH_URL": url}) if by_environment else (["--url", url], {})
    with pytest.raises(SystemExit, match="2"):
        main(arguments, environment)
    assert f"found {url!r}, expected a URL" in capsys.readouterr().err


def test_help_names_every_option_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"], {})
    text = capsys.readouterr().out
    assert all(word in text for word in ("--url", "--token", "--no-color", "TICKMESH_URL", "API_TOKEN", "exit codes"))
