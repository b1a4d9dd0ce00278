// Candles of six intervals, closed by the trades' own time.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "history.hpp"
#include "indicators.hpp"
#include "libsignal.h"
#include "wide.hpp"

namespace lsig {

constexpr std::array<std::int64_t, LSIG_INTERVALS> kIntervals_us{1000000,   60000000,   300000000,
                                                                 900000000, 3600000000, 86400000000};

inline std::int64_t start_of(std::int64_t time_us, std::int64_t interval_us) { return time_us - time_us % interval_us; }

// What some consecutive trades of one interval make together.
struct Bar {
    std::int64_t count = 0;
    std::int64_t open_e8 = 0, high_e8 = 0, low_e8 = 0, close_e8 = 0;
    std::int64_t first_trade_id = 0, last_trade_id = 0;
    u128 volume_e8 = 0, taker_buy_volume_e8 = 0;
    Wide quote_volume_e16;

    Bar() = default;
    // Rows [row, stop) of the block; at least one.
    Bar(const Block& block, std::size_t row, std::size_t stop)
        : count(static_cast<std::int64_t>(stop - row)),
          open_e8(block.price_e8[row]),
          high_e8(open_e8),
          low_e8(open_e8),
          close_e8(block.price_e8[stop - 1]),
          first_trade_id(block.trade_id[row]),
          last_trade_id(block.trade_id[stop - 1]) {
        for (; row < stop; ++row) {
            const std::int64_t price = block.price_e8[row], quantity = block.quantity_e8[row];
            high_e8 = std::max(high_e8, price);
            low_e8 = std::min(low_e8, price);
            volume_e8 += static_cast<u128>(quantity);
            taker_buy_volume_e8 += static_cast<u128>(block.is_buyer_maker[row] != 0 ? 0 : quantity);
            quote_volume_e16 += product(price, quantity);
        }
    }

    // Append what came right after it.
    void append(const Bar& later) {
        if (count == 0) {
            *this = later;
            return;
        }
        if (later.count == 0) return;
        count += later.count;
        high_e8 = std::max(high_e8, later.high_e8);
        low_e8 = std::min(low_e8, later.low_e8);
        close_e8 = later.close_e8;
        last_trade_id = later.last_trade_id;
        volume_e8 += later.volume_e8;
        taker_buy_volume_e8 += later.taker_buy_volume_e8;
        quote_volume_e16 += later.quote_volume_e16;
    }

    template <class Archive>
    void archive(Archive& bytes) {
        for (auto* each : {&count, &open_e8, &high_e8, &low_e8, &close_e8, &first_trade_id, &last_trade_id}) bytes.number(*each);
        for (auto* each : {&volume_e8, &taker_buy_volume_e8}) bytes.number(*each);
        for (std::uint64_t& word : quote_volume_e16.words) bytes.number(word);
        bytes.check(0 < count && count <= INT64_MAX / 2 && 0 <= first_trade_id && first_trade_id <= last_trade_id);
        bytes.check(0 < low_e8 && low_e8 <= open_e8 && open_e8 <= high_e8 && low_e8 <= close_e8 && close_e8 <= high_e8);
    }
};

// The open candle of one interval, and the indicators of those that are closed.
struct OpenCandle {
    std::int64_t interval_us;
    Indicators indicators;
    Bar bar;  // of no trades before the first one
    std::int64_t start_us = 0;
    std::int64_t empty_before = 0;

    OpenCandle(std::int64_t interval, const lsig_config& config) : interval_us(interval), indicators(config) {}

    bool is_ended_by(std::int64_t later_start_us) const { return bar.count != 0 && later_start_us > start_us; }
    std::int64_t empty_until(std::int64_t later_start_us) const { return (later_start_us - start_us) / interval_us - 1; }

    // `bar` are its trades.
    void describe(lsig_candle& out, const Bar& bar) const {
        out = lsig_candle{};
        out.interval_us = interval_us;
        out.start_us = start_us;
        out.open_e8 = bar.open_e8;
        out.high_e8 = bar.high_e8;
        out.low_e8 = bar.low_e8;
        out.close_e8 = bar.close_e8;
        out.count = bar.count;
        out.first_trade_id = bar.first_trade_id;
        out.last_trade_id = bar.last_trade_id;
        out.empty_before = empty_before;
        out.volume_e8[0] = low_word(bar.volume_e8);
        out.volume_e8[1] = high_word(bar.volume_e8);
        out.taker_buy_volume_e8[0] = low_word(bar.taker_buy_volume_e8);
        out.taker_buy_volume_e8[1] = high_word(bar.taker_buy_volume_e8);
        std::copy_n(bar.quote_volume_e16.words.begin(), 3, out.quote_volume_e16);
        for (double* each : {&out.rsi, &out.atr, &out.macd, &out.macd_signal, &out.macd_histogram, &out.ema, &out.sma,
                             &out.average_gain, &out.average_loss, &out.macd_fast, &out.macd_slow}) {
            *each = kUndefined;
        }
    }

    // `whole` is its bar, with all of its trades.
    template <class Archive>
    void archive(Archive& bytes, Bar& whole) {
        bytes.number(start_us);
        bytes.number(empty_before);
        bytes.check(0 <= start_us && start_us <= LSIG_TIME_MAX_US && start_us % interval_us == 0);
        bytes.check(0 <= empty_before && empty_before <= LSIG_TIME_MAX_US / interval_us);
        whole.archive(bytes);
        indicators.archive(bytes);
    }
};

// Where closed candles go; without a column they are worked out all the same, for the indicators' sake.
struct ClosedCandles {
    lsig_candle* column;
    std::size_t n = 0;

