// Batches go through libsignal; whatever bytes come, nothing is read beyond them and nothing is written beyond its room.
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "libsignal.h"
#include "tickcodec.h"

namespace {

constexpr std::size_t kMaxRows = 4, kOutputs = 2, kMaxBytes = 1024, kMaxBatches = 4, kLatestBytes = 200;
const std::string kNames = std::string("\x0a\x03sim\x12\x07", 7) + "btcusdt";

std::string column(int number, const std::string &content) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(content.size()) + content;
}

std::string numbers(std::int64_t first, std::int64_t second) {
    std::string text(16, '\0');
    std::memcpy(&text[0], &first, 8);
    std::memcpy(&text[8], &second, 8);
    return text;
}

std::string batch(std::int64_t id, const std::string &received = std::string("\x19") + numbers(7, 0).substr(0, 8), std::int64_t time_us = 50) {
    return kNames + received + column(4, numbers(id, id + 1)) + column(5, numbers(300, 100)) + column(6, numbers(1, 0)) +
           column(7, numbers(time_us, time_us)) + column(8, {"\0\1", 2});
}

std::string framed(const std::string &batch) {
    std::string size;
    std::size_t rest = batch.size();
    for (; rest > 127; rest >>= 7) size += static_cast<char>(rest | 0x80);
    return "\x0a" + size + static_cast<char>(rest) + batch;
}

int process(void *state, void *columns) { return lsig_process(static_cast<lsig_state *>(state), static_cast<lsig_columns *>(columns)); }

struct Call {
    // In rooms of their own, so that the sanitizer sees a step beyond.
    std::unique_ptr<std::int64_t[]> work{new std::int64_t[(4 + kOutputs) * kMaxRows]};
    std::unique_ptr<std::uint8_t[]> out{new std::uint8_t[kMaxBytes]};
    std::unique_ptr<tickcodec_carried[]> batches{new tickcodec_carried[kMaxBatches]};
    std::size_t count = 0;
    std::unique_ptr<lsig_candle[]> candles{new lsig_candle[1]};
    tickcodec_interval intervals[1] = {{1'000'000, "1s", 2}};
    tickcodec_output indicators[1] = {{23, offsetof(lsig_candle, macd_fast)}};
    tickcodec_candles all = {intervals, 1, indicators, 1, candles.get(), 1};
    tickcodec_output outputs[kOutputs] = {{4, offsetof(lsig_columns, session_high_e8)}, {21, offsetof(lsig_columns, session_open_e8)}};
    tickcodec_signals signals{};
    lsig_state *state = nullptr;
    std::unique_ptr<std::uint8_t[]> latest{new std::uint8_t[kLatestBytes]};
    tickcodec_symbol *slots[4] = {};
    tickcodec_symbols symbols = {slots, 4, 0};
    tickcodec_symbol symbol{};

    Call() {
        CHECK(lsig_state_new(nullptr, &state) == LSIG_OK);
        symbol = {reinterpret_cast<const std::uint8_t *>(kNames.data()), kNames.size(), 5, state, latest.get(), kLatestBytes, 0, 0, 0};
        CHECK(tickcodec_put_symbol(&symbols, &symbol) == 0);
        signals.symbols = &symbols;
        signals.struct_size = sizeof signals;
        signals.process = process;
        signals.outputs = outputs;
        signals.output_count = kOutputs;
        signals.candles = &all;
        signals.max_rows = kMaxRows;
        signals.max_together = 5;
        signals.work = work.get();
        signals.out = out.get();
        signals.out_size = kMaxBytes;
        signals.max_id = 1000;
        signals.max_time_us = 1'000'000'000'000;
        signals.raw_sequence = 9;
    }
    ~Call() { lsig_state_free(state); }

    // How many batches of a message are taken in; -1 where it cannot be split.
    int take_message(const std::string &text) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[text.size()]);
        std::memcpy(exact.get(), text.data(), text.size());
        if (tickcodec_split(exact.get(), text.size(), batches.get(), kMaxBatches, &count) != 0) return -1;
        return static_cast<int>(tickcodec_process_batches(&signals, exact.get(), batches.get(), count));
    }
    // 0 where a batch is taken in, as the only one of its message.
    int take(const std::string &text) { return take_message(framed(text)) == 1 ? 0 : 1; }
    std::string all_text() const { return {reinterpret_cast<const char *>(out.get()), signals.written}; }
    std::string latest_text() const { return {reinterpret_cast<const char *>(latest.get()), symbol.latest_size}; }
    std::string text(std::size_t i = 0) const {
        return {reinterpret_cast<const char *>(out.get()) + batches[i].out_at, static_cast<std::size_t>(batches[i].out_size)};
    }
    std::int64_t trades() const {
        lsig_summary summary{};
        summary.struct_size = sizeof summary;
        CHECK(lsig_summarize(state, &summary) == LSIG_OK);
        return summary.count;
    }
};

