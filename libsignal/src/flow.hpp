// Who is the more eager: the takers that buy or the takers that sell.
#pragma once

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "rows.hpp"
#include "wide.hpp"

namespace lsig {

class Flow {
public:
    explicit Flow(std::uint64_t window) : window_(window) {}

    LSIG_CLONED void process(const Block& block, const History& history, const lsig_columns& out) {
        const std::int64_t* const leaving = history.quantity_e8.leaving(block.first - window_, block.n);
        const std::uint8_t* const leaving_maker = history.is_buyer_maker.leaving(block.first - window_, block.n);
        constexpr i128 kHalf = i128{1} << 62;
        if (bought_e8_ + sold_e8_ >= kHalf || bits_of_all(block.quantity_e8, block.n) >= kHalf / kBlock) {
            return slide_wide(block, leaving, leaving_maker, out);
        }
        Integers sums, surpluses;
        auto bought = static_cast<std::int64_t>(bought_e8_), sold = static_cast<std::int64_t>(sold_e8_);
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::int64_t sell = sold_of(block.quantity_e8[i], block.is_buyer_maker[i]);
            const std::int64_t leaving_sell = sold_of(leaving[i], leaving_maker[i]);
            sold += sell - leaving_sell;
            bought += (block.quantity_e8[i] - sell) - (leaving[i] - leaving_sell);
            sums[i] = bought + sold;
            surpluses[i] = bought - sold;
        }
        bought_e8_ = bought;
        sold_e8_ = sold;
        if (out.buy_share != nullptr) {
            for (std::size_t i = 0; i < block.n; ++i) out.buy_share[i] = share((sums[i] + surpluses[i]) / 2, sums[i]);
        }
        if (out.flow_imbalance != nullptr) {
            for (std::size_t i = 0; i < block.n; ++i) out.flow_imbalance[i] = share(surpluses[i], sums[i]);
        }
    }

private:
    // Without a branch: sides change like a coin, and a wrong guess costs more than all the rest.
    static std::int64_t sold_of(std::int64_t quantity, std::uint8_t is_buyer_maker) {
        return quantity & -std::int64_t{is_buyer_maker};
    }

    static double share(std::int64_t part, std::int64_t whole) {
        const double share = to_double(part) / to_double(whole);
        return whole > 0 ? share : kUndefined;
    }

    [[gnu::noinline]] void slide_wide(const Block& block, const std::int64_t* leaving, const std::uint8_t* leaving_maker,
                                      const lsig_columns& out) {
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::int64_t sell = sold_of(block.quantity_e8[i], block.is_buyer_maker[i]);
            const std::int64_t leaving_sell = sold_of(leaving[i], leaving_maker[i]);
            sold_e8_ += sell - leaving_sell;
            bought_e8_ += (block.quantity_e8[i] - sell) - (leaving[i] - leaving_sell);
            const double both = to_double(bought_e8_ + sold_e8_);
            if (out.buy_share != nullptr) out.buy_share[i] = both > 0 ? to_double(bought_e8_) / both : kUndefined;
            if (out.flow_imbalance != nullptr) {
                const double surplus = to_double(bought_e8_ - sold_e8_);
                out.flow_imbalance[i] = both > 0 ? surplus / both : kUndefined;
            }
        }
    }

    std::uint64_t window_;
    i128 bought_e8_ = 0;
    i128 sold_e8_ = 0;
};

}  // namespace lsig
