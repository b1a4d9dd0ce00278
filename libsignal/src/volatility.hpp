// Standard deviation of the window's logarithmic returns.
#pragma once

#include <vector>

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
    if (price == before) return 0;
    const double difference = static_cast<double>(price - before);
    const double sum = static_cast<double>(price) + static_cast<double>(before);
    const double s = difference / sum;
    const double square = s * s;
    if (square < 1.0 / 4096) return s * artanh_series<5>(square);

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

// Returns become integers (scaled by 2^56), so that their sums are exact and forget nothing they should remember.
class Volatility {
public:
    explicit Volatility(std::uint64_t window) : window_(window), returns_(window) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        Moments moments = moments_;
        std::size_t at = at_;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            const std::int64_t before = i != 0 ? block.price_e8[i - 1] : position != 0 ? history.price_e8(position - 1) : 0;
            if (before != 0) {  // there is none before the first trade
                const auto change = static_cast<std::int64_t>(log_ratio(block.price_e8[i], before) * kReturnScale);
                moments.add(change);
                moments.remove(returns_[at]);
                returns_[at] = change;
                if (++at == returns_.size()) at = 0;
            }
            if (out.volatility == nullptr) continue;
            const std::uint64_t n = std::min(position, window_);
            out.volatility[i] = n != 0 ? moments.spread(n) / (static_cast<double>(n) * kReturnScale) : 0;
        }
        moments_ = moments;
        at_ = at;
    }

private:
    static constexpr double kReturnScale = 0x1p56;

    std::uint64_t window_;
    Moments moments_;
    std::vector<std::int64_t> returns_;  // zeros until there are as many
    std::size_t at_ = 0;
};

}  // namespace lsig
