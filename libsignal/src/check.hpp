// Everything that can be wrong with what a caller hands in, found before anything changes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "clones.hpp"
#include "libsignal.h"

namespace lsig {

// The size of each struct in the first library of this ABI version. What is appended later does not change it.
template <class Struct>
constexpr std::size_t kFirstSize = 0;
template <>
constexpr std::size_t kFirstSize<lsig_config> = 88;
template <>
constexpr std::size_t kFirstSize<lsig_columns> = 248;
template <>
constexpr std::size_t kFirstSize<lsig_summary> = 96;

// Whether this is a caller's struct of a size there has been: a larger one than ours asks for what we do not know.
template <class Struct>
bool is_struct(const Struct* given) {
    static_assert(0 < kFirstSize<Struct> && kFirstSize<Struct> <= sizeof(Struct));
    return given != nullptr && kFirstSize<Struct> <= given->struct_size && given->struct_size <= sizeof(Struct) &&
           given->struct_size % alignof(Struct) == 0;
}

// Copy a caller's struct; what he does not know is zero.
template <class Struct>
bool take_struct(Struct& taken, const Struct* given) {
    if (!is_struct(given)) return false;
    if (given->struct_size == sizeof(Struct)) {  // nearly always, and then the size is known here
        taken = *given;
    } else {
        taken = Struct{};
        std::memcpy(&taken, given, given->struct_size);
    }
    return true;
}

// Fill in a caller's struct as far as he knows it; it keeps the size he gave.
template <class Struct>
void give_struct(Struct* out, const Struct& value) {
    const std::size_t size = out->struct_size;
    std::memcpy(out, &value, size);
    out->struct_size = size;
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
