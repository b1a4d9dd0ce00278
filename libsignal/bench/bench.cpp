// Nanoseconds per trade, by the length of the columns and of the windows. The data are new in every round: the state
// goes on, ids rise.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <deque>

#include "../tests/trades.hpp"

namespace {

constexpr std::size_t kTrades = 1 << 16;

const Trades& trades() {
    static const Trades kMarket = random_walk(kTrades, 1);
    return kMarket;
}

void count_trades(benchmark::State& run, std::size_t column) {
    using benchmark::Counter;
    const auto flags = Counter::Flags(Counter::kIsIterationInvariantRate | Counter::kInvert);
    run.counters["per_trade"] = Counter(static_cast<double>(column), flags);
}

// The limit: do nothing but read the columns.
void read_columns(benchmark::State& run) {
    const auto column = static_cast<std::size_t>(run.range(0));
    const Trades& market = trades();
    std::size_t row = 0;
    for (auto _ : run) {
        std::int64_t sum = 0;
        for (std::size_t i = row; i < row + column; ++i) {
            sum += market.trade_id[i] ^ market.price_e8[i] ^ market.quantity_e8[i] ^ market.time_us[i] ^ market.is_buyer_maker[i];
        }
        benchmark::DoNotOptimize(sum);
        row = (row + column) % kTrades;
    }
    count_trades(run, column);
}

// What one writes on the first day: a deque of the window's prices and their sum.
void naive_average(benchmark::State& run) {
    const auto column = static_cast<std::size_t>(run.range(0)), window = static_cast<std::size_t>(run.range(1));
    const Trades& market = trades();
    std::deque<double> prices;
    std::vector<double> average(column);
    double sum = 0;
    std::size_t row = 0;
    for (auto _ : run) {
        for (std::size_t i = 0; i < column; ++i) {
            prices.push_back(static_cast<double>(market.price_e8[row + i]));
            sum += prices.back();
            if (prices.size() > window) {
                sum -= prices.front();
                prices.pop_front();
            }
            average[i] = sum / static_cast<double>(prices.size());
        }
        benchmark::ClobberMemory();
        row = (row + column) % kTrades;
    }
    count_trades(run, column);
}

// And on the second: monotonic deques for high and low beside it.
void naive_deques(benchmark::State& run) {
    const auto column = static_cast<std::size_t>(run.range(0)), window = static_cast<std::size_t>(run.range(1));
    const Trades& market = trades();
    std::deque<double> prices;
    std::deque<std::pair<std::size_t, double>> high, low;
    std::vector<double> average(column), highest(column), lowest(column);
    double sum = 0;
    std::size_t row = 0, position = 0;
    for (auto _ : run) {
        for (std::size_t i = 0; i < column; ++i, ++position) {
            const double price = static_cast<double>(market.price_e8[row + i]);
            prices.push_back(price);
            sum += price;
            if (prices.size() > window) {
                sum -= prices.front();
                prices.pop_front();
            }
            while (!high.empty() && high.back().second <= price) high.pop_back();
            high.emplace_back(position, price);
            if (high.front().first + window <= position) high.pop_front();
            while (!low.empty() && low.back().second >= price) low.pop_back();
            low.emplace_back(position, price);
            if (low.front().first + window <= position) low.pop_front();
            average[i] = sum / static_cast<double>(prices.size());
            highest[i] = high.front().second;
            lowest[i] = low.front().second;
        }
        benchmark::ClobberMemory();
        row = (row + column) % kTrades;
    }
    count_trades(run, column);
}

template <std::uint32_t Groups>
void process(benchmark::State& run) {
    const auto column = static_cast<std::size_t>(run.range(0));
    const auto window = static_cast<std::uint32_t>(run.range(1));
    Trades market = trades();
    lsig_config config{};
    config.struct_size = sizeof config;
    config.signals = Groups;
    for (auto* each : {&config.moving_average_window, &config.exponential_window, &config.vwap_window,
                       &config.deviation_window, &config.extremes_window, &config.flow_window, &config.rate_window,
                       &config.volatility_window}) {
        *each = window;
    }
    lsig_state* state = nullptr;
    if (lsig_state_new(&config, &state) != LSIG_OK) return run.SkipWithError("no state");
    Signals signals(column);
    std::vector<lsig_candle> candles(6 * column);
    lsig_columns columns = bind(market, signals, 0, column, Groups);
    if ((Groups & LSIG_CANDLES) != 0) {
        columns.candles = candles.data();
        columns.candle_capacity = candles.size();
    }
    const lsig_columns first = columns;
    std::size_t row = 0;
    const auto go_on = [&] {  // by one column; from the last again to the first, with ids and times above all so far
        row += column;
        columns.trade_id += column;
        columns.price_e8 += column;
        columns.quantity_e8 += column;
        columns.time_us += column;
        columns.is_buyer_maker += column;
        if (row < kTrades) return;
        for (std::size_t i = 0; i < kTrades; ++i) {
            market.trade_id[i] += static_cast<std::int64_t>(kTrades);
            market.time_us[i] += 86400000000;
        }
        row = 0;
        columns = first;
    };
    for (std::size_t taken = 0; taken < 2 * window; taken += column) {  // fill the window
        if (lsig_process(state, &columns) != LSIG_OK) return run.SkipWithError("refused");
        go_on();
    }
    for (auto _ : run) {
        if (lsig_process(state, &columns) != LSIG_OK) return run.SkipWithError("refused");
        const bool is_last = row + column == kTrades;
        if (is_last) run.PauseTiming();
        go_on();
        if (is_last) run.ResumeTiming();
    }
    lsig_state_free(state);
    count_trades(run, column);
}

constexpr std::uint32_t kPlain = LSIG_MOVING_AVERAGE | LSIG_EXTREMES;
constexpr std::uint32_t kPerTrade = LSIG_ALL & ~LSIG_CANDLES;

const std::vector<std::int64_t> kColumns{1, 16, 256, 4096}, kWindows{20, 1000, 100000};

BENCHMARK(read_columns)->ArgsProduct({kColumns});
BENCHMARK(naive_average)->ArgsProduct({kColumns, kWindows});
BENCHMARK(naive_deques)->ArgsProduct({kColumns, kWindows});
BENCHMARK(process<kPlain>)->Name("average_high_low")->ArgsProduct({kColumns, kWindows});
BENCHMARK(process<kPerTrade>)->Name("all_per_trade")->ArgsProduct({kColumns, kWindows});
BENCHMARK(process<LSIG_ALL>)->Name("all_and_candles")->ArgsProduct({kColumns, kWindows});
BENCHMARK(process<LSIG_EXPONENTIAL_AVERAGE>)->Name("one/exponential_average")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_MOVING_AVERAGE>)->Name("one/moving_average")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_WINDOW_VWAP>)->Name("one/window_vwap")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_DEVIATION>)->Name("one/deviation")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_EXTREMES>)->Name("one/extremes")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_FLOW>)->Name("one/flow")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_RATE>)->Name("one/rate")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_VOLATILITY>)->Name("one/volatility")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_SESSION>)->Name("one/session")->ArgsProduct({{256}, {1000, 100000}});
BENCHMARK(process<LSIG_CANDLES>)->Name("one/candles")->ArgsProduct({{256}, {1000, 100000}});

}  // namespace

BENCHMARK_MAIN();
