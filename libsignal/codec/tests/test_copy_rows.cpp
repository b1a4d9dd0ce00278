// Trades as rows of a binary COPY, in just the room they take.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "check.hpp"
#include "tickcodec.h"

namespace {

std::string big_endian(std::uint64_t value, std::size_t size) {
    std::string bytes;
    while (size-- > 0) bytes += static_cast<char>(value >> 8 * size);
    return bytes;
}

std::string text(const std::string &content) { return big_endian(content.size(), 4) + content; }

std::string int8(std::int64_t value) { return big_endian(8, 4) + big_endian(static_cast<std::uint64_t>(value), 8); }

std::string numeric(const std::uint64_t (&digits)[5]) {
    std::string bytes = big_endian(18, 4) + big_endian(5, 2) + big_endian(2, 2) + big_endian(0, 2) + big_endian(8, 2);
    for (const std::uint64_t digit : digits) bytes += big_endian(digit, 2);
    return bytes;
}

std::string row(std::int64_t time, const std::string &names, std::int64_t id, const std::string &numbers, char maker) {
    return big_endian(7, 2) + int8(time) + names + int8(id) + numbers + big_endian(1, 4) + maker;
}

struct Trades {
    const std::int64_t ids[3] = {7, 8, 1}, prices[3] = {6'183'763'000'000, 9'223'372'036'854'775'807, 1}, quantities[3] = {0, 100'000'000, 2'000'000},
                       times[3] = {946'684'800'000'001, 0, 946'684'800'000'000};
    const std::uint8_t makers[3] = {1, 0, 1};
    const std::string names = "simbtcusdtbinanceeth";
    const tickcodec_copied_group groups[2] = {{3, 7, 2}, {7, 3, 1}};
    const std::size_t size = 3 * (TICKCODEC_TRADE_ROW_BYTES + 10);
    std::unique_ptr<std::uint8_t[]> out{new std::uint8_t[size]};
    tickcodec_copied call = {sizeof call, {ids, prices, quantities, times}, makers, names.data(), groups, 2, out.get(), size, 0};
};

void writes_rows_of_each_symbol() {
    Trades trades;
    CHECK(tickcodec_trade_rows(&trades.call) == 0 && trades.call.written == trades.size);
    const std::string first = text("sim") + text("btcusdt"), second = text("binance") + text("eth");
    const std::string expected = row(1, first, 7, numeric({0, 6, 1837, 6300, 0}) + numeric({0, 0, 0, 0, 0}), 1) +
                                 row(-946'684'800'000'000, first, 8, numeric({922, 3372, 368, 5477, 5807}) + numeric({0, 0, 1, 0, 0}), 0) +
                                 row(0, second, 1, numeric({0, 0, 0, 0, 1}) + numeric({0, 0, 0, 200, 0}), 1);
    CHECK(std::string(reinterpret_cast<const char *>(trades.out.get()), trades.size) == expected);
}

void writes_nothing_beyond_its_room() {
    Trades trades;
    trades.call.out_size = trades.size - 1;
    CHECK(tickcodec_trade_rows(&trades.call) == 1 && trades.call.written == 0);
    trades.call.out_size = trades.size;
    trades.call.struct_size = 1;
    CHECK(tickcodec_trade_rows(&trades.call) == 1);
}

}  // namespace

int main() {
    writes_rows_of_each_symbol();
    writes_nothing_beyond_its_room();
    return 0;
}