// What `call.candles[0]` becomes: a candle of one second from 1970 on, of two trades.
std::string closed_candle(const Call &call) {
    const std::string fixed = std::string("\xb9\x01", 2) + numbers(0, 0).substr(0, 8);
    std::string content = std::string("\x0a\x00\x10\xac\x02\x18\xac\x02\x20\x64\x28\x64", 12) + "\x32\x0a" "0.00000001:\x10" "0.00000000000003B\x0a" "0.00000001H\x02P\x07X\x08" "b\x02" "1s" + fixed;
    std::memcpy(&content[content.size() - 8], &call.candles[0].macd_fast, 8);
    return std::string("\xb2\x01", 2) + static_cast<char>(content.size()) + content;
}

void writes_the_trades_and_their_signals() {
    Call call;
    const std::string trades = batch(7);
    CHECK(call.take(trades) == 0);
    CHECK(call.text() == column(1, trades) + std::string("\x11") + numbers(9, 0).substr(0, 8) + column(4, numbers(300, 300)) +
                             std::string("\xaa\x01\x10", 3) + numbers(300, 300));
    CHECK(call.batches[0].rows == 2 && call.batches[0].first_id == 7 && call.batches[0].last_id == 8);
    call.signals.raw_sequence = 0;
    const std::string later = batch(9, "", 1'000'050);
    CHECK(call.take(later) == 0 && call.candles[0].count == 2);
    const std::string fields = column(1, later) + column(4, numbers(300, 300)) + std::string("\xaa\x01\x10", 3) + numbers(300, 300);
    CHECK(call.text().substr(0, fields.size()) == fields);
    CHECK(call.text().substr(fields.size()) == closed_candle(call));
}

void writes_sums_as_decimals() {
    Call call;
    CHECK(call.take(batch(7)) == 0);
    constexpr std::uint64_t kAll = ~std::uint64_t{0};
    const lsig_candle widest = {1'000'000, 1'000'000, -1, -1, -1, -1, -1, -1, -1, 0, {kAll, kAll}, {100'000'000, 0}, {kAll, kAll, kAll}, 0, 0, 0, 0, 0, 0, 0, 0, 0, -0.0, 0};
    static lsig_candle closes;
    closes = widest;
    call.signals.process = [](void *, void *columns) {
        auto *all = static_cast<lsig_columns *>(columns);
        all->candles[0] = closes;
        all->candle_count = 1;
        return static_cast<int>(LSIG_OK);
    };
    CHECK(call.take(batch(9)) == 0);
    CHECK(call.text().find("\x32\x28" "3402823669209384634633746074317.68211455:\x3b" "627710173538668076383578942320766641610235.5444464034512895B\x01" "1H") != std::string::npos);
    CHECK(call.text().substr(call.text().size() - 10) == std::string("\xb9\x01", 2) + std::string(7, '\0') + "\x80");
    closes.volume_e8[0] = closes.volume_e8[1] = 0;
    closes.taker_buy_volume_e8[0] = 1;
    closes.interval_us = 7;  // an interval without a name
    CHECK(call.take(batch(9)) == 0);
    CHECK(call.text().find(std::string("\x32\x01" "0:", 4)) != std::string::npos && call.text().find("B\x0a" "0.00000001H") != std::string::npos);
    CHECK(call.text().find("1s") == std::string::npos);
}

