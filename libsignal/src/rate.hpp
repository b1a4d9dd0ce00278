// How fast trades come.
#pragma once

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "rows.hpp"
#include "wide.hpp"

namespace lsig {

class Rate {
public:
    explicit Rate(std::uint64_t window) : window_(window) {}

    LSIG_CLONED void process(const Block& block, const History& history, const lsig_columns& out) const {
        if (out.trade_rate == nullptr) return;
        std::size_t row = 0;
        for (; row < block.n && block.first + row + 1 < window_; ++row) {
            out.trade_rate[row] = rate(block.first + row + 1, block.time_us[row] - *history.time_us.at(0));
        }
        const std::int64_t* const oldest_us = history.time_us.leaving(block.first + row + 1 - window_, block.n - row);
        for (std::size_t i = 0; row + i < block.n; ++i) {
            out.trade_rate[row + i] = rate(window_, block.time_us[row + i] - oldest_us[i]);
        }
    }

private:
    static double rate(std::uint64_t n, std::int64_t elapsed_us) {
        const double rate = static_cast<double>((n - 1) * 1000000) / to_double(elapsed_us);
        return elapsed_us > 0 ? rate : kUndefined;
    }

    std::uint64_t window_;
};

}  // namespace lsig
