// Series of candles: their indicators are a state's to the bit, from the beginning or gone on with from any warm candle;
// and what is no candle, or not warm, is refused and changes nothing.
#include <cmath>
#include <cstring>
#include <limits>

#include "check.hpp"
#include "trades.hpp"

namespace {

constexpr double lsig_candle::*kIndicators[] = {
    &lsig_candle::rsi,          &lsig_candle::atr,          &lsig_candle::macd,      &lsig_candle::macd_signal,
    &lsig_candle::macd_histogram, &lsig_candle::ema,        &lsig_candle::sma,       &lsig_candle::average_gain,
    &lsig_candle::average_loss, &lsig_candle::macd_fast,    &lsig_candle::macd_slow};

lsig_config periods(std::uint32_t rsi, std::uint32_t fast, std::uint32_t slow, std::uint32_t signal, std::uint32_t sma) {
    lsig_config config{};
    config.struct_size = sizeof config;
    config.signals = LSIG_CANDLES;
    config.rsi_period = config.atr_period = rsi;
    config.macd_fast_period = fast;
    config.macd_slow_period = slow;
    config.macd_signal_period = signal;
    config.candle_ema_period = config.candle_sma_period = sma;
    return config;
}

// The candles of one second that a state closes.
std::vector<lsig_candle> candles_of(const Trades& trades, const lsig_config& config) {
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    std::vector<lsig_candle> candles(6 * trades.size());
    Signals signals(trades.size());
    lsig_columns columns = bind(trades, signals, 0, trades.size(), LSIG_CANDLES);
    columns.candles = candles.data();
    columns.candle_capacity = candles.size();
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    lsig_state_free(state);
    std::vector<lsig_candle> seconds;
    for (std::size_t i = 0; i < columns.candle_count; ++i) {
        if (candles[i].interval_us == 1000000) seconds.push_back(candles[i]);
    }
    return seconds;
}

// The same candles without what is to be worked out.
std::vector<lsig_candle> bare(const std::vector<lsig_candle>& candles, std::size_t from) {
    std::vector<lsig_candle> result(candles.begin() + static_cast<std::ptrdiff_t>(from), candles.end());
    for (lsig_candle& candle : result) {
        for (const auto indicator : kIndicators) candle.*indicator = -1;
    }
    return result;
}

void check_same(const std::vector<lsig_candle>& found, const std::vector<lsig_candle>& expected, std::size_t from) {
    CHECK_EQUAL(found.size(), expected.size() - from, 0);
    for (std::size_t i = 0; i < found.size(); ++i) {
        // Bits and not values: NaN is to equal itself, and minus zero is not zero.
        CHECK(std::memcmp(&found[i], &expected[from + i], sizeof found[i]) == 0);
    }
}

std::vector<std::int64_t> closes_up_to(const std::vector<lsig_candle>& candles, std::size_t last) {
    std::vector<std::int64_t> closes;
    for (std::size_t i = 0; i <= last; ++i) closes.push_back(candles[i].close_e8);
    return closes;
}

Trades leaping(std::size_t n) {
    Trades trades;
    constexpr std::int64_t kPrices[] = {1, 1LL << 54, (1LL << 54) + 1, (1LL << 54) + 1, INT64_MAX, 3, 2, (1LL << 53) + 1};
    for (std::size_t i = 0; i < n; ++i) {
        const auto second = static_cast<std::int64_t>(i) * 1000000;
        trades.add(static_cast<std::int64_t>(i), kPrices[(i * i + i / 7) % 8], 1, 1723161600000000 + second, false);
    }
    return trades;
}

void a_series_is_a_state_to_the_bit() {
    for (const Trades& trades : {random_walk(20000, 3), leaping(900)}) {
        for (const lsig_config& config : {periods(14, 12, 26, 9, 20), periods(1, 1, 2, 1, 1), periods(2, 2, 3, 1, 2),
                                          periods(99, 20, 77, 30, 150)}) {
            const auto expected = candles_of(trades, config);
            CHECK(expected.size() > 500);
            lsig_series* series = nullptr;
            CHECK(lsig_series_new(&config, &series) == LSIG_OK);
            auto found = bare(expected, 0);
            CHECK(lsig_series_close(series, found.data(), 300, nullptr) == LSIG_OK);
            CHECK(lsig_series_close(series, found.data() + 300, found.size() - 300, nullptr) == LSIG_OK);
            check_same(found, expected, 0);

            // Gone on with from any candle that is warm, by the same series or a new one.
            for (const std::size_t last : {std::size_t{160}, std::size_t{333}, expected.size() - 2}) {
                const auto closes = closes_up_to(expected, last);
                CHECK(lsig_series_resume(series, &expected[last], closes.data(), closes.size()) == LSIG_OK);
                found = bare(expected, last + 1);
                CHECK(lsig_series_close(series, found.data(), found.size(), nullptr) == LSIG_OK);
                check_same(found, expected, last + 1);
            }
            lsig_series_free(series);
        }
    }
}

void with_too_few_closes_only_the_mean_waits() {
    const lsig_config config = periods(14, 12, 26, 9, 20);
    const auto expected = candles_of(random_walk(20000, 4), config);
    lsig_series* series = nullptr;
    CHECK(lsig_series_new(&config, &series) == LSIG_OK);
    CHECK(lsig_series_resume(series, &expected[99], &expected[99].close_e8, 1) == LSIG_OK);
    auto found = bare(expected, 100);
    CHECK(lsig_series_close(series, found.data(), found.size(), nullptr) == LSIG_OK);
    for (std::size_t i = 0; i < 18; ++i) {
        CHECK(std::isnan(found[i].sma));
        found[i].sma = expected[100 + i].sma;
    }
    check_same(found, expected, 100);
    lsig_series_free(series);
}

void what_is_not_warm_is_refused_and_changes_nothing() {
    const lsig_config config = periods(14, 12, 26, 9, 20);
    const auto expected = candles_of(random_walk(20000, 5), config);
    lsig_series* series = nullptr;
    CHECK(lsig_series_new(&config, &series) == LSIG_OK);
    auto found = bare(expected, 0);
    CHECK(lsig_series_close(series, found.data(), 200, nullptr) == LSIG_OK);

    for (std::size_t i = 0; i < 100; ++i) {
        lsig_series* other = nullptr;
        CHECK(lsig_series_new(&config, &other) == LSIG_OK);
        const int code = lsig_series_resume(other, &expected[i], &expected[i].close_e8, 1);
        CHECK_EQUAL(code, std::isnan(expected[i].macd_signal) ? LSIG_E_NOT_WARM : LSIG_OK, i);
        lsig_series_free(other);
    }
    for (const auto read : {&lsig_candle::atr, &lsig_candle::macd_signal, &lsig_candle::ema, &lsig_candle::average_gain,
                            &lsig_candle::average_loss, &lsig_candle::macd_fast, &lsig_candle::macd_slow}) {
        for (const double nonsense : {std::nan(""), 1.0 / 0.0, -1.0 / 0.0}) {
            lsig_candle last = expected[150];
            last.*read = nonsense;
            CHECK(lsig_series_resume(series, &last, &last.close_e8, 1) == LSIG_E_NOT_WARM);
        }
    }
    for (const auto move : {&lsig_candle::atr, &lsig_candle::average_gain, &lsig_candle::average_loss}) {
        lsig_candle last = expected[150];
        last.*move = -1;
        CHECK(lsig_series_resume(series, &last, &last.close_e8, 1) == LSIG_E_NOT_WARM);
    }
    for (const std::int64_t nonsense : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN}) {
        const std::int64_t closes[] = {100, nonsense, 100};
        CHECK(lsig_series_resume(series, &expected[150], closes, 3) == LSIG_E_PRICE);
    }

