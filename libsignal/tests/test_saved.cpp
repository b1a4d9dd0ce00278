// Saved states: they go on as if nothing had happened, and bytes that were not saved so are refused.
#include <algorithm>
#include <cstring>

#include "../src/bytes.hpp"
#include "check.hpp"
#include "trades.hpp"

namespace {

std::vector<std::uint8_t> save(const lsig_state* state) {
    std::size_t size = 0;
    CHECK(lsig_save(state, nullptr, 0, &size) == LSIG_E_CAPACITY);
    std::vector<std::uint8_t> bytes(size);
    CHECK(lsig_save(state, bytes.data(), size - 1, &size) == LSIG_E_CAPACITY);
    CHECK(lsig_save(state, bytes.data(), size, &size) == LSIG_OK);
    return bytes;
}

bool same(const Signals& a, const Signals& b, std::size_t from) {
    // Bits and not values: NaN is to equal itself.
    const auto alike = [from](const auto& x, const auto& y) {
        return std::memcmp(x.data() + from, y.data() + from, (x.size() - from) * sizeof x[0]) == 0;
    };
    bool result = alike(a.late_intervals, b.late_intervals);
    for (std::size_t i = 0; i < a.doubles.size(); ++i) result &= alike(a.doubles[i], b.doubles[i]);
    for (std::size_t i = 0; i < a.integers.size(); ++i) result &= alike(a.integers[i], b.integers[i]);
    return result;
}

lsig_config config_of(std::uint32_t window) {
    lsig_config config{};
    config.struct_size = sizeof config;
    for (auto* each : {&config.moving_average_window, &config.exponential_window, &config.vwap_window,
                       &config.deviation_window, &config.extremes_window, &config.flow_window, &config.rate_window,
                       &config.volatility_window}) {
        *each = window;
    }
    return config;
}

void a_loaded_state_goes_on_to_the_bit() {
    for (const std::uint32_t window : {1u, 20u, 256u, 1000u}) {
        for (const std::size_t cut : {1u, 19u, 20u, 21u, 256u, 999u, 1000u, 1001u, 2500u}) {
            const Trades trades = window % 2 == 0 ? random_walk(3000, window) : wild(3000, window);
            const lsig_config config = config_of(window);
            lsig_state *whole = nullptr, *loaded = nullptr;
            CHECK(lsig_state_new(&config, &whole) == LSIG_OK);
            Signals expected(3000), found(3000);
            lsig_columns columns = bind(trades, expected, 0, cut);
            CHECK(lsig_process(whole, &columns) == LSIG_OK);
            const auto bytes = save(whole);
            CHECK(lsig_load(bytes.data(), bytes.size(), &loaded) == LSIG_OK);
            CHECK(save(loaded) == bytes);

            columns = bind(trades, expected, cut, 3000 - cut);
            CHECK(lsig_process(whole, &columns) == LSIG_OK);
            columns = bind(trades, found, cut, 3000 - cut);
            CHECK(lsig_process(loaded, &columns) == LSIG_OK);
            CHECK(same(expected, found, cut));
            CHECK(save(loaded) == save(whole));
            lsig_state_free(whole);
            lsig_state_free(loaded);
        }
    }
}

std::vector<std::uint8_t> some_state() {
    lsig_state* state = nullptr;
    lsig_config config = config_of(5);
    config.candle_sma_period = 3;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    const Trades trades = random_walk(300, 9);
    Signals signals(300);
    lsig_columns columns = bind(trades, signals, 0, 300);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    auto bytes = save(state);
    lsig_state_free(state);
    return bytes;
}

int load(const std::vector<std::uint8_t>& bytes) {
    lsig_state* state = nullptr;
    const std::uint8_t nothing = 0;  // an empty vector may have no address, which would be another error
    const int code = lsig_load(bytes.empty() ? &nothing : bytes.data(), bytes.size(), &state);
    CHECK((code == LSIG_OK) == (state != nullptr));
    lsig_state_free(state);
    return code;
}

void seal(std::vector<std::uint8_t>& bytes) {
    lsig::Writer writer(bytes.data() + bytes.size() - 8, 8);
    writer.number(lsig::crc64(bytes.data(), bytes.size() - 8));
}

void damaged_bytes_are_refused() {
    const auto bytes = some_state();
    CHECK(load(bytes) == LSIG_OK);
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        auto damaged = bytes;
        damaged[bit / 8] = static_cast<std::uint8_t>(damaged[bit / 8] ^ 1 << bit % 8);
        CHECK(load(damaged) == LSIG_E_DAMAGED);
    }
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK(load({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}) == LSIG_E_DAMAGED);
    }
    auto longer = bytes;
    longer.push_back(0);
    CHECK(load(longer) == LSIG_E_DAMAGED);
    auto foreign = bytes;
    foreign[4] = 99;
    seal(foreign);
    CHECK(load(foreign) == LSIG_E_FORMAT);
}

