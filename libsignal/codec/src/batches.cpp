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

   private:
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

}  // namespace

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
