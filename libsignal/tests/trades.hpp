// Seeded random trades in columns, and where their signals go.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

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

struct Signals {
    explicit Signals(std::size_t n)
        : moving_average(n), session_volume(n), window_high_e8(n), window_low_e8(n), session_high_e8(n),
          session_low_e8(n), session_count(n) {}

    std::vector<double> moving_average, session_volume;
    std::vector<std::int64_t> window_high_e8, window_low_e8, session_high_e8, session_low_e8, session_count;
};

// The columns of rows [row, row + n).
inline lsig_columns bind(const Trades& trades, Signals& signals, std::size_t row, std::size_t n) {
    lsig_columns columns{};
    columns.struct_size = sizeof columns;
    columns.n = n;
    columns.trade_id = trades.trade_id.data() + row;
    columns.price_e8 = trades.price_e8.data() + row;
    columns.quantity_e8 = trades.quantity_e8.data() + row;
    columns.time_us = trades.time_us.data() + row;
    columns.is_buyer_maker = trades.is_buyer_maker.data() + row;
    columns.moving_average = signals.moving_average.data() + row;
    columns.window_high_e8 = signals.window_high_e8.data() + row;
    columns.window_low_e8 = signals.window_low_e8.data() + row;
    columns.session_high_e8 = signals.session_high_e8.data() + row;
    columns.session_low_e8 = signals.session_low_e8.data() + row;
    columns.session_count = signals.session_count.data() + row;
    columns.session_volume = signals.session_volume.data() + row;
    return columns;
}
