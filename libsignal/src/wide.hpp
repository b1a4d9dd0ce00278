// Integers wider than 64 bits, and the doubles made of them.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

namespace lsig {

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

constexpr std::uint64_t kScale = 100000000;                     // of every *_e8
constexpr std::uint64_t kExactDouble = std::uint64_t{1} << 53;  // integers up to here are doubles

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();  // a ratio to nothing, an indicator not warm

constexpr std::uint64_t low_word(u128 value) { return static_cast<std::uint64_t>(value); }
constexpr std::uint64_t high_word(u128 value) { return static_cast<std::uint64_t>(value >> 64); }
constexpr u128 from_words(std::uint64_t low, std::uint64_t high) { return u128{high} << 64 | low; }

// 192 bits: enough for the sum of 2^63 products of two 63-bit numbers. Wraps like any unsigned integer.
//
// Words and not a u128 and a word: GCC moves a u128 that is kept in memory by a vector register, and each time waits
// for the two halves to arrive there.
struct Wide {
    std::array<std::uint64_t, 3> words{};  // the low one first

    u128 low() const { return from_words(words[0], words[1]); }
    std::uint64_t high() const { return words[2]; }

    Wide& operator+=(const Wide& other) {
        u128 sum = u128{words[0]} + other.words[0];
        words[0] = low_word(sum);
        sum = u128{words[1]} + other.words[1] + high_word(sum);
        words[1] = low_word(sum);
        words[2] += other.words[2] + high_word(sum);
        return *this;
    }
    Wide& operator+=(i128 value) {
        const auto bits = static_cast<u128>(value);
        return *this += Wide{{low_word(bits), high_word(bits), static_cast<std::uint64_t>(value >> 127)}};
    }
    Wide& operator-=(const Wide& other) {
        *this += Wide{{~other.words[0], ~other.words[1], ~other.words[2]}};
        return *this += i128{1};
    }
};

inline i128 product(std::int64_t a, std::int64_t b) { return i128{a} * b; }

inline u128 magnitude(i128 value) { return static_cast<u128>(value < 0 ? -value : value); }

inline Wide times(const Wide& a, std::uint64_t factor) {
    const u128 first = u128{a.words[0]} * factor;
    const u128 second = u128{a.words[1]} * factor + high_word(first);
    return {{low_word(first), low_word(second), a.words[2] * factor + high_word(second)}};
}

inline Wide squared(u128 a) {  // a < 2^96
    const u128 low = u128{low_word(a)} * low_word(a);
    const u128 cross = u128{low_word(a)} * high_word(a);  // counts twice, 64 bits up
    Wide result{{low_word(low), high_word(low), high_word(a) * high_word(a)}};
    result += Wide{{0, low_word(cross << 1), high_word(cross << 1)}};
    return result;
}

inline int bit_length(std::uint64_t value) { return value != 0 ? 64 - __builtin_clzll(value) : 0; }
inline int bit_length(u128 value) {
    return high_word(value) != 0 ? 64 + bit_length(high_word(value)) : bit_length(low_word(value));
}

inline double double_of_bits(std::uint64_t bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline std::uint64_t bits_of_double(double value) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// 2^exponent for a normal double.
inline double power_of_two(int exponent) { return double_of_bits(static_cast<std::uint64_t>(1023 + exponent) << 52); }

// A double off by less than 2^-52 of the integer, which is below 2^127. The conversion knows signed numbers only; asking
// for the sign of what is as good as random would cost more than the last bit of 2^63 and above is worth.
inline double to_double(u128 value) {
    if (value >> 63 == 0) return static_cast<double>(static_cast<std::int64_t>(value));
    return static_cast<double>(static_cast<std::int64_t>(high_word(value))) * 0x1p64 +
           static_cast<double>(static_cast<std::int64_t>(low_word(value) >> 1)) * 2;
}

inline double to_double(i128 value) {
    const auto narrow = static_cast<std::int64_t>(value);
    if (narrow == value) return static_cast<double>(narrow);
    return value < 0 ? -to_double(magnitude(value)) : to_double(magnitude(value));
}

inline double to_double(const Wide& value) {
    if (value.high() == 0 && value.low() >> 127 == 0) return to_double(value.low());
    return to_double(u128{value.high()}) * 0x1p128 + to_double(value.low() >> 1) * 2;
}

// The same as nearest_ratio() by long division: a quotient of 55 to 61 bits, whose last bit also stands for everything
// below it, so that only the conversion rounds.
[[gnu::noinline]] inline double nearest_ratio_divided(u128 numerator, std::uint64_t denominator) {
    const int missing = 56 + bit_length(denominator) - bit_length(numerator);
    const int added = missing > 0 ? missing : 0;
    const int dropped = missing < -4 ? -missing - 4 : 0;
    const u128 dividend = numerator << added >> dropped;
    const auto quotient = low_word(dividend / denominator);
    const bool inexact = u128{quotient} * denominator != dividend || (numerator & ((u128{1} << dropped) - 1)) != 0;
    return static_cast<double>(static_cast<std::int64_t>(quotient | inexact)) * power_of_two(dropped - added);
}

// The double nearest to numerator / denominator; 0 < denominator < 2^53, numerator < 2^127.
inline double nearest_ratio(u128 numerator, std::uint64_t denominator) {
    const auto divisor = static_cast<std::int64_t>(denominator);
    if (numerator < kExactDouble) {  // both are doubles, and IEEE division rounds once
        return static_cast<double>(static_cast<std::int64_t>(numerator)) / static_cast<double>(divisor);
    }
    // A quotient that is nearly right, as an integer of 53 bits times a power of two; what it leaves of the numerator
    // tells which integer is nearest. Several times faster than the long division.
    const double near = to_double(numerator) / static_cast<double>(divisor);
    const std::uint64_t bits = bits_of_double(near);
    const int shift = 1075 - static_cast<int>(bits >> 52);
    auto mantissa = static_cast<std::int64_t>((bits & (kExactDouble / 2 - 1)) | kExactDouble / 2);
    // Above 2^53 there is nothing to shift, and below a power of two doubles lie closer than above.
    if (shift < 0 || mantissa == kExactDouble / 2) return nearest_ratio_divided(numerator, denominator);
    auto rest = static_cast<std::int64_t>((numerator << shift) - u128{static_cast<std::uint64_t>(mantissa)} * denominator);
    const auto beyond_half = [&] {  // 1 and -1: one more or less is nearer, or even where both are as near
        const std::int64_t odd = mantissa & 1;
        return static_cast<int>(2 * rest + odd > divisor) - static_cast<int>(2 * rest - odd < -divisor);
    };
    do {  // nearly always once, whether or not there is a step to take: guessing that would go wrong too often
        const int step = beyond_half();
        mantissa += step;
        rest -= step * divisor;
    } while (beyond_half() != 0);
    return static_cast<double>(mantissa) * power_of_two(-shift);
}

}  // namespace lsig
