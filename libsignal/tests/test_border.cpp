// What the C border promises: codes for every wrong argument, and a state that an error leaves as it was.
#include <cstring>
#include <vector>

#include "check.hpp"
#include "trades.hpp"

namespace {

lsig_summary summarize(const lsig_state* state) {
    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    CHECK(lsig_summarize(state, &summary) == LSIG_OK);
    return summary;
}

void every_code_has_its_own_message() {
    for (int a = LSIG_OK; a <= LSIG_E_NOT_WARM; ++a) {
        for (int b = a + 1; b <= LSIG_E_NOT_WARM + 1; ++b) {
            CHECK(std::strcmp(lsig_error_message(a), lsig_error_message(b)) != 0);
        }
    }
    CHECK(lsig_error_message(-1) != nullptr);
    CHECK(lsig_abi_version() == LSIG_ABI_VERSION);
}

void wrong_pointers_and_sizes_are_refused() {
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(nullptr, nullptr) == LSIG_E_ARGUMENT);
    lsig_config config{};
    for (const std::size_t size : {std::size_t{0}, sizeof config - 1, sizeof config + 1}) {
        config.struct_size = size;
        CHECK(lsig_state_new(&config, &state) == LSIG_E_ARGUMENT);
        CHECK(state == nullptr);
    }
    config.struct_size = sizeof config;
    config.extremes_window = LSIG_WINDOW_MAX + 1;
    CHECK(lsig_state_new(&config, &state) == LSIG_E_SETTING);
    CHECK(state == nullptr);
    config.extremes_window = LSIG_WINDOW_MAX;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    lsig_state_free(state);

    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    const Trades trades = random_walk(3, 1);
    Signals signals(3);
    lsig_columns columns = bind(trades, signals, 0, 3);
    CHECK(lsig_process(nullptr, &columns) == LSIG_E_ARGUMENT);
    CHECK(lsig_process(state, nullptr) == LSIG_E_ARGUMENT);
    columns.price_e8 = nullptr;
    CHECK(lsig_process(state, &columns) == LSIG_E_ARGUMENT);
    columns = bind(trades, signals, 0, 3);
    columns.struct_size = 8;
    CHECK(lsig_process(state, &columns) == LSIG_E_ARGUMENT);
    lsig_columns none{};
    none.struct_size = sizeof none;
    CHECK(lsig_process(state, &none) == LSIG_OK);
    lsig_summary summary{};
    CHECK(lsig_summarize(state, &summary) == LSIG_E_ARGUMENT);
    CHECK(lsig_summarize(state, nullptr) == LSIG_E_ARGUMENT);
    CHECK(lsig_reset_session(nullptr) == LSIG_E_ARGUMENT);
    CHECK(summarize(state).count == 0);
    CHECK(summarize(state).last_trade_id == -1);
    lsig_state_free(state);
    lsig_state_free(nullptr);
}

