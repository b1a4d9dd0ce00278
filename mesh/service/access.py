"""Who may do what: the tokens, the right that each of them gives, and which calls need one. Pure.

Two rights. READ is for looking: it needs a token only where reads are protected. WRITE is for changing something for
everybody: it needs `API_TOKEN` wherever one is set. The gateway asks over HTTP, signal and store over gRPC, alike.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

WRONG_TOKEN = "wrong token"  # noqa: S105 - what is said of it
Network = IPv4Network | IPv6Network
_PREFIX = 64  # what one customer is given of IPv6 at least


class Right(Enum):
    """What a call needs."""

    READ = auto()
    WRITE = auto()


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens of this mesh.

    Attributes:
        api_token: gives both rights; None when there is none, and everybody has both.
        read_token: gives the right to read only; None when there is none.
        protect_reads: whether reading needs a token, too.

    """

    api_token: str | None = None
    read_token: str | None = None
    protect_reads: bool = False

    def needs_token(self, right: Right) -> bool:
        """Tell whether a call that needs `right` has to bring a token."""
        return self.api_token is not None and (right is Right.WRITE or self.protect_reads)

    def problem(self, right: Right, given: str) -> str | None:
        """Return what is wrong with the token a caller gave ("" when none) for `right`; None when nothing is.

        Args:
            right: what the call needs.
            given: the caller's token.

        """
        if not self.needs_token(right):
            return None
        return self.token_problem(right, given)

    def token_problem(self, right: Right, given: str) -> str | None:
        """Return what is wrong with a token where one is needed; None when nothing is, or no token is set.

        Args:
            right: what the call needs.
            given: the caller's token, "" when none came.

        """
        if self.api_token is None:
            return None
        if not given:
            return "this needs a token: send it as `authorization: Bearer <token>`"
        # Both are compared always, so that the time taken says nothing of either.
        writes = _same(given, self.api_token)
        reads = _same(given, self.read_token or self.api_token)
        if writes or (reads and right is Right.READ):
            return None
        return "this token may only read" if reads else WRONG_TOKEN


def bearer(authorization: str) -> str:
    """Return the token of an `authorization` header, "" when it holds none.

    >>> bearer("Bearer s3cret")
    's3cret'
    """
    scheme, _, credentials = authorization.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def right_of(method: MethodDescriptor) -> Right:
    """Return what calling an RPC needs: READ for what HTTP GETs and for streams, WRITE for everything else."""
    options = method.GetOptions()
    if options.HasExtension(annotations_pb2.http):
        return Right.READ if options.Extensions[annotations_pb2.http].HasField("get") else Right.WRITE
    return Right.READ if method.server_streaming else Right.WRITE


def rights_of(service: ServiceDescriptor) -> dict[str, Right]:
    """Return what each RPC of a service needs, by its name in gRPC: `/tickmesh.v1.SignalService/GetPrice`."""
    return {f"/{service.full_name}/{method.name}": right_of(method) for method in service.methods}


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens on `host`, a name or an address.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def address_key(host: str, proxies: tuple[Network, ...] = ()) -> str:
    """Return what counts as one address: an IPv4 address, a /64 of IPv6; "" for a proxy's, and for none at all.

    >>> address_key("2001:db8:1:2:3::4")
    '2001:db8:1:2::/64'

    Args:
        host: the peer's address as text.
        proxies: networks whose addresses stand for many users.

    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in proxies if network.version == address.version):
        return ""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _PREFIX), strict=False))
    return str(address)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())
