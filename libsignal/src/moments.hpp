// The standard deviation of a sliding window, of sums that are exact.
#pragma once

#include <algorithm>
#include <cmath>

#include "history.hpp"
#include "rows.hpp"
#include "wide.hpp"

namespace lsig {

// Kept is the sum of the window's values and, once the window is full, its spread: n * sum(x^2) - sum(x)^2, which is
// n^2 times the variance. Where e enters and l leaves and the sum goes from S to S', the spread grows by
// (e - l) * (n * (e + l) - S - S'): one multiplication a value. And it stays the same when one number is taken off all
// values, so that what is multiplied are distances from a value nearby, short enough for 64 bits.
class Moments {
public:
    // The values are integers that stand for themselves divided by `scale`.
    Moments(std::int64_t window, double scale) : window_(window), scale_(scale), full_share_(share(window)) {}

    // Slide over `rows` values, at most kBlock of them, while others leave: 0 until the window is full. Before them it
    // held `held` values; -1 says that the first of these does not count. Writes the population standard deviation
    // after each, unless `deviation` is null.
    void slide(const std::int64_t* entering, const std::int64_t* leaving, std::size_t rows, std::int64_t held,
               double* deviation) {
        std::size_t row = 0;
        for (; row < rows && held < window_; ++row) {
            const double spread = fill(entering[row], ++held);
            if (deviation != nullptr) deviation[row] = std::sqrt(spread) * share(held);
        }
        if (row == rows) return;
        entering += row, leaving += row, rows -= row;
        WideRows spread;
        if (!slide_narrow(entering, leaving, rows, spread)) return slide_wide(entering, leaving, rows, deviation + row);
        if (deviation == nullptr) return;
        for (std::size_t i = 0; i < rows; ++i) deviation[row + i] = std::sqrt(to_double(spread, i)) * full_share_;
    }

private:
    double share(std::int64_t n) const { return 1 / (static_cast<double>(n) * scale_); }

    // Take in one value before the window is full and return the spread of the `held` values it then has.
    [[gnu::noinline]] double fill(std::int64_t value, std::int64_t held) {
        sum_ += value;
        squares_ += product(value, value);
        spread_ = times(squares_, static_cast<std::uint64_t>(held));
        spread_ -= squared(magnitude(sum_));
        return to_double(spread_);
    }

    // Returns false, having done nothing, where 64 bits might not do for distances or 128 for the spread.
    bool slide_narrow(const std::int64_t* entering, const std::int64_t* leaving, std::size_t rows, WideRows& spreads) {
        const std::int64_t pivot = entering[0];
        std::int64_t reach = 0;  // every bit of a distance
        for (std::size_t i = 0; i < rows; ++i) {
            const std::int64_t come = entering[i] - pivot, gone = leaving[i] - pivot;
            reach |= (come ^ come >> 63) | (gone ^ gone >> 63);
        }
        const i128 sum_of_distances = sum_ - product(window_, pivot);
        const std::int64_t most = (std::int64_t{1} << 61) / std::max<std::int64_t>(window_, 4 * kBlock);
        const bool short_enough = reach < most && sum_of_distances >> 60 == sum_of_distances >> 127 &&
                                  spread_.high() == 0 && spread_.low() >> 126 == 0;
        if (!short_enough) return false;

        auto sum = static_cast<std::int64_t>(sum_of_distances);
        u128 spread = spread_.low();
        for (std::size_t i = 0; i < rows; ++i) {
            const std::int64_t come = entering[i] - pivot, gone = leaving[i] - pivot, step = come - gone;
            spread += static_cast<u128>(product(step, window_ * (come + gone) - sum - (sum + step)));
            sum += step;
            spreads.set(i, spread);
        }
        sum_ = sum + product(window_, pivot);
        spread_ = Wide{{low_word(spread), high_word(spread), 0}};
        return true;
    }

    [[gnu::noinline]] void slide_wide(const std::int64_t* entering, const std::int64_t* leaving, std::size_t rows,
                                      double* deviation) {
        for (std::size_t i = 0; i < rows; ++i) {
            Wide squares;
            squares += product(entering[i], entering[i]) - product(leaving[i], leaving[i]);
            spread_ += squared(magnitude(sum_));
            sum_ += i128{entering[i]} - leaving[i];
            spread_ -= squared(magnitude(sum_));
            spread_ += times(squares, static_cast<std::uint64_t>(window_));
            if (deviation != nullptr) deviation[i] = std::sqrt(to_double(spread_)) * full_share_;
        }
    }

    std::int64_t window_;
    double scale_;
    double full_share_;
    i128 sum_ = 0;
    Wide squares_;  // of the values, until the window is full
    Wide spread_;
};

}  // namespace lsig