void leaves_what_is_unusual() {
    Call call;
    CHECK(call.take(batch(7)) == 0);
    const std::string usual = batch(9);
    for (const std::string &text : {std::string(), kNames, batch(7), batch(1000), batch(9, "", 1'000'000'000'001), usual + "\x01", usual + column(8, {"\0\1", 2}),
                                    usual.substr(0, usual.size() - 1), usual.substr(5), batch(9, std::string("\x19") + std::string(8, '\0')),
                                    batch(9, "\x19\x01"), batch(9, "", 3'600'000'000)}) {  // the last one closes too many candles
        CHECK(call.take(text) == 1);
    }
    std::string wide = usual;
    wide.replace(kNames.size() + 10, 1, "\x90", 1).insert(kNames.size() + 11, 1, '\0');
    CHECK(call.take(wide) == 1);
    call.signals.max_rows = 1;
    CHECK(call.take(usual) == 1);
    call.signals.max_rows = kMaxRows;
    call.outputs[1].offset = sizeof(lsig_columns) - 4;
    CHECK(call.take(usual) == 1);
    call.outputs[1].offset = offsetof(lsig_columns, session_open_e8);
    call.indicators[0].offset = sizeof(lsig_candle) - 4;
    CHECK(call.take(usual) == 1);
    call.indicators[0].offset = 0;
    call.all.indicator_count = 33;
    CHECK(call.take(usual) == 1);
    call.all.indicator_count = 1;
    call.intervals[0].name_size = 17;
    CHECK(call.take(usual) == 1);
    call.intervals[0].name_size = 2;
    call.signals.struct_size = 1;
    CHECK(call.take(usual) == 1);
    call.signals.struct_size = sizeof call.signals;
    CHECK(call.trades() == 2 && call.take(usual) == 0 && call.trades() == 4);
}

void takes_in_the_batches_of_a_message_together() {
    Call call;
    const std::string first = batch(7), second = batch(9), third = batch(11);
    CHECK(call.take_message(framed(first) + framed(second) + framed(third)) == 2);  // the third one would be too many trades
    CHECK(call.count == 3 && call.batches[0].names_size == static_cast<std::int64_t>(kNames.size()));
    CHECK(call.text(1).substr(2, second.size()) == second);
    CHECK(framed(call.text(0)) + framed(call.text(1)) == call.all_text() && call.signals.trades == 4);
    CHECK(call.take_message(framed(third) + framed(batch(7)) + framed(batch(13))) == 1);  // the second one is a repeat
    const std::string late = batch(13, "", 1'000'050), later = batch(15, "", 1'000'050);
    CHECK(call.take_message(framed(late) + framed(later)) == 2);
    CHECK(call.text(0).substr(2, late.size()) == late && call.text(0).find("\xb2\x01") != std::string::npos);
    CHECK(call.text(1).substr(2, later.size()) == later && call.text(1).find("\xb2\x01") == std::string::npos);
    CHECK(framed(call.text(0)) + framed(call.text(1)) == call.all_text() && call.signals.trades == 4);
    CHECK(call.take_message(framed(batch(17, "", 2'000'050)) + framed(batch(19, "", 3'000'050))) == 2);  // each has room for its own candle
    call.signals.max_together = 1;
    CHECK(call.take_message(framed(batch(21, "", 3'000'050)) + framed(batch(23, "", 3'000'050))) == 1);
    call.signals.out_size = static_cast<std::size_t>(call.batches[0].out_size) + 10 + 300;
    CHECK(call.take(batch(23, "", 3'000'050)) == 1);
    call.signals.out_size = kMaxBytes;
    CHECK(call.take(batch(23, "", 3'000'050)) == 0 && call.trades() == 18);
}

void splits_only_what_is_one_batch_after_the_other() {
    Call call;
    const std::string usual = framed(batch(7));
    for (const std::string &text : {std::string(), usual + "\x0a", usual + "\x12\x01", usual + usual + usual + usual + usual}) {
        CHECK(call.take_message(text) == -1);
    }
    CHECK(call.take_message(framed("\x12\x01")) == 0 && call.count == 1 && call.batches[0].names_size == 0);
    CHECK(call.take_message(framed(batch(7).substr(0, 6))) == 0 && call.batches[0].names_size == 0 && call.batches[0].venue_size == 5);
}

void each_batch_finds_the_state_of_its_symbol() {
    Call call;
    lsig_state *states[2] = {};
    tickcodec_symbol others[2];
    const std::string ether = std::string("\x0a\x03sim\x12\x07", 7) + "ethusdt", elsewhere = std::string("\x0a\x01z\x12\x07", 5) + "btcusdt";
    const std::unique_ptr<std::uint8_t[]> rooms[2] = {std::make_unique<std::uint8_t[]>(kLatestBytes), std::make_unique<std::uint8_t[]>(kLatestBytes)};
    for (int i = 0; i < 2; ++i) {
        CHECK(lsig_state_new(nullptr, &states[i]) == LSIG_OK);
        const std::string &its = i == 0 ? ether : elsewhere;
        others[i] = {reinterpret_cast<const std::uint8_t *>(its.data()), its.size(), 6 + i, states[i], rooms[i].get(), kLatestBytes, 0, 0, 0};
    }
    const auto of = [&](const std::string &its, std::int64_t id) { return framed(its + batch(id).substr(kNames.size())); };
    CHECK(call.take_message(of(kNames, 7) + of(ether, 3)) == 1);  // the second one is not there
    CHECK(tickcodec_put_symbol(&call.symbols, &others[0]) == 0 && call.symbols.count == 2);
    CHECK(tickcodec_put_symbol(&call.symbols, &others[1]) == 1 && call.symbols.count == 2);  // one slot in two stays free
    tickcodec_symbol *more[8] = {};
    call.symbols = {more, 8, 0};
    for (tickcodec_symbol *each : {&call.symbol, &others[0], &others[1]}) CHECK(tickcodec_put_symbol(&call.symbols, each) == 0);
    CHECK(tickcodec_put_symbol(&call.symbols, &others[0]) == 1);  // is there already
    CHECK(call.take_message(of(ether, 3) + of(kNames, 9)) == 2 && call.batches[0].symbol == 6 && call.batches[1].symbol == 5);
    CHECK(others[0].last_id == 4 && call.symbol.last_id == 10 && call.trades() == 4);
    CHECK(call.take_message(of(ether, 5) + of(elsewhere, 1) + of(kNames, 11)) == 1);  // the second one is of another venue
    CHECK(call.take_message(of(elsewhere, 1) + of(kNames, 11)) == 1 && others[1].last_id == 2 && call.batches[0].symbol == 7);
    for (lsig_state *each : states) lsig_state_free(each);
}

// The second trade of the seventh batch with its signals.
const std::string kLast = column(1, kNames + std::string("\x19") + numbers(7, 0).substr(0, 8) + column(4, numbers(8, 0).substr(0, 8)) +
                                        column(5, numbers(100, 0).substr(0, 8)) + column(6, std::string(8, '\0')) + column(7, numbers(50, 0).substr(0, 8)) +
                                        column(8, "\1")) + "\x11" + numbers(9, 0).substr(0, 8) + column(4, numbers(300, 0).substr(0, 8)) +
                          std::string("\xaa\x01\x08", 3) + numbers(300, 0).substr(0, 8);

void keeps_the_last_trade_of_each_symbol() {
    Call call;
    CHECK(call.symbol.latest_size == 0 && call.take(batch(7)) == 0);
    CHECK(call.latest_text() == kLast && call.symbol.last_id == 8 && call.symbol.raw_sequence == 9);
    call.symbol.latest_room = kLast.size() - 1;
    CHECK(call.take(batch(9)) == 1 && call.latest_text() == kLast && call.trades() == 2);
    call.symbol.latest_room = kLast.size() - 18;  // as much as without the time and the sequence, and no candle is kept
    call.signals.raw_sequence = 0;
    CHECK(call.take(batch(9, "", 1'000'050)) == 0 && call.latest_text().size() == kLast.size() - 18 && call.symbol.last_id == 10);
}

void stands_any_bytes() {
    std::mt19937 random(1);
    Call call;
    std::int64_t rows = 0;
    for (int i = 0; i < 200'000; ++i) {
        std::string text = batch(static_cast<std::int64_t>(random() % 900));
        for (std::size_t changes = random() % 4; changes-- > 0;) {
            const std::size_t at = random() % text.size();
            switch (random() % 3) {
                case 0: text[at] = static_cast<char>(random()); break;
                case 1: text.erase(at, random() % 3); break;
                default: text.insert(at, 1, static_cast<char>(random() % 64));
            }
        }
        if (call.take(text) == 0) {
            rows += call.batches[0].rows;
            CHECK(call.symbol.last_id == call.batches[0].last_id && call.symbol.latest_size < kLatestBytes);
            CHECK(call.text().substr(2, text.size()) == text || text.size() > 127);
        }
    }
    CHECK(rows > 0 && call.trades() == rows);
}

const std::string kQuiet = column(1, batch(7)) + "\x11" + numbers(9, 0).substr(0, 8) + column(4, numbers(300, 300)) +
                           std::string("\xaa\x01\x10", 3) + numbers(300, 300);
// A closed second of two trades, as signal writes it.
std::string closed(const std::string &time, const std::string &decimal = "1.5", char low = 100, const std::string &end = "") {
    const std::string content = column(1, time) + std::string("\x10\x64\x18\x64\x20", 5) + low + "\x28\x64" + column(6, decimal) + column(7, "123456789012345678901234567890.0000000000000001") +
                                column(8, "0") + "\x48\x02\x50\x05\x58\x06" + column(12, "1s") + std::string("\xb9\x01", 2) + std::string(6, '\0') + "\xf8\x7f" + end;
    return std::string("\xb2\x01", 2) + static_cast<char>(content.size()) + content;
}

const std::string kTrades = column(1, batch(7, "", 2'000'000));
const std::string kClosing = kTrades + "\x11" + numbers(9, 0).substr(0, 8) + closed("\x08\x01") + closed("");

struct Closing {
    std::unique_ptr<tickcodec_part[]> parts{new tickcodec_part[2]};
    std::unique_ptr<lsig_candle[]> candles{new lsig_candle[2]};
    tickcodec_interval intervals[1] = {{1'000'000, "1s", 2}};
    tickcodec_output indicators[1] = {{23, offsetof(lsig_candle, macd_fast)}};
    tickcodec_candles all = {intervals, 1, indicators, 1, candles.get(), 2};
    tickcodec_closing call = {sizeof call, &all, kMaxRows, 1000, 1'000'000'000'000, 1000, parts.get(), 2, 0};

    int find(const std::string &text) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[text.size()]);
        std::memcpy(exact.get(), text.data(), text.size());
        return tickcodec_find_closing(&call, exact.get(), text.size());
    }
    // Whether the candles of a batch alone are read.
    bool reads(const std::string &text) {
        CHECK(find(framed(text)) == 0 && call.part_count == 1 && parts[0].number == 1);
        return parts[0].candles > 0;
    }
};

