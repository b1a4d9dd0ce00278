// Who is the more eager: the takers that buy or the takers that sell; and how fast trades come.
#pragma once

#include "history.hpp"
#include "libsignal.h"
#include "wide.hpp"

namespace lsig {

class Flow {
public:
    explicit Flow(std::uint64_t window) : window_(window) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        u128 bought = bought_e8_, sold = sold_e8_;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            const auto quantity = static_cast<std::uint64_t>(block.quantity_e8[i]);
            const std::uint64_t sell = block.is_buyer_maker[i] != 0 ? quantity : 0;
            sold += sell;
            bought += quantity - sell;
            if (position >= window_) {
                const auto left = static_cast<std::uint64_t>(history.quantity_e8(position - window_));
                const std::uint64_t left_sell = history.is_buyer_maker(position - window_) != 0 ? left : 0;
                sold -= left_sell;
                bought -= left - left_sell;
            }
            const double both = to_double(bought + sold);
            if (out.buy_share != nullptr) out.buy_share[i] = both > 0 ? to_double(bought) / both : kUndefined;
            if (out.flow_imbalance != nullptr) {
                const double surplus = bought >= sold ? to_double(bought - sold) : -to_double(sold - bought);
                out.flow_imbalance[i] = both > 0 ? surplus / both : kUndefined;
            }
        }
        bought_e8_ = bought;
        sold_e8_ = sold;
    }

private:
    std::uint64_t window_;
    u128 bought_e8_ = 0;
    u128 sold_e8_ = 0;
};

class Rate {
public:
    explicit Rate(std::uint64_t window) : window_(window) {}

    void process(const Block& block, const History& history, const lsig_columns& out) const {
        if (out.trade_rate == nullptr) return;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            const std::uint64_t n = std::min(position + 1, window_);
            const std::int64_t elapsed_us = block.time_us[i] - history.time_us(position + 1 - n);
            out.trade_rate[i] = elapsed_us > 0
                                    ? static_cast<double>((n - 1) * 1000000) / static_cast<double>(elapsed_us)
                                    : kUndefined;
        }
    }

private:
    std::uint64_t window_;
};

}  // namespace lsig
