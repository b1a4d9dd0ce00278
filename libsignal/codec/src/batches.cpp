// Trades of the bus -> libsignal -> their signals for the bus, a SignalBatch. What is unusual is left to Python.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "libsignal.h"
#include "slots.hpp"
#include "tickcodec.h"
#include "wide.hpp"

namespace {

using tickcodec::DigitsLeft;
using tickcodec::u128;

constexpr std::uint8_t kVarint = 0, kFixed64 = 1, kLengthDelimited = 2;

constexpr std::uint8_t kBatches = 1, kCandles = 22;
constexpr std::size_t kFrameBytes = 11;  // before a batch of a message of many, at most

std::uint64_t tag(std::uint64_t number, std::uint8_t type) { return number << 3 | type; }

// Reads a TradeBatch that is written as the bus' writers do: each field once, in the order of the numbers.
class Reader {
   public:
    Reader(const std::uint8_t *at, std::size_t size) : at_(at), end_(at + size) {}

    bool is_at_end() const { return at_ == end_; }
    std::size_t done(const std::uint8_t *begin) const { return static_cast<std::size_t>(at_ - begin); }

    bool fixed64(std::uint64_t number, std::int64_t *found) {
        *found = 0;
        if (!skip_tag(tag(number, kFixed64))) return true;
        if (left() < sizeof *found) return false;
        std::memcpy(found, at_, sizeof *found);
        at_ += sizeof *found;
        return *found != 0;  // a zero is left out
    }

    bool integer(std::uint64_t number, std::int64_t *found) {
        *found = 0;
        if (!skip_tag(tag(number, kVarint))) return true;
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64 && !is_at_end(); shift += 7) {
            const std::uint8_t byte = *at_++;
            value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if (byte > 0x7f) continue;
            *found = static_cast<std::int64_t>(value);
            return byte != 0 && (shift < 63 || byte == 1);
        }
        return false;
    }

    bool skip_fixed64(std::uint8_t number) {
        std::int64_t unused;
        return fixed64(number, &unused);
    }

    bool content(std::uint8_t number, const std::uint8_t **found, std::size_t *size) {
        if (is_at_end() || *at_++ != tag(number, kLengthDelimited)) return false;
        return content(found, size);
    }

    // The next field of bytes, of any number up to 31.
    bool any_content(std::uint8_t *number) {
        const std::uint8_t *unused;
        std::size_t size;
        return any_content(number, &unused, &size);
    }

    bool any_content(std::uint8_t *number, const std::uint8_t **content_at, std::size_t *size) {
        if (is_at_end()) return false;
        std::uint8_t found = *at_++;
        if (found > 0x7f) {  // numbers from 16 on take two bytes
            if (is_at_end() || *at_++ != 1) return false;
        } else if (found > tag(15, kLengthDelimited)) {
            return false;
        }
        if ((found & 7) != kLengthDelimited) return false;
        *number = static_cast<std::uint8_t>((found & 0x7f) >> 3 | (found > 0x7f ? 16 : 0));
        return content(content_at, size);
    }

   private:
    // Go behind a tag of at most two bytes, where it comes next.
    bool skip_tag(std::uint64_t wanted) {
        const std::uint8_t bytes[2] = {static_cast<std::uint8_t>(wanted > 0x7f ? wanted | 0x80 : wanted), static_cast<std::uint8_t>(wanted >> 7)};
        const std::size_t size = wanted > 0x7f ? 2 : 1;
        if (left() < size || std::memcmp(at_, bytes, size) != 0) return false;
        at_ += size;
        return true;
    }

    bool content(const std::uint8_t **found, std::size_t *size) {
        *size = 0;
        for (unsigned shift = 0; shift < 28; shift += 7) {
            if (is_at_end()) return false;
            const std::uint8_t byte = *at_++;
            *size |= static_cast<std::size_t>(byte & 0x7f) << shift;
            if (byte > 0x7f) continue;
            if (*size > left() || (byte == 0 && shift > 0)) return false;
            *found = at_;
            at_ += *size;
            return true;
        }
        return false;
    }

