// Every signal against a naive model that looks at its whole window anew for each trade.
#include <algorithm>

#include "check.hpp"
#include "exact.hpp"
#include "trades.hpp"

namespace {

void check_against_model(const Trades& trades, std::uint32_t average_window, std::uint32_t extremes_window,
                         std::size_t column) {
    lsig_config config{};
    config.struct_size = sizeof config;
    config.moving_average_window = average_window;
    config.extremes_window = extremes_window;
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    Signals signals(trades.size());
    for (std::size_t row = 0; row < trades.size(); row += column) {
        lsig_columns columns = bind(trades, signals, row, std::min(column, trades.size() - row));
        CHECK(lsig_process(state, &columns) == LSIG_OK);
    }

    std::int64_t session_high = 0, session_low = INT64_MAX;
    u128 volume = 0;
    for (std::size_t i = 0; i < trades.size(); ++i) {
        u128 sum = 0;
        const std::size_t n = std::min<std::size_t>(i + 1, average_window);
        for (std::size_t k = i + 1 - n; k <= i; ++k) sum += static_cast<u128>(trades.price_e8[k]);
        CHECK(is_nearest(signals.of(&lsig_columns::moving_average)[i], {sum, n * 100000000}));

        const std::size_t m = std::min<std::size_t>(i + 1, extremes_window);
        const auto* newest = trades.price_e8.data() + i + 1;
        CHECK_EQUAL(signals.of(&lsig_columns::window_high_e8)[i], *std::max_element(newest - m, newest), i);
        CHECK_EQUAL(signals.of(&lsig_columns::window_low_e8)[i], *std::min_element(newest - m, newest), i);

        session_high = std::max(session_high, trades.price_e8[i]);
        session_low = std::min(session_low, trades.price_e8[i]);
        volume += static_cast<u128>(trades.quantity_e8[i]);
        CHECK_EQUAL(signals.of(&lsig_columns::session_high_e8)[i], session_high, i);
        CHECK_EQUAL(signals.of(&lsig_columns::session_low_e8)[i], session_low, i);
        CHECK_EQUAL(signals.of(&lsig_columns::session_count)[i], static_cast<std::int64_t>(i + 1), i);
        CHECK(volume == 0 ? signals.of(&lsig_columns::session_volume)[i] == 0 : is_nearest(signals.of(&lsig_columns::session_volume)[i], {volume, 100000000}));
    }

    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    CHECK(lsig_summarize(state, &summary) == LSIG_OK);
    CHECK_EQUAL(summary.count, static_cast<std::int64_t>(trades.size()), 0);
    CHECK_EQUAL(summary.last_trade_id, trades.trade_id.back(), 0);
    CHECK_EQUAL(summary.last_price_e8, trades.price_e8.back(), 0);
    CHECK_EQUAL(summary.last_time_us, trades.time_us.back(), 0);
    CHECK_EQUAL(summary.session_open_e8, trades.price_e8.front(), 0);
    CHECK(summary.session_volume_e8[0] == static_cast<std::uint64_t>(volume));
    CHECK(summary.session_volume_e8[1] == static_cast<std::uint64_t>(volume >> 64));
    lsig_state_free(state);
}

}  // namespace

int main() {
    for (const std::size_t column : {1u, 7u, 256u, 5000u}) {
        for (const std::uint32_t window : {1u, 2u, 20u, 255u, 256u, 257u, 1000u}) {
            check_against_model(random_walk(3000, window), window, window, column);
            check_against_model(wild(3000, window), window, window / 2 + 1, column);
        }
    }
    check_against_model(random_walk(3000, 1, 9000000000000000000), 20, 100, 64);  // the largest prices
    check_against_model(random_walk(3000, 2, 1), 20, 100, 64);                   // the smallest
    return 0;
}
