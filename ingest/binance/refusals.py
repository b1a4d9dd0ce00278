"""What every refusal of Binance means for whoever asked: one table for HTTP statuses, one for Binance's codes. Pure.

`docs/operations.md` shows both tables; `make docs` writes them there from here.
"""

from __future__ import annotations

from ingest.http.errors import Reaction

STATUSES: dict[int, tuple[Reaction, str]] = {
    401: (Reaction.NOT_OFFERED, "wants a key"),
    403: (Reaction.LEAVE_HOST, "its firewall refuses us"),
    404: (Reaction.NOT_OFFERED, "has no such path"),
    405: (Reaction.NOT_OFFERED, "has no such path"),
    408: (Reaction.ASK_AGAIN, "its backend did not answer in time"),
    410: (Reaction.NOT_OFFERED, "has no such path any more"),
    414: (Reaction.REJECTED, "the address is too long"),
    418: (Reaction.STAY_AWAY, "banned this address"),
    425: (Reaction.ASK_AGAIN, "too early"),
    429: (Reaction.STAY_AWAY, "asks to slow down"),
    431: (Reaction.REJECTED, "the headers are too long"),
    451: (Reaction.LEAVE_HOST, "refuses this location"),
    501: (Reaction.NOT_OFFERED, "has no such path"),
}
"""What the statuses mean that have a meaning of their own; `_other_status` knows the rest."""

DECISIVE_STATUSES = frozenset({403, 408, 418, 429, 451})
"""With these the status decides whatever code stands in the body, and so it does from 500 on."""

CODES: dict[int, tuple[Reaction, str]] = {
    -1000: (Reaction.ASK_AGAIN, "UNKNOWN: an unknown error while processing the request"),
    -1001: (Reaction.ASK_AGAIN, "DISCONNECTED: internal error, try again"),
    -1002: (Reaction.NOT_OFFERED, "UNAUTHORIZED"),
    -1003: (Reaction.STAY_AWAY, "TOO_MANY_REQUESTS"),
    -1004: (Reaction.ASK_AGAIN, "SERVER_BUSY, its older number"),
    -1006: (Reaction.ASK_AGAIN, "UNEXPECTED_RESP: from the message bus"),
    -1007: (Reaction.ASK_AGAIN, "TIMEOUT: of the backend"),
    -1008: (Reaction.ASK_AGAIN, "SERVER_BUSY: overloaded, try again in a few minutes"),
    -1013: (Reaction.REJECTED, "INVALID_MESSAGE"),
    -1014: (Reaction.REJECTED, "UNKNOWN_ORDER_COMPOSITION"),
    -1015: (Reaction.STAY_AWAY, "TOO_MANY_ORDERS"),
    -1016: (Reaction.ASK_AGAIN, "SERVICE_SHUTTING_DOWN"),
    -1020: (Reaction.REJECTED, "UNSUPPORTED_OPERATION"),
    -1021: (Reaction.REJECTED, "INVALID_TIMESTAMP"),
    -1022: (Reaction.REJECTED, "INVALID_SIGNATURE"),
    -1034: (Reaction.ASK_AGAIN, "TOO_MANY_CONNECTIONS"),
    -1099: (Reaction.NOT_OFFERED, "not found, authenticated or authorized"),
    -2014: (Reaction.NOT_OFFERED, "BAD_API_KEY_FMT: wants a key"),
    -2015: (Reaction.NOT_OFFERED, "REJECTED_MBX_KEY: wants a key, or refuses this address"),
}
"""What the codes mean that have a meaning of their own; `_other_code` knows the rest."""


def reaction_to(status: int, code: int) -> tuple[Reaction, str]:
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
    for reaction in Reaction:
        statuses = [f"`{status}` {why}" for status, (meant, why) in STATUSES.items() if meant is reaction]
        codes = [f"`{code}` {name}" for code, (meant, name) in CODES.items() if meant is reaction]
        if reaction is Reaction.ASK_AGAIN:
            statuses += ["`5xx`", "any other", "no answer, or one too late, too large, encoded or illegible"]
            codes += ["any other"]
        elif reaction is Reaction.REJECTED:
            codes += ["`-11xx` wrong parameters, as `-1121` Invalid symbol", "`-2xxx` and `-9xxx` of orders"]
        rows.append((reaction.value, "<br>".join(statuses), "<br>".join(codes)))
    return rows


def _other_status(status: int) -> tuple[Reaction, str]:
    # "It is important to NOT treat this as a failure operation; the execution status is UNKNOWN", says Binance of 5xx.
    # To ask again in vain costs a minute; not to ask again leaves a hole.
    return Reaction.ASK_AGAIN, "is in trouble" if status >= 500 else "gives no answer"


def _other_code(status: int, code: int) -> tuple[Reaction, str]:
    if -1200 < code <= -1100 or -3000 < code <= -2000 or -10_000 < code <= -9000:
        return Reaction.REJECTED, "refuses the question"
    return STATUSES.get(status) or (Reaction.ASK_AGAIN, "gives a code we do not know")