void finds_what_closes_candles() {
    Closing closing;
    const std::string message = framed(kQuiet) + framed(kClosing) + framed(kQuiet);
    CHECK(closing.find(message) == 0 && closing.call.part_count == 1);
    const tickcodec_part &part = closing.parts[0];
    CHECK(part.number == 2 && message.substr(static_cast<std::size_t>(part.at), kClosing.size()) == kClosing);
    CHECK(part.size == static_cast<std::int64_t>(kClosing.size()) && part.candles == 2 && part.raw_sequence == 9 && part.reached_us == 2'000'000);
    CHECK(message.substr(static_cast<std::size_t>(part.names_at), static_cast<std::size_t>(part.names_size)) == kNames);
    CHECK(closing.find(framed(kQuiet)) == 0 && closing.call.part_count == 0);
    CHECK(closing.find("") == 1 && closing.find(framed(kQuiet) + "\x12") == 1);
    closing.call.max_parts = 0;
    CHECK(closing.find(framed(kClosing)) == 1);
    closing.call.max_parts = 2;
    closing.call.struct_size = 1;
    CHECK(closing.find(framed(kQuiet)) == 1);
    closing.call.struct_size = sizeof closing.call;
    closing.all.indicator_count = 33;
    CHECK(closing.find(framed(kQuiet)) == 1);
}

