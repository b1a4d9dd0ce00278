// Standard deviation of the window's prices, and Bollinger's bands.
#pragma once

#include <algorithm>

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "moments.hpp"
#include "moving_average.hpp"
#include "rows.hpp"

namespace lsig {

class Deviation {
public:
    Deviation(std::uint64_t window, double width)
        : window_(window),
          width_(width),
          middle_(window),
          moments_(static_cast<std::int64_t>(window), static_cast<double>(kScale)) {}

    LSIG_CLONED void process(const Block& block, const History& history, const lsig_columns& out) {
        const bool bands = out.bollinger_upper != nullptr || out.bollinger_lower != nullptr;
        Doubles middle, deviation;
        const std::int64_t* const leaving = history.price_e8.leaving(block.first - window_, block.n);
        middle_.slide(block, leaving, bands || out.bollinger_middle != nullptr ? middle.data() : nullptr);
        moments_.slide(block.price_e8, leaving, block.n, static_cast<std::int64_t>(block.first),
                       bands || out.deviation != nullptr ? deviation.data() : nullptr);
        if (out.deviation != nullptr) std::copy_n(deviation.data(), block.n, out.deviation);
        if (out.bollinger_middle != nullptr) std::copy_n(middle.data(), block.n, out.bollinger_middle);
        if (out.bollinger_upper != nullptr) {
            for (std::size_t i = 0; i < block.n; ++i) out.bollinger_upper[i] = middle[i] + width_ * deviation[i];
        }
        if (out.bollinger_lower != nullptr) {
            for (std::size_t i = 0; i < block.n; ++i) out.bollinger_lower[i] = middle[i] - width_ * deviation[i];
        }
    }

private:
    std::uint64_t window_;
    double width_;
    MovingAverage middle_;
    Moments moments_;
};

}  // namespace lsig
