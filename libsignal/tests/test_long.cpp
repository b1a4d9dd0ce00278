// Ten million trades: what is exact must still be exact, computed afresh from its window.
#include <algorithm>
#include <cmath>

#include "check.hpp"
#include "trades.hpp"

namespace {

__extension__ typedef unsigned __int128 u128;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kRounds = 50;
#else
constexpr std::size_t kRounds = 2500;
#endif
constexpr std::size_t kColumn = 4000;
constexpr std::size_t kWindow = 1000;

}  // namespace

int main() {
    lsig_config config{};
    config.struct_size = sizeof config;
    config.signals = LSIG_MOVING_AVERAGE | LSIG_EXTREMES | LSIG_SESSION;
    config.moving_average_window = kWindow;
    config.extremes_window = 20;
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);

    Trades trades = random_walk(kColumn, 41);
    Signals signals(kColumn);
    std::vector<std::int64_t> prices(trades.price_e8);  // the round before and this one
    std::int64_t session_high = 0, session_low = INT64_MAX;
    u128 volume = 0;
    for (std::size_t round = 0; round < kRounds; ++round) {
        if (round != 0) {
            const Trades next = random_walk(kColumn, static_cast<unsigned>(round), trades.price_e8.back());
            prices.assign(trades.price_e8.begin(), trades.price_e8.end());
            trades = next;
            for (std::size_t i = 0; i < kColumn; ++i) trades.trade_id[i] = static_cast<std::int64_t>(round * kColumn + i + 1);
            prices.insert(prices.end(), trades.price_e8.begin(), trades.price_e8.end());
        }
        lsig_columns columns = bind(trades, signals, 0, kColumn, config.signals);
        CHECK(lsig_process(state, &columns) == LSIG_OK);
        for (std::size_t i = 0; i < kColumn; ++i) {
            const std::int64_t* const newest = prices.data() + prices.size() - kColumn + i + 1;
            const auto held = static_cast<std::size_t>(newest - prices.data());
            const auto* const oldest = newest - std::min<std::size_t>(20, held);
            CHECK_EQUAL(signals.of(&lsig_columns::window_high_e8)[i], *std::max_element(oldest, newest), i);
            CHECK_EQUAL(signals.of(&lsig_columns::window_low_e8)[i], *std::min_element(oldest, newest), i);
            session_high = std::max(session_high, trades.price_e8[i]);
            session_low = std::min(session_low, trades.price_e8[i]);
            volume += static_cast<u128>(trades.quantity_e8[i]);
            CHECK_EQUAL(signals.of(&lsig_columns::session_high_e8)[i], session_high, i);
            CHECK_EQUAL(signals.of(&lsig_columns::session_low_e8)[i], session_low, i);
        }
        // The mean costs the whole window to compute afresh, so now and then. Its sum and divisor are doubles here.
        for (std::size_t i = round % 97; i < kColumn; i += 97) {
            const std::int64_t* const newest = prices.data() + prices.size() - kColumn + i + 1;
            const std::size_t n = std::min<std::size_t>(kWindow, static_cast<std::size_t>(newest - prices.data()));
            std::int64_t sum = 0;
            for (const std::int64_t* price = newest - n; price < newest; ++price) sum += *price;
            CHECK(sum < std::int64_t{1} << 53);
            CHECK_EQUAL(signals.of(&lsig_columns::moving_average)[i], static_cast<double>(sum) / static_cast<double>(n * 100000000), i);
        }
    }
    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    CHECK(lsig_summarize(state, &summary) == LSIG_OK);
    CHECK_EQUAL(summary.count, static_cast<std::int64_t>(kRounds * kColumn), 0);
    CHECK(summary.session_volume_e8[0] == static_cast<std::uint64_t>(volume));
    CHECK(summary.session_volume_e8[1] == static_cast<std::uint64_t>(volume >> 64));
    lsig_state_free(state);
    return 0;
}