    CHECK(lsig_series_close(series, found.data() + 200, found.size() - 200, nullptr) == LSIG_OK);
    check_same(found, expected, 0);
    lsig_series_free(series);
}

void what_is_no_candle_names_its_row_and_changes_nothing() {
    const lsig_config config = periods(14, 12, 26, 9, 20);
    const auto expected = candles_of(random_walk(20000, 6), config);
    lsig_series* series = nullptr;
    CHECK(lsig_series_new(&config, &series) == LSIG_OK);
    for (const std::size_t row : {0u, 1u, 57u, 199u}) {
        for (int kind = 0; kind < 4; ++kind) {
            auto spoilt = bare(expected, 0);
            lsig_candle& candle = spoilt[row];
            if (kind == 0) candle.low_e8 = 0;
            if (kind == 1) candle.close_e8 = candle.high_e8 + 1;
            if (kind == 2) candle.close_e8 = candle.low_e8 - 1;
            if (kind == 3) candle.high_e8 = INT64_MIN;
            const auto before = spoilt;
            std::size_t error_row = 999;
            CHECK(lsig_series_close(series, spoilt.data(), 200, &error_row) == LSIG_E_CANDLE);
            CHECK_EQUAL(error_row, row, row);
            CHECK(lsig_series_close(series, spoilt.data(), 200, nullptr) == LSIG_E_CANDLE);
            CHECK(std::memcmp(spoilt.data(), before.data(), 200 * sizeof candle) == 0);
        }
    }
    auto found = bare(expected, 0);
    CHECK(lsig_series_close(series, found.data(), found.size(), nullptr) == LSIG_OK);
    check_same(found, expected, 0);
    lsig_series_free(series);
}

