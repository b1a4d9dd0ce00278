from __future__ import annotations

import pytest

from ingest.settings import IngestSettings
from mesh.service.nats_url import NatsServers, parse
from mesh.service.settings import WrongSettings, load


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nats://127.0.0.1", NatsServers(("nats://127.0.0.1:4222",))),
        ("nats://me:p%40ss%2Fw%25rd%3A@bus:1", NatsServers(("nats://bus:1",), "me", "p@ss/w%rd:")),
        ("nats://m%65:p%2Bs+s@bus", NatsServers(("nats://bus:4222",), "me", "p+s+s")),
        ("tls://to%3Dken@bus:1/", NatsServers(("tls://bus:1",), token="to=ken")),
        ("nats://me:@bus:1", NatsServers(("nats://bus:1",), "me", "")),
        ("nats://a:1, nats://b:2,", NatsServers(("nats://a:1", "nats://b:2"))),
        ("nats://me:x@a:1,nats://me:x@b", NatsServers(("nats://a:1", "nats://b:4222"), "me", "x")),
        ("nats://me:x@[::1]:1", NatsServers(("nats://[::1]:1",), "me", "x")),
    ],
)
def test_servers_user_password_and_token_are_read_as_they_are_meant(text: str, servers: NatsServers) -> None:
    assert parse(text) == servers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a URL of nats or tls"),
        (",", "is not a URL of nats or tls"),
        ("http://secret@bus", "is not a URL of nats or tls"),
        ("nats://secret@", "is not a URL of nats or tls"),
        ("nats://me:sec/ret@bus", "its port is none"),
        ("nats://me:4/secret@bus", "it goes on after the host"),
        ("nats://me:secret", "its port is none"),
        ("nats://me:secret@a,nats://me:other@b", "different users or passwords"),
        ("nats://me:secret@a,nats://b", "different users or passwords"),
    ],
)
def test_what_is_none_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        parse(text)
    assert "secret" not in str(refused.value)
    if text:
        monkeypatch.setenv("NATS_URL", text)
        with pytest.raises(WrongSettings, match=f"NATS_URL: .*{words}") as named:
            load(IngestSettings)
        assert "secret" not in str(named.value)


def test_a_password_is_not_in_what_is_shown() -> None:
    servers = parse("nats://me:secret@a:1,nats://me:secret@b:2")
    assert servers.shown == "a:1,b:2"
    assert "secret" not in repr(servers)