    std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

    const std::uint8_t *at_, *end_;
};

class Writer {
   public:
    explicit Writer(std::uint8_t *at) : at_(at) {}

    void varint(std::uint64_t value) {
        for (; value > 0x7f; value >>= 7) *at_++ = static_cast<std::uint8_t>(value | 0x80);
        *at_++ = static_cast<std::uint8_t>(value);
    }
    void bytes(const void *from, std::size_t size) {
        std::memcpy(at_, from, size);
        at_ += size;
    }
    void head(std::uint64_t number, std::size_t size) {
        varint(tag(number, kLengthDelimited));
        varint(size);
    }
    void content(std::uint64_t number, const void *from, std::size_t size) {
        head(number, size);
        bytes(from, size);
    }
    void integer(std::uint64_t number, std::int64_t value) {
        if (value == 0) return;  // a zero is left out
        varint(tag(number, kVarint));
        varint(static_cast<std::uint64_t>(value));
    }
    void fixed64(std::uint64_t number, std::uint64_t bits) {
        if (bits == 0) return;
        varint(tag(number, kFixed64));
        bytes(&bits, sizeof bits);
    }
    // What stands somewhat further on, written there before it was known how much comes before it.
    void pull(const void *from, std::size_t size) {
        std::memmove(at_, from, size);
        at_ += size;
    }
    std::size_t written(const std::uint8_t *begin) const { return static_cast<std::size_t>(at_ - begin); }

   private:
    std::uint8_t *at_;
};

bool none_above(const std::int64_t *values, std::size_t n, std::int64_t highest) {
    for (std::size_t i = 0; i < n; ++i) {
        if (values[i] > highest) return false;
    }
    return true;
}

bool is_ascii(const std::uint8_t *text, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        if (text[i] > 0x7f) return false;
    }
    return true;
}

// Whether bytes are a TradeBatch as the bus' writers write it, whatever its columns hold.
bool is_trades(const std::uint8_t *batch, std::size_t size) {
    Reader reader(batch, size);
    const std::uint8_t *content;
    std::size_t bytes;
    for (std::uint8_t number = 1; number <= 8; ++number) {
        if (number == 3) {
            if (!reader.skip_fixed64(3)) return false;
        } else if (!reader.content(number, &content, &bytes) || (number < 3 && !is_ascii(content, bytes))) {
            return false;
        }
    }
    return reader.is_at_end();
}

// The trades of a batch, in `work`.
struct Trades {
    std::size_t head_size;     // of the batch, up to its columns
    std::int64_t *columns[4];  // ids, prices, quantities, times
    const std::uint8_t *makers;
    std::size_t rows;
};

// Read a TradeBatch that is written as the bus' writers do, and whose ids and times are not too high.
bool read(const tickcodec_signals &call, const std::uint8_t *batch, std::size_t size, Trades *trades) {
    Reader reader(batch, size);
    const std::uint8_t *content;
    std::size_t bytes, rows = 0;
    if (!reader.content(1, &content, &bytes) || !reader.content(2, &content, &bytes) || !reader.skip_fixed64(3)) return false;
    trades->head_size = reader.done(batch);
    for (std::uint8_t i = 0; i < 4; ++i) {
        if (!reader.content(static_cast<std::uint8_t>(4 + i), &content, &bytes)) return false;
        if (i == 0) rows = bytes / 8;
        if (rows == 0 || rows > call.max_rows || bytes != 8 * rows) return false;
        trades->columns[i] = call.work + i * rows;
        std::memcpy(trades->columns[i], content, bytes);
    }
    if (!reader.content(8, &trades->makers, &bytes) || bytes != rows || !reader.is_at_end()) return false;
    trades->rows = rows;
    return none_above(trades->columns[0], rows, call.max_id) && none_above(trades->columns[3], rows, call.max_time_us);
}

