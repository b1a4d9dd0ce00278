// Simple and exponential moving average of the price.
#pragma once

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "rows.hpp"
#include "wide.hpp"

namespace lsig {

// The sum of the window's prices is an integer, so it is as good after 10^9 trades as after one.
class MovingAverage {
public:
    explicit MovingAverage(std::uint64_t window) : window_(window) {}

    LSIG_CLONED void process(const Block& block, const History& history, const lsig_columns& out) {
        slide(block, history.price_e8.leaving(block.first - window_, block.n), out.moving_average);
    }

    // `leaving` are the prices that leave the window: 0 until it is full.
    void slide(const Block& block, const std::int64_t* leaving, double* average) {
        constexpr std::uint64_t kHalf = std::uint64_t{1} << 62;
        if (sum_ >= kHalf || bits_of_all(block.price_e8, block.n) >= kHalf / kBlock) return slide_wide(block, leaving, average);
        Integers sums;
        auto sum = static_cast<std::int64_t>(sum_);
        for (std::size_t i = 0; i < block.n; ++i) sums[i] = sum += block.price_e8[i] - leaving[i];
        sum_ = static_cast<u128>(sum);
        if (average == nullptr) return;
        std::size_t row = 0;
        for (; row < block.n && block.first + row + 1 < window_; ++row) {
            average[row] = nearest_ratio(static_cast<u128>(sums[row]), (block.first + row + 1) * kScale);
        }
        nearest_ratios(&sums[0] + row, block.n - row, window_ * kScale, average + row);
    }

private:
    [[gnu::noinline]] void slide_wide(const Block& block, const std::int64_t* leaving, double* average) {
        for (std::size_t i = 0; i < block.n; ++i) {
            sum_ += static_cast<u128>(i128{block.price_e8[i]} - leaving[i]);
            if (average == nullptr) continue;
            average[i] = nearest_ratio(sum_, std::min(block.first + i + 1, window_) * kScale);
        }
    }

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
            if (out.exponential_average != nullptr) out.exponential_average[i] = average * 1e-8;
        }
        average_e8_ = average;
    }

    template <class Archive>
    void archive(Archive& bytes) {
        bytes.number(average_e8_);
        bytes.check(0 <= average_e8_ && average_e8_ <= 0x1p63);  // 0: a fall so deep that nothing is left of 53 bits
    }

private:
    double pull_;
    double average_e8_ = 0;
};

}  // namespace lsig
