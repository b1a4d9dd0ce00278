// What signal sends -> the messages of /ws, each in its WebSocket frame. What is unusual is left to Python.
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "tickcodec.h"

namespace {

constexpr std::size_t kMaxNumber = 64;         // fields of a SignalBatch that can be members are below
constexpr std::int64_t kIds = 1LL << 54;       // ids of an epoch, as mesh/values/epochs.py has it
constexpr std::int64_t kTimesEnd = 253'402'300'800'000'000;  // the year 10000
constexpr std::size_t kDoubleBytes = 352;      // "-0." and the 323 zeros and 17 digits of the smallest ones
constexpr std::size_t kIntegerBytes = 24;
constexpr std::size_t kRowBytes = 256;         // what is in every row beside head and members
constexpr std::size_t kHeaderBytes = 10;       // of a WebSocket frame, at most

using Bytes = std::basic_string_view<std::uint8_t>;

// Reads protobuf, field by field.
class Fields {
   public:
    explicit Fields(Bytes all) : at_(all.data()), end_(all.data() + all.size()) {}

    std::uint64_t number = 0;
    bool has_content = false;
    Bytes content;  // of one that has a length

    // Go to the next field; false at the end, and where none can be read: then `failed`.
    bool next() {
        std::uint64_t tag = 0, size = 0;
        if (at_ == end_) return false;
        if (!varint(&tag) || tag >> 3 == 0) return fail();
        number = tag >> 3;
        has_content = (tag & 7) == 2;
        switch (tag & 7) {
            case 0: return varint(&size) || fail();
            case 1: size = 8; break;
            case 2:
                if (!varint(&size)) return fail();
                break;
            case 5: size = 4; break;
            default: return fail();
        }
        if (size > static_cast<std::size_t>(end_ - at_)) return fail();
        content = Bytes(at_, static_cast<std::size_t>(size));
        at_ += size;
        return true;
    }

    bool failed() const { return failed_; }

   private:
    bool fail() {
        failed_ = true;
        return false;
    }

    bool varint(std::uint64_t *found) {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 63 && at_ != end_; shift += 7) {
            const std::uint8_t byte = *at_++;
            value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80) {
                *found = value;
                return true;
            }
        }
        return false;
    }

    const std::uint8_t *at_, *end_;
    bool failed_ = false;
};

template <typename T>
T at(Bytes column, std::size_t row) {
    T value;
    std::memcpy(&value, column.data() + sizeof value * row, sizeof value);
    return value;
}

// A TradeBatch: the contents of its fields, by number.
struct Trades {
    Bytes of[9];
    Bytes venue() const { return of[1]; }
    Bytes symbol() const { return of[2]; }
    Bytes ids() const { return of[4]; }
    Bytes prices() const { return of[5]; }
    Bytes quantities() const { return of[6]; }
    Bytes times() const { return of[7]; }
    Bytes makers() const { return of[8]; }
    std::size_t rows() const { return makers().size(); }

    bool read(Bytes message) {
        Fields fields(message);
        unsigned seen = 0;
        while (fields.next()) {
            if (fields.number == 3 || fields.number > 8) continue;
            if (!fields.has_content || seen >> fields.number & 1) return false;
            seen |= 1u << fields.number;
            of[fields.number] = fields.content;
        }
        if (fields.failed() || rows() == 0) return false;
        for (const std::uint8_t maker : makers()) {
            if (maker > 1) return false;
        }
        for (const auto &column : {ids(), prices(), quantities(), times()}) {
            if (column.size() != 8 * rows()) return false;
        }
        return true;
    }
};

// A SignalBatch: its trades, and where its other columns are.
struct Batch {
    Trades trades;
    Bytes columns[kMaxNumber];
    std::uint64_t seen = 0, unusual = 0;  // by number; unusual are columns that are not packed, or in several pieces

    bool read(Bytes message) {
        Fields fields(message);
        while (fields.next()) {
            if (fields.number >= kMaxNumber) continue;
            const std::uint64_t bit = std::uint64_t{1} << fields.number;
            if (seen & bit || !fields.has_content) unusual |= bit;
            seen |= bit;
            columns[fields.number] = fields.content;
        }
        return !fields.failed() && seen & 2 && !(unusual & 2) && trades.read(columns[1]);
    }

    bool has(std::size_t number) const {
        return number < kMaxNumber && !(unusual >> number & 1) && columns[number].size() == 8 * trades.rows();
    }
};

char *put(char *out, std::string_view text) {
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}

template <typename T>
char *put_integer(char *out, T value) {
    return std::to_chars(out, out + kIntegerBytes, value).ptr;
}