void every_function_refuses_null_by_the_same_code() {
    lsig_state *state = nullptr, *other = nullptr;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    lsig_series* series = nullptr;
    CHECK(lsig_series_new(nullptr, &series) == LSIG_OK);
    const std::int64_t close = 1;
    lsig_config config{};
    config.struct_size = sizeof config;
    lsig_columns columns{};
    columns.struct_size = sizeof columns;
    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    lsig_candle candle{};
    std::size_t size = 0;
    std::uint8_t bytes[4] = {};
    const int codes[] = {
        lsig_state_new(nullptr, nullptr),
        lsig_state_new(&config, nullptr),
        lsig_get_config(nullptr, &config),
        lsig_get_config(state, nullptr),
        lsig_get_config(nullptr, nullptr),
        lsig_process(nullptr, &columns),
        lsig_process(state, nullptr),
        lsig_process(nullptr, nullptr),
        lsig_reset_session(nullptr),
        lsig_summarize(nullptr, &summary),
        lsig_summarize(state, nullptr),
        lsig_summarize(nullptr, nullptr),
        lsig_open_candle(nullptr, 0, &candle),
        lsig_open_candle(state, 0, nullptr),
        lsig_open_candle(state, LSIG_INTERVALS, &candle),
        lsig_save(nullptr, bytes, sizeof bytes, &size),
        lsig_save(nullptr, nullptr, 0, &size),
        lsig_save(state, bytes, sizeof bytes, nullptr),
        lsig_save(state, nullptr, 0, nullptr),
        lsig_save(state, nullptr, 1, &size),
        lsig_load(nullptr, 0, &other),
        lsig_load(nullptr, 1, &other),
        lsig_load(bytes, sizeof bytes, nullptr),
        lsig_load(bytes, 0, nullptr),
        lsig_load(nullptr, 0, nullptr),
        lsig_series_new(nullptr, nullptr),
        lsig_series_new(&config, nullptr),
        lsig_series_resume(nullptr, &candle, &close, 1),
        lsig_series_resume(series, nullptr, &close, 1),
        lsig_series_resume(series, &candle, nullptr, 1),
        lsig_series_resume(series, &candle, &close, 0),
        lsig_series_close(nullptr, &candle, 1, &size),
        lsig_series_close(nullptr, nullptr, 0, nullptr),
        lsig_series_close(series, nullptr, 1, &size),
    };
    for (const int& code : codes) CHECK_EQUAL(code, LSIG_E_ARGUMENT, static_cast<std::size_t>(&code - codes));
    CHECK(other == nullptr);

    // What is allowed to be nothing.
    CHECK(lsig_wrong_setting(nullptr) == nullptr);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    CHECK(lsig_save(state, nullptr, 0, &size) == LSIG_E_CAPACITY);
    CHECK(lsig_load(bytes, 0, &other) == LSIG_E_DAMAGED);
    CHECK(other == nullptr);
    CHECK(lsig_series_close(series, nullptr, 0, nullptr) == LSIG_OK);
    lsig_state_free(nullptr);
    lsig_state_free(state);
    lsig_series_free(nullptr);
    lsig_series_free(series);
}

void a_wrong_setting_is_named() {
    lsig_config config{};
    CHECK(lsig_wrong_setting(nullptr) == nullptr);
    CHECK(lsig_wrong_setting(&config) == nullptr);  // a size we do not know: lsig_state_new() says LSIG_E_ARGUMENT
    config.struct_size = sizeof config;
    CHECK(lsig_wrong_setting(&config) == nullptr);
    const auto named = [](lsig_config wrong, const char* name) {
        lsig_state* state = nullptr;
        CHECK(lsig_state_new(&wrong, &state) == LSIG_E_SETTING);
        const char* found = lsig_wrong_setting(&wrong);
        CHECK(found != nullptr && std::strcmp(found, name) == 0);
    };
    const struct {
        std::uint32_t lsig_config::*field;
        std::uint32_t highest;
        const char* name;
    } periods[] = {
        {&lsig_config::moving_average_window, LSIG_WINDOW_MAX, "moving_average_window"},
        {&lsig_config::rsi_period, LSIG_PERIOD_MAX, "rsi_period"},
        {&lsig_config::atr_period, LSIG_PERIOD_MAX, "atr_period"},
        {&lsig_config::macd_slow_period, LSIG_PERIOD_MAX, "macd_slow_period"},
        {&lsig_config::macd_signal_period, LSIG_PERIOD_MAX, "macd_signal_period"},
        {&lsig_config::candle_ema_period, LSIG_PERIOD_MAX, "candle_ema_period"},
        {&lsig_config::candle_sma_period, LSIG_PERIOD_MAX, "candle_sma_period"},
        {&lsig_config::empty_candles, LSIG_EMPTY_MAX, "empty_candles"},
    };
    for (const auto& each : periods) {
        lsig_config wrong = config;
        wrong.*each.field = each.highest;
        CHECK(lsig_wrong_setting(&wrong) == nullptr);
        wrong.*each.field = each.highest + 1;
        named(wrong, each.name);
    }
    lsig_config wrong = config;
    wrong.macd_fast_period = 26;  // as the slow one is by default
    named(wrong, "macd_fast_period");
    for (const double width : {-1.0, 1.0 / 0.0, 0.0 / 0.0}) {
        wrong = config;
        wrong.bollinger_width = width;
        named(wrong, "bollinger_width");
    }
}

