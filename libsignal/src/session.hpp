// What has happened since the session began.
#pragma once

#include "history.hpp"
#include "libsignal.h"
#include "vwap.hpp"

namespace lsig {

struct Session {
    std::int64_t count = 0;
    std::int64_t open_time_us = 0;
    std::int64_t open_e8 = 0;
    std::int64_t high_e8 = 0;
    std::int64_t low_e8 = 0;
    Turnover turnover;

    void process(const Block& block, const lsig_columns& out) {
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
        for (std::uint64_t& word : turnover.quote_e16.words) bytes.number(word);
        bytes.check(0 <= count && count <= INT64_MAX / 2 && (count == 0) == (low_e8 == 0));
        bytes.check(0 <= open_time_us && 0 <= low_e8 && low_e8 <= open_e8 && open_e8 <= high_e8);
    }

private:
    void track_extremes(const Block& block, const lsig_columns& out) {
        std::int64_t high = high_e8, low = low_e8;
        for (std::size_t i = 0; i < block.n; ++i) {
            high = std::max(high, block.price_e8[i]);
            low = std::min(low, block.price_e8[i]);
            if (out.session_high_e8 != nullptr) out.session_high_e8[i] = high;
            if (out.session_low_e8 != nullptr) out.session_low_e8[i] = low;
        }
        high_e8 = high;
        low_e8 = low;
    }

    void trade(const Block& block, const lsig_columns& out) {
        Turnover so_far = turnover;
        for (std::size_t i = 0; i < block.n; ++i) {
            so_far.add(block.price_e8[i], block.quantity_e8[i]);
            if (out.session_volume != nullptr) out.session_volume[i] = nearest_ratio(so_far.volume_e8, kScale);
            if (out.session_vwap != nullptr) out.session_vwap[i] = so_far.average_price();
        }
        turnover = so_far;
    }
};

}  // namespace lsig