// As many digits of a number as there are places.
char *put_digits(char *out, std::uint32_t value, int places) {
    for (int i = places; i-- > 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
    return out + places;
}

char *put_e8(char *out, std::int64_t value) {
    if (value < 0) *out++ = '-';
    const std::uint64_t size = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    out = put_integer(out, size / 100'000'000);
    if (const auto fraction = static_cast<std::uint32_t>(size % 100'000'000)) {
        *out++ = '.';
        out = put_digits(out, fraction, 8);
        while (out[-1] == '0') --out;
    }
    return out;
}

// The fewest digits that read back as the same double, without an exponent.
char *put_double(char *out, double value) {
    if (!std::isfinite(value)) return put(out, "null");
    if (std::signbit(value)) *out++ = '-';
    if (value == 0) return put(out, "0.0");
    char text[32];
    const char *const end = std::to_chars(text, text + sizeof text, std::fabs(value), std::chars_format::scientific).ptr;
    const char *exponent_at = end - 1;
    while (*exponent_at != 'e') --exponent_at;
    int exponent = 0;
    std::from_chars(exponent_at + (exponent_at[1] == '+' ? 2 : 1), end, exponent);
    char digits[24] = {text[0]};
    const std::size_t more = exponent_at - text > 2 ? static_cast<std::size_t>(exponent_at - text - 2) : 0;
    std::memcpy(digits + 1, text + 2, more);
    const int count = static_cast<int>(more) + 1, point = exponent + 1;  // digits before the point
    const auto zeros = [&out](int places) {
        std::memset(out, '0', static_cast<std::size_t>(places));
        out += places;
    };
    const auto some = [&out, &digits](int from, int to) {
        out = put(out, std::string_view(digits + from, static_cast<std::size_t>(to - from)));
    };
    if (point <= 0) {
        out = put(out, "0.");
        zeros(-point);
        some(0, count);
    } else if (point >= count) {
        some(0, count);
        zeros(point - count);
        out = put(out, ".0");
    } else {
        some(0, point);
        *out++ = '.';
        some(point, count);
    }
    return out;
}

// RFC 3339 with 0, 3 or 6 digits of a second, for times from 1970 to 9999.
char *put_time(char *out, std::int64_t time_us) {
    const auto micros = static_cast<std::uint32_t>(time_us % 1'000'000);
    const std::int64_t seconds = time_us / 1'000'000;
    const auto second = static_cast<std::uint32_t>(seconds % 86'400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": days since 1970 -> year, month, day. Years begin
    // in March, so that a leap day is the last one.
    const auto days = static_cast<std::uint32_t>(seconds / 86'400) + 719'468;
    const std::uint32_t era = days / 146'097, of_era = days % 146'097;
    const std::uint32_t year = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
    const std::uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const std::uint32_t month = (5 * of_year + 2) / 153, day = of_year - (153 * month + 2) / 5 + 1;
    out = put_digits(out, era * 400 + year + (month >= 10), 4);
    *out++ = '-';
    out = put_digits(out, month < 10 ? month + 3 : month - 9, 2);
    *out++ = '-';
    out = put_digits(out, day, 2);
    *out++ = 'T';
    out = put_digits(out, second / 3600, 2);
    *out++ = ':';
    out = put_digits(out, second / 60 % 60, 2);
    *out++ = ':';
    out = put_digits(out, second % 60, 2);
    if (micros != 0) {
        *out++ = '.';
        out = micros % 1000 == 0 ? put_digits(out, micros / 1000, 3) : put_digits(out, micros, 6);
    }
    *out++ = 'Z';
    return out;
}

// RFC 6455, 5.2: "%x1 denotes a text frame", FIN set, not masked, and 7, 16 or 64 bits of length.
std::size_t put_header(char *out, std::size_t length) {
    out[0] = '\x81';
    const std::size_t bytes = length <= 125 ? 0 : length <= 0xffff ? 2 : 8;
    out[1] = static_cast<char>(bytes == 0 ? length : bytes == 2 ? 126 : 127);
    for (std::size_t i = 0; i < bytes; ++i) out[2 + i] = static_cast<char>(length >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

char *put_row(char *out, const tickcodec_ticks &call, const Batch &batch, std::size_t row) {
    const Trades &trades = batch.trades;
    out = put(out, std::string_view(call.head, call.head_size));
    out = put_e8(out, at<std::int64_t>(trades.prices(), row));
    out = put(out, ",\"quantity\":");
    out = put_e8(out, at<std::int64_t>(trades.quantities(), row));
    const auto id = at<std::int64_t>(trades.ids(), row);
    out = put(out, ",\"trade_id\":");
    out = put_integer(out, id % kIds);
    if (id >= kIds || call.as_list != 0) {
        out = put(out, ",\"epoch\":");
        out = put_integer(out, id / kIds);
    }
    out = put(out, ",\"timestamp\":\"");
    out = put_time(out, at<std::int64_t>(trades.times(), row));
    out = put(out, trades.makers()[row] != 0 ? "\",\"side\":\"SELL\"" : "\",\"side\":\"BUY\"");
    for (std::size_t i = 0; i < call.member_count; ++i) {
        const tickcodec_member &member = call.members[i];
        out = put(out, std::string_view(member.key, member.key_size));
        const Bytes column = batch.columns[member.field];
        switch (member.kind) {
            case TICKCODEC_E8: out = put_e8(out, at<std::int64_t>(column, row)); break;
            case TICKCODEC_INTEGER: out = put_integer(out, at<std::int64_t>(column, row)); break;
            default: out = put_double(out, at<double>(column, row));
        }
    }
    return put(out, std::string_view(call.tail, call.tail_size));
}

bool found(const std::uint8_t *response, Bytes content, tickcodec_batch *result) {
    Batch batch;
    if (!batch.read(content)) return false;
    const Trades &trades = batch.trades;
    const auto place = [response](Bytes part) { return part.data() == nullptr ? 0 : part.data() - response; };
    *result = {
        place(content), static_cast<std::int64_t>(content.size()),
        place(trades.venue()), static_cast<std::int64_t>(trades.venue().size()),
        place(trades.symbol()), static_cast<std::int64_t>(trades.symbol().size()),
        static_cast<std::int64_t>(trades.rows()),
        at<std::int64_t>(trades.ids(), 0), at<std::int64_t>(trades.ids(), trades.rows() - 1),
        at<std::int64_t>(trades.times(), trades.rows() - 1),
    };
    return true;
}

}  // namespace

int tickcodec_find_batches(const std::uint8_t *response, std::size_t size, tickcodec_batch *batches, std::size_t max_batches, std::size_t *count) {
    *count = 0;
    Fields event(Bytes(response, size));
    if (!event.next() || !event.has_content || (event.number != 1 && event.number != 4)) return 1;
    const auto [number, content] = std::pair(event.number, event.content);
    if (event.next() || event.failed()) return 1;  // of a oneof that is given twice the last one is meant
    if (number == 1) {
        if (max_batches == 0 || !found(response, content, batches)) return 1;
        *count = 1;
        return 0;
    }
    Fields several(content);
    while (several.next()) {
        if (several.number != 1) continue;
        if (!several.has_content || *count == max_batches || !found(response, several.content, batches + *count)) return 1;
        ++*count;
    }
    return several.failed();
}

// Write rows of a batch behind what is written already; false when nothing is to be used.
static bool write_rows(tickcodec_ticks *call, const std::uint8_t *response, const tickcodec_batch &place, std::size_t first, std::size_t rows) {
    Batch batch;
    if (!batch.read(Bytes(response + place.at, static_cast<std::size_t>(place.size)))) return false;
    const Trades &trades = batch.trades;
    if (first > trades.rows() || rows > trades.rows() - first) return false;
    std::size_t most = kHeaderBytes + call->head_size + call->tail_size + kRowBytes;
    for (std::size_t i = 0; i < call->member_count; ++i) {
        const tickcodec_member &member = call->members[i];
        if (!batch.has(member.field)) return false;
        most += member.key_size + (member.kind == TICKCODEC_DOUBLE ? kDoubleBytes : kIntegerBytes);
    }
    char *const begin = reinterpret_cast<char *>(call->out), *const end = begin + call->out_size, *out = begin + call->written;
    for (std::size_t row = first; row < first + rows; ++row) {
        const auto time_us = at<std::int64_t>(trades.times(), row);
        if (static_cast<std::size_t>(end - out) < most || time_us < 0 || time_us >= kTimesEnd) return false;
        if (at<std::int64_t>(trades.ids(), row) < 0) return false;
        if (call->as_list != 0) {
            out = put_row(out, *call, batch, row);
            continue;
        }
        char *const text = out + kHeaderBytes;
        const auto length = static_cast<std::size_t>(put_row(text, *call, batch, row) - text);
        const std::size_t header = put_header(out, length);
        std::memmove(out + header, text, length);
        out += header + length;
    }
    call->written = static_cast<std::size_t>(out - begin);
    return true;
}

int tickcodec_write_ticks(tickcodec_ticks *call, const std::uint8_t *response, const tickcodec_batch *place, std::size_t first, std::size_t rows) {
    if (call->struct_size != sizeof *call) return 1;
    call->written = 0;
    return !write_rows(call, response, *place, first, rows);
}

int tickcodec_write_batches(tickcodec_ticks *call, const std::uint8_t *response, const tickcodec_batch *batches, const tickcodec_headed *headed, std::size_t count) {
    if (call->struct_size != sizeof *call) return 1;
    const char *const heads = call->head;
    call->written = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const tickcodec_batch &batch = batches[headed[i].batch];
        call->head_size = static_cast<std::size_t>(headed[i].head_size);
        const bool done = write_rows(call, response, batch, 0, static_cast<std::size_t>(batch.rows));
        call->head += headed[i].head_size;
        if (!done) {
            call->head = heads;
            return 1;
        }
    }
    call->head = heads;
    return 0;
}
