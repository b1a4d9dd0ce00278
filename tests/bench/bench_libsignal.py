"""What libsignal costs as Python calls it.

    python -m tests.bench.bench_libsignal

Beside it: reading the columns with numpy (the limit), a deque of prices and their sum in Python, numpy recomputing
moving average, high and low for each call from the window's trades, and TA-Lib doing the same. Times are the best of
several rounds, in ns. What the machine is worth stands first: the times of two machines compare by it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import talib

from libsignal import SignalGroups, SignalState
from mesh.values.trades import TradeColumns

COLUMNS = (1, 16, 256, 4096)
WINDOWS = (20, 1_000, 100_000)
ROUNDS = 9
MOST_RECOMPUTED = 30_000_000  # values of all windows of a column: beyond, numpy takes seconds a call
PLAIN = SignalGroups.MOVING_AVERAGE | SignalGroups.EXTREMES
PER_TRADE = SignalGroups.ALL & ~SignalGroups.CANDLES


def trades(first_id: int, n: int) -> TradeColumns:
    random = np.random.default_rng(first_id)
    ids = np.arange(first_id, first_id + n)
    return TradeColumns(
        venue="sim",
        symbol="btcusdt",
        received_time_us=0,
        trade_id=ids,
        price_e8=6_183_763_000_000 + np.cumsum(random.integers(-10, 11, n) * 1_000_000),
        quantity_e8=random.integers(0, 10**9, n),
        time_us=1_723_161_255_342_000 + ids * 50,
        is_buyer_maker=random.integers(0, 2, n) == 1,
    )


def best_ns(call: Callable[[], object], calls: int, rounds: int = ROUNDS) -> float:
    """Return what one call takes in the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter_ns() - begin) / calls)
    return best


def windows(length: int) -> dict[str, int]:
    names = ("moving_average", "exponential", "vwap", "deviation", "extremes", "flow", "rate", "volatility")
    return {f"{name}_window": length for name in names}


def processing(groups: SignalGroups, column: int, window: int) -> Callable[[], object]:
    state = SignalState(groups, **windows(window))
    batch = trades(1, column)

    def call() -> object:
        signals = state.process(batch)
        np.add(batch.trade_id, column, out=batch.trade_id)  # the next call's ids
        return signals

    return call


def one_in_place(groups: SignalGroups) -> Callable[[], float]:
    """Return one trade written, processed and read, without copies: the way of `SignalState.run`."""
    state = SignalState(groups, **windows(20))
    inputs = state.inputs
    ids, prices, quantities = inputs.trade_id.data, inputs.price_e8.data, inputs.quantity_e8.data
    times, makers, average = inputs.time_us.data, inputs.is_buyer_maker.data, state.outputs.moving_average.data
    next_id = iter(range(1, 2**62)).__next__

    def call() -> float:
        ids[0] = next_id()
        prices[0] = 6_183_763_000_000
        quantities[0] = 2_000_000
        times[0] = 1_723_161_255_342_000
        makers[0] = 1
        state.run(1)
        return float(average[0])

    return call


def recomputing(column: int, window: int, *, with_talib: bool) -> Callable[[], object]:
    prices = trades(1, column + window - 1).price_e8.astype(np.float64)

    def by_numpy() -> list[npt.NDArray[np.float64]]:
        rows = np.lib.stride_tricks.sliding_window_view(prices, window)
        return [rows.mean(axis=1), rows.max(axis=1), rows.min(axis=1)]

    def by_talib() -> list[npt.NDArray[np.float64]]:
        return [talib.SMA(prices, window), talib.MAX(prices, window), talib.MIN(prices, window)]

    return by_talib if with_talib else by_numpy


def with_deque(column: int, window: int) -> Callable[[], object]:
    batch = trades(1, column).price_e8.tolist()
    prices: deque[int] = deque([6_183_763_000_000] * window)
    total = sum(prices)

    def call() -> list[float]:
        nonlocal total
        averages = []
        for price in batch:
            prices.append(price)
            total += price - prices.popleft()
            averages.append(total / window)
        return averages

    return call


def main() -> None:
    yardstick_ms = best_ns(lambda: sum(range(1_000_000)), 1) / 1e6
    print(f"this machine: sum(range(10**6)) takes {yardstick_ms:.1f} ms; 8 ms where the targets were set")
    print(f"one trade in place, everything included: {best_ns(one_in_place(PLAIN), 20_000):,.0f} ns")
    print(f"  with all signals and candles:          {best_ns(one_in_place(SignalGroups.ALL), 20_000):,.0f} ns")
    print(f"\n{'ns per trade':34}" + "".join(f"{f'column {column}':>14}" for column in COLUMNS))
    batches = [trades(1, column) for column in COLUMNS]
    reading = [best_ns(lambda batch=batch: batch.price_e8.sum() + batch.quantity_e8.sum(), 500) for batch in batches]  # type: ignore[misc]
    print(f"{'numpy reads two columns':34}" + row(reading))
    for window in WINDOWS:
        for name, groups in (
            ("average, high, low", PLAIN),
            ("all per trade", PER_TRADE),
            ("and candles", SignalGroups.ALL),
        ):
            found = [best_ns(processing(groups, column, window), max(20, 4_000 // column)) for column in COLUMNS]
            print(f"{f'{name}, window {window:,}':34}" + row(found))
        found = [best_ns(with_deque(column, window), max(1, 4_000 // column)) for column in COLUMNS]
        print(f"{f'deque, average only, {window:,}':34}" + row(found))
        for name, with_talib in (("numpy recomputes", False), ("TA-Lib recomputes", True)):
            print(f"{f'{name}, window {window:,}':34}" + row([recomputed_ns(c, window, with_talib) for c in COLUMNS]))


def recomputed_ns(column: int, window: int, with_talib: bool) -> float:
    if not with_talib and column * window > MOST_RECOMPUTED:
        return float("nan")
    return best_ns(recomputing(column, window, with_talib=with_talib), 2, rounds=3)


def row(found_ns: list[float]) -> str:
    return "".join(f"{ns / column:14,.1f}" for ns, column in zip(found_ns, COLUMNS, strict=True))


if __name__ == "__main__":
    main()
