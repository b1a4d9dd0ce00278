from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.limits import OTHER_FILES, RESERVE, ConnectionLimits, Connections
from mesh.service.access import address_key


def filled(limits: ConnectionLimits, hosts: list[str]) -> Connections[int]:
    connections: Connections[int] = Connections(limits)
    for number, host in enumerate(hosts):
        assert connections.admit(number, host) == (None, None)
    return connections


def test_the_one_that_waits_longest_gives_way() -> None:
    connections = filled(ConnectionLimits(3, 3), ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    connections.busy(0)
    assert connections.admit(3, "10.0.0.4") == (None, 1)
    connections.busy(2)
    connections.waits(2)
    assert connections.admit(4, "10.0.0.5") == (None, 3)
    assert len(connections) == 3


def test_an_address_that_has_enough_pushes_only_its_own_out() -> None:
    connections = filled(ConnectionLimits(10, 2), ["10.0.0.1", "10.0.0.2", "10.0.0.2"])
    assert connections.admit(3, "10.0.0.2") == (None, 1)
    for number in (2, 3):
        connections.busy(number)
    overload, evicted = connections.admit(4, "10.0.0.2")
    assert overload is not None and overload.status == 429 and evicted is None
    assert connections.admit(5, "10.0.0.3") == (None, None)


def test_when_nobody_waits_newcomers_are_refused_and_only_so_many_are_let_in_for_that() -> None:
    connections = filled(ConnectionLimits(2, 2), ["10.0.0.1", "10.0.0.2"])
    connections.busy(0)
    connections.busy(1)
    for number in range(2, 2 + RESERVE):
        overload, evicted = connections.admit(number, "10.0.0.3")
        assert overload is not None and overload.status == 503 and evicted is None
    assert connections.admit(100, "10.0.0.3")[1] == 2
    assert len(connections) == 2 + RESERVE
    connections.leave(0)
    assert connections.admit(101, "10.0.0.3") == (None, None)


def test_whoever_left_takes_no_place() -> None:
    connections = filled(ConnectionLimits(2, 2), ["10.0.0.1", "10.0.0.1"])
    for number in (0, 1, 1):
        connections.leave(number)
    connections.waits(0)
    assert len(connections) == 0
    assert [connections.admit(number, "10.0.0.1") for number in (2, 3)] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.168.7.7", ""),
        ("", ""),
    ],
)
def test_what_one_customer_has_counts_as_one_address(host: str, key: str) -> None:
    assert address_key(host, (ip_network("192.168.0.0/16"),)) == key


def test_the_bound_fits_into_the_open_files_there_may_be() -> None:
    assert ConnectionLimits(4096, 2048).within(65_536) == ConnectionLimits(4096, 2048)
    small = ConnectionLimits(4096, 2048).within(256)
    assert small.total + RESERVE + OTHER_FILES <= 256 and small.per_address == small.total


def test_answers_nobody_reads_are_given_up_when_they_are_too_much_together() -> None:
    connections = filled(ConnectionLimits(10, 10), ["10.0.0.1"] * 5)
    sizes = {0: 40, 1: 30, 2: 50, 3: 10}
    assert connections.unread(0, 100, sizes.__getitem__) == []
    assert connections.unread(1, 100, sizes.__getitem__) == []
    assert connections.unread(2, 100, sizes.__getitem__) == [0]
    connections.read(1)
    assert connections.unread(3, 100, sizes.__getitem__) == []
    connections.leave(2)
    assert connections.unread(0, 45, sizes.__getitem__) == [3]