void reads_candles_as_libsignal_has_them() {
    Closing closing;
    CHECK(closing.reads(kClosing));
    const lsig_candle &first = closing.candles[0];
    CHECK(first.interval_us == 1'000'000 && first.start_us == 1'000'000 && closing.candles[1].start_us == 0);
    CHECK(first.open_e8 == 100 && first.high_e8 == 100 && first.low_e8 == 100 && first.close_e8 == 100 && first.count == 2);
    CHECK(first.first_trade_id == 5 && first.last_trade_id == 6 && first.volume_e8[0] == 150'000'000 && first.volume_e8[1] == 0);
    CHECK(first.taker_buy_volume_e8[0] == 0 && first.macd_fast != first.macd_fast && first.rsi == 0);
    // 1234567890123456789012345678900000000000000001
    CHECK(first.quote_volume_e16[0] == 6'453'229'165'340'655'617u && first.quote_volume_e16[1] == 17'549'619'603'664'316'861u && first.quote_volume_e16[2] == 3'628'068u);
    CHECK(closing.reads(kTrades + closed("\x08\x01", "340282366920938463463374607431.76821145")) && first.volume_e8[1] == 1'844'674'407'370'955'161u);
}

// A number as it stands in a row of a binary COPY.
std::string big_endian(std::uint64_t value, std::size_t size) {
    std::string bytes;
    while (size-- > 0) bytes += static_cast<char>(value >> 8 * size);
    return bytes;
}

