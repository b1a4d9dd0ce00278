// What has happened since the session began.
#pragma once

#include <algorithm>

#include "clones.hpp"
#include "history.hpp"
#include "libsignal.h"
#include "rows.hpp"
#include "vwap.hpp"

namespace lsig {

struct Session {
    std::int64_t count = 0;
    std::int64_t open_time_us = 0;
    std::int64_t open_e8 = 0;
    std::int64_t high_e8 = 0;
    std::int64_t low_e8 = 0;
    Turnover turnover;

    LSIG_CLONED void process(const Block& block, const lsig_columns& out) {
        if (count == 0) {
            open_e8 = high_e8 = low_e8 = block.price_e8[0];
            open_time_us = block.time_us[0];
        }
        track_extremes(block, out);
        if (out.session_open_e8 != nullptr) std::fill_n(out.session_open_e8, block.n, open_e8);
        if (out.session_count != nullptr) {
            for (std::size_t i = 0; i < block.n; ++i) out.session_count[i] = count + static_cast<std::int64_t>(i) + 1;
        }
        count += static_cast<std::int64_t>(block.n);
        trade(block, out);
    }

    template <class Archive>
    void archive(Archive& bytes) {
        for (auto* each : {&count, &open_time_us, &open_e8, &high_e8, &low_e8}) bytes.number(*each);
        bytes.number(turnover.volume_e8);
        auto& words = turnover.quote_e16.words;
        for (auto* each : {&words[0], &words[1], &words[2]}) bytes.number(*each);
        bytes.check(0 <= count && count <= INT64_MAX / 2 && (count == 0) == (low_e8 == 0));
        bytes.check(0 <= open_time_us && 0 <= low_e8 && low_e8 <= open_e8 && open_e8 <= high_e8);
    }

private:
    void track_extremes(const Block& block, const lsig_columns& out) {
        // A session's extremes seldom change, so first only whether: the sign of `beyond`.
        std::int64_t beyond = 0;
        for (std::size_t i = 0; i < block.n; ++i) beyond |= (high_e8 - block.price_e8[i]) | (block.price_e8[i] - low_e8);
        if (beyond >= 0) {
            if (out.session_high_e8 != nullptr) std::fill_n(out.session_high_e8, block.n, high_e8);
            if (out.session_low_e8 != nullptr) std::fill_n(out.session_low_e8, block.n, low_e8);
            return;
        }
        for (std::size_t i = 0; i < block.n; ++i) {
            high_e8 = std::max(high_e8, block.price_e8[i]);
            low_e8 = std::min(low_e8, block.price_e8[i]);
            if (out.session_high_e8 != nullptr) out.session_high_e8[i] = high_e8;
            if (out.session_low_e8 != nullptr) out.session_low_e8[i] = low_e8;
        }
    }

    void trade(const Block& block, const lsig_columns& out) {
        Turnover::Rows rows;
        if (!turnover.slide_narrow(block, nullptr, nullptr, rows)) return trade_wide(block, out);
        if (out.session_volume != nullptr) nearest_ratios(rows.volume_e8.data(), block.n, kScale, out.session_volume);
        if (out.session_vwap != nullptr) rows.average_prices(block.n, out.session_vwap);
    }

    [[gnu::noinline]] void trade_wide(const Block& block, const lsig_columns& out) {
        for (std::size_t i = 0; i < block.n; ++i) {
            turnover.add(block.price_e8[i], block.quantity_e8[i]);
            if (out.session_volume != nullptr) out.session_volume[i] = nearest_ratio(turnover.volume_e8, kScale);
            if (out.session_vwap != nullptr) out.session_vwap[i] = turnover.average_price();
        }
    }
};

}  // namespace lsig
