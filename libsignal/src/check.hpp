// Everything that can be wrong with what a caller hands in, found before anything changes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "libsignal.h"

namespace lsig {

// Copy a caller's struct. There is one version of each so far; a field appended later will be zero for a caller that
// does not know it, and a struct larger than ours asks for what we do not know.
template <class Struct>
bool take_struct(Struct& taken, const Struct* given) {
    if (given == nullptr || given->struct_size != sizeof(Struct)) return false;
    taken = *given;
    return true;
}

inline bool in_range(std::int64_t value, std::int64_t low, std::int64_t high) { return low <= value && value <= high; }

// Returns LSIG_OK, or the first wrong row's error with that row in `error_row`.
inline int check_trades(const lsig_columns& in, std::int64_t last_trade_id, std::size_t& error_row) {
    // A loop without exits is several times faster, and the trades are nearly always right.
    bool right = true;
    std::int64_t previous_id = last_trade_id;
    for (std::size_t i = 0; i < in.n; ++i) {
        right &= in.trade_id[i] > previous_id;
        previous_id = in.trade_id[i];
    }
    for (std::size_t i = 0; i < in.n; ++i) {
        right &= in.price_e8[i] > 0;
        right &= in.quantity_e8[i] >= 0;
        right &= in_range(in.time_us[i], 0, LSIG_TIME_MAX_US);
        right &= in.is_buyer_maker[i] <= 1;
    }
    if (right) return LSIG_OK;

    previous_id = last_trade_id;
    for (std::size_t i = 0; i < in.n; ++i) {
        error_row = i;
        if (in.trade_id[i] <= previous_id) return LSIG_E_TRADE_ID;
        if (in.price_e8[i] <= 0) return LSIG_E_PRICE;
        if (in.quantity_e8[i] < 0) return LSIG_E_QUANTITY;
        if (!in_range(in.time_us[i], 0, LSIG_TIME_MAX_US)) return LSIG_E_TIME;
        if (in.is_buyer_maker[i] > 1) return LSIG_E_SIDE;
        previous_id = in.trade_id[i];
    }
    return LSIG_OK;
}

}  // namespace lsig
