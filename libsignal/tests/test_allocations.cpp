// After construction nothing allocates; when memory is exhausted, construction says so.
#include <cstdlib>
#include <new>

#include "check.hpp"
#include "trades.hpp"

namespace {
std::size_t allocations = 0;
std::size_t allowed = SIZE_MAX;
}  // namespace

// The library's own `new` finds these: an executable's symbols come first.
void* operator new(std::size_t size) {
    if (++allocations > allowed) throw std::bad_alloc();
    void* memory = std::malloc(size != 0 ? size : 1);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main() {
    const Trades trades = random_walk(5000, 5);
    Signals signals(trades.size());
    lsig_state* state = nullptr;
    allocations = 0;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    const std::size_t wanted = allocations;
    CHECK(wanted > 0);

    allocations = 0;
    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    for (std::size_t row = 0; row < trades.size(); row += 500) {
        lsig_columns columns = bind(trades, signals, row, 500);
        CHECK(lsig_process(state, &columns) == LSIG_OK);
        CHECK(lsig_process(state, &columns) == LSIG_E_TRADE_ID);
        CHECK(lsig_reset_session(state) == LSIG_OK);
        CHECK(lsig_summarize(state, &summary) == LSIG_OK);
    }
    CHECK(allocations == 0);
    lsig_state_free(state);

    for (std::size_t count = 0; count < wanted; ++count) {
        allocations = 0;
        allowed = count;
        CHECK(lsig_state_new(nullptr, &state) == LSIG_E_MEMORY);
        CHECK(state == nullptr);
    }

    allowed = SIZE_MAX;
    lsig_series* series = nullptr;
    allocations = 0;
    CHECK(lsig_series_new(nullptr, &series) == LSIG_OK);
    const std::size_t wanted_by_series = allocations;
    allocations = 0;
    lsig_candle candle{};
    candle.high_e8 = candle.low_e8 = candle.close_e8 = 100;
    CHECK(lsig_series_close(series, &candle, 1, nullptr) == LSIG_OK);
    candle.average_gain = candle.average_loss = candle.atr = candle.macd_fast = candle.macd_slow = 1;
    candle.macd_signal = candle.ema = 1;
    CHECK(lsig_series_resume(series, &candle, &candle.close_e8, 1) == LSIG_OK);
    CHECK(allocations == 0);
    lsig_series_free(series);
    for (std::size_t count = 0; count < wanted_by_series; ++count) {
        allocations = 0;
        allowed = count;
        CHECK(lsig_series_new(nullptr, &series) == LSIG_E_MEMORY);
        CHECK(series == nullptr);
    }
    return 0;
}
