// Different states share nothing: many threads at once find what one alone finds. Worth most under the thread sanitizer.
#include <cstring>
#include <thread>

#include "check.hpp"
#include "trades.hpp"

namespace {

std::vector<std::uint8_t> run(const Trades& trades) {
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    Signals signals(trades.size());
    for (std::size_t row = 0; row < trades.size(); row += 100) {
        lsig_columns columns = bind(trades, signals, row, 100);
        CHECK(lsig_process(state, &columns) == LSIG_OK);
    }
    std::size_t size = 0;
    lsig_save(state, nullptr, 0, &size);
    std::vector<std::uint8_t> bytes(size);
    CHECK(lsig_save(state, bytes.data(), size, &size) == LSIG_OK);
    lsig_state_free(state);
    CHECK(lsig_load(bytes.data(), size, &state) == LSIG_OK);
    lsig_state_free(state);
    return bytes;
}

}  // namespace

int main() {
    const Trades trades = random_walk(20000, 31);
    const auto alone = run(trades);
    std::vector<std::vector<std::uint8_t>> found(4);
    std::vector<std::thread> threads;
    for (auto& each : found) threads.emplace_back([&] { each = run(trades); });
    for (auto& thread : threads) thread.join();
    for (const auto& each : found) CHECK(each == alone);
    return 0;
}
