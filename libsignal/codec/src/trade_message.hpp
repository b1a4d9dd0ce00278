// A tickmesh.v1.TradeBatches with one batch: how it is written, and where in one its columns are.
#ifndef TICKCODEC_TRADE_MESSAGE_HPP
#define TICKCODEC_TRADE_MESSAGE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tickcodec {

inline std::size_t varint_size(std::size_t value) {
    std::size_t size = 1;
    while (value >>= 7) ++size;
    return size;
}

// How long a field of bytes is, with its head.
inline std::size_t field_size(std::size_t content) { return 1 + varint_size(content) + content; }

// Writes protobuf.
class Writer {
   public:
    explicit Writer(std::uint8_t *at) : at_(at) {}

    std::uint8_t *at() const { return at_; }

    // The head of a field of bytes, behind which they are to be put.
    std::uint8_t *field(std::uint8_t number, std::size_t size) {
        *at_++ = static_cast<std::uint8_t>(number << 3 | 2);
        for (std::size_t rest = size; ; rest >>= 7) {
            *at_++ = static_cast<std::uint8_t>(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
            if (rest < 0x80) break;
        }
        std::uint8_t *const content = at_;
        at_ += size;
        return content;
    }

    void fixed64(std::uint8_t number, std::int64_t value) {
        *at_++ = static_cast<std::uint8_t>(number << 3 | 1);
        std::memcpy(at_, &value, sizeof value);
        at_ += sizeof value;
    }

   private:
    std::uint8_t *at_;
};

// Where the columns of a batch are, to be filled row by row.
class TradeColumns {
   public:
    TradeColumns() = default;
    TradeColumns(Writer *writer, std::size_t rows) {
        for (std::size_t i = 0; i < 4; ++i) numbers_[i] = writer->field(static_cast<std::uint8_t>(4 + i), 8 * rows);
        makers_ = writer->field(8, rows);
    }

    std::size_t filled() const { return filled_; }

    void put(std::int64_t trade_id, std::int64_t price_e8, std::int64_t quantity_e8, std::int64_t time_us, bool is_buyer_maker) {
        const std::int64_t values[] = {trade_id, price_e8, quantity_e8, time_us};
        for (std::size_t i = 0; i < 4; ++i) std::memcpy(numbers_[i] + 8 * filled_, &values[i], 8);
        makers_[filled_++] = is_buyer_maker;
    }

   private:
    std::uint8_t *numbers_[4] = {};
    std::uint8_t *makers_ = nullptr;
    std::size_t filled_ = 0;
};

// What a batch says beside its columns.
struct TradeHead {
    const char *venue;
    std::size_t venue_size;
    const char *symbol;  // in lower case
    std::size_t symbol_size;
    std::int64_t received_time_us;

    // How long the batch is, without the head of the field that it is of TradeBatches.
    std::size_t batch_size(std::size_t rows) const {
        return (venue_size != 0 ? field_size(venue_size) : 0) + field_size(symbol_size) + (received_time_us != 0 ? 9 : 0) +
               4 * field_size(8 * rows) + field_size(rows);
    }
};

// A message but for the values of its columns.
struct BegunTrades {
    std::uint8_t *symbol, *end;
    TradeColumns columns;
};

inline BegunTrades begin_trades(std::uint8_t *at, const TradeHead &head, std::size_t rows) {
    Writer writer(Writer(at).field(1, head.batch_size(rows)));
    if (head.venue_size != 0) std::memcpy(writer.field(1, head.venue_size), head.venue, head.venue_size);
    std::uint8_t *const symbol = writer.field(2, head.symbol_size);
    std::memcpy(symbol, head.symbol, head.symbol_size);
    if (head.received_time_us != 0) writer.fixed64(3, head.received_time_us);
    const TradeColumns columns(&writer, rows);
    return {symbol, writer.at(), columns};
}

// The columns of a message that `begin_trades` has begun, found from its end.
class WrittenTrades {
   public:
    WrittenTrades(const std::uint8_t *end, std::size_t rows) : makers_(end - rows) {
        const std::size_t column = field_size(8 * rows);
        const std::uint8_t *const columns_end = end - field_size(rows);
        for (std::size_t i = 0; i < 4; ++i) numbers_[i] = columns_end - i * column - 8 * rows;
    }

    // How much before its end such a message's columns begin.
    static std::size_t size(std::size_t rows) { return 4 * field_size(8 * rows) + field_size(rows); }

    std::int64_t time_us(std::size_t row) const { return number(0, row); }
    std::int64_t quantity_e8(std::size_t row) const { return number(1, row); }
    std::int64_t price_e8(std::size_t row) const { return number(2, row); }
    std::int64_t trade_id(std::size_t row) const { return number(3, row); }
    bool is_buyer_maker(std::size_t row) const { return makers_[row] != 0; }

   private:
    std::int64_t number(std::size_t column, std::size_t row) const {
        std::int64_t value = 0;
        std::memcpy(&value, numbers_[column] + 8 * row, sizeof value);
        return value;
    }

    const std::uint8_t *numbers_[4], *makers_;
};

}  // namespace tickcodec

#endif
