// Ten million trades: every row of every exact signal, and every candle, against an exact model.
//
// The model knows nothing of the library's ways: sums over a window are differences of sums from the first trade on,
// extremes come from monotonic deques, deviations from squared distances to a price nearby. What is rounded in the end is
// held to the header's bound, in 64 bits of mantissa; so is the exponential average, which remembers all its errors.
#include <array>
#include <cmath>
#include <deque>

#include "check.hpp"
#include "exact.hpp"
#include "trades.hpp"

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(LSIG_COVERAGE)
constexpr std::size_t kTrades = 300'000;
#else
constexpr std::size_t kTrades = 10'000'000;
#endif
constexpr std::size_t kMostRows = 4000;
constexpr std::int64_t kIntervals_us[] = {1000000, 60000000, 300000000, 900000000, 3600000000, 86400000000};
constexpr long double kUnit = 0x1p-53L;

// One endless market: small steps, many repeats, bursts in one instant; and now and then a price a thousand times as high
// or low, quantities whose sums take more than 64 bits, none at all for longer than any window, or hours without a trade.
class Market {
public:
    Trades next(std::size_t n) {
        Trades trades;
        for (std::size_t i = 0; i < n; ++i) {
            if (random_() % 50000 == 0) price_ = 1 + static_cast<std::int64_t>(random_() % (std::uint64_t{1} << (1 + random_() % 45)));
            if (random_() % 2 == 0) price_ += static_cast<std::int64_t>(random_() % 21 - 10) * std::min<std::int64_t>(1000000, price_ / 11);
            if (random_() % 20000 == 0) still_ = 735;
            if (still_ > 0) --still_;
            if (still_ == 0 && random_() % 3 == 0) time_us_ += static_cast<std::int64_t>(random_() % 200000);
            if (random_() % 100000 == 0) time_us_ += static_cast<std::int64_t>(random_() % 20000000000);
            if (random_() % 30000 == 0) nothing_ = 2000;
            if (nothing_ > 0) --nothing_;
            auto quantity = static_cast<std::int64_t>(random_() % 1000 * (random_() % 100000));
            if (random_() % 20000 == 0) huge_ = 30;
            if (huge_ > 0) --huge_, quantity = static_cast<std::int64_t>(random_() >> (2 + random_() % 8));
            trades.add(++id_, price_, nothing_ > 0 ? 0 : quantity, time_us_, random_() % 2 == 0);
        }
        return trades;
    }

private:
    std::mt19937_64 random_{41};
    std::int64_t id_ = 0, price_ = 6183763000000, time_us_ = 1723161255342000;
    int still_ = 0, huge_ = 0, nothing_ = 0;
};

// Sums of the last numbers, from sums of all numbers: those may wrap around, their differences do not mind.
class Sums {
public:
    explicit Sums(std::size_t most) : until_(most + 1) {}
    void add(u128 number) {
        const u128 all = until_[n_ % until_.size()] + number;
        until_[++n_ % until_.size()] = all;
    }
    u128 last(std::size_t n) const { return until_[n_ % until_.size()] - until_[(n_ - n) % until_.size()]; }

private:
    std::vector<u128> until_;
    std::size_t n_ = 0;
};

// The highest of the last numbers, or with `sign` -1 the lowest.
class Extreme {
public:
    Extreme(std::size_t window, std::int64_t sign) : window_(window), sign_(sign) {}
    std::int64_t add(std::size_t position, std::int64_t number) {
        while (!falling_.empty() && sign_ * falling_.back().second <= sign_ * number) falling_.pop_back();
        falling_.emplace_back(position, number);
        if (falling_.front().first + window_ <= position) falling_.pop_front();
        return falling_.front().second;
    }

private:
    std::size_t window_;
    std::int64_t sign_;
    std::deque<std::pair<std::size_t, std::int64_t>> falling_;
};

// Whether `found` is NaN where there is nothing to divide by, else within `units` of 2^-53 of the exact ratio.
bool is_near(double found, i128 numerator, u128 denominator, long double scale, int units) {
    if (denominator == 0) return std::isnan(found);
    const long double exact = static_cast<long double>(numerator) / static_cast<long double>(denominator) / scale;
    return std::fabs(found - exact) <= units * kUnit * std::fabs(exact);
}