std::size_t varint_size(std::uint64_t value) {
    std::size_t size = 1;
    for (; value > 0x7f; value >>= 7) ++size;
    return size;
}

std::size_t content_size(std::uint64_t number, std::size_t size) {
    return varint_size(tag(number, kLengthDelimited)) + varint_size(size) + size;
}

// How large the SignalBatch of a TradeBatch is, without candles.
std::size_t signals_size(const tickcodec_signals &call, std::size_t batch_size, std::size_t rows) {
    std::size_t size = content_size(1, batch_size) + (call.raw_sequence != 0 ? 9 : 0);
    for (std::size_t i = 0; i < call.output_count; ++i) size += content_size(call.outputs[i].number, 8 * rows);
    return size;
}

// How large the trades of a batch are that has but one of them, and the same head.
std::size_t one_trade_size(const Trades &trades) { return trades.head_size + 4 * content_size(4, 8) + content_size(8, 1); }

// Write the last trade with its signals as a SignalBatch of its own.
void write_latest(const tickcodec_signals &call, const std::uint8_t *batch, const Trades &trades, const std::int64_t *outputs, tickcodec_symbol *symbol) {
    const std::size_t last = trades.rows - 1;
    Writer writer(symbol->latest);
    writer.head(1, one_trade_size(trades));
    writer.bytes(batch, trades.head_size);
    for (std::size_t i = 0; i < 4; ++i) writer.content(4 + i, trades.columns[i] + last, 8);
    writer.content(8, trades.makers + last, 1);
    writer.fixed64(2, static_cast<std::uint64_t>(call.raw_sequence));
    for (std::size_t i = 0; i < call.output_count; ++i) writer.content(call.outputs[i].number, outputs + i * trades.rows + last, 8);
    symbol->latest_size = writer.written(symbol->latest);
    symbol->last_id = trades.columns[0][last];
    symbol->raw_sequence = call.raw_sequence;
}

// --- candles

constexpr std::size_t kNameBytes = 16;      // of an interval
constexpr std::size_t kCandleBytes = 290;   // of a candle without indicators: tags, eight integers, decimals of 41, 41 and 60 digits, its name
constexpr std::size_t kIndicatorBytes = 10;
constexpr std::size_t kMaxIndicators = 32;

bool can_be(const tickcodec_candles &all) {
    for (std::size_t i = 0; i < all.interval_count; ++i) {
        if (all.intervals[i].name_size > kNameBytes) return false;
    }
    for (std::size_t i = 0; i < all.indicator_count; ++i) {
        if (all.indicators[i].offset > sizeof(lsig_candle) - sizeof(double)) return false;
    }
    return all.indicator_count <= kMaxIndicators;
}

// Write an integer of up to three words, the low one first, scaled by 10^decimals: the shortest plain decimal number.
void write_decimal(Writer *writer, std::uint64_t number, const std::uint64_t *words, std::size_t count, std::size_t decimals) {
    constexpr std::uint64_t kChunk = 1'000'000'000'000'000'000;
    constexpr std::size_t kChunkDigits = 18;  // more than decimals: what stands before the point has a digit, too
    std::uint8_t digits[4 * kChunkDigits + 1];
    std::size_t at = sizeof digits - 1;
    DigitsLeft left(words, count);
    while (!left.is_zero() || at == sizeof digits - 1) {
        std::uint64_t chunk = left.take_below(kChunk);
        for (std::size_t digit = 0; digit < kChunkDigits; ++digit, chunk /= 10) digits[--at] = static_cast<std::uint8_t>('0' + chunk % 10);
    }
    const std::size_t point = sizeof digits - 1 - decimals;
    std::size_t end = sizeof digits - 1;
    while (end > point && digits[end - 1] == '0') --end;
    while (at + 1 < point && digits[at] == '0') ++at;
    if (end > point) {
        std::memmove(digits + point + 1, digits + point, end - point);
        digits[point] = '.';
        ++end;
    }
    writer->content(number, digits + at, end - at);
}

