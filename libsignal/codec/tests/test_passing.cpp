// What goes on at the next id of its symbol does, and is kept among the last; everything else is left as it was.
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "tickcodec.h"

namespace {

constexpr std::size_t kMaxFrames = 64, kSlots = 16, kRecent = 4;
constexpr std::int64_t kTimeUs = 1723161255342000;

// A symbol whose last trade is 10.
struct Symbol {
    std::unique_ptr<std::int64_t[]> recent{new std::int64_t[TICKCODEC_RECENT_NUMBERS * kRecent]};
    tickcodec_passed passed{};

    explicit Symbol(const std::string &name, std::int64_t partition = 0) {
        name.copy(passed.symbol, name.size());
        passed.symbol_size = static_cast<std::int64_t>(name.size());
        passed.partition = partition;
        passed.passes = 1;
        passed.last_id = 10;
        passed.recent = recent.get();
        passed.recent_size = kRecent;
    }

    std::int64_t number(std::int64_t row, std::size_t which) const {
        return recent[TICKCODEC_RECENT_NUMBERS * static_cast<std::size_t>(row) + which];
    }
};

std::string trade(std::int64_t id, const std::string &symbol, std::int64_t time_us = kTimeUs) {
    return "{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"E\":1,\"s\":\"" + symbol + "\",\"t\":" + std::to_string(id) +
           ",\"p\":\"1.5\",\"q\":\"0.02\",\"T\":" + std::to_string(time_us) + ",\"m\":true,\"M\":false}}";
}

struct Venue {
    std::unique_ptr<std::uint64_t[]> out{new std::uint64_t[TICKCODEC_FRAME_BYTES / 8 * kMaxFrames]};
    std::array<tickcodec_group, 8> groups{};
    std::array<std::int64_t, kMaxFrames> others{};
    std::array<tickcodec_passed *, kSlots> slots{};
    std::array<std::int64_t, 8> partitions{};
    tickcodec_frames frames{sizeof frames, kMaxFrames, groups.size(), 1'000'000, "sim", 3, kTimeUs + 7,
                            reinterpret_cast<std::uint8_t *>(out.get()), groups.data(), others.data(), 0, 0};
    tickcodec_passing passing{sizeof passing, slots.data(), kSlots, 3, kTimeUs, kTimeUs + 100, kTimeUs + 7, 3, 1.5,
                              partitions.data(), 0, 0, 0};