class Model {
public:
    explicit Model(const lsig_config& config)
        : config_(config),
          prices_(config.moving_average_window),
          turnover_(config.vwap_window),
          volume_(config.vwap_window),
          flow_(config.flow_window),
          bought_(config.flow_window),
          high_(config.extremes_window, 1),
          low_(config.extremes_window, -1),
          distances_(config.deviation_window),
          squares_(config.deviation_window) {
        for (std::size_t k = 0; k < LSIG_INTERVALS; ++k) closes_.emplace_back(config.candle_sma_period);
    }

    // Take in a column and hold what the library made of it to what must have come out.
    void check(const Trades& trades, const Signals& signals, const lsig_candle* candles, const lsig_candle* end) {
        const auto doubles = [&](double* lsig_columns::*column) { return signals.of(column).data(); };
        const auto integers = [&](std::int64_t* lsig_columns::*column) { return signals.of(column).data(); };
        const auto* const average = doubles(&lsig_columns::moving_average);
        const auto* const exponential = doubles(&lsig_columns::exponential_average);
        const auto* const vwap = doubles(&lsig_columns::window_vwap);
        const auto* const middle = doubles(&lsig_columns::bollinger_middle);
        const auto* const deviation = doubles(&lsig_columns::deviation);
        const auto* const share = doubles(&lsig_columns::buy_share);
        const auto* const imbalance = doubles(&lsig_columns::flow_imbalance);
        const auto* const rate = doubles(&lsig_columns::trade_rate);
        const auto* const session_volume = doubles(&lsig_columns::session_volume);
        const auto* const session_vwap = doubles(&lsig_columns::session_vwap);
        const auto* const window_high = integers(&lsig_columns::window_high_e8);
        const auto* const window_low = integers(&lsig_columns::window_low_e8);
        const auto* const session_open = integers(&lsig_columns::session_open_e8);
        const auto* const session_high = integers(&lsig_columns::session_high_e8);
        const auto* const session_low = integers(&lsig_columns::session_low_e8);
        const auto* const session_count = integers(&lsig_columns::session_count);
        for (std::size_t i = 0; i < trades.size(); ++i) {
            const std::int64_t price = trades.price_e8[i], quantity = trades.quantity_e8[i], time_us = trades.time_us[i];
            take_in(price, quantity, time_us, trades.is_buyer_maker[i] != 0);

            const std::size_t held = std::min<std::size_t>(n_, config_.moving_average_window);
            CHECK(is_nearest(average[i], {prices_.last(held), held * 100000000}));
            CHECK(std::fabs(exponential[i] - exponential_) <= 4 * (config_.exponential_window + 1) * kUnit * highest_);
            const std::size_t traded = std::min<std::size_t>(n_, config_.vwap_window);
            CHECK(is_near(vwap[i], static_cast<i128>(turnover_.last(traded)), volume_.last(traded), 1e8L, 7));
            const std::size_t flown = std::min<std::size_t>(n_, config_.flow_window);
            const auto bought = static_cast<i128>(bought_.last(flown)), flow = static_cast<i128>(flow_.last(flown));
            CHECK(is_near(share[i], bought, static_cast<u128>(flow), 1, 6));
            CHECK(is_near(imbalance[i], 2 * bought - flow, static_cast<u128>(flow), 1, 6));
            check_deviation(deviation[i], middle[i]);
            const std::size_t between = times_us_.size() - 1;
            const std::int64_t lasted_us = times_us_.back() - times_us_.front();
            CHECK(is_near(rate[i], static_cast<i128>(between) * 1000000, static_cast<u128>(lasted_us), 1, 4));
            CHECK_EQUAL(window_high[i], high_.add(n_, price), n_);
            CHECK_EQUAL(window_low[i], low_.add(n_, price), n_);

            CHECK_EQUAL(session_open[i], session_open_, n_);
            CHECK_EQUAL(session_high[i], session_high_, n_);
            CHECK_EQUAL(session_low[i], session_low_, n_);
            CHECK_EQUAL(session_count[i], session_count_, n_);
            CHECK(session_volume_ == 0 ? session_volume[i] == 0 : is_nearest(session_volume[i], {session_volume_, 100000000}));
            CHECK(is_near(session_vwap[i], static_cast<i128>(session_turnover_), session_volume_, 1e8L, 7));
            candles = close_candles(trades, i, candles, end);
        }
        CHECK(candles == end);
    }

