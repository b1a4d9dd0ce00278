// Standard deviation of the window's logarithmic returns.
#pragma once

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "logarithm.hpp"
#include "moments.hpp"
#include "rows.hpp"

namespace lsig {

// Returns become integers, so that their sums are exact and forget nothing they should remember.
class Volatility {
public:
    explicit Volatility(std::uint64_t window)
        : window_(window), returns_(window), moments_(static_cast<std::int64_t>(window), kScaleOfReturns) {}

    LSIG_CLONED void process(const Block& block, const History& history, const lsig_columns& out) {
        // A loaded state does not know what was before its history: 0, and neither does any window reach so far.
        const std::int64_t before = block.first != 0 ? *history.price_e8.at(block.first - 1) : 0;
        Integers returns;
        log_returns(block.price_e8, block.n, before, returns.data());
        // The first trade of all has no return; the 0 in its place adds nothing, and is not counted.
        returns_.append(block.first, returns.data(), block.n);
        const std::int64_t held = static_cast<std::int64_t>(block.first) - 1;
        moments_.slide(returns.data(), returns_.leaving(block.first - window_, block.n), block.n, held, out.volatility);
        if (block.first == 0 && out.volatility != nullptr) out.volatility[0] = 0;
    }

private:
    std::uint64_t window_;
    Ring<std::int64_t> returns_;
    Moments moments_;
};

}  // namespace lsig
