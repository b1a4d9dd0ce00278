"""What every refusal of Binance means for whoever asked: one table for HTTP statuses, one for Binance's codes. Pure.

`docs/operations.md` shows both tables; `make readme` writes them there from here.
"""

from __future__ import annotations

from enum import Enum


class Refusal(Enum):
    """What to do after a refusal; the value says it to people."""

    ASK_AGAIN = "ask the next host now, all of them again later"
    LEAVE_HOST = "leave this host alone for 2 s, twice as long each time, up to 5 min; ask the next one now"
    NOT_OFFERED = "do not ask this host for that path for 5 min; ask the next one now"
    STAY_AWAY = "ask no host anything for as long as `Retry-After` says (1 s to 3 days; 60 s when it says nothing)"
    REJECTED = "the question is wrong: ask nobody again; the ids stay a hole, which the ledger asks for later"


STATUSES: dict[int, tuple[Refusal, str]] = {
    401: (Refusal.NOT_OFFERED, "wants a key"),
    403: (Refusal.LEAVE_HOST, "its firewall refuses us"),
    404: (Refusal.NOT_OFFERED, "has no such path"),
    405: (Refusal.NOT_OFFERED, "has no such path"),
    408: (Refusal.ASK_AGAIN, "its backend did not answer in time"),
    410: (Refusal.NOT_OFFERED, "has no such path any more"),
    414: (Refusal.REJECTED, "the address is too long"),
    418: (Refusal.STAY_AWAY, "banned this address"),
    425: (Refusal.ASK_AGAIN, "too early"),
    429: (Refusal.STAY_AWAY, "asks to slow down"),
    431: (Refusal.REJECTED, "the headers are too long"),
    451: (Refusal.LEAVE_HOST, "refuses this location"),
    501: (Refusal.NOT_OFFERED, "has no such path"),
}
"""What the statuses mean that have a meaning of their own; `_other_status` knows the rest."""

DECISIVE_STATUSES = frozenset({403, 408, 418, 429, 451})
"""With these the status decides whatever code stands in the body, and so it does from 500 on."""

CODES: dict[int, tuple[Refusal, str]] = {
    -1000: (Refusal.ASK_AGAIN, "UNKNOWN: an unknown error while processing the request"),
    -1001: (Refusal.ASK_AGAIN, "DISCONNECTED: internal error, try again"),
    -1002: (Refusal.NOT_OFFERED, "UNAUTHORIZED"),
    -1003: (Refusal.STAY_AWAY, "TOO_MANY_REQUESTS"),
    -1004: (Refusal.ASK_AGAIN, "SERVER_BUSY, its older number"),
    -1006: (Refusal.ASK_AGAIN, "UNEXPECTED_RESP: from the message bus"),
    -1007: (Refusal.ASK_AGAIN, "TIMEOUT: of the backend"),
    -1008: (Refusal.ASK_AGAIN, "SERVER_BUSY: overloaded, try again in a few minutes"),
    -1013: (Refusal.REJECTED, "INVALID_MESSAGE"),
    -1014: (Refusal.REJECTED, "UNKNOWN_ORDER_COMPOSITION"),
    -1015: (Refusal.STAY_AWAY, "TOO_MANY_ORDERS"),
    -1016: (Refusal.ASK_AGAIN, "SERVICE_SHUTTING_DOWN"),
    -1020: (Refusal.REJECTED, "UNSUPPORTED_OPERATION"),
    -1021: (Refusal.REJECTED, "INVALID_TIMESTAMP"),
    -1022: (Refusal.REJECTED, "INVALID_SIGNATURE"),
    -1034: (Refusal.ASK_AGAIN, "TOO_MANY_CONNECTIONS"),
    -1099: (Refusal.NOT_OFFERED, "not found, authenticated or authorized"),
    -2014: (Refusal.NOT_OFFERED, "BAD_API_KEY_FMT: wants a key"),
    -2015: (Refusal.NOT_OFFERED, "REJECTED_MBX_KEY: wants a key, or refuses this address"),
}
"""What the codes mean that have a meaning of their own; `_other_code` knows the rest."""


def refusal_of(status: int, code: int) -> tuple[Refusal, str]:
    """Return what an answer that is none means, and why in a few words.

    Args:
        status: of HTTP, other than 200.
        code: Binance's own, of the body's `{"code": -1121, "msg": "Invalid symbol."}`; 0 when there is none.

    """
    if status in DECISIVE_STATUSES or status >= 500 or not code:
        return STATUSES.get(status) or _other_status(status)
    return CODES.get(code) or _other_code(status, code)


def table() -> list[tuple[str, str, str]]:
    """Return the rows that people read: what is done, after which statuses, after which codes."""
    rows = []
    for refusal in Refusal:
        statuses = [f"`{status}` {why}" for status, (meant, why) in STATUSES.items() if meant is refusal]
        codes = [f"`{code}` {name}" for code, (meant, name) in CODES.items() if meant is refusal]
        if refusal is Refusal.ASK_AGAIN:
            statuses += ["`5xx`", "any other", "no answer, or one too late, too large, encoded or illegible"]
            codes += ["any other"]
        elif refusal is Refusal.REJECTED:
            codes += ["`-11xx` wrong parameters, as `-1121` Invalid symbol", "`-2xxx` and `-9xxx` of orders"]
        rows.append((refusal.value, "<br>".join(statuses), "<br>".join(codes)))
    return rows


def _other_status(status: int) -> tuple[Refusal, str]:
    # "It is important to NOT treat this as a failure operation; the execution status is UNKNOWN", says Binance of 5xx.
    # To ask again in vain costs a minute; not to ask again leaves a hole.
    return Refusal.ASK_AGAIN, "is in trouble" if status >= 500 else "gives no answer"


def _other_code(status: int, code: int) -> tuple[Refusal, str]:
    if -1200 < code <= -1100 or -3000 < code <= -2000 or -10_000 < code <= -9000:
        return Refusal.REJECTED, "refuses the question"
    return STATUSES.get(status) or (Refusal.ASK_AGAIN, "gives a code we do not know")
