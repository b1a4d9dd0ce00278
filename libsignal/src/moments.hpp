// Sum and sum of squares of a window, both exact, and the spread they make.
#pragma once

#include <cmath>

#include "wide.hpp"

namespace lsig {

class Moments {
public:
    void add(std::int64_t value) {
        sum_ += value;
        squares_ += square(value);
    }
    void remove(std::int64_t value) {
        sum_ -= value;
        squares_ -= square(value);
    }
    u128 sum() const { return static_cast<u128>(sum_); }  // of values that are not negative

    // n times the standard deviation of the n values: the root of n * squares - sum^2, which is exact and rounded
    // once before the root and once by it. n <= 2^20.
    double spread(std::uint64_t n) const {
        const u128 size = static_cast<u128>(sum_ < 0 ? -sum_ : sum_);
        if (squares_.high == 0 && squares_.low >> 107 == 0) {  // then neither product reaches 2^128
            return std::sqrt(to_double(squares_.low * n - size * size));
        }
        Wide variance = times(squares_, n);
        variance -= squared(size);
        return std::sqrt(to_double(variance));
    }

private:
    static u128 square(std::int64_t value) {
        const i128 wide = value;
        return static_cast<u128>(wide * wide);
    }

    i128 sum_ = 0;
    Wide squares_;
};

}  // namespace lsig
