// Exact arithmetic for models: integers only, so that they share no rounding with the library.
#pragma once

#include <cmath>
#include <cstdint>

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

struct Rational {
    u128 numerator;
    std::uint64_t denominator;
};

// Whether no double is nearer to the rational than `found`: it must lie between the points halfway to the neighbours.
inline bool is_nearest(double found, Rational exact) {
    // Compare numerator with (found +- half a step) * denominator, all scaled to integers.
    int exponent;
    const double fraction = std::frexp(found, &exponent);  // found = fraction * 2^exponent
    const auto mantissa2 = static_cast<std::int64_t>(std::ldexp(fraction, 54));
    exponent -= 54;
    // found = mantissa2 * 2^exponent, and mantissa2 is even: the halfway points are mantissa2 - 1 and + 1.
    const auto compare = [&](std::int64_t mantissa) {  // sign of numerator - mantissa * 2^exponent * denominator
        u128 right = static_cast<u128>(mantissa) * exact.denominator;
        u128 left = exact.numerator;
        if (exponent >= 0) {
            const u128 back = right << exponent;
            if ((back >> exponent) != right) return -1;
            right = back;
        } else {
            int shift = -exponent;
            while (shift > 0 && (left >> 127) == 0) left <<= 1, --shift;
            u128 rest = 0;
            if (shift > 0) {
                rest = shift < 128 ? right & ((u128{1} << shift) - 1) : right;
                right = shift < 128 ? right >> shift : 0;
            }
            if (left == right && rest != 0) return -1;
        }
        return left < right ? -1 : left > right ? 1 : 0;
    };
    return compare(mantissa2 - 1) >= 0 && compare(mantissa2 + 1) <= 0;
}