void candles_that_did_not_begin_together_are_refused() {
    constexpr std::int64_t kSecond = 1'000'000, kMinute = 60 * kSecond, kMinuteOfIt = 1723161600000000 + 31 * kMinute;
    Trades trades;
    trades.add(1, 100, 5, kMinuteOfIt + 17 * kSecond, false);
    lsig_state* state = nullptr;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    Signals signals(1);
    lsig_columns columns = bind(trades, signals, 0, 1);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    auto bytes = save(state);
    lsig_state_free(state);
    CHECK(load(bytes) == LSIG_OK);
    std::uint8_t before[8], later[8];
    lsig::Writer(before, 8).number(kMinuteOfIt);
    lsig::Writer(later, 8).number(kMinuteOfIt + kMinute);
    const auto at = std::search(bytes.begin(), bytes.end(), std::begin(before), std::end(before));
    CHECK(at != bytes.end());
    std::copy(std::begin(later), std::end(later), at);
    seal(bytes);
    CHECK(load(bytes) == LSIG_E_DAMAGED);
}

// Bytes whose checksum is right and whose contents are anything: they load or they do not, and what loads works.
void forged_bytes_never_crash() {
    const auto bytes = some_state();
    std::mt19937_64 random(11);
    const Trades trades = random_walk(300, 12);
    int loaded = 0;
    for (int round = 0; round < 5000; ++round) {
        auto forged = bytes;
        for (std::uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
            // Not the settings: windows of a million trades would take all the time.
            const std::size_t at = 92 + random() % (forged.size() - 100);
            constexpr std::uint8_t kEdges[] = {0, 1, 0x7f, 0x80, 0xff};
            forged[at] = random() % 2 == 0 ? kEdges[random() % 5] : static_cast<std::uint8_t>(random());
        }
        seal(forged);
        lsig_state* state = nullptr;
        const int code = lsig_load(forged.data(), forged.size(), &state);
        CHECK(code == LSIG_OK || code == LSIG_E_DAMAGED);
        if (code == LSIG_OK) {
            ++loaded;
            CHECK(save(state) == forged);
            lsig_summary summary{};
            summary.struct_size = sizeof summary;
            CHECK(lsig_summarize(state, &summary) == LSIG_OK);
            Trades further = trades;
            const std::int64_t room = INT64_MAX - summary.last_trade_id;
            if (room > 300) {
                for (std::size_t i = 0; i < 300; ++i) further.trade_id[i] = summary.last_trade_id + 1 + static_cast<std::int64_t>(i);
                Signals signals(300);
                lsig_columns columns = bind(further, signals, 0, 300);
                CHECK(lsig_process(state, &columns) == LSIG_OK);
            }
        }
        lsig_state_free(state);
    }
    CHECK(loaded > 500);
}

void settings_out_of_range_are_refused_when_loaded() {
    auto bytes = some_state();
    for (std::size_t at = 16; at < 16 + 17 * 4; at += 4) {
        auto forged = bytes;
        std::fill_n(forged.begin() + static_cast<std::ptrdiff_t>(at), 4, std::uint8_t{0xff});
        seal(forged);
        CHECK(load(forged) == LSIG_E_DAMAGED);
    }
}

void the_highest_trade_id_can_be_saved() {
    lsig_state *state = nullptr, *loaded = nullptr;
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    Trades trades;
    trades.add(INT64_MAX, 1, 1, 1, false);
    Signals signals(1);
    lsig_columns columns = bind(trades, signals, 0, 1);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    const auto bytes = save(state);
    CHECK(lsig_load(bytes.data(), bytes.size(), &loaded) == LSIG_OK);
    CHECK(lsig_process(loaded, &columns) == LSIG_E_TRADE_ID);
    lsig_state_free(state);
    lsig_state_free(loaded);
}

void an_average_that_fell_to_nothing_can_be_saved() {
    lsig_config config = config_of(1);  // pulls by the whole way: 2^62 - (2^62 - 1) rounds to 0
    lsig_state *state = nullptr, *loaded = nullptr;
    CHECK(lsig_state_new(&config, &state) == LSIG_OK);
    Trades trades;
    trades.add(1, std::int64_t{1} << 62, 1, 1, false);
    trades.add(2, 1, 1, 1, false);
    Signals signals(2);
    lsig_columns columns = bind(trades, signals, 0, 2);
    CHECK(lsig_process(state, &columns) == LSIG_OK);
    const auto bytes = save(state);
    CHECK(lsig_load(bytes.data(), bytes.size(), &loaded) == LSIG_OK);
    lsig_state_free(state);
    lsig_state_free(loaded);
}

void wrong_arguments_are_refused() {
    lsig_state* state = nullptr;
    std::size_t size = 0;
    CHECK(lsig_load(nullptr, 0, nullptr) == LSIG_E_ARGUMENT);
    CHECK(lsig_load(nullptr, 5, &state) == LSIG_E_ARGUMENT);
    CHECK(lsig_load(nullptr, 0, &state) == LSIG_E_ARGUMENT);
    CHECK(lsig_save(nullptr, nullptr, 0, &size) == LSIG_E_ARGUMENT);
    CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
    CHECK(lsig_save(state, nullptr, 0, nullptr) == LSIG_E_ARGUMENT);
    CHECK(lsig_save(state, nullptr, 9, &size) == LSIG_E_ARGUMENT);
    lsig_state_free(state);
}

}  // namespace

int main() {
    a_loaded_state_goes_on_to_the_bit();
    damaged_bytes_are_refused();
    candles_that_did_not_begin_together_are_refused();
    forged_bytes_never_crash();
    settings_out_of_range_are_refused_when_loaded();
    the_highest_trade_id_can_be_saved();
    an_average_that_fell_to_nothing_can_be_saved();
    wrong_arguments_are_refused();
    return 0;
}