// Write a closed candle as a field of a SignalBatch.
void write_candle(Writer *writer, const tickcodec_candles &all, const lsig_candle &candle) {
    std::uint8_t room[kCandleBytes + kIndicatorBytes * kMaxIndicators], time[kIndicatorBytes + 1];
    Writer content(room), seconds(time);
    seconds.integer(1, candle.start_us / 1'000'000);  // every interval begins with a second
    content.content(1, time, seconds.written(time));
    content.integer(2, candle.open_e8);
    content.integer(3, candle.high_e8);
    content.integer(4, candle.low_e8);
    content.integer(5, candle.close_e8);
    write_decimal(&content, 6, candle.volume_e8, 2, 8);
    write_decimal(&content, 7, candle.quote_volume_e16, 3, 16);
    write_decimal(&content, 8, candle.taker_buy_volume_e8, 2, 8);
    content.integer(9, candle.count);
    content.integer(10, candle.first_trade_id);
    content.integer(11, candle.last_trade_id);
    for (std::size_t i = 0; i < all.interval_count; ++i) {
        const tickcodec_interval &interval = all.intervals[i];
        if (interval.length_us == candle.interval_us) content.content(12, interval.name, interval.name_size);
    }
    for (std::size_t i = 0; i < all.indicator_count; ++i) {
        std::uint64_t bits;
        std::memcpy(&bits, reinterpret_cast<const char *>(&candle) + all.indicators[i].offset, sizeof bits);
        content.fixed64(all.indicators[i].number, bits);
    }
    writer->content(kCandles, room, content.written(room));
}

// Read a decimal number as an integer of so many words, the low one first, scaled by 10^decimals.
bool read_decimal(Reader *reader, std::uint8_t number, std::uint64_t *words, std::size_t count, std::size_t decimals) {
    const std::uint8_t *text;
    std::size_t size, point = 0;
    if (!reader->content(number, &text, &size) || size > 80) return false;
    while (point < size && text[point] != '.') ++point;
    const std::size_t fraction = point < size ? size - point - 1 : 0;
    if (point == 0 || fraction > decimals || (point < size && fraction == 0)) return false;
    std::memset(words, 0, count * sizeof *words);
    for (std::size_t i = 0; i < point + 1 + decimals; ++i) {
        if (i == point) continue;
        const std::uint8_t digit = i < size ? text[i] : '0';
        if (digit < '0' || digit > '9') return false;
        u128 carried = static_cast<u128>(digit - '0');
        for (std::size_t word = 0; word < count; ++word) {
            carried += static_cast<u128>(words[word]) * 10;
            words[word] = static_cast<std::uint64_t>(carried);
            carried >>= 64;
        }
        if (carried != 0) return false;
    }
    return true;
}

