// Settings with their defaults filled in.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "libsignal.h"

namespace lsig {

struct Setting {
    const char* name;
    std::uint32_t lsig_config::*field;
    std::uint32_t standard;
    std::uint32_t highest;
};

constexpr std::array<Setting, 17> kSettings{{
    {"signals", &lsig_config::signals, LSIG_ALL, LSIG_ALL},
    {"moving_average_window", &lsig_config::moving_average_window, 20, LSIG_WINDOW_MAX},
    {"exponential_window", &lsig_config::exponential_window, 20, LSIG_WINDOW_MAX},
    {"vwap_window", &lsig_config::vwap_window, 20, LSIG_WINDOW_MAX},
    {"deviation_window", &lsig_config::deviation_window, 20, LSIG_WINDOW_MAX},
    {"extremes_window", &lsig_config::extremes_window, 20, LSIG_WINDOW_MAX},
    {"flow_window", &lsig_config::flow_window, 20, LSIG_WINDOW_MAX},
    {"rate_window", &lsig_config::rate_window, 20, LSIG_WINDOW_MAX},
    {"volatility_window", &lsig_config::volatility_window, 20, LSIG_WINDOW_MAX},
    {"rsi_period", &lsig_config::rsi_period, 14, LSIG_PERIOD_MAX},
    {"atr_period", &lsig_config::atr_period, 14, LSIG_PERIOD_MAX},
    {"macd_fast_period", &lsig_config::macd_fast_period, 12, LSIG_PERIOD_MAX},
    {"macd_slow_period", &lsig_config::macd_slow_period, 26, LSIG_PERIOD_MAX},
    {"macd_signal_period", &lsig_config::macd_signal_period, 9, LSIG_PERIOD_MAX},
    {"candle_ema_period", &lsig_config::candle_ema_period, 20, LSIG_PERIOD_MAX},
    {"candle_sma_period", &lsig_config::candle_sma_period, 20, LSIG_PERIOD_MAX},
    {"empty_candles", &lsig_config::empty_candles, 0, LSIG_EMPTY_MAX},
}};

// Returns the name of the first setting that is out of range, nullptr when all are right.
inline const char* fill_in_defaults(lsig_config& config) {
    for (const Setting& setting : kSettings) {
        std::uint32_t& value = config.*setting.field;
        if (value == 0) value = setting.standard;
        if (value > setting.highest) return setting.name;
    }
    if (config.bollinger_width == 0) config.bollinger_width = 2;
    if (config.macd_fast_period >= config.macd_slow_period) return "macd_fast_period";
    if (!std::isfinite(config.bollinger_width) || config.bollinger_width < 0) return "bollinger_width";
    return nullptr;
}

// The trades a state must remember for its windows: one more price than there are returns.
inline std::size_t history_depth(const lsig_config& config) {
    std::size_t depth = 1;
    const auto look_back = [&](std::uint32_t group, std::size_t trades) {
        if ((config.signals & group) != 0) depth = std::max(depth, trades);
    };
    look_back(LSIG_MOVING_AVERAGE, config.moving_average_window);
    look_back(LSIG_WINDOW_VWAP, config.vwap_window);
    look_back(LSIG_DEVIATION, config.deviation_window);
    look_back(LSIG_EXTREMES, config.extremes_window);
    look_back(LSIG_FLOW, config.flow_window);
    look_back(LSIG_RATE, config.rate_window);
    look_back(LSIG_VOLATILITY, std::size_t{config.volatility_window} + 1);
    return depth;
}

// Write or read the settings.
template <class Archive>
void archive(Archive& bytes, lsig_config& config) {
    for (const Setting& setting : kSettings) {
        bytes.number(config.*setting.field);
        bytes.check(config.*setting.field != 0 || setting.standard == 0);
    }
    bytes.number(config.bollinger_width);
    bytes.check(config.bollinger_width != 0);
}

}  // namespace lsig