void wrong_settings_are_refused() {
    lsig_series* series = nullptr;
    lsig_config config = periods(LSIG_PERIOD_MAX + 1, 12, 26, 9, 20);
    CHECK(lsig_series_new(&config, &series) == LSIG_E_SETTING);
    CHECK(series == nullptr);
    config = periods(14, 26, 26, 9, 20);
    CHECK(lsig_series_new(&config, &series) == LSIG_E_SETTING);
    config.struct_size = 4;
    CHECK(lsig_series_new(&config, &series) == LSIG_E_ARGUMENT);
    CHECK(series == nullptr);
}

// Any numbers at all are refused or taken in.
void forged_candles_never_crash() {
    std::mt19937_64 random(17);
    int resumed = 0, closed = 0;
    for (int round = 0; round < 20000; ++round) {
        const auto period = [&random] { return static_cast<std::uint32_t>(1 + random() % 5); };
        const lsig_config config = periods(period(), 1, 1 + period(), period(), period());
        lsig_series* series = nullptr;
        CHECK(lsig_series_new(&config, &series) == LSIG_OK);
        std::vector<lsig_candle> candles(8);
        std::vector<std::int64_t> closes;
        for (lsig_candle& candle : candles) {
            for (const auto indicator : kIndicators) {
                const std::uint64_t bits = random();
                std::memcpy(&(candle.*indicator), &bits, sizeof bits);
                if (random() % 4 != 0) candle.*indicator = std::fabs(std::fmod(candle.*indicator, 1e11));
            }
            candle.close_e8 = static_cast<std::int64_t>(random() >> random() % 64);
            candle.low_e8 = random() % 16 == 0 ? static_cast<std::int64_t>(random()) : std::min(candle.close_e8, std::int64_t{1});
            candle.high_e8 = random() % 16 == 0 ? static_cast<std::int64_t>(random()) : candle.close_e8;
            closes.push_back(candle.close_e8);
        }
        resumed += lsig_series_resume(series, &candles[0], closes.data(), 1 + random() % 8) == LSIG_OK ? 1 : 0;
        for (lsig_candle& candle : candles) {
            closed += lsig_series_close(series, &candle, 1, nullptr) == LSIG_OK ? 1 : 0;
        }
        lsig_series_free(series);
    }
    CHECK(resumed > 500 && closed > 10000);
}

}  // namespace

int main() {
    a_series_is_a_state_to_the_bit();
    with_too_few_closes_only_the_mean_waits();
    what_is_not_warm_is_refused_and_changes_nothing();
    what_is_no_candle_names_its_row_and_changes_nothing();
    wrong_settings_are_refused();
    forged_candles_never_crash();
    return 0;
}
