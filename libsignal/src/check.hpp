// Everything that can be wrong with what a caller hands in, found before anything changes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "clones.hpp"
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
LSIG_CLONED inline int check_trades(const lsig_columns& in, std::int64_t last_trade_id, std::size_t& error_row) {
    // The trades are nearly always right, so first only whether: what is wrong sets the sign of `wrong`, in a loop
    // without branches that the compiler turns into vector instructions.
    const std::uint64_t first_before = static_cast<std::uint64_t>(last_trade_id);
    std::uint64_t wrong = static_cast<std::uint64_t>(in.trade_id[0]) | ~(first_before - static_cast<std::uint64_t>(in.trade_id[0]));
    for (std::size_t i = 1; i < in.n; ++i) {
        const auto id = static_cast<std::uint64_t>(in.trade_id[i]);
        wrong |= id | ~(static_cast<std::uint64_t>(in.trade_id[i - 1]) - id);
    }
    for (std::size_t i = 0; i < in.n; ++i) {
        const auto price = static_cast<std::uint64_t>(in.price_e8[i]), time = static_cast<std::uint64_t>(in.time_us[i]);
        wrong |= price | ~(0 - price);
        wrong |= static_cast<std::uint64_t>(in.quantity_e8[i]);
        wrong |= time | (std::uint64_t{LSIG_TIME_MAX_US} - time);
    }
    std::uint8_t sides = 0;
    for (std::size_t i = 0; i < in.n; ++i) sides |= in.is_buyer_maker[i];
    const bool right = wrong >> 63 == 0 && sides <= 1;
    if (right) return LSIG_OK;

    std::int64_t previous_id = last_trade_id;
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
