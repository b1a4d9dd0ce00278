// One call's columns: the groups of signals they ask for, and the rows of one block.
#pragma once

#include <cstdint>

#include "libsignal.h"

namespace lsig {

template <class T>
struct Output {
    T* lsig_columns::*column;
    std::uint32_t group;
};

constexpr Output<double> kDoubles[] = {
    {&lsig_columns::moving_average, LSIG_MOVING_AVERAGE},
    {&lsig_columns::exponential_average, LSIG_EXPONENTIAL_AVERAGE},
    {&lsig_columns::window_vwap, LSIG_WINDOW_VWAP},
    {&lsig_columns::deviation, LSIG_DEVIATION},
    {&lsig_columns::bollinger_upper, LSIG_DEVIATION},
    {&lsig_columns::bollinger_middle, LSIG_DEVIATION},
    {&lsig_columns::bollinger_lower, LSIG_DEVIATION},
    {&lsig_columns::buy_share, LSIG_FLOW},
    {&lsig_columns::flow_imbalance, LSIG_FLOW},
    {&lsig_columns::trade_rate, LSIG_RATE},
    {&lsig_columns::volatility, LSIG_VOLATILITY},
    {&lsig_columns::session_volume, LSIG_SESSION},
    {&lsig_columns::session_vwap, LSIG_SESSION},
};

constexpr Output<std::int64_t> kIntegers[] = {
    {&lsig_columns::window_high_e8, LSIG_EXTREMES},
    {&lsig_columns::window_low_e8, LSIG_EXTREMES},
    {&lsig_columns::session_open_e8, LSIG_SESSION},
    {&lsig_columns::session_high_e8, LSIG_SESSION},
    {&lsig_columns::session_low_e8, LSIG_SESSION},
    {&lsig_columns::session_count, LSIG_SESSION},
};

inline std::uint32_t groups_wanted(const lsig_columns& columns) {
    std::uint32_t groups = 0;
    for (const auto& output : kDoubles) groups |= columns.*output.column != nullptr ? output.group : 0;
    for (const auto& output : kIntegers) groups |= columns.*output.column != nullptr ? output.group : 0;
    if (columns.candles != nullptr || columns.late_intervals != nullptr) groups |= LSIG_CANDLES;
    return groups;
}

// Move every column on by some rows.
inline void skip_rows(lsig_columns& columns, std::size_t rows) {
    columns.trade_id += rows;
    columns.price_e8 += rows;
    columns.quantity_e8 += rows;
    columns.time_us += rows;
    columns.is_buyer_maker += rows;
    for (const auto& output : kDoubles) columns.*output.column += columns.*output.column != nullptr ? rows : 0;
    for (const auto& output : kIntegers) columns.*output.column += columns.*output.column != nullptr ? rows : 0;
    columns.late_intervals += columns.late_intervals != nullptr ? rows : 0;
}

}  // namespace lsig