// Read a candle that is written as above; false where it is not, or where its numbers cannot be.
bool read_candle(const tickcodec_closing &call, const std::uint8_t *content, std::size_t size, lsig_candle *candle) {
    constexpr std::int64_t kEndSeconds = 253'402'300'800;  // the year 10000
    Reader reader(content, size);
    const std::uint8_t *bytes;
    std::size_t count;
    std::int64_t seconds;
    *candle = {};
    if (!reader.content(1, &bytes, &count)) return false;
    Reader time(bytes, count);
    if (!time.integer(1, &seconds) || !time.is_at_end() || seconds < 0 || seconds >= kEndSeconds) return false;
    candle->start_us = seconds * 1'000'000;
    if (!reader.integer(2, &candle->open_e8) || !reader.integer(3, &candle->high_e8) || !reader.integer(4, &candle->low_e8) || !reader.integer(5, &candle->close_e8) ||
        !read_decimal(&reader, 6, candle->volume_e8, 2, 8) || !read_decimal(&reader, 7, candle->quote_volume_e16, 3, 16) || !read_decimal(&reader, 8, candle->taker_buy_volume_e8, 2, 8) ||
        !reader.integer(9, &candle->count) || !reader.integer(10, &candle->first_trade_id) || !reader.integer(11, &candle->last_trade_id) || !reader.content(12, &bytes, &count)) {
        return false;
    }
    const tickcodec_candles &all = *call.candles;
    for (std::size_t i = 0; i < all.interval_count; ++i) {
        const tickcodec_interval &interval = all.intervals[i];
        if (interval.name_size == count && std::memcmp(interval.name, bytes, count) == 0) candle->interval_us = interval.length_us;
    }
    for (std::size_t i = 0; i < all.indicator_count; ++i) {
        std::int64_t bits;
        double value;
        if (!reader.fixed64(all.indicators[i].number, &bits)) return false;
        std::memcpy(&value, &bits, sizeof value);
        if (value > 1e30 || value < -1e30) return false;
        std::memcpy(reinterpret_cast<char *>(candle) + all.indicators[i].offset, &value, sizeof value);
    }
    const auto is_id = [&](std::int64_t id) { return id >= 0 && id <= call.max_id; };
    return reader.is_at_end() && candle->interval_us > 0 && candle->start_us % candle->interval_us == 0 && candle->count > 0 && candle->count <= call.max_count &&
           is_id(candle->first_trade_id) && is_id(candle->last_trade_id) && candle->low_e8 > 0 && candle->low_e8 <= candle->open_e8 && candle->open_e8 <= candle->high_e8 &&
           candle->low_e8 <= candle->close_e8 && candle->close_e8 <= candle->high_e8;
}

// --- signals

// Let libsignal write the outputs one behind the other; false where an offset is none.
bool bind_outputs(const tickcodec_signals &call, std::int64_t *outputs, std::size_t rows, lsig_columns *all) {
    for (std::size_t i = 0; i < call.output_count; ++i) {
        std::int64_t *const output = outputs + i * rows;
        if (call.outputs[i].offset > sizeof *all - sizeof output) return false;
        std::memcpy(reinterpret_cast<char *>(all) + call.outputs[i].offset, &output, sizeof output);
    }
    return true;
}

// Whether bytes are a SignalBatch as signal writes it, which closes no candle.
bool closes_nothing(const std::uint8_t *batch, std::size_t size) {
    Reader reader(batch, size);
    const std::uint8_t *trades;
    std::size_t bytes;
    if (!reader.content(1, &trades, &bytes) || !is_trades(trades, bytes) || !reader.skip_fixed64(2)) return false;
    for (std::uint8_t last = 2, number; !reader.is_at_end(); last = number) {
        if (!reader.any_content(&number) || number <= last || number >= kCandles) return false;
    }
    return true;
}

// A TradeBatch as it stands in a message.
struct TradeBatch {
    std::size_t names_size;  // it begins with its venue and symbol
    std::int64_t received_time_us;
    const std::uint8_t *columns[5];  // ids, prices, quantities, times, makers
    std::size_t rows;
};

// Find the columns of a TradeBatch that is written as the bus' writers do.
bool find_columns(const std::uint8_t *batch, std::size_t size, std::size_t max_rows, TradeBatch *found) {
    Reader reader(batch, size);
    const std::uint8_t *content;
    std::size_t bytes;
    *found = {};
    if (!reader.content(1, &content, &bytes) || !reader.content(2, &content, &bytes)) return false;
    found->names_size = static_cast<std::size_t>(content + bytes - batch);
    if (!reader.fixed64(3, &found->received_time_us)) return false;
    for (std::uint8_t i = 0; i < 5; ++i) {
        if (!reader.content(static_cast<std::uint8_t>(4 + i), &found->columns[i], &bytes)) return false;
        if (i == 0) found->rows = bytes / 8;
        if (bytes != (i < 4 ? 8 : 1) * found->rows) return false;
    }
    return found->rows > 0 && found->rows <= max_rows && reader.is_at_end();
}

