// Simple and exponential moving average of the price.
#pragma once

#include "history.hpp"
#include "libsignal.h"
#include "wide.hpp"

namespace lsig {

// The sum of the window's prices is an integer, so it is as good after 10^9 trades as after one.
class MovingAverage {
public:
    explicit MovingAverage(std::uint64_t window) : window_(window) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        u128 sum = sum_;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            sum += static_cast<u128>(block.price_e8[i]);
            if (position >= window_) sum -= static_cast<u128>(history.price_e8(position - window_));
            if (out.moving_average != nullptr) {
                out.moving_average[i] = nearest_ratio(sum, std::min(position + 1, window_) * kScale);
            }
        }
        sum_ = sum;
    }

private:
    std::uint64_t window_;
    u128 sum_ = 0;
};

// Knows no window to look back into: each price pulls the average towards itself by 2 / (window + 1) of the way.
class ExponentialAverage {
public:
    explicit ExponentialAverage(std::uint64_t window) : pull_(2.0 / static_cast<double>(window + 1)) {}

    void process(const Block& block, const lsig_columns& out) {
        double average = block.first != 0 ? average_e8_ : static_cast<double>(block.price_e8[0]);
        for (std::size_t i = 0; i < block.n; ++i) {
            average += (static_cast<double>(block.price_e8[i]) - average) * pull_;
            if (out.exponential_average != nullptr) out.exponential_average[i] = average / kScale;
        }
        average_e8_ = average;
    }

    template <class Archive>
    void archive(Archive& bytes) {
        bytes.number(average_e8_);
        bytes.check(0 < average_e8_ && average_e8_ <= 0x1p63);
    }

private:
    double pull_;
    double average_e8_ = 0;
};

}  // namespace lsig