    void begin_session() {
        session_count_ = 0;
        session_volume_ = session_turnover_ = 0;
    }

    std::size_t candles_checked() const { return candles_checked_; }
    u128 session_volume() const { return session_volume_; }

private:
    struct Bar {
        std::int64_t start_us = -1, open = 0, high = 0, low = 0, close = 0, count = 0, first_id = 0, last_id = 0, empty = 0;
        u128 volume = 0, bought = 0, turnover = 0;
    };

    void take_in(std::int64_t price, std::int64_t quantity, std::int64_t time_us, bool is_buyer_maker) {
        const u128 volume = static_cast<u128>(quantity), turnover = static_cast<u128>(price) * volume;
        ++n_;
        prices_.add(static_cast<u128>(price));
        const long double plain = static_cast<long double>(price) / 1e8L;
        exponential_ = n_ == 1 ? plain : exponential_ + (plain - exponential_) * 2 / (config_.exponential_window + 1);
        highest_ = std::max(highest_, plain);
        turnover_.add(turnover);
        volume_.add(volume);
        flow_.add(volume);
        bought_.add(is_buyer_maker ? 0 : volume);
        const i128 distance = price - kNear;
        distances_.add(static_cast<u128>(distance));
        squares_.add(static_cast<u128>(distance * distance));
        times_us_.push_back(time_us);
        if (times_us_.size() > config_.rate_window) times_us_.pop_front();
        if (session_count_++ == 0) session_open_ = session_high_ = session_low_ = price;
        session_high_ = std::max(session_high_, price);
        session_low_ = std::min(session_low_, price);
        session_volume_ += volume;
        session_turnover_ += turnover;
    }

    void check_deviation(double deviation, double middle) const {
        const auto n = static_cast<i128>(std::min<std::size_t>(n_, config_.deviation_window));
        const auto sum = static_cast<i128>(distances_.last(static_cast<std::size_t>(n)));
        const i128 spread = n * static_cast<i128>(squares_.last(static_cast<std::size_t>(n))) - sum * sum;
        const long double exact = std::sqrt(static_cast<long double>(spread)) / static_cast<long double>(n) / 1e8L;
        CHECK(std::fabs(deviation - exact) <= 6 * kUnit * exact);
        CHECK(is_nearest(middle, {static_cast<u128>(sum + n * kNear), static_cast<std::uint64_t>(n) * 100000000}));
    }

    const lsig_candle* close_candles(const Trades& trades, std::size_t i, const lsig_candle* closed, const lsig_candle* end) {
        const std::int64_t price = trades.price_e8[i], time_us = trades.time_us[i], id = trades.trade_id[i];
        const u128 volume = static_cast<u128>(trades.quantity_e8[i]);
        for (std::size_t k = 0; k < LSIG_INTERVALS; ++k) {
            Bar& bar = bars_[k];
            const std::int64_t start_us = time_us / kIntervals_us[k] * kIntervals_us[k];
            if (start_us != bar.start_us) {
                const std::int64_t empty = bar.count == 0 ? 0 : (start_us - bar.start_us) / kIntervals_us[k] - 1;
                if (bar.count != 0) {
                    CHECK(closed < end);
                    check_candle(*closed++, k);
                }
                bar = Bar{start_us, price, price, price, price, 0, id, id, empty, 0, 0, 0};
            }
            bar.high = std::max(bar.high, price);
            bar.low = std::min(bar.low, price);
            bar.close = price;
            bar.last_id = id;
            ++bar.count;
            bar.volume += volume;
            bar.bought += trades.is_buyer_maker[i] != 0 ? 0 : volume;
            bar.turnover += volume * static_cast<u128>(price);
        }
        return closed;
    }

