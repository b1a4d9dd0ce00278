"""Which venue a host is known to belong to. Pure.

Several exchanges speak Binance's language on hosts of their own. Their trade ids are their own too: rows of one under
the name of another would be taken for duplicates or for holes of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

BINANCE = "binance"
SIM = "sim"

_OTHER_MARKET = (
    "is a host of Binance's futures or options, which have other paths and other ids: only its spot market is followed"
)

# By the end of the host's name, the longest first where one contains another.
_SUFFIXES = (
    ("testnet.binance.vision", "binancetestnet"),
    ("binance.vision", BINANCE),
    ("binance.com", BINANCE),
    ("binance.us", "binanceus"),
    ("binance.tr", "binancetr"),
    ("trbinance.com", "binancetr"),
    ("binance.th", "binanceth"),
    ("tokocrypto.com", "tokocrypto"),
    ("tokocrypto.site", "tokocrypto"),
    ("mexc.com", "mexc"),
)
# By the first label of a host under binance.com: Binance's demo accounts trade against ids of their own.
_DEMO_PREFIX = "demo-"
_OTHER_MARKET_LABELS = ("fstream", "dstream", "fapi", "dapi", "eapi", "papi", "nbstream", "vstream", "pstream")
_OTHER_MARKET_SUFFIXES = ("binancefuture.com",)


def venue_of(host: str) -> str | None:
    """Return the venue that a host is known to belong to, None for a host that nobody knows.

    Args:
        host: a host's name in any case, without port.

    """
    name = host.rstrip(".").lower()
    for suffix, venue in _SUFFIXES:
        if _ends_with(name, suffix):
            return "binancedemo" if suffix == "binance.com" and name.startswith(_DEMO_PREFIX) else venue
    return None


def problem(urls: Sequence[str], venue: str) -> str | None:
    """Return why the rows of these hosts may not be called `venue`, None when nothing is known against it.

    Args:
        urls: WebSocket or REST hosts as URLs.
        venue: the name that rows get.

    """
    for url in urls:
        host = urlsplit(url).hostname or ""
        if _is_of_another_market(host.rstrip(".").lower()):
            return f"{host} {_OTHER_MARKET}"
        known = venue_of(host)
        if known is not None and known != venue:
            reason = f"{host} is a host of {known}, whose trades have ids of their own"
            return reason if venue == SIM else f"{reason}: to follow it set VENUE_NAME={known}"
    return None


def _is_of_another_market(name: str) -> bool:
    if any(_ends_with(name, suffix) for suffix in _OTHER_MARKET_SUFFIXES):
        return True
    # fstream.binance.com, fstream-auth.binance.com, fstream3.binance.com, demo-fapi.binance.com
    words = {word.rstrip("0123456789") for word in name.partition(".")[0].split("-")}
    return venue_of(name) is not None and not words.isdisjoint(_OTHER_MARKET_LABELS)


def _ends_with(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith("." + suffix)
