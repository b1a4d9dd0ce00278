// Trades of the bus -> libsignal -> their signals for the bus, a SignalBatch. What is unusual is left to Python.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "libsignal.h"
#include "tickcodec.h"

namespace {

constexpr std::uint8_t kLengthDelimited = 2, kFixed64 = 1;

std::uint64_t tag(std::uint64_t number, std::uint8_t type) { return number << 3 | type; }

// Reads a TradeBatch that is written as the bus' writers do: each field once, in the order of the numbers.
class Reader {
   public:
    Reader(const std::uint8_t *at, std::size_t size) : at_(at), end_(at + size) {}

    bool is_at_end() const { return at_ == end_; }

    bool skip(const std::uint8_t *expected, std::size_t size) {
        if (size > left() || std::memcmp(at_, expected, size) != 0) return false;
        at_ += size;
        return true;
    }

    bool skip_fixed64(std::uint8_t number) {
        if (is_at_end() || *at_ != tag(number, kFixed64)) return true;
        constexpr std::uint8_t zero[8] = {};
        if (left() < 9 || std::memcmp(at_ + 1, zero, 8) == 0) return false;  // a zero is left out
        at_ += 9;
        return true;
    }

    bool content(std::uint8_t number, const std::uint8_t **found, std::size_t *size) {
        if (is_at_end() || *at_++ != tag(number, kLengthDelimited)) return false;
        return content(found, size);
    }

    // The next field of bytes, of any number up to 31.
    bool any_content(std::uint8_t *number) {
        if (is_at_end()) return false;
        std::uint8_t found = *at_++;
        if (found > 0x7f) {  // numbers from 16 on take two bytes
            if (is_at_end() || *at_++ != 1) return false;
        } else if (found > tag(15, kLengthDelimited)) {
            return false;
        }
        if ((found & 7) != kLengthDelimited) return false;
        *number = static_cast<std::uint8_t>((found & 0x7f) >> 3 | (found > 0x7f ? 16 : 0));
        const std::uint8_t *unused;
        std::size_t size;
        return content(&unused, &size);
    }

   private:
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
    void content(std::uint64_t number, const void *from, std::size_t size) {
        varint(tag(number, kLengthDelimited));
        varint(size);
        bytes(from, size);
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

constexpr std::uint8_t kCandles = 22;

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

}  // namespace

int tickcodec_find_closing(const uint8_t *message, size_t size, tickcodec_part *parts, size_t max_parts, size_t *count) {
    *count = 0;
    Reader reader(message, size);
    std::int64_t number = 0;
    while (!reader.is_at_end()) {
        const std::uint8_t *batch;
        std::size_t bytes;
        if (!reader.content(1, &batch, &bytes)) return 1;
        ++number;
        if (closes_nothing(batch, bytes)) continue;
        if (*count == max_parts) return 1;
        parts[(*count)++] = {number, batch - message, static_cast<std::int64_t>(bytes)};
    }
    return number == 0;
}

int tickcodec_process_batch(tickcodec_signals *call, void *state, const uint8_t *batch, size_t size) {
    if (call->struct_size != sizeof *call) return 1;
    Reader reader(batch, size);
    if (!reader.skip(call->names, call->names_size) || !reader.skip_fixed64(3)) return 1;
    std::int64_t *columns[4], *next = call->work;
    std::size_t rows = 0;
    for (std::uint8_t i = 0; i < 4; ++i) {
        const std::uint8_t *content;
        std::size_t bytes;
        if (!reader.content(static_cast<std::uint8_t>(4 + i), &content, &bytes)) return 1;
        if (i == 0) rows = bytes / 8;
        if (rows == 0 || rows > call->max_rows || bytes != 8 * rows) return 1;
        std::memcpy(next, content, bytes);
        columns[i] = next;
        next += rows;
    }
    const std::uint8_t *makers;
    std::size_t maker_count;
    if (!reader.content(8, &makers, &maker_count) || maker_count != rows || !reader.is_at_end()) return 1;
    if (!none_above(columns[0], rows, call->max_id) || !none_above(columns[3], rows, call->max_time_us)) return 1;

    lsig_columns all{};
    all.struct_size = sizeof all;
    all.n = rows;
    all.trade_id = columns[0];
    all.price_e8 = columns[1];
    all.quantity_e8 = columns[2];
    all.time_us = columns[3];
    all.is_buyer_maker = makers;
    all.candles = static_cast<lsig_candle *>(call->candles);
    all.candle_capacity = call->candle_capacity;
    for (std::size_t i = 0; i < call->output_count; ++i) {
        std::int64_t *const output = next + i * rows;
        if (call->outputs[i].offset > sizeof all - sizeof output) return 1;
        std::memcpy(reinterpret_cast<char *>(&all) + call->outputs[i].offset, &output, sizeof output);
    }
    if (call->process(state, &all) != LSIG_OK) return 1;

    Writer writer(call->out);
    writer.content(1, batch, size);
    if (call->raw_sequence != 0) {
        writer.varint(tag(2, kFixed64));
        writer.bytes(&call->raw_sequence, sizeof call->raw_sequence);
    }
    for (std::size_t i = 0; i < call->output_count; ++i) writer.content(call->outputs[i].number, next + i * rows, 8 * rows);
    call->written = writer.written(call->out);
    call->rows = static_cast<std::int64_t>(rows);
    call->first_id = columns[0][0];
    call->last_id = columns[0][rows - 1];
    call->candle_count = all.candle_count;
    return 0;
}