    void check_candle(const lsig_candle& candle, std::size_t k) {
        const Bar& bar = bars_[k];
        ++candles_checked_;
        CHECK_EQUAL(candle.interval_us, kIntervals_us[k], n_);
        CHECK_EQUAL(candle.start_us, bar.start_us, n_);
        CHECK_EQUAL(candle.empty_before, bar.empty, n_);
        CHECK_EQUAL(candle.count, bar.count, n_);
        CHECK(candle.open_e8 == bar.open && candle.high_e8 == bar.high && candle.low_e8 == bar.low && candle.close_e8 == bar.close);
        CHECK(candle.first_trade_id == bar.first_id && candle.last_trade_id == bar.last_id);
        const auto wide = [](const std::uint64_t* words) { return u128{words[1]} << 64 | words[0]; };
        CHECK(wide(candle.volume_e8) == bar.volume);
        CHECK(wide(candle.taker_buy_volume_e8) == bar.bought);
        CHECK(wide(candle.quote_volume_e16) == bar.turnover && candle.quote_volume_e16[2] == 0);
        closes_[k].add(static_cast<u128>(bar.close));
        if (++closed_[k] < config_.candle_sma_period) {
            CHECK(std::isnan(candle.sma));
        } else {
            const std::uint64_t period = config_.candle_sma_period;
            CHECK(is_nearest(candle.sma, {closes_[k].last(period), period * 100000000}));
        }
    }

    static constexpr i128 kNear = 6183763000000;  // prices below 2^46 are so near that squares and their sums fit

    lsig_config config_;
    std::size_t n_ = 0;
    Sums prices_, turnover_, volume_, flow_, bought_;
    Extreme high_, low_;
    Sums distances_, squares_;
    long double exponential_ = 0, highest_ = 0;
    std::deque<std::int64_t> times_us_;
    std::int64_t session_open_ = 0, session_high_ = 0, session_low_ = 0, session_count_ = 0;
    u128 session_volume_ = 0, session_turnover_ = 0;
    std::array<Bar, LSIG_INTERVALS> bars_;
    std::array<std::size_t, LSIG_INTERVALS> closed_{};
    std::vector<Sums> closes_;
    std::size_t candles_checked_ = 0;
};

}  // namespace

int main() {
    lsig_config config{};
    config.struct_size = sizeof config;
    config.moving_average_window = 1000;
    config.exponential_window = 50;
    config.vwap_window = 777;
    config.deviation_window = 500;
    config.extremes_window = 700;
    config.flow_window = 100;
    config.rate_window = 20;
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    CHECK(lsig_get_config(state, &config) == LSIG_OK);

    Market market;
    Model model(config);
    Signals signals(kMostRows);
    std::vector<lsig_candle> candles(LSIG_INTERVALS * kMostRows);
    std::mt19937_64 random(7);
    std::size_t done = 0;
    while (done < kTrades) {
        const std::size_t n = std::min(kTrades - done, random() % 8 == 0 ? 1 + random() % 3 : 1 + random() % kMostRows);
        const Trades trades = market.next(n);
        if (random() % 500 == 0) {
            CHECK(lsig_reset_session(state) == LSIG_OK);
            model.begin_session();
        }
        lsig_columns columns = bind(trades, signals, 0, n);
        columns.candles = candles.data();
        columns.candle_capacity = candles.size();
        CHECK(lsig_process(state, &columns) == LSIG_OK);
        model.check(trades, signals, candles.data(), candles.data() + columns.candle_count);
        done += n;
    }
    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    CHECK(lsig_summarize(state, &summary) == LSIG_OK);
    CHECK_EQUAL(summary.count, static_cast<std::int64_t>(kTrades), 0);
    CHECK(summary.session_volume_e8[0] == static_cast<std::uint64_t>(model.session_volume()));
    CHECK(summary.session_volume_e8[1] == static_cast<std::uint64_t>(model.session_volume() >> 64));
    CHECK(model.candles_checked() > kTrades / 100);
    std::printf("%zu trades and %zu candles are exact\n", done, model.candles_checked());
    lsig_state_free(state);
    return 0;
}
