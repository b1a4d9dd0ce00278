// Integers wider than 64 bits, and the double nearest to a quotient of them.
#pragma once

#include <cstdint>
#include <cstring>

namespace lsig {

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

constexpr std::uint64_t kScale = 100000000;  // of every *_e8
constexpr std::uint64_t kExactDouble = std::uint64_t{1} << 53;  // integers up to here are doubles

inline int bit_length(u128 value) {
    const auto high = static_cast<std::uint64_t>(value >> 64);
    const auto low = static_cast<std::uint64_t>(value);
    if (high != 0) return 128 - __builtin_clzll(high);
    return low != 0 ? 64 - __builtin_clzll(low) : 0;
}

// 2^exponent for a normal double.
inline double power_of_two(int exponent) {
    const auto bits = static_cast<std::uint64_t>(1023 + exponent) << 52;
    double result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// Long division: a quotient of at least 55 bits, whose last bit also stands for everything below it, so that the
// conversion to double rounds once and rightly.
[[gnu::noinline]] inline double nearest_ratio_wide(u128 numerator, std::uint64_t denominator) {
    const int wanted = 56 + bit_length(denominator) - bit_length(numerator);
    int shift = wanted > 0 ? wanted : 0;
    numerator <<= shift;
    u128 quotient = numerator / denominator;
    bool inexact = quotient * denominator != numerator;
    const int excess = bit_length(quotient) - 62;
    if (excess > 0) {
        inexact |= (quotient & ((u128{1} << excess) - 1)) != 0;
        quotient >>= excess;
        shift -= excess;
    }
    const auto rounded = static_cast<std::int64_t>(quotient) | static_cast<std::int64_t>(inexact);
    return static_cast<double>(rounded) * power_of_two(-shift);
}

// The double nearest to numerator / denominator; 0 < denominator < 2^53.
inline double nearest_ratio(u128 numerator, std::uint64_t denominator) {
    if (numerator < kExactDouble) {  // both are doubles: IEEE division rounds once
        return static_cast<double>(static_cast<std::int64_t>(numerator)) /
               static_cast<double>(static_cast<std::int64_t>(denominator));
    }
    return nearest_ratio_wide(numerator, denominator);
}

}  // namespace lsig
