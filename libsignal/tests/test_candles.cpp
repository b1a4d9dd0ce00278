// Candles: room for them, what is told of those still open, and that they are the trades' own sums.
#include <cstring>

#include "check.hpp"
#include "trades.hpp"

namespace {

constexpr std::int64_t kSecond = 1000000, kNoon = 1723161600000000;

struct Told {
    int code;
    std::vector<lsig_candle> candles;
    std::size_t count;
};

Told process(lsig_state* state, const Trades& trades, std::size_t capacity) {
    Signals signals(trades.size());
    std::vector<lsig_candle> candles(capacity);
    lsig_columns columns = bind(trades, signals, 0, trades.size());
    columns.candles = candles.data();
    columns.candle_capacity = capacity;
    const int code = lsig_process(state, &columns);
    return {code, candles, columns.candle_count};
}

lsig_state* make(std::uint32_t empty_candles = 0, std::uint32_t signals = LSIG_ALL) {
    lsig_config config{};
    config.struct_size = sizeof config;
    config.empty_candles = empty_candles;
    config.signals = signals;
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    return state;
}

void too_little_room_changes_nothing_and_tells_what_is_needed() {
    for (const std::uint32_t empty : {0u, 5u}) {
        const Trades trades = wild(500, 21);
        lsig_state* state = make(empty);
        const Told refused = process(state, trades, 1);
        CHECK(refused.code == LSIG_E_CAPACITY);
        CHECK(refused.count > 1);
        const Told told = process(state, trades, refused.count);
        CHECK(told.code == LSIG_OK);
        CHECK_EQUAL(told.count, refused.count, 0);
        for (const lsig_candle& candle : told.candles) CHECK(candle.interval_us > 0);  // each has been written
        lsig_state_free(state);
    }
}

void six_a_trade_always_suffice() {
    Trades trades;
    for (std::int64_t i = 0; i < 50; ++i) trades.add(i, 100 + i, 1, kNoon + i * 400 * 86400 * kSecond, false);
    lsig_state* state = make();
    const Told told = process(state, trades, 6 * 50);
    CHECK(told.code == LSIG_OK);
    CHECK_EQUAL(told.count, std::size_t{6 * 49}, 0);
    CHECK_EQUAL(told.candles[6].empty_before, std::int64_t{400} * 86400 - 1, 6);
    lsig_state_free(state);
}

void empty_intervals_repeat_the_close() {
    Trades trades;
    for (const std::int64_t second : {0, 3, 20}) trades.add(second, 100 + second, 1, kNoon + second * kSecond, false);
    lsig_state* state = make(5);
    const Told told = process(state, trades, 10);
    CHECK_EQUAL(told.count, std::size_t{4}, 0);
    for (std::size_t i = 1; i < 3; ++i) {
        const lsig_candle& empty = told.candles[i];
        CHECK_EQUAL(empty.start_us, kNoon + static_cast<std::int64_t>(i) * kSecond, i);
        CHECK(empty.open_e8 == 100 && empty.high_e8 == 100 && empty.low_e8 == 100 && empty.close_e8 == 100);
        CHECK(empty.count == 0 && empty.volume_e8[0] == 0 && empty.first_trade_id == -1 && empty.empty_before == 0);
    }
    lsig_candle open{};
    CHECK(lsig_open_candle(state, 0, &open) == LSIG_OK);
    CHECK_EQUAL(open.empty_before, std::int64_t{16}, 0);  // more than 5: told, not filled
    lsig_state_free(state);
}

void sums_are_wider_than_any_trade() {
    Trades trades;
    constexpr std::int64_t kMost = INT64_MAX;
    for (std::int64_t i = 0; i < 5; ++i) trades.add(i, kMost, kMost, kNoon + (i / 4) * kSecond, i % 2 == 0);
    lsig_state* state = make();
    const Told told = process(state, trades, 30);
    CHECK_EQUAL(told.count, std::size_t{1}, 0);
    const lsig_candle& candle = told.candles[0];
    // 4 (2^63 - 1) and 4 (2^63 - 1)^2 = 2^128 - 2^66 + 4
    CHECK(candle.volume_e8[1] == 1 && candle.volume_e8[0] == ~std::uint64_t{0} - 3);
    CHECK(candle.taker_buy_volume_e8[1] == 0 && candle.taker_buy_volume_e8[0] == ~std::uint64_t{0} - 1);
    CHECK(candle.quote_volume_e16[2] == 0 && candle.quote_volume_e16[1] == ~std::uint64_t{0} - 3);
    CHECK(candle.quote_volume_e16[0] == 4);
    lsig_state_free(state);
}

void the_open_candle_is_told_as_it_is_now() {
    lsig_state* state = make();
    lsig_candle candle{};
    CHECK(lsig_open_candle(state, 0, &candle) == LSIG_OK);
    CHECK(candle.count == 0);
    Trades trades;
    trades.add(1, 100, 5, kNoon, false);
    trades.add(2, 90, 5, kNoon + kSecond, true);
    CHECK(process(state, trades, 6).code == LSIG_OK);
    CHECK(lsig_open_candle(state, 1, &candle) == LSIG_OK);
    CHECK_EQUAL(candle.interval_us, 60 * kSecond, 0);
    CHECK_EQUAL(candle.start_us, kNoon, 0);
    CHECK(candle.open_e8 == 100 && candle.low_e8 == 90 && candle.close_e8 == 90 && candle.count == 2);
    CHECK(candle.rsi != candle.rsi);  // NaN: it is not closed
    CHECK(lsig_open_candle(state, LSIG_INTERVALS, &candle) == LSIG_E_ARGUMENT);
    CHECK(lsig_open_candle(state, 0, nullptr) == LSIG_E_ARGUMENT);
    CHECK(lsig_open_candle(nullptr, 0, &candle) == LSIG_E_ARGUMENT);
    lsig_state_free(state);
}

// Trades one by one, as they come where many symbols trade, and at once; some are of an earlier second or minute.
void trades_that_come_one_by_one_leave_the_same() {
    Trades trades = random_walk(1500, 5);
    for (std::size_t i = 0; i < trades.size(); i += 17) trades.time_us[i] -= static_cast<std::int64_t>(i) * kSecond / 20;
    lsig_state* one_by_one = make();
    std::vector<lsig_candle> told;
    for (std::size_t n = 1; n <= trades.size(); ++n) {
        Signals signals(trades.size());
        std::vector<lsig_candle> closed(LSIG_INTERVALS);
        lsig_columns columns = bind(trades, signals, n - 1, 1);
        columns.candles = closed.data();
        columns.candle_capacity = closed.size();
        CHECK(lsig_process(one_by_one, &columns) == LSIG_OK);
        told.insert(told.end(), closed.begin(), closed.begin() + static_cast<std::ptrdiff_t>(columns.candle_count));
        if (n % 100 != 0) continue;

        lsig_state* at_once = make();
        std::vector<lsig_candle> expected(LSIG_INTERVALS * n);
        columns = bind(trades, signals, 0, n);
        columns.candles = expected.data();
        columns.candle_capacity = expected.size();
        CHECK(lsig_process(at_once, &columns) == LSIG_OK);
        CHECK_EQUAL(told.size(), columns.candle_count, n);
        CHECK(std::memcmp(told.data(), expected.data(), told.size() * sizeof told[0]) == 0);
        for (std::uint32_t interval = 0; interval < LSIG_INTERVALS; ++interval) {
            lsig_candle found{}, open{};
            CHECK(lsig_open_candle(one_by_one, interval, &found) == LSIG_OK);
            CHECK(lsig_open_candle(at_once, interval, &open) == LSIG_OK);
            CHECK(std::memcmp(&found, &open, sizeof found) == 0);
        }
        lsig_state_free(at_once);
    }
    lsig_state_free(one_by_one);
}

void outputs_of_groups_left_out_are_refused() {
    lsig_state* state = make(0, LSIG_SESSION);
    const Trades trades = random_walk(3, 1);
    Signals signals(3);
    lsig_candle candle{};
    CHECK(lsig_open_candle(state, 0, &candle) == LSIG_E_SIGNAL);
    for (std::uint32_t group = 1; group < LSIG_ALL; group *= 2) {
        lsig_columns columns = bind(trades, signals, 0, 3, group);
        if (group != LSIG_SESSION) CHECK(lsig_process(state, &columns) == LSIG_E_SIGNAL);
    }
    lsig_columns columns = bind(trades, signals, 0, 3, LSIG_SESSION);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    lsig_state_free(state);
}

void settings_are_told_with_their_defaults() {
    lsig_state* state = make(7, LSIG_CANDLES);
    lsig_config config{};
    CHECK(lsig_get_config(state, &config) == LSIG_E_ARGUMENT);
    config.struct_size = sizeof config;
    CHECK(lsig_get_config(state, &config) == LSIG_OK);
    CHECK(config.signals == LSIG_CANDLES && config.empty_candles == 7 && config.rsi_period == 14);
    CHECK(config.bollinger_width == 2);
    lsig_state_free(state);
}

}  // namespace

int main() {
    too_little_room_changes_nothing_and_tells_what_is_needed();
    six_a_trade_always_suffice();
    empty_intervals_repeat_the_close();
    sums_are_wider_than_any_trade();
    the_open_candle_is_told_as_it_is_now();
    trades_that_come_one_by_one_leave_the_same();
    outputs_of_groups_left_out_are_refused();
    settings_are_told_with_their_defaults();
    return 0;
}
