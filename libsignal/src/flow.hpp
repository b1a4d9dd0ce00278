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
        const std::int64_t* const leaving = history.quantity_e8.at(block.first - window_);
        const std::uint8_t* const leaving_maker = history.is_buyer_maker.at(block.first - window_);
        i128 bought = bought_e8_, sold = sold_e8_;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::int64_t sell = sold_of(block.quantity_e8[i], block.is_buyer_maker[i]);
            const std::int64_t leaving_sell = sold_of(leaving[i], leaving_maker[i]);
            sold += sell - leaving_sell;
            bought += (block.quantity_e8[i] - sell) - (leaving[i] - leaving_sell);
            const double both = to_double(bought + sold);
            if (out.buy_share != nullptr) out.buy_share[i] = both > 0 ? to_double(bought) / both : kUndefined;
            if (out.flow_imbalance != nullptr) {
                const double surplus = to_double(bought - sold);
                out.flow_imbalance[i] = both > 0 ? surplus / both : kUndefined;
            }
        }
        bought_e8_ = bought;
        sold_e8_ = sold;
    }

private:
    // Without a branch: sides change like a coin, and a wrong guess costs more than all the rest.
    static std::int64_t sold_of(std::int64_t quantity, std::uint8_t is_buyer_maker) {
        return quantity & -std::int64_t{is_buyer_maker};
    }

    std::uint64_t window_;
    i128 bought_e8_ = 0;
    i128 sold_e8_ = 0;
};

class Rate {
public:
    explicit Rate(std::uint64_t window) : window_(window) {}

    void process(const Block& block, const History& history, const lsig_columns& out) const {
        if (out.trade_rate == nullptr) return;
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t n = std::min(block.first + i + 1, window_);
            const std::int64_t elapsed_us = block.time_us[i] - *history.time_us.at(block.first + i + 1 - n);
            out.trade_rate[i] = elapsed_us > 0
                                    ? static_cast<double>((n - 1) * 1000000) / static_cast<double>(elapsed_us)
                                    : kUndefined;
        }
    }

private:
    std::uint64_t window_;
};

}  // namespace lsig
