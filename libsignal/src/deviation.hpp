// Standard deviation of the window's prices, and Bollinger's bands.
#pragma once

#include "history.hpp"
#include "libsignal.h"
#include "moments.hpp"

namespace lsig {

class Deviation {
public:
    Deviation(std::uint64_t window, double width) : window_(window), width_(width) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        const bool bands = out.bollinger_upper != nullptr || out.bollinger_lower != nullptr;
        Moments moments = moments_;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            moments.add(block.price_e8[i]);
            if (position >= window_) moments.remove(history.price_e8(position - window_));
            if (!bands && out.deviation == nullptr && out.bollinger_middle == nullptr) continue;
            const std::uint64_t n = std::min(position + 1, window_);
            const double middle = nearest_ratio(moments.sum(), n * kScale);
            const double deviation = moments.spread(n) / static_cast<double>(n * kScale);
            if (out.deviation != nullptr) out.deviation[i] = deviation;
            if (out.bollinger_middle != nullptr) out.bollinger_middle[i] = middle;
            if (out.bollinger_upper != nullptr) out.bollinger_upper[i] = middle + width_ * deviation;
            if (out.bollinger_lower != nullptr) out.bollinger_lower[i] = middle - width_ * deviation;
        }
        moments_ = moments;
    }

private:
    std::uint64_t window_;
    double width_;
    Moments moments_;
};

}  // namespace lsig