    void close(OpenCandle& candle) {
        lsig_candle closed;
        candle.describe(closed, candle.bar);
        candle.indicators.close(closed);
        if (column != nullptr) column[n] = closed;
        ++n;
    }
};

// The trades of the current second go into its own candle, and beside that into one bar for all longer ones, which they
// get together: each of the six lies elsewhere in memory, and where many symbols trade, none is in the processor's cache.
class Candles {
public:
    explicit Candles(const lsig_config& config) : most_empty_(config.empty_candles) {
        for (const std::int64_t interval_us : kIntervals_us) open_.emplace_back(interval_us, config);
    }

    // How many candles the trades would close.
    std::size_t count_closed(const lsig_columns& in) const {
        if (end_of_current_second(in.time_us, 0, in.n) == in.n) return 0;
        std::size_t closed = 0;
        std::array<std::int64_t, LSIG_INTERVALS> starts_us;
        for (std::size_t k = 0; k < LSIG_INTERVALS; ++k) starts_us[k] = open_[k].start_us;
        bool begun = open_[0].bar.count != 0;
        for (std::size_t row = 0, stop; row < in.n; row = stop) {
            stop = end_of_second(in.time_us, row, in.n);
            for (std::size_t k = 0; k < LSIG_INTERVALS; ++k) {
                const std::int64_t start_us = start_of(in.time_us[row], kIntervals_us[k]);
                if (begun && start_us <= starts_us[k]) break;  // then the longer ones go on too
                if (begun) closed += 1 + empties_told((start_us - starts_us[k]) / kIntervals_us[k] - 1);
                starts_us[k] = start_us;
            }
            begun = true;
        }
        return closed;
    }

    void process(const Block& block, const lsig_columns& out, ClosedCandles& closed) {
        if (out.late_intervals != nullptr) std::fill_n(out.late_intervals, block.n, std::uint8_t{0});
        for (std::size_t row = 0, stop; row < block.n; row = stop) {
            stop = end_of_current_second(block.time_us, row, block.n);
            if (stop > row) {
                const Bar bar(block, row, stop);
                open_[0].bar.append(bar);
                pending_.append(bar);
                continue;
            }
            settle();
            stop = end_of_second(block.time_us, row, block.n);
            const Bar bar(block, row, stop);
            unsigned late = 0;
            for (std::size_t k = 0; k < LSIG_INTERVALS; ++k) {
                OpenCandle& candle = open_[k];
                const std::int64_t start_us = start_of(block.time_us[row], candle.interval_us);
                if (candle.is_ended_by(start_us)) end(candle, start_us, closed);
                if (candle.bar.count == 0) candle.start_us = start_us;
                if (start_us < candle.start_us) {
                    late |= 1U << k;
                } else {
                    candle.bar.append(bar);
                }
            }
            if (out.late_intervals != nullptr) std::fill(out.late_intervals + row, out.late_intervals + stop, static_cast<std::uint8_t>(late));
        }
    }

    void describe(std::size_t k, lsig_candle& out) const { open_[k].describe(out, whole_bar(k)); }

    template <class Archive>
    void archive(Archive& bytes) {
        for (std::size_t k = 0; k < LSIG_INTERVALS; ++k) {
            Bar whole = whole_bar(k);
            open_[k].archive(bytes, whole);
            if constexpr (Archive::kLoads) open_[k].bar = whole;
            bytes.check(open_[k].start_us == start_of(open_[0].start_us, kIntervals_us[k]));  // all begin anew together
        }
    }

private:
    // A second is the shortest interval and divides all others, so its trades stay together in each of them.
    static std::size_t end_of_second(const std::int64_t* time_us, std::size_t row, std::size_t n) {
        const std::int64_t start_us = start_of(time_us[row], kIntervals_us[0]);
        do ++row;
        while (row < n && start_us <= time_us[row] && time_us[row] < start_us + kIntervals_us[0]);
        return row;
    }

    // Up to where rows are of the second of the newest candle, so that none of the six ends with them, or has ended before.
    std::size_t end_of_current_second(const std::int64_t* time_us, std::size_t row, std::size_t n) const {
        const std::int64_t start_us = open_[0].start_us;
        if (open_[0].bar.count == 0) return row;
        while (row < n && start_us <= time_us[row] && time_us[row] < start_us + kIntervals_us[0]) ++row;
        return row;
    }

    // Let the longer candles have what is pending for them.
    void settle() {
        if (pending_.count == 0) return;
        for (std::size_t k = 1; k < LSIG_INTERVALS; ++k) open_[k].bar.append(pending_);
        pending_ = Bar{};
    }

    Bar whole_bar(std::size_t k) const {
        Bar bar = open_[k].bar;
        if (k > 0) bar.append(pending_);
        return bar;
    }

    std::size_t empties_told(std::int64_t empty) const {
        return empty <= most_empty_ ? static_cast<std::size_t>(empty) : 0;
    }

    void end(OpenCandle& candle, std::int64_t next_start_us, ClosedCandles& closed) {
        const std::int64_t empty = candle.empty_until(next_start_us);
        closed.close(candle);
        const std::int64_t close_e8 = candle.bar.close_e8;
        for (std::size_t i = empties_told(empty); i > 0; --i) {
            candle.start_us += candle.interval_us;
            candle.empty_before = 0;
            candle.bar = Bar{};
            candle.bar.open_e8 = candle.bar.high_e8 = candle.bar.low_e8 = candle.bar.close_e8 = close_e8;
            candle.bar.first_trade_id = candle.bar.last_trade_id = -1;
            closed.close(candle);
        }
        candle.bar = Bar{};
        candle.start_us = next_start_us;
        candle.empty_before = empty - static_cast<std::int64_t>(empties_told(empty));
    }

    std::int64_t most_empty_;
    Bar pending_;  // of the current second, and not in the longer candles yet
    std::vector<OpenCandle> open_;
};

}  // namespace lsig
