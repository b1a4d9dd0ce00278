// Volume-weighted average prices.
#pragma once

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "rows.hpp"
#include "wide.hpp"

namespace lsig {

// What was paid and what was got for it; both exact, and three roundings in their ratio.
struct Turnover {
    Wide quote_e16;
    u128 volume_e8 = 0;

    // The turnover right after each trade of a block.
    struct Rows {
        WideRows quote_e16;
        Integers volume_e8;

        void average_prices(std::size_t n, double* averages) const {
            for (std::size_t i = 0; i < n; ++i) {
                const std::int64_t volume = volume_e8[i];
                const double average = to_double(quote_e16, i) / (to_double(volume) * static_cast<double>(kScale));
                averages[i] = volume != 0 ? average : kUndefined;
            }
        }
    };

    void add(std::int64_t price_e8, std::int64_t quantity_e8) {
        quote_e16 += product(price_e8, quantity_e8);
        volume_e8 += static_cast<u128>(quantity_e8);
    }
    double average_price() const {
        if (volume_e8 == 0) return kUndefined;
        return to_double(quote_e16) / (to_double(volume_e8) * static_cast<double>(kScale));
    }

    // Take in a block while other trades leave, or none. Returns false, having done nothing, where 64 bits might not do
    // for the volume or 127 for the quote.
    bool slide_narrow(const Block& block, const std::int64_t* leaving_price, const std::int64_t* leaving_quantity,
                      Rows& rows) {
        constexpr std::uint64_t kHalf = std::uint64_t{1} << 62;
        if (quote_e16.high() != 0 || quote_e16.low() >> 126 != 0 || volume_e8 >= kHalf) return false;
        if (bits_of_all(block.quantity_e8, block.n) >= kHalf / kBlock) return false;
        u128 quote = quote_e16.low();
        auto volume = static_cast<std::int64_t>(volume_e8);
        for (std::size_t i = 0; i < block.n; ++i) {
            quote += static_cast<u128>(product(block.price_e8[i], block.quantity_e8[i]));
            volume += block.quantity_e8[i];
            if (leaving_price != nullptr) {
                quote -= static_cast<u128>(product(leaving_price[i], leaving_quantity[i]));
                volume -= leaving_quantity[i];
            }
            rows.quote_e16.set(i, quote);
            rows.volume_e8[i] = volume;
        }
        quote_e16 = Wide{{low_word(quote), high_word(quote), 0}};
        volume_e8 = static_cast<u128>(volume);
        return true;
    }
};

class WindowVwap {
public:
    explicit WindowVwap(std::uint64_t window) : window_(window) {}

    LSIG_CLONED void process(const Block& block, const History& history, const lsig_columns& out) {
        const std::int64_t* const leaving_price = history.price_e8.leaving(block.first - window_, block.n);
        const std::int64_t* const leaving_quantity = history.quantity_e8.leaving(block.first - window_, block.n);
        Turnover::Rows rows;
        if (!turnover_.slide_narrow(block, leaving_price, leaving_quantity, rows)) {
            slide_wide(block, leaving_price, leaving_quantity, out.window_vwap);
        } else if (out.window_vwap != nullptr) {
            rows.average_prices(block.n, out.window_vwap);
        }
    }

private:
    [[gnu::noinline]] void slide_wide(const Block& block, const std::int64_t* leaving_price,
                                      const std::int64_t* leaving_quantity, double* average) {
        for (std::size_t i = 0; i < block.n; ++i) {
            turnover_.quote_e16 += product(block.price_e8[i], block.quantity_e8[i]) - product(leaving_price[i], leaving_quantity[i]);
            turnover_.volume_e8 += static_cast<u128>(i128{block.quantity_e8[i] - leaving_quantity[i]});
            if (average != nullptr) average[i] = turnover_.average_price();
        }
    }

    std::uint64_t window_;
    Turnover turnover_;
};

}  // namespace lsig
