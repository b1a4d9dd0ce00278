"""Random faults by seed: what a `random` order becomes when it strikes."""

from __future__ import annotations

import random

from sim.faults import (
    Certain,
    Disconnect,
    Drop,
    Duplicate,
    Expire,
    Garble,
    Hole,
    Random,
    Refuse,
    Reorder,
    RestStatus,
    Shutdown,
    Silence,
    SlowFrames,
    SlowRest,
)


def pick(order: Random, seed: int, number: int) -> Certain:
    """Choose one of the order's kinds and its size; the same for the same seed and number of trades issued."""
    dice = random.Random(f"{seed}:{number}")  # noqa: S311 - repeatable is what is wanted
    kind = dice.choice(order.of)
    count = dice.randint(1, order.most_trades)
    seconds = round(dice.uniform(0, order.most_s), 2)
    made: dict[str, Certain] = {
        "drop": Drop(count=count),
        "duplicate": Duplicate(count=count, copies=dice.randint(1, 3)),
        "reorder": Reorder(count=count + 1),
        "garble": Garble(count=count),
        "hole": Hole(symbol=order.symbol, count=count),
        "disconnect": Disconnect(for_s=seconds),
        "refuse": Refuse(for_s=seconds, status=dice.choice([403, 429, 503])),
        "silence": Silence(pongs=dice.random() < 0.5),
        "shutdown": Shutdown(lead_s=seconds),
        "expire": Expire(),
        "slow_frames": SlowFrames(for_s=seconds, delay_s=0.01 + seconds / 10),
        "rest": RestStatus(for_s=seconds, status=dice.choice([429, 418, 451, 403, 500, 503]), retry_after_s=1),
        "slow_rest": SlowRest(for_s=seconds, delay_s=0.01 + seconds / 4),
    }
    return made[kind]
