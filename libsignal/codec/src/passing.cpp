// Trades of a venue that go on at the next id of their symbol, and which went on last.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "slots.hpp"
#include "tickcodec.h"
#include "trade_message.hpp"

namespace {

tickcodec_passed *&slot_of(tickcodec_passed **slots, std::size_t slot_count, const std::uint8_t *symbol, std::size_t size) {
    return tickcodec::slot_of(slots, slot_count, symbol, size, [&](const tickcodec_passed *other) {
        return static_cast<std::size_t>(other->symbol_size) == size && std::memcmp(other->symbol, symbol, size) == 0;
    });
}

// Keep trades that went on among a symbol's last ones.
void keep(const tickcodec::WrittenTrades &trades, std::size_t rows, std::int64_t received_time_us, tickcodec_passed *symbol) {
    const auto size = static_cast<std::size_t>(symbol->recent_size);
    const std::size_t skipped = rows > size ? rows - size : 0;
    auto at = (static_cast<std::size_t>(symbol->recent_count) + skipped) % size;
    for (std::size_t row = skipped; row < rows; ++row) {
        const std::int64_t values[TICKCODEC_RECENT_NUMBERS] = {
            trades.trade_id(row), trades.time_us(row),        trades.price_e8(row),
            trades.quantity_e8(row), trades.is_buyer_maker(row), received_time_us,
        };
        std::memcpy(symbol->recent + TICKCODEC_RECENT_NUMBERS * at, values, sizeof values);
        at = at + 1 == size ? 0 : at + 1;
    }
    symbol->recent_count += static_cast<std::int64_t>(rows);
}

bool goes_on(const tickcodec_passing &call, const tickcodec_group &group, const tickcodec_passed &symbol) {
    return symbol.passes != 0 && group.is_consecutive != 0 && group.first_id == symbol.last_id + 1 &&
           group.rows <= call.max_rows && group.earliest_us >= call.earliest_us && group.latest_us <= call.latest_us;
}

bool is_within(const tickcodec_group &group, std::size_t size) {
    const auto at = static_cast<std::uint64_t>(group.at), length = static_cast<std::uint64_t>(group.size);
    const auto name_at = static_cast<std::uint64_t>(group.name_at), name_size = static_cast<std::uint64_t>(group.name_size);
    const auto rows = static_cast<std::uint64_t>(group.rows);
    return at <= size && length <= size - at && name_at <= size && name_size <= size - name_at && rows != 0 &&
           rows <= length / 33 && tickcodec::WrittenTrades::size(rows) <= length;
}

}  // namespace

int tickcodec_put_passed(tickcodec_passed **slots, std::size_t slot_count, tickcodec_passed *symbol) {
    const auto size = static_cast<std::size_t>(symbol->symbol_size);
    if (slot_count == 0 || (slot_count & (slot_count - 1)) != 0 || size > sizeof symbol->symbol) return 1;
    const auto free = static_cast<std::size_t>(std::count(slots, slots + slot_count, nullptr));
    if (2 * free < slot_count + 2) return 1;
    tickcodec_passed *&held = slot_of(slots, slot_count, reinterpret_cast<const std::uint8_t *>(symbol->symbol), size);
    if (held != nullptr) return 1;
    held = symbol;
    return 0;
}

std::size_t tickcodec_pass(tickcodec_passing *call, const std::uint8_t *batches, std::size_t size,
                           const tickcodec_group *groups, std::size_t count) {
    if (call->struct_size != sizeof *call || call->slot_count == 0) return 0;
    call->rows = call->newest_us = 0;
    call->oldest_us = std::numeric_limits<std::int64_t>::max();
    std::size_t passed = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const tickcodec_group &group = groups[i];
        call->partitions[i] = -1;
        if (!is_within(group, size)) continue;
        tickcodec_passed *const symbol =
            slot_of(call->slots, call->slot_count, batches + group.name_at, static_cast<std::size_t>(group.name_size));
        if (symbol == nullptr || !goes_on(*call, group, *symbol)) continue;
        const auto rows = static_cast<std::size_t>(group.rows);
        keep(tickcodec::WrittenTrades(batches + group.at + group.size, rows), rows, call->received_time_us, symbol);
        symbol->last_id = group.last_id;
        symbol->last_us = call->newest_us = group.last_us;
        symbol->trades += group.rows;
        ++symbol->batches;
        symbol->turn = call->turn;
        symbol->came_s = call->now_s;
        call->partitions[i] = symbol->partition;
        call->rows += group.rows;
        call->oldest_us = std::min(call->oldest_us, group.last_us);
        ++passed;
    }
    return passed;
}

std::size_t tickcodec_write_recent(const tickcodec_passed *const *symbols, std::size_t count, std::size_t each, const char *venue,
                                   std::size_t venue_size, std::uint8_t *out, std::size_t out_size, std::size_t *written) {
    std::uint8_t *at = out;
    std::size_t done = 0;
    for (; done < count; ++done) {
        const tickcodec_passed &symbol = *symbols[done];
        const auto size = static_cast<std::size_t>(symbol.recent_size), kept = static_cast<std::size_t>(symbol.recent_count);
        const std::size_t rows = std::min({each, kept, size});
        if (rows == 0) continue;
        const auto row = [&](std::size_t back) {
            return symbol.recent + TICKCODEC_RECENT_NUMBERS * static_cast<std::ptrdiff_t>((kept - back) % size);
        };
        const tickcodec::TradeHead head{venue, venue_size, symbol.symbol, static_cast<std::size_t>(symbol.symbol_size), row(1)[5]};
        if (tickcodec::field_size(head.batch_size(rows)) > out_size - static_cast<std::size_t>(at - out)) break;
        tickcodec::BegunTrades message = tickcodec::begin_trades(at, head, rows);
        for (std::size_t back = rows; back > 0; --back) {
            const std::int64_t *const values = row(back);
            message.columns.put(symbol.first_key + values[0], values[2], values[3], values[1], values[4] != 0);
        }
        at = message.end;
    }
    *written = static_cast<std::size_t>(at - out);
    return done;
}
