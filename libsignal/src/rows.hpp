// Arithmetic on all rows of a block at once: loops without a branch, of which the compiler makes vector instructions.
//
// The results are those of the same arithmetic row by row, to the bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "history.hpp"
#include "wide.hpp"

namespace lsig {

using Integers = std::array<std::int64_t, kBlock>;
using Doubles = std::array<double, kBlock>;

// Unsigned integers of 128 bits, as two columns of words.
struct WideRows {
    std::array<std::uint64_t, kBlock> low, high;

    void set(std::size_t row, u128 value) {
        low[row] = low_word(value);
        high[row] = high_word(value);
    }
};

// Every bit that is set in one of the numbers; below a power of two if all of them are.
inline std::uint64_t bits_of_all(const std::int64_t* values, std::size_t n) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < n; ++i) bits |= static_cast<std::uint64_t>(values[i]);
    return bits;
}

// The double nearest to an integer, as a conversion gives it: but AVX2 converts single numbers only, and one
// conversion would keep a whole loop from becoming vector instructions. The halves of the number are written into the
// fractions of 2^84 and 2^52, where they count what they should, and only the last addition rounds.
inline double to_double(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    const double high = double_of_bits(bits >> 32 ^ 0x4530000080000000);  // 2^84 + 2^63 + the upper half
    const double low = double_of_bits((bits & 0xffffffff) | 0x4330000000000000);  // 2^52 + the lower half
    return (high - (0x1p84 + 0x1p63 + 0x1p52)) + low;
}

// As to_double(u128).
inline double to_double(const WideRows& values, std::size_t row) {
    const std::uint64_t low = values.low[row], high = values.high[row];
    const std::uint64_t is_long = (high | low >> 63) != 0 ? 1 : 0;
    const double low_part = to_double(static_cast<std::int64_t>(low >> is_long));
    return to_double(static_cast<std::int64_t>(high)) * 0x1p64 + low_part * (is_long != 0 ? 2.0 : 1.0);
}

// As nearest_ratio() of each numerator, none of which is negative.
inline void nearest_ratios(const std::int64_t* numerators, std::size_t n, std::uint64_t denominator, double* ratios) {
    const double divisor = static_cast<double>(static_cast<std::int64_t>(denominator));
    if (bits_of_all(numerators, n) < kExactDouble) {
        for (std::size_t i = 0; i < n; ++i) ratios[i] = to_double(numerators[i]) / divisor;
        return;
    }
    // Converted once and divided once, a quotient is less than 3/2 of its last digit away from the ratio: one step at
    // most leads to the nearest double. What is left of the numerator fits 64 bits, so it is right modulo 2^64.
    const auto whole = static_cast<std::int64_t>(denominator);
    std::uint64_t unusual = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const auto numerator = static_cast<std::uint64_t>(numerators[i]);
        const std::uint64_t bits = bits_of_double(to_double(numerators[i]) / divisor);
        const std::uint64_t shift = 1075 - (bits >> 52), fraction = bits & (kExactDouble / 2 - 1);
        const std::uint64_t mantissa = fraction | kExactDouble / 2;
        const auto rest = static_cast<std::int64_t>((numerator << (shift & 63)) - mantissa * denominator);
        const auto odd = static_cast<std::int64_t>(mantissa & 1);
        const std::int64_t up = 2 * rest + odd > whole ? 1 : 0, down = 2 * rest - odd < -whole ? 1 : 0;
        ratios[i] = double_of_bits(bits + static_cast<std::uint64_t>(up - down));
        unusual |= shift >> 6 | (fraction == 0 ? 1 : 0);  // too long a shift, or a power of two
    }
    if (unusual == 0) return;
    for (std::size_t i = 0; i < n; ++i) ratios[i] = nearest_ratio(static_cast<u128>(numerators[i]), denominator);
}

}  // namespace lsig
