// libFuzzer's entry: any bytes are loaded, as they are and with a checksum that is right. What loads must save to the
// same bytes and take in trades.
#include <algorithm>
#include <cstdlib>

#include "../src/bytes.hpp"
#include "trades.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void load(const std::vector<std::uint8_t>& bytes) {
    lsig_state* state = nullptr;
    if (lsig_load(bytes.data(), bytes.size(), &state) != LSIG_OK) return require(state == nullptr);
    std::vector<std::uint8_t> again(bytes.size());
    std::size_t size = 0;
    require(lsig_save(state, again.data(), again.size(), &size) == LSIG_OK && again == bytes);

    lsig_summary summary{};
    summary.struct_size = sizeof summary;
    require(lsig_summarize(state, &summary) == LSIG_OK);
    Trades trades = random_walk(70, 1);
    if (summary.last_trade_id < INT64_MAX - 70) {
        for (auto& id : trades.trade_id) id += summary.last_trade_id;
        Signals signals(70);
        lsig_config config{};
        config.struct_size = sizeof config;
        require(lsig_get_config(state, &config) == LSIG_OK);
        lsig_columns columns = bind(trades, signals, 0, 70, config.signals);
        require(lsig_process(state, &columns) == LSIG_OK);
    }
    lsig_state_free(state);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::vector<std::uint8_t> bytes(data, data + size);
    load(bytes);
    if (size >= 24) {
        lsig::Writer(bytes.data() + 8, 8).number(static_cast<std::uint64_t>(size));
        // Small windows and periods only: memory is not what is looked for.
        for (std::size_t at = 20; at < std::min<std::size_t>(84, size - 8); at += 4) bytes[at + 1] = bytes[at + 2] = bytes[at + 3] = 0;
        lsig::Writer(bytes.data() + size - 8, 8).number(lsig::crc64(bytes.data(), size - 8));
        load(bytes);
    }
    return 0;
}
