// Everything known of one symbol: the signals, and the blocks of trades that go through them.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "candle.hpp"
#include "check.hpp"
#include "columns.hpp"
#include "deviation.hpp"
#include "extremes.hpp"
#include "flow.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "moving_average.hpp"
#include "rate.hpp"
#include "session.hpp"
#include "settings.hpp"
#include "volatility.hpp"
#include "vwap.hpp"

struct lsig_state {
    // The settings must have gone through fill_in_defaults().
    explicit lsig_state(const lsig_config& config) : config_(config), history_(lsig::history_depth(config)) {
        if (has(LSIG_MOVING_AVERAGE)) moving_average_.emplace(config.moving_average_window);
        if (has(LSIG_EXPONENTIAL_AVERAGE)) exponential_average_.emplace(config.exponential_window);
        if (has(LSIG_WINDOW_VWAP)) vwap_.emplace(config.vwap_window);
        if (has(LSIG_DEVIATION)) deviation_.emplace(config.deviation_window, config.bollinger_width);
        if (has(LSIG_EXTREMES)) extremes_.emplace(config.extremes_window);
        if (has(LSIG_FLOW)) flow_.emplace(config.flow_window);
        if (has(LSIG_RATE)) rate_.emplace(config.rate_window);
        if (has(LSIG_VOLATILITY)) volatility_.emplace(config.volatility_window);
        if (has(LSIG_SESSION)) session_.emplace();
        if (has(LSIG_CANDLES)) candles_.emplace(config);
    }

    const lsig_config& config() const { return config_; }

    // `columns` may be changed; `result` receives error_row and candle_count.
    int process(lsig_columns& columns, lsig_columns& result) {
        if ((lsig::groups_wanted(columns) & ~config_.signals) != 0) return LSIG_E_SIGNAL;
        const int code = lsig::check_trades(columns, last_trade_id_, result.error_row);
        if (code != LSIG_OK) return code;
        if (columns.candles != nullptr) {
            const std::size_t needed = candles_->count_closed(columns);
            result.candle_count = needed;
            if (needed > columns.candle_capacity) return LSIG_E_CAPACITY;
        }
        lsig::ClosedCandles closed{columns.candles};
        for (std::size_t left = columns.n; left > 0;) {
            const lsig::Block block{count_,           std::min(lsig::kBlock, left), columns.trade_id,      columns.price_e8,
                                    columns.quantity_e8, columns.time_us,              columns.is_buyer_maker};
            process_block(block, columns, closed);
            lsig::skip_rows(columns, block.n);
            left -= block.n;
        }
        return LSIG_OK;
    }

    void reset_session() {
        if (session_) session_.emplace();
    }

    void summarize(lsig_summary& out) const {
        out.count = static_cast<std::int64_t>(count_);
        out.last_trade_id = last_trade_id_;
        out.last_price_e8 = count_ != 0 ? *history_.price_e8.at(count_ - 1) : 0;
        out.last_time_us = count_ != 0 ? *history_.time_us.at(count_ - 1) : 0;
        const lsig::Session session = session_.value_or(lsig::Session{});
        out.session_count = session.count;
        out.session_open_e8 = session.open_e8;
        out.session_open_time_us = session.open_time_us;
        out.session_high_e8 = session.high_e8;
        out.session_low_e8 = session.low_e8;
        out.session_volume_e8[0] = lsig::low_word(session.turnover.volume_e8);
        out.session_volume_e8[1] = lsig::high_word(session.turnover.volume_e8);
    }

    int describe_open_candle(std::size_t interval, lsig_candle& out) const {
        if (!candles_) return LSIG_E_SIGNAL;
        candles_->describe(interval, out);
        return LSIG_OK;
    }

    // Write or read everything but the settings. What windows hold is not kept: the trades they look back to are, and
    // going through them again makes the same sums.
    template <class Archive>
    void archive(Archive& bytes) {
        bytes.number(count_);
        bytes.number(last_trade_id_);
        bytes.check(count_ <= kMostTrades && last_trade_id_ >= -1 && (count_ == 0) == (last_trade_id_ == -1));
        bytes.check(count_ == 0 || count_ - 1 <= static_cast<std::uint64_t>(last_trade_id_));
        if (session_) session_->archive(bytes);
        if (exponential_average_ && count_ != 0) exponential_average_->archive(bytes);
        if (candles_ && count_ != 0) candles_->archive(bytes);
        archive_history(bytes);
    }

private:
    static constexpr std::uint64_t kMostTrades = std::uint64_t{1} << 62;

    bool has(std::uint32_t group) const { return (config_.signals & group) != 0; }

    void process_block(const lsig::Block& block, const lsig_columns& out, lsig::ClosedCandles& closed) {
        process_windows(block, out);
        if (exponential_average_) exponential_average_->process(block, out);
        if (session_) session_->process(block, out);
        if (candles_) candles_->process(block, out, closed);
        count_ += block.n;
        last_trade_id_ = block.trade_id[block.n - 1];
    }

    void process_windows(const lsig::Block& block, const lsig_columns& out) {
        history_.append(block);
        if (moving_average_) moving_average_->process(block, history_, out);
        if (vwap_) vwap_->process(block, history_, out);
        if (deviation_) deviation_->process(block, history_, out);
        if (extremes_) extremes_->process(block, history_, out);
        if (flow_) flow_->process(block, history_, out);
        if (rate_) rate_->process(block, history_, out);
        if (volatility_) volatility_->process(block, history_, out);
    }

    template <class Archive>
    void archive_history(Archive& bytes) {
        const std::uint64_t kept = std::min<std::uint64_t>(count_, history_.depth());
        for (std::uint64_t position = count_ - kept; position < count_; ++position) {
            std::int64_t price = *history_.price_e8.at(position), quantity = *history_.quantity_e8.at(position);
            std::int64_t time = *history_.time_us.at(position);
            std::uint8_t maker = *history_.is_buyer_maker.at(position);
            for (auto* each : {&price, &quantity, &time}) bytes.number(*each);
            bytes.number(maker);
            bytes.check(price > 0 && quantity >= 0 && lsig::in_range(time, 0, LSIG_TIME_MAX_US) && maker <= 1);
            if constexpr (Archive::kLoads) {
                if (!bytes.good()) return;
                process_windows({position, 1, nullptr, &price, &quantity, &time, &maker}, lsig_columns{});
            }
        }
    }

    lsig_config config_;
    std::uint64_t count_ = 0;
    std::int64_t last_trade_id_ = -1;
    lsig::History history_;
    std::optional<lsig::MovingAverage> moving_average_;
    std::optional<lsig::ExponentialAverage> exponential_average_;
    std::optional<lsig::WindowVwap> vwap_;
    std::optional<lsig::Deviation> deviation_;
    std::optional<lsig::Extremes> extremes_;
    std::optional<lsig::Flow> flow_;
    std::optional<lsig::Rate> rate_;
    std::optional<lsig::Volatility> volatility_;
    std::optional<lsig::Session> session_;
    std::optional<lsig::Candles> candles_;
};
