// Highest and lowest price of the window.
#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "history.hpp"
#include "libsignal.h"

namespace lsig {

// The trades fall into stretches as long as the window, so a window is the end of one stretch and the beginning of the
// next. The beginning's extreme grows with each trade; the end's are worked out backwards once, when a stretch is full.
// Two comparisons a trade whatever the prices do; bench/ has the monotonic deque beside it, whose guesses go wrong on
// real prices.
template <class Better>
class WindowExtreme {
public:
    WindowExtreme(std::size_t window, std::int64_t worst) : ends_(window + 1, worst), worst_(worst) {}

    void process(const Block& block, std::int64_t* extreme_e8) {
        const std::size_t window = ends_.size() - 1;
        std::int64_t* const ends = ends_.data();
        for (std::size_t row = 0; row < block.n;) {
            const std::size_t stop = std::min(block.n, row + window - at_);
            std::int64_t beginning = beginning_;
            std::size_t at = at_;
            for (; row < stop; ++row, ++at) {
                const std::int64_t price = block.price_e8[row];
                beginning = better(beginning, price);
                if (extreme_e8 != nullptr) extreme_e8[row] = better(beginning, ends[at + 1]);
                ends[at] = price;  // what was there has left the window
            }
            beginning_ = beginning;
            at_ = at;
            if (at_ == window) end_stretch();
        }
    }

private:
    static std::int64_t better(std::int64_t a, std::int64_t b) { return Better{}(a, b) ? a : b; }

    void end_stretch() {
        std::int64_t end = worst_;
        for (std::size_t at = ends_.size() - 1; at-- > 0;) ends_[at] = end = better(end, ends_[at]);
        beginning_ = worst_;
        at_ = 0;
    }

    std::vector<std::int64_t> ends_;  // extreme from here to the end of the last stretch; before at_: prices of this one
    std::int64_t worst_;
    std::int64_t beginning_ = worst_;
    std::size_t at_ = 0;
};

class Extremes {
public:
    explicit Extremes(std::size_t window)
        : high_(window, std::numeric_limits<std::int64_t>::min()), low_(window, std::numeric_limits<std::int64_t>::max()) {}

    void process(const Block& block, const lsig_columns& out) {
        high_.process(block, out.window_high_e8);
        low_.process(block, out.window_low_e8);
    }

private:
    WindowExtreme<std::greater<>> high_;
    WindowExtreme<std::less<>> low_;
};

}  // namespace lsig