void a_wrong_trade_names_its_row_and_changes_nothing() {
    const struct {
        int code;
        void (*spoil)(Trades&, std::size_t);
    } cases[] = {
        {LSIG_E_TRADE_ID, [](Trades& t, std::size_t row) { t.trade_id[row] = -1; }},
        {LSIG_E_TRADE_ID, [](Trades& t, std::size_t row) { t.trade_id[row] = row > 0 ? t.trade_id[row - 1] : 20; }},
        {LSIG_E_PRICE, [](Trades& t, std::size_t row) { t.price_e8[row] = 0; }},
        {LSIG_E_PRICE, [](Trades& t, std::size_t row) { t.price_e8[row] = INT64_MIN; }},
        {LSIG_E_QUANTITY, [](Trades& t, std::size_t row) { t.quantity_e8[row] = -1; }},
        {LSIG_E_TIME, [](Trades& t, std::size_t row) { t.time_us[row] = -1; }},
        {LSIG_E_TIME, [](Trades& t, std::size_t row) { t.time_us[row] = LSIG_TIME_MAX_US + 1; }},
        {LSIG_E_SIDE, [](Trades& t, std::size_t row) { t.is_buyer_maker[row] = 2; }},
    };
    lsig_state *state = nullptr, *untouched = nullptr;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    CHECK(lsig_state_new(nullptr, &untouched) == LSIG_OK);
    const Trades trades = random_walk(620, 3);
    Signals signals(620), expected(620);
    for (lsig_state* each : {state, untouched}) {
        lsig_columns columns = bind(trades, signals, 0, 20);
        CHECK(lsig_process(each, &columns) == LSIG_OK);
    }
    for (const auto& wrong : cases) {
        for (const std::size_t row : {0u, 1u, 255u, 256u, 599u}) {
            Trades spoilt = trades;
            wrong.spoil(spoilt, 20 + row);
            Signals unwritten(620);
            lsig_columns columns = bind(spoilt, unwritten, 20, 600);
            CHECK(lsig_process(state, &columns) == wrong.code);
            CHECK_EQUAL(columns.error_row, row, row);
            CHECK(unwritten.doubles == Signals(620).doubles);
            CHECK(unwritten.integers == Signals(620).integers);
        }
    }
    lsig_columns columns = bind(trades, signals, 20, 600), same = bind(trades, expected, 20, 600);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    CHECK(lsig_process(untouched, &same) == LSIG_OK);
    for (std::size_t i = 20; i < 620; ++i) {
        CHECK_EQUAL(signals.of(&lsig_columns::moving_average)[i], expected.of(&lsig_columns::moving_average)[i], i);
        CHECK_EQUAL(signals.of(&lsig_columns::window_high_e8)[i], expected.of(&lsig_columns::window_high_e8)[i], i);
        CHECK_EQUAL(signals.of(&lsig_columns::session_volume)[i], expected.of(&lsig_columns::session_volume)[i], i);
    }
    lsig_state_free(state);
    lsig_state_free(untouched);
}

void a_new_session_forgets_and_windows_go_on() {
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    const Trades trades = random_walk(40, 4);
    Signals signals(40);
    lsig_columns columns = bind(trades, signals, 0, 30);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    CHECK(lsig_reset_session(state) == LSIG_OK);
    CHECK(summarize(state).session_count == 0);
    CHECK(summarize(state).session_high_e8 == 0);
    CHECK(summarize(state).count == 30);
    columns = bind(trades, signals, 30, 10);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    CHECK_EQUAL(signals.of(&lsig_columns::session_high_e8)[30], trades.price_e8[30], 30);
    CHECK_EQUAL(signals.of(&lsig_columns::session_low_e8)[30], trades.price_e8[30], 30);
    CHECK_EQUAL(signals.of(&lsig_columns::session_count)[39], std::int64_t{10}, 39);
    CHECK(signals.of(&lsig_columns::window_high_e8)[30] >= trades.price_e8[20]);
    CHECK_EQUAL(summarize(state).session_open_e8, trades.price_e8[30], 30);
    CHECK_EQUAL(summarize(state).session_open_time_us, trades.time_us[30], 30);
    lsig_state_free(state);
}

}  // namespace

int main() {
    every_code_has_its_own_message();
    wrong_pointers_and_sizes_are_refused();
    every_function_refuses_null_by_the_same_code();
    a_wrong_setting_is_named();
    a_wrong_trade_names_its_row_and_changes_nothing();
    a_new_session_forgets_and_windows_go_on();
    return 0;
}
