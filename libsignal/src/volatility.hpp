// Standard deviation of the window's logarithmic returns.
#pragma once

#include <array>

#include "history.hpp"
#include "libsignal.h"
#include "moments.hpp"

namespace lsig {

// 2 artanh(s) / s as a series in s^2, `Terms` long: each one adds twice as many bits as s^2 has zeros in front.
template <int Terms>
double artanh_series(double square) {
    double sum = 0;
    for (int k = Terms - 1; k >= 0; --k) sum = sum * square + 2.0 / (2 * k + 1);
    return sum;
}

// ln(price / before), wrong by less than 2^-49 of itself. Of our own making because the C library's differs from
// machine to machine in the last bit, and a signal must not.
inline double log_ratio(std::int64_t price, std::int64_t before) {
    const double difference = static_cast<double>(price - before);
    const double sum = static_cast<double>(price) + static_cast<double>(before);
    const double s = difference / sum;
    const double square = s * s;
    if (square < 0x1p-20) return s * artanh_series<3>(square);
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

// Returns become integers, so that their sums are exact and forget nothing they should remember.
class Volatility {
public:
    explicit Volatility(std::uint64_t window) : window_(window), returns_(window), moments_(window, kScaleOfReturns) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        std::array<std::int64_t, kBlock> changes;
        changes[0] = block.first != 0 ? change(block.price_e8[0], *history.price_e8.at(block.first - 1)) : 0;
        for (std::size_t i = 1; i < block.n; ++i) changes[i] = change(block.price_e8[i], block.price_e8[i - 1]);
        // The first trade of all has no return; the 0 in its place adds nothing, and is not counted.
        returns_.append(block.first, changes.data(), block.n);
        const std::uint64_t held = block.first - 1;  // for the first trade itself: one less than none
        moments_.slide(changes.data(), returns_.at(block.first - window_), block.n, held, out.volatility);
        if (block.first == 0 && out.volatility != nullptr) out.volatility[0] = 0;
    }

private:
    static constexpr double kScaleOfReturns = 0x1p56;

    // A loaded state does not know what was before its history: 0, and neither does any window reach so far.
    static std::int64_t change(std::int64_t price, std::int64_t before) {
        return before != 0 ? static_cast<std::int64_t>(log_ratio(price, before) * kScaleOfReturns) : 0;
    }

    std::uint64_t window_;
    Ring<std::int64_t> returns_;
    Moments moments_;
};

}  // namespace lsig
