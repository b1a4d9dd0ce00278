// Seeded random trades in columns, and where their signals go.
#pragma once

#include <cstdint>
#include <iterator>
#include <random>
#include <vector>

#include "../src/columns.hpp"
#include "libsignal.h"

struct Trades {
    std::vector<std::int64_t> trade_id, price_e8, quantity_e8, time_us;
    std::vector<std::uint8_t> is_buyer_maker;

    std::size_t size() const { return trade_id.size(); }

    void add(std::int64_t id, std::int64_t price, std::int64_t quantity, std::int64_t time, bool maker) {
        trade_id.push_back(id);
        price_e8.push_back(price);
        quantity_e8.push_back(quantity);
        time_us.push_back(time);
        is_buyer_maker.push_back(maker ? 1 : 0);
    }
};

// A market like a real one: small steps around `price_e8`, many repeats, bursts in one microsecond.
inline Trades random_walk(std::size_t n, unsigned seed, std::int64_t price_e8 = 6183763000000) {
    std::mt19937_64 random(seed);
    Trades trades;
    std::int64_t price = price_e8, time = 1723161255342000;
    for (std::size_t i = 0; i < n; ++i) {
        if (random() % 2 == 0) price += static_cast<std::int64_t>(random() % 21 - 10) * 1000000;
        if (price < 1) price = 1;
        if (random() % 3 == 0) time += static_cast<std::int64_t>(random() % 200000);
        const auto quantity = static_cast<std::int64_t>(random() % 1000) * static_cast<std::int64_t>(random() % 100000);
        trades.add(static_cast<std::int64_t>(i + 1), price, quantity, time, random() % 2 == 0);
    }
    return trades;
}

// Everything allowed: any price and quantity of 63 bits, ids with holes, time that jumps both ways.
inline Trades wild(std::size_t n, unsigned seed) {
    std::mt19937_64 random(seed);
    Trades trades;
    std::int64_t id = -1;
    for (std::size_t i = 0; i < n; ++i) {
        id += 1 + static_cast<std::int64_t>(random() % 5);
        const auto price = static_cast<std::int64_t>(random() >> (1 + random() % 63));
        const auto quantity = static_cast<std::int64_t>(random() >> (1 + random() % 63));
        const auto time = static_cast<std::int64_t>(random() % (std::uint64_t{LSIG_TIME_MAX_US} + 1));
        trades.add(id, price > 0 ? price : 1, quantity, time, random() % 2 == 0);
    }
    return trades;
}

// Where signals go: one vector for each output column of lsig_columns.
struct Signals {
    explicit Signals(std::size_t n)
        : doubles(std::size(lsig::kDoubles), std::vector<double>(n)),
          integers(std::size(lsig::kIntegers), std::vector<std::int64_t>(n)),
          late_intervals(n) {}

    const std::vector<double>& of(double* lsig_columns::*column) const {
        std::size_t at = 0;
        while (lsig::kDoubles[at].column != column) ++at;
        return doubles[at];
    }
    const std::vector<std::int64_t>& of(std::int64_t* lsig_columns::*column) const {
        std::size_t at = 0;
        while (lsig::kIntegers[at].column != column) ++at;
        return integers[at];
    }

    std::vector<std::vector<double>> doubles;
    std::vector<std::vector<std::int64_t>> integers;
    std::vector<std::uint8_t> late_intervals;
};

// The columns of rows [row, row + n), asking for all outputs of these groups.
inline lsig_columns bind(const Trades& trades, Signals& signals, std::size_t row, std::size_t n,
                         std::uint32_t groups = LSIG_ALL) {
    lsig_columns columns{};
    columns.struct_size = sizeof columns;
    columns.n = n;
    columns.trade_id = trades.trade_id.data() + row;
    columns.price_e8 = trades.price_e8.data() + row;
    columns.quantity_e8 = trades.quantity_e8.data() + row;
    columns.time_us = trades.time_us.data() + row;
    columns.is_buyer_maker = trades.is_buyer_maker.data() + row;
    for (std::size_t i = 0; i < std::size(lsig::kDoubles); ++i) {
        if ((lsig::kDoubles[i].group & groups) != 0) columns.*lsig::kDoubles[i].column = signals.doubles[i].data() + row;
    }
    for (std::size_t i = 0; i < std::size(lsig::kIntegers); ++i) {
        if ((lsig::kIntegers[i].group & groups) != 0) columns.*lsig::kIntegers[i].column = signals.integers[i].data() + row;
    }
    if ((groups & LSIG_CANDLES) != 0) columns.late_intervals = signals.late_intervals.data() + row;
    return columns;
}
