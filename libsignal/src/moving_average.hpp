// Simple moving average of the price.
#pragma once

#include "history.hpp"
#include "wide.hpp"

namespace lsig {

// The sum of the window's prices is kept as an integer, so it is as good after 10^9 trades as after one.
class MovingAverage {
public:
    explicit MovingAverage(std::uint64_t window) : window_(window) {}

    void process(const Block& block, const History& history, double* average) {
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            sum_ += static_cast<u128>(block.price_e8[i]);
            if (position >= window_) sum_ -= static_cast<u128>(history.price_e8(position - window_));
            if (average != nullptr) {
                average[i] = nearest_ratio(sum_, std::min(position + 1, window_) * kScale);
            }
        }
    }

private:
    std::uint64_t window_;
    u128 sum_ = 0;
};

}  // namespace lsig
