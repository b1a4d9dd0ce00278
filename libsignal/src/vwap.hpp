// Volume-weighted average price of the window.
#pragma once

#include "history.hpp"
#include "libsignal.h"
#include "wide.hpp"

namespace lsig {

// What was paid and what was got for it; both exact, and three roundings in their ratio.
struct Turnover {
    Wide quote_e16;
    u128 volume_e8 = 0;

    void add(std::int64_t price_e8, std::int64_t quantity_e8) {
        quote_e16 += product(price_e8, quantity_e8);
        volume_e8 += static_cast<u128>(quantity_e8);
    }
    double average_price() const {
        if (volume_e8 == 0) return kUndefined;
        return to_double(quote_e16) / (to_double(volume_e8) * static_cast<double>(kScale));
    }
};

class WindowVwap {
public:
    explicit WindowVwap(std::uint64_t window) : window_(window) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        const std::int64_t* const leaving_price = history.price_e8.at(block.first - window_);
        const std::int64_t* const leaving_quantity = history.quantity_e8.at(block.first - window_);
        Turnover turnover = turnover_;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::int64_t quantity = block.quantity_e8[i];
            turnover.quote_e16 += product(block.price_e8[i], quantity) - product(leaving_price[i], leaving_quantity[i]);
            turnover.volume_e8 += static_cast<u128>(i128{quantity - leaving_quantity[i]});
            if (out.window_vwap != nullptr) out.window_vwap[i] = turnover.average_price();
        }
        turnover_ = turnover;
    }

private:
    std::uint64_t window_;
    Turnover turnover_;
};

}  // namespace lsig
