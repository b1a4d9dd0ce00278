// Closed candles one after the other, without their trades: what a store of candles works their indicators out with.
#pragma once

#include <cmath>

#include "indicators.hpp"
#include "libsignal.h"

struct lsig_series {
    // The settings must have gone through fill_in_defaults().
    explicit lsig_series(const lsig_config& config) : indicators_(config) {}

    int resume(const lsig_candle& last, const std::int64_t* closes_e8, std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            if (closes_e8[i] <= 0) return LSIG_E_PRICE;
        }
        for (const double move : {last.average_gain, last.average_loss, last.atr}) {
            if (!std::isfinite(move) || move < 0) return LSIG_E_NOT_WARM;
        }
        for (const double average : {last.macd_fast, last.macd_slow, last.macd_signal, last.ema}) {
            if (!std::isfinite(average)) return LSIG_E_NOT_WARM;
        }
        indicators_.resume(last, closes_e8, n);
        return LSIG_OK;
    }

    int close(lsig_candle* candles, std::size_t n, std::size_t* error_row) {
        for (std::size_t i = 0; i < n; ++i) {
            const lsig_candle& candle = candles[i];
            if (0 < candle.low_e8 && candle.low_e8 <= candle.close_e8 && candle.close_e8 <= candle.high_e8) continue;
            if (error_row != nullptr) *error_row = i;
            return LSIG_E_CANDLE;
        }
        for (std::size_t i = 0; i < n; ++i) indicators_.close(candles[i]);
        return LSIG_OK;
    }

private:
    lsig::Indicators indicators_;
};