// Whether nothing is to be said against trades; how far their times reach.
bool are_usual(const tickcodec_closing &call, const TradeBatch &trades, std::int64_t *reached_us) {
    *reached_us = 0;
    for (std::size_t row = 0; row < trades.rows; ++row) {
        std::int64_t numbers[4];  // id, price, quantity, time
        for (std::size_t i = 0; i < 4; ++i) std::memcpy(&numbers[i], trades.columns[i] + 8 * row, 8);
        if (numbers[0] < 0 || numbers[0] > call.max_id || numbers[1] <= 0 || numbers[2] < 0 || numbers[3] < 0 || numbers[3] > call.max_time_us) return false;
        if (trades.columns[4][row] > 1) return false;  // a foreign writer may hold a true bool as any byte but zero
        if (numbers[3] > *reached_us) *reached_us = numbers[3];
    }
    return true;
}

// Read what a SignalBatch has closed, its candles behind those that were read before.
bool read_closed(const tickcodec_closing &call, const std::uint8_t *batch, std::size_t size, std::size_t before, tickcodec_part *part) {
    Reader reader(batch, size);
    const std::uint8_t *content;
    std::size_t bytes, candles = 0;
    TradeBatch trades;
    if (!reader.content(1, &content, &bytes) || !find_columns(content, bytes, call.max_rows, &trades) || !are_usual(call, trades, &part->reached_us)) return false;
    part->names_at = part->at + (content - batch);
    part->names_size = static_cast<std::int64_t>(trades.names_size);
    if (!reader.fixed64(2, &part->raw_sequence)) return false;
    for (std::uint8_t last = 2, number; !reader.is_at_end(); last = number) {
        if (!reader.any_content(&number, &content, &bytes) || number > kCandles || number < last || (number == last && number < kCandles)) return false;
        if (number < kCandles) continue;
        if (before + candles == call.candles->capacity) return false;
        lsig_candle &candle = static_cast<lsig_candle *>(call.candles->room)[before + candles++];
        if (!read_candle(call, content, bytes, &candle) || candle.start_us + candle.interval_us > part->reached_us) return false;
    }
    if (candles > trades.rows * call.candles->interval_count) return false;
    part->candles = static_cast<std::int64_t>(candles);
    return true;
}

// Which of the groups has that name; where none has, it becomes the next one. Returns max_groups where there is no room.
std::size_t group_of(const tickcodec_joined &call, const std::uint8_t *name, std::size_t size, std::size_t groups) {
    // Each slot holds the group after.
    std::int64_t &held = tickcodec::slot_of(call.slots, call.slot_count, name, size, [&](std::int64_t other) {
        const tickcodec_joined_group &group = call.groups[other - 1];
        return static_cast<std::size_t>(group.names_size) == size && std::memcmp(call.messages + group.names_at, name, size) == 0;
    });
    if (held != 0) return static_cast<std::size_t>(held - 1);
    if (groups < call.max_groups) held = static_cast<std::int64_t>(groups + 1);
    return groups;
}

tickcodec_symbol *&symbol_of(const tickcodec_symbols &symbols, const std::uint8_t *names, std::size_t size) {
    return tickcodec::slot_of(symbols.slots, symbols.slot_count, names, size,
                   [&](const tickcodec_symbol *other) { return other->names_size == size && std::memcmp(other->names, names, size) == 0; });
}

}  // namespace

int tickcodec_put_symbol(tickcodec_symbols *symbols, tickcodec_symbol *symbol) {
    if (2 * (symbols->count + 1) > symbols->slot_count) return 1;
    tickcodec_symbol *&held = symbol_of(*symbols, symbol->names, symbol->names_size);
    if (held != nullptr) return 1;
    held = symbol;
    ++symbols->count;
    return 0;
}

