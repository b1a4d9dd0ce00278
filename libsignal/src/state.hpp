// Everything known of one symbol: the signals, and the blocks of trades that go through them.
#pragma once

#include <algorithm>

#include "check.hpp"
#include "extremes.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "moving_average.hpp"
#include "session.hpp"

namespace lsig {

inline std::uint32_t window_or_default(std::uint32_t window) { return window != 0 ? window : LSIG_WINDOW_DEFAULT; }

inline bool windows_in_range(const lsig_config& config) {
    return std::max(config.moving_average_window, config.extremes_window) <= LSIG_WINDOW_MAX;
}

template <class T>
T* from_row(T* column, std::size_t row) {
    return column != nullptr ? column + row : nullptr;
}

}  // namespace lsig

struct lsig_state {
    explicit lsig_state(const lsig_config& config)
        : history_(lsig::window_or_default(config.moving_average_window)),
          moving_average_(lsig::window_or_default(config.moving_average_window)),
          high_(lsig::window_or_default(config.extremes_window)),
          low_(lsig::window_or_default(config.extremes_window)) {}

    int process(const lsig_columns& columns, std::size_t& error_row) {
        const int code = lsig::check_trades(columns, last_trade_id_, error_row);
        if (code != LSIG_OK) return code;
        for (std::size_t row = 0; row < columns.n; row += lsig::kBlock) {
            process_block(columns, row, std::min(lsig::kBlock, columns.n - row));
        }
        return LSIG_OK;
    }

    void reset_session() { session_ = lsig::Session{}; }

    void summarize(lsig_summary& out) const {
        out.count = static_cast<std::int64_t>(count_);
        out.last_trade_id = last_trade_id_;
        out.last_price_e8 = last_price_e8_;
        out.last_time_us = last_time_us_;
        out.session_count = session_.count();
        out.session_open_e8 = session_.open_e8();
        out.session_open_time_us = session_.open_time_us();
        out.session_high_e8 = session_.high_e8();
        out.session_low_e8 = session_.low_e8();
        out.session_volume_e8[0] = static_cast<std::uint64_t>(session_.volume_e8());
        out.session_volume_e8[1] = static_cast<std::uint64_t>(session_.volume_e8() >> 64);
    }

private:
    void process_block(const lsig_columns& c, std::size_t row, std::size_t n) {
        using lsig::from_row;
        const lsig::Block block{count_, n, c.price_e8 + row, c.quantity_e8 + row, c.time_us + row, c.is_buyer_maker + row};
        history_.append(block);
        moving_average_.process(block, history_, from_row(c.moving_average, row));
        high_.process(block, from_row(c.window_high_e8, row));
        low_.process(block, from_row(c.window_low_e8, row));
        session_.process(block, {from_row(c.session_high_e8, row), from_row(c.session_low_e8, row),
                                 from_row(c.session_count, row), from_row(c.session_volume, row)});
        count_ += n;
        last_trade_id_ = c.trade_id[row + n - 1];
        last_price_e8_ = block.price_e8[n - 1];
        last_time_us_ = block.time_us[n - 1];
    }

    std::uint64_t count_ = 0;
    std::int64_t last_trade_id_ = -1;
    std::int64_t last_price_e8_ = 0;
    std::int64_t last_time_us_ = 0;
    lsig::History history_;
    lsig::MovingAverage moving_average_;
    lsig::WindowExtreme<true> high_;
    lsig::WindowExtreme<false> low_;
    lsig::Session session_;
};
