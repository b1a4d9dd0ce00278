// Binance's trades -> columns. Strict where Python is lenient: what is not read here, Python reads.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tickcodec.h"
#include "trade_message.hpp"

namespace {

using tickcodec::TradeColumns;

constexpr std::int64_t kMicrosecondsFrom = 100'000'000'000'000;  // times below are milliseconds
constexpr std::int64_t kTimesEnd = 10'000'000'000'000'000;
constexpr std::size_t kMaxDigits = 18;  // so many fit into 64 bits, whatever they are
constexpr std::size_t kMaxName = 32;
constexpr std::size_t kMaxGroups = 1024;
constexpr std::size_t kMaxVenue = 16;
constexpr std::size_t kRowBytes = 33, kHeadBytes = 2 + kMaxVenue + 2 + kMaxName + 9 + 6 * (1 + 5);  // of TradeBatches

struct Row {
    std::int64_t trade_id, price_e8, quantity_e8, time_us, group;
    bool is_buyer_maker;
};
static_assert(kRowBytes + kHeadBytes + sizeof(Row) <= TICKCODEC_FRAME_BYTES, "a frame may be a symbol's only one");
constexpr std::size_t kResultBytes = TICKCODEC_FRAME_BYTES - sizeof(Row);
static_assert(kResultBytes % alignof(Row) == 0, "rows stand behind the results");

struct Text {
    const char *begin, *end;
    std::size_t size() const { return static_cast<std::size_t>(end - begin); }
    bool is(const char *other) const { return size() == std::strlen(other) && std::memcmp(begin, other, size()) == 0; }
};

class Reader {
   public:
    Reader(const char *at, const char *end) : at_(at), end_(end) {}

    bool skip(const char *literal) {
        const std::size_t length = std::strlen(literal);
        if (static_cast<std::size_t>(end_ - at_) < length || std::memcmp(at_, literal, length) != 0) return false;
        at_ += length;
        return true;
    }

    bool at_end() const { return at_ == end_; }
    char peek() const { return at_ == end_ ? '\0' : *at_; }

    // A string without its quotes, behind the first of which we stand.
    bool string(Text *found) {
        found->begin = at_;
        while (at_ != end_ && *at_ != '"') {
            if (*at_ < 0x20 || *at_ > 0x7e || *at_ == '\\') return false;  // char may be signed: beyond ASCII too
            ++at_;
        }
        found->end = at_;
        return skip("\"");
    }

    bool integer(std::int64_t *found) {
        const char *const begin = at_;
        std::int64_t value = 0;
        while (at_ != end_ && *at_ >= '0' && *at_ <= '9') {
            if (static_cast<std::size_t>(at_ - begin) == kMaxDigits) return false;
            value = 10 * value + (*at_++ - '0');
        }
        *found = value;
        return at_ != begin && (*begin != '0' || at_ - begin == 1);
    }

   private:
    const char *at_, *end_;
};

// Up to ten digits, and up to eight decimals: "61837.63000000", "61837.63", "61837".
bool scaled(const Text &text, std::int64_t *found) {
    std::int64_t value = 0;
    const char *at = text.begin;
    for (; at != text.end && *at >= '0' && *at <= '9'; ++at) {
        if (at - text.begin == 10) return false;
        value = 10 * value + (*at - '0');
    }
    if (at == text.begin) return false;
    int decimals = 0;
    if (at != text.end) {
        if (*at++ != '.' || at == text.end) return false;
        for (; at != text.end; ++at, ++decimals) {
            if (*at < '0' || *at > '9' || decimals == 8) return false;
            value = 10 * value + (*at - '0');
        }
    }
    for (; decimals < 8; ++decimals) value *= 10;
    *found = value;
    return true;
}

bool is_name(const Text &text) {
    if (text.size() < 2 || text.size() > kMaxName) return false;
    for (const char *at = text.begin; at != text.end; ++at) {
        const char c = *at;
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) return false;
    }
    return true;
}

enum class Kind { kString, kInteger, kTrue, kFalse };

bool trade(Reader reader, std::int64_t max_id, Row *row, Text *name) {
    Text text{};
    if (!reader.skip("{\"stream\":\"") || !reader.string(&text) || !reader.skip(",\"data\":{")) return false;
    unsigned seen = 0;
    do {
        Text key{};
        if (!reader.skip("\"") || !reader.string(&key) || !reader.skip(":")) return false;
        Kind kind = Kind::kString;
        std::int64_t number = 0;
        if (reader.skip("\"")) {
            if (!reader.string(&text)) return false;
        } else if (reader.skip("true")) {
            kind = Kind::kTrue;
        } else if (reader.skip("false")) {
            kind = Kind::kFalse;
        } else if (reader.integer(&number)) {
            kind = Kind::kInteger;
        } else {
            return false;
        }
        if (key.size() != 1) continue;
        static constexpr char kFields[] = "estpqTm";
        const char *const field = std::strchr(kFields, *key.begin);
        if (field == nullptr) continue;
        const unsigned bit = 1u << (field - kFields);
        if (seen & bit) return false;
        seen |= bit;
        bool fits = false;
        switch (*field) {
            case 'e': fits = kind == Kind::kString && text.is("trade"); break;
            case 's': fits = kind == Kind::kString && is_name(text); *name = text; break;
            case 't': fits = kind == Kind::kInteger && number <= max_id; row->trade_id = number; break;
            case 'p': fits = kind == Kind::kString && scaled(text, &row->price_e8) && row->price_e8 > 0; break;
            case 'q': fits = kind == Kind::kString && scaled(text, &row->quantity_e8); break;
            case 'T':
                fits = kind == Kind::kInteger && number < kTimesEnd;
                row->time_us = number < kMicrosecondsFrom ? number * 1000 : number;
                break;
            default: fits = kind == Kind::kTrue || kind == Kind::kFalse; row->is_buyer_maker = kind == Kind::kTrue;
        }
        if (!fits) return false;
    } while (reader.skip(","));
    return seen == 0x7f && reader.skip("}}") && reader.at_end();
}

