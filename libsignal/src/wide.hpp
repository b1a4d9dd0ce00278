// Integers wider than 64 bits, and the doubles made of them.
#pragma once

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
struct Wide {
    u128 low = 0;
    std::uint64_t high = 0;

    Wide& operator+=(u128 value) {
        low += value;
        high += low < value;
        return *this;
    }
    Wide& operator-=(u128 value) {
        high -= low < value;
        low -= value;
        return *this;
    }
    Wide& operator+=(const Wide& other) {
        *this += other.low;
        high += other.high;
        return *this;
    }
    Wide& operator-=(const Wide& other) {
        *this -= other.low;
        high -= other.high;
        return *this;
    }
};

inline u128 product(std::int64_t a, std::int64_t b) {  // of two numbers that are not negative
    return u128{static_cast<std::uint64_t>(a)} * static_cast<std::uint64_t>(b);
}

inline Wide times(const Wide& a, std::uint64_t factor) {
    const u128 first = u128{low_word(a.low)} * factor;
    const u128 second = u128{high_word(a.low)} * factor + high_word(first);
    return {from_words(low_word(first), low_word(second)), a.high * factor + high_word(second)};
}

inline Wide squared(u128 a) {  // a < 2^96
    const std::uint64_t low = low_word(a), high = high_word(a);
    Wide result{u128{low} * low, high * high};
    const u128 cross = u128{low} * high;  // counts twice, 64 bits up
    result += Wide{cross << 65, high_word(cross << 1)};
    return result;
}

inline int bit_length(std::uint64_t value) { return value != 0 ? 64 - __builtin_clzll(value) : 0; }
inline int bit_length(u128 value) {
    return high_word(value) != 0 ? 64 + bit_length(high_word(value)) : bit_length(low_word(value));
}

// 2^exponent for a normal double.
inline double power_of_two(int exponent) {
    const auto bits = static_cast<std::uint64_t>(1023 + exponent) << 52;
    double result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// The double nearest to an integer: its first 63 bits, the last of which also stands for everything below it, so that
// only the conversion rounds.
inline double to_double(u128 value) {
    if (value >> 63 == 0) return static_cast<double>(static_cast<std::int64_t>(value));
    const int shift = bit_length(value) - 63;
    const u128 kept = value >> shift;
    const bool inexact = kept << shift != value;
    return static_cast<double>(static_cast<std::int64_t>(kept) | static_cast<std::int64_t>(inexact)) * power_of_two(shift);
}

inline double to_double(const Wide& value) {
    if (value.high == 0) return to_double(value.low);
    const int shift = bit_length(value.high);
    const u128 kept = (u128{value.high} << (128 - shift)) | (value.low >> shift);
    const bool inexact = kept << shift != value.low;
    return to_double(kept | static_cast<u128>(inexact)) * power_of_two(shift);
}

struct Quotient {
    std::uint64_t value;
    bool inexact;
};

// Divide; the quotient must fit into 64 bits.
inline Quotient divide(u128 numerator, std::uint64_t denominator) {
#if defined(__x86_64__)
    // One instruction, which the compiler does not dare to use: it cannot know that the quotient fits.
    std::uint64_t quotient, remainder;
    __asm__("divq %[denominator]"
            : "=a"(quotient), "=d"(remainder)
            : "a"(low_word(numerator)), "d"(high_word(numerator)), [denominator] "rm"(denominator)
            : "cc");
    return {quotient, remainder != 0};
#else
    const u128 quotient = numerator / denominator;
    return {low_word(quotient), quotient * denominator != numerator};
#endif
}

// The double nearest to numerator / denominator; 0 < denominator < 2^53.
inline double nearest_ratio(u128 numerator, std::uint64_t denominator) {
    if (numerator < kExactDouble) {  // both are doubles, and IEEE division rounds once
        return static_cast<double>(static_cast<std::int64_t>(numerator)) /
               static_cast<double>(static_cast<std::int64_t>(denominator));
    }
    // A quotient of 55 to 61 bits, whose last bit also stands for everything below it: only the conversion rounds.
    const int missing = 56 + bit_length(denominator) - bit_length(numerator);
    const int added = missing > 0 ? missing : 0;
    const int dropped = missing < -4 ? -missing - 4 : 0;
    const Quotient quotient = divide(numerator << added >> dropped, denominator);
    const bool inexact = quotient.inexact || (numerator & ((u128{1} << dropped) - 1)) != 0;
    return static_cast<double>(static_cast<std::int64_t>(quotient.value | inexact)) * power_of_two(dropped - added);
}

}  // namespace lsig