int tickcodec_count_trades(const uint8_t *message, size_t size, size_t max_rows, size_t *batches, size_t *rows) {
    *batches = *rows = 0;
    Reader reader(message, size);
    while (!reader.is_at_end()) {
        const std::uint8_t *batch;
        std::size_t bytes;
        TradeBatch found;
        if (!reader.content(1, &batch, &bytes) || !find_columns(batch, bytes, max_rows, &found)) return 1;
        ++*batches;
        *rows += found.rows;
    }
    return *batches == 0;
}

int tickcodec_join_trades(tickcodec_joined *call) {
    if (call->struct_size != sizeof *call || call->slot_count <= call->max_groups) return 1;
    std::memset(call->slots, 0, call->slot_count * sizeof *call->slots);
    std::size_t groups = 0, batches = 0;
    Reader first(call->messages, call->size);
    while (!first.is_at_end()) {
        const std::uint8_t *batch;
        std::size_t bytes;
        TradeBatch found;
        if (batches == call->batches || !first.content(1, &batch, &bytes) || !find_columns(batch, bytes, call->max_rows, &found)) return 1;
        const std::size_t group = group_of(*call, batch, found.names_size, groups);
        if (group == call->max_groups) return 1;
        tickcodec_joined_group &one = call->groups[group];
        if (group == groups) {
            one = {batch - call->messages, static_cast<std::int64_t>(found.names_size), found.received_time_us, 0, 0};
            ++groups;
        }
        one.rows += static_cast<std::int64_t>(found.rows);
        call->group_of_batch[batches++] = static_cast<std::int64_t>(group);
    }
    std::size_t rows = 0;
    for (std::size_t i = 0; i < groups; ++i) {
        call->groups[i].first_row = static_cast<std::int64_t>(rows);
        rows += static_cast<std::size_t>(call->groups[i].rows);
        call->groups[i].rows = 0;
    }
    if (batches != call->batches || rows != call->rows) return 1;
    Reader second(call->messages, call->size);
    for (std::size_t i = 0; i < batches; ++i) {
        const std::uint8_t *batch;
        std::size_t bytes;
        TradeBatch found;
        if (!second.content(1, &batch, &bytes) || !find_columns(batch, bytes, call->max_rows, &found)) return 1;
        tickcodec_joined_group &one = call->groups[call->group_of_batch[i]];
        const auto row = static_cast<std::size_t>(one.first_row + one.rows);
        for (std::size_t column = 0; column < 4; ++column) std::memcpy(call->columns[column] + row, found.columns[column], 8 * found.rows);
        for (std::size_t n = 0; n < found.rows; ++n) {
            if (found.columns[4][n] > 1) return 1;  // a foreign writer may hold a true bool as any byte but zero
            call->makers[row + n] = found.columns[4][n];
        }
        one.rows += static_cast<std::int64_t>(found.rows);
    }
    call->group_count = groups;
    return 0;
}

int tickcodec_find_closing(tickcodec_closing *call, const uint8_t *message, size_t size) {
    call->part_count = 0;
    if (call->struct_size != sizeof *call || !can_be(*call->candles)) return 1;
    Reader reader(message, size);
    std::int64_t number = 0;
    std::size_t candles = 0;
    while (!reader.is_at_end()) {
        const std::uint8_t *batch;
        std::size_t bytes;
        if (!reader.content(1, &batch, &bytes)) return 1;
        ++number;
        if (closes_nothing(batch, bytes)) continue;
        if (call->part_count == call->max_parts) return 1;
        tickcodec_part &part = call->parts[call->part_count++];
        part = {number, batch - message, static_cast<std::int64_t>(bytes), 0, 0, 0, 0, 0};
        if (read_closed(*call, batch, bytes, candles, &part)) candles += static_cast<std::size_t>(part.candles);
    }
    return number == 0;
}

