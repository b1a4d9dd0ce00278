// What store puts into PostgreSQL, as rows of its binary COPY: a count of fields, then of each its length and its big-endian value.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "libsignal.h"
#include "tickcodec.h"
#include "wide.hpp"

namespace {

using tickcodec::DigitsLeft;

constexpr std::int64_t kPostgresEpochUs = 946'684'800'000'000;  // 2000-01-01, from which timestamptz counts

class RowWriter {
   public:
    explicit RowWriter(std::uint8_t *at) : at_(at) {}

    void fields(std::uint16_t count) { big_endian(count); }
    void text(const void *bytes, std::size_t size) {
        big_endian(static_cast<std::uint32_t>(size));
        std::memcpy(at_, bytes, size);
        at_ += size;
    }
    template <typename Unsigned>
    void number(Unsigned value) {
        big_endian(static_cast<std::uint32_t>(sizeof value));
        big_endian(value);
    }
    void time(std::int64_t time_us) { number(static_cast<std::uint64_t>(time_us - kPostgresEpochUs)); }
    // NULL where it is NaN.
    void float8(double value) {
        if (std::isnan(value)) return big_endian(0xffff'ffffu);
        std::uint64_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        number(bits);
    }
    // An integer of up to three words, the low one first, of which so many digits to the base of 10,000 stand behind the
    // point. The server strips those at the end that are zero.
    void numeric(const std::uint64_t *words, std::size_t count, std::size_t fraction) {
        constexpr std::uint64_t kChunk = 10'000'000'000'000'000;
        constexpr std::size_t kChunkDigits = 4, kMaxDigits = 16;
        std::uint16_t digits[kMaxDigits];
        std::size_t size = 0;
        DigitsLeft left(words, count);
        while (!left.is_zero()) {
            std::uint64_t chunk = left.take_below(kChunk);
            for (std::size_t digit = 0; digit < kChunkDigits; ++digit, chunk /= 10'000) digits[size++] = static_cast<std::uint16_t>(chunk % 10'000);
        }
        while (size > 0 && digits[size - 1] == 0) --size;
        big_endian(static_cast<std::uint32_t>(8 + 2 * size));
        big_endian(static_cast<std::uint16_t>(size));
        big_endian(static_cast<std::uint16_t>(size > 0 ? static_cast<int>(size) - static_cast<int>(fraction) - 1 : 0));  // the weight of the first one
        big_endian(std::uint16_t{0});                                                                                    // not below zero
        big_endian(static_cast<std::uint16_t>(4 * fraction));
        while (size > 0) big_endian(digits[--size]);
    }
    // A numeric of so many digits, two of them behind the point, which are put there later.
    void zero_digits(std::size_t count) {
        big_endian(static_cast<std::uint32_t>(8 + 2 * count));
        big_endian(static_cast<std::uint16_t>(count));
        big_endian(static_cast<std::uint16_t>(count - 3));
        big_endian(std::uint16_t{0});
        big_endian(std::uint16_t{8});
        std::memset(at_, 0, 2 * count);
        at_ += 2 * count;
    }
    void e8(std::int64_t value) {
        const auto word = static_cast<std::uint64_t>(value);
        numeric(&word, 1, 2);
    }

    std::size_t written(const std::uint8_t *begin) const { return static_cast<std::size_t>(at_ - begin); }

   private:
    template <typename Unsigned>
    void big_endian(Unsigned value) {
        for (std::size_t i = sizeof value; i-- > 0;) *at_++ = static_cast<std::uint8_t>(value >> 8 * i);
    }

    std::uint8_t *at_;
};

struct Text {
    const std::uint8_t *bytes;
    std::size_t size;
};

// The next field of a batch's names, which have been read before.
Text next_text(const std::uint8_t **at) {
    std::size_t size = 0;
    ++*at;  // its tag
    for (unsigned shift = 0;; shift += 7) {
        const std::uint8_t byte = *(*at)++;
        size |= static_cast<std::size_t>(byte & 0x7f) << shift;
        if (byte < 0x80) break;
    }
    const Text found = {*at, size};
    *at += size;
    return found;
}

constexpr std::size_t kIndicators = (sizeof(lsig_candle) - offsetof(lsig_candle, rsi)) / sizeof(double);
// Without the names: the count of fields; of each its length; at most 16 digits of seven numerics, 16 letters.
constexpr std::size_t kCandleRowBytes = 2 + 4 * (15 + kIndicators) + 7 * (8 + 2 * 16) + 8 * (4 + kIndicators) + 4 + 16;

void write_candle(RowWriter *row, Text venue, Text symbol, const tickcodec_candles &all, const lsig_candle &candle) {
    row->fields(static_cast<std::uint16_t>(15 + kIndicators));
    row->text(venue.bytes, venue.size);
    row->text(symbol.bytes, symbol.size);
    for (std::size_t i = 0; i < all.interval_count; ++i) {
        const tickcodec_interval &interval = all.intervals[i];
        if (interval.length_us == candle.interval_us) row->text(interval.name, interval.name_size);
    }
    row->time(candle.start_us);
    for (const std::int64_t price : {candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8}) row->e8(price);
    row->numeric(candle.volume_e8, 2, 2);
    row->numeric(candle.quote_volume_e16, 3, 4);
    row->numeric(candle.taker_buy_volume_e8, 2, 2);
    for (const std::int64_t number : {candle.count, candle.first_trade_id, candle.last_trade_id}) row->number(static_cast<std::uint64_t>(number));
    row->number(std::uint32_t{0});  // its revision: as signal made it
    double indicators[kIndicators];
    std::memcpy(indicators, reinterpret_cast<const char *>(&candle) + offsetof(lsig_candle, rsi), sizeof indicators);
    for (const double indicator : indicators) row->float8(indicator);
}

// A trade's numbers, at where they stand in its row. A numeric has as many digits as the largest number needs, so that all
// rows of a symbol are as long as each other; the server strips those that are zero.
constexpr std::size_t kTradeDigits = 5;

void put(std::uint8_t *at, std::uint64_t value) {
    for (std::size_t i = 0; i < sizeof value; ++i) at[i] = static_cast<std::uint8_t>(value >> 8 * (sizeof value - 1 - i));
}

void put_digits(std::uint8_t *at, std::uint64_t value) {
    for (std::size_t place = kTradeDigits; place-- > 0; value /= 10'000) {
        const auto digit = static_cast<std::uint16_t>(value % 10'000);
        at[2 * place] = static_cast<std::uint8_t>(digit >> 8);
        at[2 * place + 1] = static_cast<std::uint8_t>(digit);
    }
}

}  // namespace

int tickcodec_trade_rows(tickcodec_copied *call) {
    call->written = 0;
    if (call->struct_size != sizeof *call) return 1;
    std::uint8_t *at = call->out;
    const char *names = call->names;
    std::size_t row = 0;
    for (std::size_t i = 0; i < call->group_count; ++i) {
        const tickcodec_copied_group &group = call->groups[i];
        const auto venue_size = static_cast<std::size_t>(group.venue_size), symbol_size = static_cast<std::size_t>(group.symbol_size);
        const std::size_t width = TICKCODEC_TRADE_ROW_BYTES + venue_size + symbol_size, rows = static_cast<std::size_t>(group.rows);
        if (call->out_size - static_cast<std::size_t>(at - call->out) < rows * width) return 1;
        const std::uint8_t *const first = at;
        const std::size_t id_at = 2 + 12 + 4 + venue_size + 4 + symbol_size + 4, price_at = id_at + 8 + 12, quantity_at = price_at + 2 * kTradeDigits + 12, maker_at = width - 1;
        for (const std::size_t end = row + rows; row < end; ++row, at += width) {
            if (at == first) {
                RowWriter common(at);
                common.fields(7);
                common.time(0);
                common.text(names, venue_size);
                common.text(names + venue_size, symbol_size);
                common.number(std::uint64_t{0});
                common.zero_digits(kTradeDigits);
                common.zero_digits(kTradeDigits);
                common.number(std::uint8_t{0});
            } else {
                std::memcpy(at, first, width);
            }
            put(at + 6, static_cast<std::uint64_t>(call->columns[3][row] - kPostgresEpochUs));
            put(at + id_at, static_cast<std::uint64_t>(call->columns[0][row]));
            put_digits(at + price_at, static_cast<std::uint64_t>(call->columns[1][row]));
            put_digits(at + quantity_at, static_cast<std::uint64_t>(call->columns[2][row]));
            at[maker_at] = call->makers[row];
        }
        names += venue_size + symbol_size;
    }
    call->written = static_cast<std::size_t>(at - call->out);
    return 0;
}

int tickcodec_candle_rows(const tickcodec_closing *call, const uint8_t *message, uint8_t *out, size_t out_size, size_t *written) {
    *written = 0;
    if (call->struct_size != sizeof *call) return 1;
    RowWriter row(out);
    const auto *candle = static_cast<const lsig_candle *>(call->candles->room);
    for (std::size_t i = 0; i < call->part_count; ++i) {
        const tickcodec_part &part = call->parts[i];
        if (part.candles == 0) return 1;
        const std::uint8_t *names = message + part.names_at;
        const Text venue = next_text(&names), symbol = next_text(&names);
        for (const lsig_candle *const end = candle + part.candles; candle < end; ++candle) {
            if (out_size - row.written(out) < kCandleRowBytes + venue.size + symbol.size) return 1;
            write_candle(&row, venue, symbol, *call->candles, *candle);
        }
    }
    *written = row.written(out);
    return 0;
}