std::string numeric(const std::vector<std::uint64_t> &digits, int weight, std::uint64_t decimals) {
    std::string bytes = big_endian(digits.size(), 2) + big_endian(static_cast<std::uint64_t>(weight), 2) + big_endian(0, 2) + big_endian(decimals, 2);
    for (const std::uint64_t digit : digits) bytes += big_endian(digit, 2);
    return big_endian(bytes.size(), 4) + bytes;
}

void writes_candles_as_rows_of_copy() {
    Closing closing;
    const std::string message = framed(kQuiet) + framed(kClosing);
    CHECK(closing.find(message) == 0);
    closing.candles[0].average_gain = -2.0;
    std::vector<std::uint8_t> out(2000);
    std::size_t written;
    const auto *at = reinterpret_cast<const std::uint8_t *>(message.data());
    CHECK(tickcodec_candle_rows(&closing.call, at, out.data(), out.size(), &written) == 0);
    const std::string price = numeric({100}, -2, 8), null = big_endian(0xffff'ffff, 4), zero = big_endian(8, 4) + big_endian(0, 8);
    const auto int8 = [](std::int64_t value) { return big_endian(8, 4) + big_endian(static_cast<std::uint64_t>(value), 8); };
    const std::string row = big_endian(26, 2) + big_endian(3, 4) + "sim" + big_endian(7, 4) + "btcusdt" + big_endian(2, 4) + "1s" + int8(1'000'000 - 946'684'800'000'000) + price + price + price +
                            price + numeric({1, 5000, 0}, 0, 8) + numeric({12, 3456, 7890, 1234, 5678, 9012, 3456, 7890, 0, 0, 0, 1}, 7, 16) + numeric({}, 0, 8) + int8(2) + int8(5) +
                            int8(6) + big_endian(4, 4) + big_endian(0, 4) + zero + zero + zero + zero + zero + zero + zero + big_endian(8, 4) + big_endian(0xc000'0000'0000'0000, 8) + zero +
                            null + zero;
    CHECK(std::string(reinterpret_cast<const char *>(out.data()), written).substr(0, row.size()) == row && written == 2 * row.size());
    CHECK(tickcodec_candle_rows(&closing.call, at, out.data(), written, &written) == 1 && written == 0);
    closing.parts[0].candles = 0;
    CHECK(tickcodec_candle_rows(&closing.call, at, out.data(), out.size(), &written) == 1);
    closing.call.struct_size = 1;
    CHECK(tickcodec_candle_rows(&closing.call, at, out.data(), out.size(), &written) == 1);
}

void leaves_candles_that_cannot_be() {
    Closing closing;
    const std::string time = "\x08\x01";
    CHECK(closing.reads(kTrades + closed(time)));
    for (const std::string &text : {closed("\x08\x02"), closed(time, "1.5", 101), closed(time, "1.5", 0), closed(time, ""), closed(time, ".5"), closed(time, "5."),
                                    closed(time, "1.123456789"), closed(time, "1e3"), closed(time, std::string(81, '0')), closed(time, std::string(40, '9')),
                                    closed(time, "1.5", 100, "\x01"), closed(std::string("\x08\x01\x10\x01")), closed(std::string("\x08\x00", 2)),
                                    closed("\x08" + std::string(9, '\xff') + "\x01"), closed("\x08" + std::string(9, '\xff') + "\x02"), closed("\x08" + std::string(10, '\xff')),
                                    closed(std::string("\x08\x81\x00", 3)), closed(time) + column(4, numbers(1, 1)), closed(time) + closed(time) + closed(time), std::string("\xb2\x01\x00", 3)}) {
        CHECK(!closing.reads(kTrades + text));
    }
    std::string wrong = closed(time);
    wrong.replace(wrong.find("1s"), 2, "2s");
    CHECK(!closing.reads(kTrades + wrong));
    wrong = closed(time);
    wrong[wrong.size() - 2] = '\xf0';  // an infinity
    CHECK(!closing.reads(kTrades + wrong));
    for (const std::string &trades : {batch(1000, "", 2'000'000), batch(-1, "", 2'000'000), batch(7, "", 1'000'000'000'001), batch(7, "", -5), batch(7, "", 1'999'999)}) {
        CHECK(!closing.reads(column(1, trades) + closed(time)));
    }
    closing.call.max_count = 1;
    CHECK(!closing.reads(kTrades + closed(time)));
    closing.call.max_count = 1000;
    closing.call.max_rows = 1;
    CHECK(!closing.reads(kTrades + closed(time)));
    closing.call.max_rows = kMaxRows;
    std::string other = kTrades;
    other.back() = '\2';
    CHECK(!closing.reads(other + closed(time)));
    other = kTrades;
    const std::size_t prices = other.find(numbers(300, 100));
    CHECK(!closing.reads(other.replace(prices, 16, numbers(300, 0)) + closed(time)));
    other = kTrades;
    CHECK(!closing.reads(other.replace(other.find(numbers(1, 0)), 16, numbers(1, -1)) + closed(time)));
}

void leaves_batches_that_signal_would_not_write() {
    Closing closing;
    const std::string trades = batch(7);
    for (const std::string &text : {std::string(), kQuiet + "\x01", kQuiet.substr(0, kQuiet.size() - 1), kQuiet + column(4, ""), "\x11" + kQuiet,
                                    column(1, trades.substr(0, trades.size() - 4)), column(1, trades + column(8, "")), column(1, "\x0a\x03\xff\xff\xff" + trades.substr(5)),
                                    column(1, trades) + std::string("\xaa\x02\x00", 3), column(1, trades) + "\xaa", column(1, trades) + std::string("\x21") + std::string(8, '\1'),
                                    kTrades + std::string("\x11") + std::string(8, '\0') + closed("\x08\x01"), kTrades + "\x11\x01"}) {
        CHECK(!closing.reads(text));
    }
}

void finds_batches_in_any_bytes() {
    std::mt19937 random(2);
    Closing closing;
    int read = 0;
    for (int i = 0; i < 200'000; ++i) {
        std::string text = framed(kQuiet) + framed(kClosing);
        for (std::size_t changes = random() % 4; changes-- > 0;) text[random() % text.size()] = static_cast<char>(random());
        if (closing.find(text) != 0) continue;
        bool are_usual = true;
        for (std::size_t part = 0; part < closing.call.part_count; ++part) {
            const tickcodec_part &found = closing.parts[part];
            CHECK(static_cast<std::size_t>(found.at + found.size) <= text.size() && found.candles <= 2);
            CHECK(found.candles == 0 || (found.names_at > found.at && found.names_at + found.names_size < found.at + found.size));
            read += found.candles > 0;
            are_usual = are_usual && found.candles > 0;
        }
        std::uint8_t out[1500];
        std::size_t written;
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[text.size()]);
        std::memcpy(exact.get(), text.data(), text.size());
        CHECK((tickcodec_candle_rows(&closing.call, exact.get(), out, sizeof out, &written) == 0) == are_usual && written <= sizeof out);
    }
    CHECK(read > 0 && read < 200'000);
}

// Trades that are put together, in rooms of their own.
struct Joining {
    static constexpr std::size_t kSlots = 4, kGroups = 2;
    std::size_t batches = 0, rows = 0;
    std::unique_ptr<std::int64_t[]> columns[4];
    std::unique_ptr<std::uint8_t[]> makers;
    std::unique_ptr<std::int64_t[]> slots{new std::int64_t[kSlots]};
    std::unique_ptr<tickcodec_joined_group[]> groups{new tickcodec_joined_group[kGroups]};
    tickcodec_joined call{};

    // 0 where messages are counted and joined, 1 where they are not counted, 2 where they are not joined.
    int join(const std::string &text, std::size_t fewer_rows = 0, std::size_t fewer_batches = 0) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[text.size()]);
        std::memcpy(exact.get(), text.data(), text.size());
        if (tickcodec_count_trades(exact.get(), text.size(), kMaxRows, &batches, &rows) != 0) return 1;
        call.struct_size = sizeof call;
        call.messages = exact.get();
        call.size = text.size();
        call.batches = batches - fewer_batches;
        call.rows = rows - fewer_rows;
        call.max_rows = kMaxRows;
        for (std::size_t i = 0; i < 4; ++i) {
            columns[i].reset(new std::int64_t[call.rows]);
            call.columns[i] = columns[i].get();
        }
        makers.reset(new std::uint8_t[call.rows]);
        call.makers = makers.get();
        const std::unique_ptr<std::int64_t[]> work(new std::int64_t[call.batches]);
        call.group_of_batch = work.get();
        call.slots = slots.get();
        call.slot_count = kSlots;
        call.groups = groups.get();
        call.max_groups = kGroups;
        return tickcodec_join_trades(&call) == 0 ? 0 : 2;
    }
};