int tickcodec_split(const uint8_t *message, size_t size, tickcodec_carried *batches, size_t max_batches, size_t *count) {
    *count = 0;
    Reader reader(message, size);
    while (!reader.is_at_end()) {
        const std::uint8_t *batch, *name;
        std::size_t bytes, name_size;
        if (*count == max_batches || !reader.content(1, &batch, &bytes)) return 1;
        Reader names(batch, bytes);
        tickcodec_carried &one = batches[(*count)++];
        one = {};
        one.at = batch - message;
        one.size = static_cast<std::int64_t>(bytes);
        if (!names.content(1, &name, &name_size)) continue;
        one.venue_size = name + name_size - batch;
        if (names.content(2, &name, &name_size)) one.names_size = name + name_size - batch;
    }
    return *count == 0;
}

size_t tickcodec_process_batches(tickcodec_signals *call, const uint8_t *message, tickcodec_carried *batches, size_t count) {
    if (call->struct_size != sizeof *call || !can_be(*call->candles)) return 0;
    const std::size_t candles_size = call->candles->capacity * (kCandleBytes + kIndicatorBytes * call->candles->indicator_count);
    Writer writer(call->out);
    std::size_t together = 0, done = 0;
    while (done < count) {
        tickcodec_carried &one = batches[done];
        const std::uint8_t *const batch = message + one.at;
        const auto size = static_cast<std::size_t>(one.size);
        if (one.venue_size != batches[0].venue_size || std::memcmp(batch, message + batches[0].at, static_cast<std::size_t>(one.venue_size)) != 0) break;
        tickcodec_symbol *const symbol = symbol_of(*call->symbols, batch, static_cast<std::size_t>(one.names_size));
        Trades trades;
        if (symbol == nullptr || !read(*call, batch, size, &trades)) break;
        if (done > 0 && together + trades.rows > call->max_together) break;
        if (signals_size(*call, one_trade_size(trades), 1) > symbol->latest_room) break;
        const std::size_t bytes = signals_size(*call, size, trades.rows);
        if (bytes + kFrameBytes + candles_size > call->out_size - writer.written(call->out)) break;

        lsig_columns all{};
        all.struct_size = sizeof all;
        all.n = trades.rows;
        all.trade_id = trades.columns[0];
        all.price_e8 = trades.columns[1];
        all.quantity_e8 = trades.columns[2];
        all.time_us = trades.columns[3];
        all.is_buyer_maker = trades.makers;
        all.candles = static_cast<lsig_candle *>(call->candles->room);
        all.candle_capacity = call->candles->capacity;
        std::int64_t *const outputs = call->work + 4 * trades.rows;
        if (!bind_outputs(*call, outputs, trades.rows, &all) || call->process(symbol->state, &all) != LSIG_OK) break;

        // Candles are the last field, and how large they are stands before the first one.
        std::uint8_t *const closed_at = call->out + writer.written(call->out) + kFrameBytes + bytes;
        Writer closed(closed_at);
        for (std::size_t i = 0; i < all.candle_count; ++i) write_candle(&closed, *call->candles, all.candles[i]);
        const std::size_t closed_size = closed.written(closed_at);
        writer.head(kBatches, bytes + closed_size);
        one.out_at = static_cast<std::int64_t>(writer.written(call->out));
        writer.content(1, batch, size);
        writer.fixed64(2, static_cast<std::uint64_t>(call->raw_sequence));
        for (std::size_t i = 0; i < call->output_count; ++i) {
            writer.content(call->outputs[i].number, outputs + i * trades.rows, 8 * trades.rows);
        }
        writer.pull(closed_at, closed_size);
        one.out_size = static_cast<std::int64_t>(bytes + closed_size);
        one.rows = static_cast<std::int64_t>(trades.rows);
        one.first_id = trades.columns[0][0];
        one.last_id = trades.columns[0][trades.rows - 1];
        one.symbol = symbol->number;
        write_latest(*call, batch, trades, outputs, symbol);
        together += trades.rows;
        ++done;
    }
    call->written = writer.written(call->out);
    call->trades = together;
    return done;
}
