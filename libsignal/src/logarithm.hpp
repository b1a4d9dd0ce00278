// The natural logarithm of a ratio of prices, the same on every machine.
#pragma once

#include "rows.hpp"
#include "wide.hpp"

namespace lsig {

// 2 artanh(s) / s as a series in s^2, `Terms` long: each one adds twice as many bits as s^2 has zeros in front.
template <int Terms>
double artanh_series(double square) {
    double sum = 2.0 / (2 * Terms - 1);
    for (int k = Terms - 2; k >= 0; --k) sum = sum * square + 2.0 / (2 * k + 1);
    return sum;
}

constexpr double kNearSquare = 0x1p-20;  // up to here three terms are enough: prices less than 0.2 % apart

// ln(price / before), wrong by less than 2^-49 of itself. Of our own making because the C library's differs from
// machine to machine in the last bit, and a signal must not.
inline double log_ratio(std::int64_t price, std::int64_t before) {
    const double difference = static_cast<double>(price - before);
    const double sum = static_cast<double>(price) + static_cast<double>(before);
    const double s = difference / sum;
    const double square = s * s;
    if (square < kNearSquare) return s * artanh_series<3>(square);
    if (square < 0x1p-12) return s * artanh_series<5>(square);

    // Far apart: take out the powers of two, so that what is left lies between the roots of 1/2 and 2. Then the series
    // is short, and its logarithm never nearly cancels theirs.
    constexpr double kRootOfTwo = 0x1.6a09e667f3bcdp0;
    constexpr double kLogTwo = 0x1.62e42fefa39efp-1;
    const double base = static_cast<double>(before);
    int twos = bit_length(static_cast<std::uint64_t>(price)) - bit_length(static_cast<std::uint64_t>(before));
    double near = static_cast<double>(price) * power_of_two(-twos);
    if (near > base * kRootOfTwo) {
        near /= 2;
        ++twos;
    } else if (near * kRootOfTwo < base) {
        near *= 2;
        --twos;
    }
    const double rest = (near - base) / (near + base);
    return twos * kLogTwo + rest * artanh_series<13>(rest * rest);
}

constexpr double kScaleOfReturns = 0x1p56;

// The logarithm as an integer scaled by 2^56; 0 where there is no price before.
inline std::int64_t log_return(std::int64_t price, std::int64_t before) {
    return before != 0 ? static_cast<std::int64_t>(log_ratio(price, before) * kScaleOfReturns) : 0;
}

// log_return() of each price and the one before it; `before` is the one before the first.
inline void log_returns(const std::int64_t* prices, std::size_t n, std::int64_t before, std::int64_t* returns) {
    constexpr double kRounder = 0x1.8p52;  // added to what is below 2^51, it leaves no room for a fraction
    Integers last;
    last[0] = before;
    for (std::size_t i = 1; i < n; ++i) last[i] = prices[i - 1];
    std::uint64_t far = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double s = to_double(prices[i] - last[i]) / (to_double(prices[i]) + to_double(last[i]));
        const double square = s * s;
        const double exact = s * artanh_series<3>(square) * kScaleOfReturns;
        const double rounded = exact + kRounder;
        const double whole = rounded - kRounder;
        const std::int64_t beyond = exact > 0 ? (whole > exact ? 1 : 0) : (whole < exact ? -1 : 0);
        returns[i] = static_cast<std::int64_t>(bits_of_double(rounded) - bits_of_double(kRounder)) - beyond;
        far |= square < kNearSquare ? 0 : 1;
    }
    if (far == 0) return;
    for (std::size_t i = 0; i < n; ++i) returns[i] = log_return(prices[i], last[i]);
}

}  // namespace lsig