std::string of_symbol(char name, std::int64_t id) {
    std::string text = batch(id);
    text[kNames.size() - 1] = name;
    return framed(text);
}

void joins_the_trades_of_each_symbol() {
    Joining joining;
    const std::string message = of_symbol('t', 7) + of_symbol('x', 50) + of_symbol('t', 9);
    CHECK(joining.join(message) == 0 && joining.batches == 3 && joining.rows == 6 && joining.call.group_count == 2);
    const std::int64_t ids[] = {7, 8, 9, 10, 50, 51};
    CHECK(std::memcmp(joining.columns[0].get(), ids, sizeof ids) == 0);
    CHECK(joining.columns[1][0] == 300 && joining.columns[2][1] == 0 && joining.columns[3][5] == 50);
    CHECK(std::memcmp(joining.makers.get(), "\0\1\0\1\0\1", 6) == 0);
    const tickcodec_joined_group &first = joining.groups[0], &second = joining.groups[1];
    CHECK(first.first_row == 0 && first.rows == 4 && second.first_row == 4 && second.rows == 2 && first.received_time_us == 7);
    CHECK(message.substr(static_cast<std::size_t>(second.names_at), static_cast<std::size_t>(second.names_size)).back() == 'x');
}

void joins_nothing_that_is_unusual() {
    Joining joining;
    const std::string usual = of_symbol('t', 7);
    for (const std::string &text : {std::string(), usual + "\x0a", usual + framed(kNames), framed(batch(7) + "\x01"), framed(batch(7, std::string("\x19") + std::string(8, '\0')))}) {
        CHECK(joining.join(text) == 1);
    }
    CHECK(joining.join(usual + of_symbol('x', 7) + of_symbol('y', 7)) == 2);  // more symbols than there is room for
    CHECK(joining.join(usual, 1) == 2 && joining.join(usual, 0, 1) == 2);
    std::string foreign = usual;
    foreign.back() = '\2';
    CHECK(joining.join(foreign) == 2);
    joining.call.struct_size = 1;
    CHECK(tickcodec_join_trades(&joining.call) == 1);
    std::size_t batches = 0, rows = 0;
    CHECK(tickcodec_count_trades(reinterpret_cast<const std::uint8_t *>(usual.data()), usual.size(), 1, &batches, &rows) == 1);
}

void joins_any_bytes() {
    std::mt19937 random(3);
    Joining joining;
    int joined = 0;
    for (int i = 0; i < 200'000; ++i) {
        std::string text = of_symbol('t', 7) + of_symbol('x', 50) + of_symbol('t', 9);
        for (std::size_t changes = random() % 4; changes-- > 0;) text[random() % text.size()] = static_cast<char>(random());
        joined += joining.join(text) == 0;
    }
    CHECK(joined > 0);
}

}  // namespace

int main() {
    joins_the_trades_of_each_symbol();
    joins_nothing_that_is_unusual();
    joins_any_bytes();
    finds_what_closes_candles();
    reads_candles_as_libsignal_has_them();
    writes_candles_as_rows_of_copy();
    leaves_candles_that_cannot_be();
    leaves_batches_that_signal_would_not_write();
    finds_batches_in_any_bytes();
    writes_the_trades_and_their_signals();
    writes_sums_as_decimals();
    leaves_what_is_unusual();
    takes_in_the_batches_of_a_message_together();
    splits_only_what_is_one_batch_after_the_other();
    each_batch_finds_the_state_of_its_symbol();
    keeps_the_last_trade_of_each_symbol();
    stands_any_bytes();
    return 0;
}