// The symbols of one call, in the order in which they come: a table of hashes.
class Groups {
   public:
    Groups(tickcodec_frames *call, const char *text) : call_(call), text_(text) {}

    // The number of a symbol's group; -1 when there is no room for one more.
    std::int64_t of(const Text &name) {
        if (call_->group_count != 0 && is(last_, name)) return last_;
        std::uint64_t hash = 1469598103934665603u;
        for (const char *at = name.begin; at != name.end; ++at) hash = (hash ^ static_cast<unsigned char>(*at)) * 1099511628211u;
        for (std::size_t slot = hash >> 53;; ++slot) {
            std::uint16_t &entry = slots_[slot % kSlots];
            if (entry == 0) {
                if (call_->group_count == call_->max_groups || call_->group_count == kMaxGroups) return -1;
                call_->groups[call_->group_count] = {name.begin - text_, static_cast<std::int64_t>(name.size()), 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
                entry = static_cast<std::uint16_t>(++call_->group_count);
                return last_ = entry - 1;
            }
            if (is(entry - 1, name)) return last_ = entry - 1;
        }
    }

   private:
    bool is(std::int64_t group, const Text &name) const {
        const tickcodec_group &one = call_->groups[group];
        return one.name_size == static_cast<std::int64_t>(name.size()) &&
               std::memcmp(text_ + one.name_at, name.begin, name.size()) == 0;
    }

    static constexpr std::size_t kSlots = 2 * kMaxGroups;
    tickcodec_frames *call_;
    const char *text_;
    std::int64_t last_ = 0;
    std::uint16_t slots_[kSlots] = {};  // a group's number and one
};

void put(const Row &row, tickcodec_group *group, TradeColumns *columns) {
    const bool is_first = columns->filled() == 0;
    columns->put(row.trade_id, row.price_e8, row.quantity_e8, row.time_us, row.is_buyer_maker);
    if (is_first) {
        group->first_id = row.trade_id;
        group->earliest_us = group->latest_us = row.time_us;
    } else if (row.trade_id != group->last_id + 1) {
        group->is_consecutive = 0;
    }
    group->last_id = row.trade_id;
    if (row.trade_id > group->highest_id) group->highest_id = row.trade_id;
    group->last_us = row.time_us;
    if (row.time_us < group->earliest_us) group->earliest_us = row.time_us;
    if (row.time_us > group->latest_us) group->latest_us = row.time_us;
}

}  // namespace

int tickcodec_read_frames(tickcodec_frames *call, const char *text, std::size_t size, std::size_t frames) {
    if (call->struct_size != sizeof *call || frames > call->max_frames || call->venue_size > kMaxVenue) return 1;
    call->group_count = call->other_count = 0;
    // Rows are read behind the place of the results, which are in another order.
    Row *const rows = reinterpret_cast<Row *>(call->out + kResultBytes * call->max_frames);
    std::size_t count = 0, lines = 0;
    Groups groups(call, text);
    const char *const end = text + size;
    for (const char *line = text, *stop = nullptr; stop != end; line = stop + 1) {
        if (lines == frames) return 1;
        stop = static_cast<const char *>(std::memchr(line, '\n', static_cast<std::size_t>(end - line)));
        if (stop == nullptr) stop = end;
        Text name{};
        Row &row = rows[count];
        if (trade(Reader(line, stop), call->max_id, &row, &name)) {
            if ((row.group = groups.of(name)) < 0) return 1;
            ++call->groups[row.group].rows;
            ++count;
        } else {
            call->others[call->other_count++] = static_cast<std::int64_t>(lines);
        }
        ++lines;
    }
    if (lines != frames) return 1;
    TradeColumns columns[kMaxGroups];
    std::int64_t at = 0;
    for (std::size_t i = 0; i < call->group_count; ++i) {
        tickcodec_group &group = call->groups[i];
        const auto name_size = static_cast<std::size_t>(group.name_size);
        char symbol[kMaxName];
        for (std::size_t j = 0; j < name_size; ++j) {
            const char c = text[static_cast<std::size_t>(group.name_at) + j];
            symbol[j] = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
        const tickcodec::TradeHead head{call->venue, call->venue_size, symbol, name_size, call->received_time_us};
        const auto message = tickcodec::begin_trades(call->out + at, head, static_cast<std::size_t>(group.rows));
        columns[i] = message.columns;
        group.at = at;
        group.name_at = message.symbol - call->out;
        at = message.end - call->out;
        group.size = at - group.at;
    }
    for (std::size_t i = 0; i < count; ++i) put(rows[i], &call->groups[rows[i].group], &columns[rows[i].group]);
    return 0;
}