    std::size_t pass(const std::vector<std::string> &trades) {
        std::string text;
        for (const auto &one : trades) text += (text.empty() ? "" : "\n") + one;
        CHECK(tickcodec_read_frames(&frames, text.data(), text.size(), trades.size()) == 0 && frames.other_count == 0);
        const tickcodec_group &last = groups[frames.group_count - 1];
        const std::size_t size = static_cast<std::size_t>(last.at + last.size);
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
        std::memcpy(exact.get(), out.get(), size);
        return tickcodec_pass(&passing, exact.get(), size, groups.data(), frames.group_count);
    }
};

void lets_go_on_what_is_next() {
    Venue venue;
    Symbol btc("btcusdt"), eth("ethusdt", 5), sol("solusdt");
    for (Symbol *one : {&btc, &eth, &sol}) CHECK(tickcodec_put_passed(venue.slots.data(), kSlots, &one->passed) == 0);
    sol.passed.passes = 0;
    const auto trades = {trade(11, "BTCUSDT"), trade(12, "ETHUSDT"), trade(11, "SOLUSDT"), trade(1, "XRPUSDT"), trade(12, "btcUSDT", kTimeUs + 9)};
    CHECK(venue.pass(trades) == 2);
    CHECK(venue.partitions[0] == 0 && venue.partitions[1] == -1 && venue.partitions[2] == -1 && venue.partitions[3] == -1);
    CHECK(venue.partitions[4] == 0);  // the same symbol, worded otherwise
    CHECK(venue.passing.rows == 2 && venue.passing.oldest_us == kTimeUs && venue.passing.newest_us == kTimeUs + 9);
    CHECK(btc.passed.last_id == 12 && btc.passed.last_us == kTimeUs + 9 && btc.passed.came_s == 1.5 && btc.passed.turn == 3);
    CHECK(btc.passed.trades == 2 && btc.passed.batches == 2 && btc.passed.recent_count == 2);
    const std::int64_t expected[] = {12, kTimeUs + 9, 150000000, 2000000, 1, kTimeUs + 7};
    for (std::size_t i = 0; i < TICKCODEC_RECENT_NUMBERS; ++i) CHECK_EQUAL(btc.number(1, i), expected[i], i);
    CHECK(eth.passed.last_id == 10 && eth.passed.recent_count == 0 && sol.passed.last_id == 10);
    CHECK(venue.pass({trade(11, "ETHUSDT"), trade(12, "ETHUSDT"), trade(13, "ETHUSDT")}) == 1 && venue.partitions[0] == 5);
    CHECK(venue.pass({trade(14, "ETHUSDT"), trade(15, "ETHUSDT"), trade(16, "ETHUSDT")}) == 1);
    CHECK(eth.passed.recent_count == 6 && eth.number(0, 0) == 15 && eth.number(1, 0) == 16 && eth.number(2, 0) == 13);
}

void leaves_what_is_unusual() {
    Venue venue;
    Symbol btc("btcusdt");
    CHECK(tickcodec_put_passed(venue.slots.data(), kSlots, &btc.passed) == 0);
    CHECK(venue.pass({trade(11, "BTCUSDT"), trade(13, "BTCUSDT")}) == 0);
    CHECK(venue.pass({trade(10, "BTCUSDT")}) == 0);
    CHECK(venue.pass({trade(11, "BTCUSDT", kTimeUs - 1)}) == 0 && venue.pass({trade(11, "BTCUSDT", kTimeUs + 101)}) == 0);
    CHECK(venue.pass({trade(11, "BTCUSDT"), trade(12, "BTCUSDT"), trade(13, "BTCUSDT"), trade(14, "BTCUSDT")}) == 0);
    CHECK(btc.passed.last_id == 10 && btc.passed.recent_count == 0 && btc.passed.trades == 0);
    CHECK(venue.passing.rows == 0);
    tickcodec_group outside = venue.groups[0];
    for (std::int64_t tickcodec_group::*const member : {&tickcodec_group::at, &tickcodec_group::size, &tickcodec_group::name_at,
                                                        &tickcodec_group::name_size, &tickcodec_group::rows}) {
        for (const std::int64_t value : {std::int64_t{-1}, std::int64_t{1} << 62}) {
            tickcodec_group wrong = outside;
            wrong.*member = value;
            CHECK(tickcodec_pass(&venue.passing, reinterpret_cast<std::uint8_t *>(venue.out.get()), 200, &wrong, 1) == 0);
        }
    }
    venue.passing.struct_size = 1;
    CHECK(venue.pass({trade(11, "BTCUSDT")}) == 0);
}

void has_room_for_half_as_many_symbols_as_slots() {
    std::array<tickcodec_passed *, 4> slots{};
    Symbol a("aausdt"), b("bbusdt"), c("ccusdt");
    CHECK(tickcodec_put_passed(slots.data(), 3, &a.passed) == 1 && tickcodec_put_passed(slots.data(), 0, &a.passed) == 1);
    CHECK(tickcodec_put_passed(slots.data(), 4, &a.passed) == 0 && tickcodec_put_passed(slots.data(), 4, &a.passed) == 1);
    CHECK(tickcodec_put_passed(slots.data(), 4, &b.passed) == 0 && tickcodec_put_passed(slots.data(), 4, &c.passed) == 1);
    std::array<tickcodec_passed *, 2> full{&a.passed, &b.passed};
    CHECK(tickcodec_put_passed(full.data(), full.size(), &c.passed) == 1);
    c.passed.symbol_size = 97;
    CHECK(tickcodec_put_passed(slots.data(), 4, &c.passed) == 1);
}

void writes_the_last_trades_as_they_came() {
    Venue venue;
    Symbol btc("btcusdt"), eth("ethusdt"), sol("solusdt");
    for (Symbol *one : {&btc, &eth}) CHECK(tickcodec_put_passed(venue.slots.data(), kSlots, &one->passed) == 0);
    CHECK(venue.pass({trade(11, "BTCUSDT"), trade(12, "BTCUSDT"), trade(13, "BTCUSDT"), trade(11, "ETHUSDT")}) == 2);
    std::vector<std::uint8_t> same(venue.out.get() ? static_cast<std::size_t>(venue.groups[1].at + venue.groups[1].size) : 0);
    std::memcpy(same.data(), venue.out.get(), same.size());
    const std::array<const tickcodec_passed *, 3> symbols{&btc.passed, &sol.passed, &eth.passed};
    const auto written = [&](std::size_t each, std::size_t room, std::size_t expected) {
        std::vector<std::uint8_t> out(room);
        std::size_t size = 0;
        CHECK(tickcodec_write_recent(symbols.data(), symbols.size(), each, "sim", 3, out.data(), room, &size) == expected);
        out.resize(size);
        return out;
    };
    CHECK(written(16, same.size(), 3) == same);
    const auto first = static_cast<std::ptrdiff_t>(venue.groups[0].size);
    CHECK(written(16, same.size() - 1, 2) == std::vector<std::uint8_t>(same.begin(), same.begin() + first));
    CHECK(written(16, 0, 0).empty() && written(0, 1000, 3).empty());
    CHECK(venue.pass({trade(14, "BTCUSDT"), trade(15, "BTCUSDT"), trade(16, "BTCUSDT")}) == 1);
    const std::vector<std::uint8_t> around = written(3, 1000, 3);
    CHECK(std::memcmp(around.data(), venue.out.get(), static_cast<std::size_t>(venue.groups[0].size)) == 0);
    CHECK(written(16, 1000, 3).size() == around.size() + 33);  // four are kept
    btc.passed.first_key = 1000;
    std::int64_t key = 0;
    std::memcpy(&key, written(1, 1000, 3).data() + 2 + 5 + 9 + 9 + 2, sizeof key);
    CHECK(key == 1016);
}

}  // namespace

int main() {
    lets_go_on_what_is_next();
    leaves_what_is_unusual();
    has_room_for_half_as_many_symbols_as_slots();
    writes_the_last_trades_as_they_came();
    return 0;
}
