"""Which hosts a database is said to have."""

from __future__ import annotations

import pytest

from store.database.connection import shown


@pytest.mark.parametrize(
    ("conninfo", "wanted"),
    [
        ("postgresql://me:secret@a/x", "a:5432/x"),
        ("postgresql://me:secret@a:1,b:2/x", "a:1,b:2/x"),
        ("host=a,b port=7 dbname=x password=secret", "a:7,b:7/x"),
        ("hostaddr=10.0.0.1,10.0.0.2 dbname=x", "10.0.0.1:5432,10.0.0.2:5432/x"),
        ("dbname=x", "localhost:5432/x"),
    ],
)
def test_hosts_are_shown_with_their_ports_and_without_a_password(conninfo: str, wanted: str) -> None:
    assert shown(conninfo) == wanted
