// Sum and sum of squares of a sliding window, both exact, and the standard deviation they make.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "history.hpp"
#include "wide.hpp"

namespace lsig {

class Moments {
public:
    // The values are integers that stand for themselves divided by `scale`.
    Moments(std::uint64_t window, double scale) : window_(window), scale_(scale), full_share_(share(window)) {}

    // Slide over `rows` values, at most kBlock of them, while others leave: 0 until the window is full. Before them it
    // held `held` values. Writes the population standard deviation after each, unless `deviation` is null.
    void slide(const std::int64_t* entering, const std::int64_t* leaving, std::size_t rows, std::uint64_t held,
               double* deviation) {
        std::array<double, kBlock> variance;  // of n values, times n^2
        i128 sum = sum_;
        Wide squares = squares_;
        for (std::size_t i = 0; i < rows; ++i) {
            sum += i128{entering[i]} - leaving[i];
            squares += product(entering[i], entering[i]) - product(leaving[i], leaving[i]);
            if (deviation != nullptr) variance[i] = difference(squares, sum, std::min(held + i + 1, window_));
        }
        sum_ = sum;
        squares_ = squares;
        if (deviation == nullptr) return;
        for (std::size_t i = 0; i < rows; ++i) deviation[i] = std::sqrt(variance[i]) * full_share_;
        for (std::size_t i = 0; i < rows && held + i + 1 < window_; ++i) {
            deviation[i] = std::sqrt(variance[i]) * share(held + i + 1);
        }
    }

private:
    double share(std::uint64_t n) const { return 1 / (static_cast<double>(n) * scale_); }

    // n * squares - sum^2: exact before it is made a double. n <= 2^20.
    static double difference(const Wide& squares, i128 sum, std::uint64_t n) {
        const u128 size = static_cast<u128>(sum < 0 ? -sum : sum);
        if (squares.high() == 0 && squares.low() >> 106 == 0 && high_word(size) == 0) {  // both stay below 2^127
            return to_double(squares.low() * n - u128{low_word(size)} * low_word(size));
        }
        Wide wide = times(squares, n);
        wide -= squared(size);
        return to_double(wide);
    }

    std::uint64_t window_;
    double scale_;
    double full_share_;
    i128 sum_ = 0;
    Wide squares_;
};

}  // namespace lsig
