// Trades become frames of /ws; whatever bytes come, nothing is read beyond them or written beyond its room.
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "check.hpp"
#include "tickcodec.h"

namespace {

constexpr std::size_t kMaxBatches = 4, kOutBytes = 4096;
const std::string kHead = "{\"symbol\":\"btcusdt\",\"price\":";

std::string field(int number, const std::string &content) {
    std::string head(1, static_cast<char>(number << 3 | 2));
    if (number > 15) head = {static_cast<char>((number << 3 | 2) | 0x80), static_cast<char>(number >> 4)};
    std::string size(1, static_cast<char>(content.size()));
    if (content.size() > 127) size = {static_cast<char>(content.size() | 0x80), static_cast<char>(content.size() >> 7)};
    return head + size + content;
}

template <typename T>
std::string packed(T first, T second) {
    std::string text(2 * sizeof first, '\0');
    std::memcpy(&text[0], &first, sizeof first);
    std::memcpy(&text[sizeof first], &second, sizeof second);
    return text;
}

std::string batch(std::int64_t id = 7, std::int64_t time_us = 1723161255342000, double average = 0.5) {
    const std::string trades = field(1, "sim") + field(2, "btcusdt") + field(4, packed(id, id + 1)) +
                               field(5, packed<std::int64_t>(6183763000000, -1)) + field(6, packed<std::int64_t>(2000000, 0)) +
                               field(7, packed(time_us, time_us + 1)) + field(8, {"\0\1", 2});
    return field(1, trades) + field(3, packed(average, -1e-7)) + field(4, packed<std::int64_t>(100000000, 1)) +
           field(8, packed<std::int64_t>(5, -6));
}

struct Call {
    // In rooms of their own, so that the sanitizer sees a step beyond.
    std::unique_ptr<tickcodec_batch[]> batches{new tickcodec_batch[kMaxBatches]};
    std::unique_ptr<std::uint8_t[]> out{new std::uint8_t[kOutBytes]};
    std::unique_ptr<std::uint8_t[]> response;
    tickcodec_member members[3] = {{",\"a\":", 5, 3, TICKCODEC_DOUBLE}, {",\"h\":", 5, 4, TICKCODEC_E8}, {",\"n\":", 5, 8, TICKCODEC_INTEGER}};
    tickcodec_ticks ticks{sizeof ticks, members, 3, kHead.data(), kHead.size(), out.get(), kOutBytes, 0, "}", 1, 0};
    std::size_t count = 0;

    int find(const std::string &text) {
        response.reset(new std::uint8_t[text.size()]);
        std::memcpy(response.get(), text.data(), text.size());
        return tickcodec_find_batches(response.get(), text.size(), batches.get(), kMaxBatches, &count);
    }
    int write(std::size_t first = 0, std::size_t rows = 2) {
        return tickcodec_write_ticks(&ticks, response.get(), batches.get(), first, rows);
    }
    std::string text() const { return {reinterpret_cast<const char *>(out.get()), ticks.written}; }
};

std::string frame(const std::string &text) {
    return std::string("\x81\x7e", 2) + static_cast<char>(text.size() >> 8) + static_cast<char>(text.size()) + text;
}

void writes_each_trade_as_a_frame() {
    Call call;
    CHECK(call.find(field(4, field(1, batch()) + field(1, batch(9)))) == 0 && call.count == 2);
    CHECK(call.batches[1].first_id == 9 && call.batches[1].last_id == 10 && call.batches[1].rows == 2);
    CHECK(call.find(field(1, batch())) == 0 && call.count == 1);
    const tickcodec_batch &found = call.batches[0];
    CHECK(found.venue_size == 3 && std::memcmp(call.response.get() + found.venue_at, "sim", 3) == 0);
    CHECK(found.symbol_size == 7 && std::memcmp(call.response.get() + found.symbol_at, "btcusdt", 7) == 0);
    CHECK(found.last_us == 1723161255342001);
    CHECK(call.write() == 0);
    const std::string first = frame(
        kHead + "61837.63,\"quantity\":0.02,\"trade_id\":7,\"timestamp\":\"2024-08-08T23:54:15.342Z\",\"side\":\"BUY\",\"a\":0.5,\"h\":1,\"n\":5}");
    const std::string second = frame(
        kHead + "-0.00000001,\"quantity\":0,\"trade_id\":8,\"timestamp\":\"2024-08-08T23:54:15.342001Z\",\"side\":\"SELL\",\"a\":-0.0000001,"
                "\"h\":0.00000001,\"n\":-6}");
    CHECK(call.text() == first + second);
    CHECK(call.write(1, 1) == 0 && call.text() == second);
    CHECK(call.find(field(1, batch((1LL << 54) + 3, 0, 12.0))) == 0 && call.write(0, 1) == 0);
    CHECK(call.text() == frame(kHead + "61837.63,\"quantity\":0.02,\"trade_id\":3,\"epoch\":1,\"timestamp\":\"1970-01-01T00:00:00Z\","
                                       "\"side\":\"BUY\",\"a\":12.0,\"h\":1,\"n\":5}"));
    call.ticks.as_list = 1;
    call.ticks.tail = "}},";
    call.ticks.tail_size = 3;
    CHECK(call.find(field(1, batch())) == 0 && call.write(0, 1) == 0);
    CHECK(call.text() == kHead + "61837.63,\"quantity\":0.02,\"trade_id\":7,\"epoch\":0,\"timestamp\":\"2024-08-08T23:54:15.342Z\","
                                 "\"side\":\"BUY\",\"a\":0.5,\"h\":1,\"n\":5}},");
    call.ticks.as_list = 0;
    call.ticks.head_size = call.ticks.member_count = 0;
    CHECK(call.write(0, 1) == 0 && call.text().substr(0, 2) == std::string("\x81") + static_cast<char>(call.ticks.written - 2));
}

void leaves_what_does_not_fit() {
    Call call;
    for (const std::string &text : {std::string(), field(2, "x"), field(1, ""), field(1, batch()) + field(1, batch()), std::string("\x08\x01"),
                                    std::string("\x0b"), std::string("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), field(4, "\x08"),
                                    field(4, std::string("\x08\x01")) + "\x01", field(1, field(1, field(4, "12345678") + field(8, "\2")))}) {
        CHECK(call.find(text) == 1);
    }
    std::string many;
    for (std::size_t i = 0; i <= kMaxBatches; ++i) many += field(1, field(1, field(4, std::string(8, '\0')) + field(5, std::string(8, '\0')) + field(6, std::string(8, '\0')) + field(7, std::string(8, '\0')) + field(8, std::string(1, '\0'))));
    CHECK(call.find(field(4, many)) == 1);
    CHECK(call.find(field(1, batch())) == 0 && call.write(0, 3) == 1 && call.write(3, 0) == 1 && call.write(2, 0) == 0);
    for (const auto &[id, time_us] : {std::pair<std::int64_t, std::int64_t>{-1, 0}, {1, -1}, {1, 253402300800000000}}) {
        CHECK(call.find(field(1, batch(id, time_us))) == 0 && call.write() == 1);
    }
    CHECK(call.find(field(1, batch())) == 0);
    for (const std::size_t wrong : {std::size_t{5}, std::size_t{64}}) {
        call.members[2].field = wrong;
        CHECK(call.write() == 1);
    }
    call.members[2].field = 8;
    for (const double extreme : {-5e-324, 1.7976931348623157e308}) {  // the longest there are
        CHECK(call.find(field(1, batch(1, 0, extreme))) == 0 && call.write() == 0 && call.ticks.written > 2 * 300);
    }
    call.ticks.out_size = 700;
    CHECK(call.write() == 1);
    call.ticks.struct_size = 1;
    CHECK(call.write() == 1);
}

void stands_any_bytes() {
    std::mt19937 random(1);
    Call call;
    const std::string whole = field(4, field(1, batch()) + field(1, batch(9)));
    for (int i = 0; i < 200'000; ++i) {
        std::string text = whole;
        for (std::size_t changes = random() % 8; changes-- > 0;) {
            const std::size_t at = random() % text.size();
            switch (random() % 3) {
                case 0: text[at] = static_cast<char>(random()); break;
                case 1: text.erase(at, random() % 3); break;
                default: text.insert(at, 1, static_cast<char>(random() % 64));
            }
        }
        if (call.find(text) == 0 && call.count != 0) call.write(0, static_cast<std::size_t>(call.batches[0].rows));
    }
}

}  // namespace

// Batches behind each other are what each of them is on its own, with its head.
static void writes_batches_behind_each_other() {
    Call call;
    CHECK(call.find(field(4, field(1, batch()) + field(1, batch(9)))) == 0);
    const std::string heads = "{\"p\":" + kHead;
    const tickcodec_headed headed[] = {{1, 5}, {0, static_cast<std::int64_t>(kHead.size())}};
    call.ticks.head = heads.data();
    call.ticks.head_size = 5;
    CHECK(tickcodec_write_ticks(&call.ticks, call.response.get(), &call.batches[1], 0, 2) == 0);
    const std::string first = call.text();
    call.ticks.head = kHead.data();
    call.ticks.head_size = kHead.size();
    CHECK(call.write() == 0);
    const std::string second = call.text();
    call.ticks.head = heads.data();
    CHECK(tickcodec_write_batches(&call.ticks, call.response.get(), call.batches.get(), headed, 2) == 0);
    CHECK(call.text() == first + second && call.ticks.head == heads.data());
    call.ticks.out_size = first.size() + second.size();  // a row wants as much as its longest numbers may need
    CHECK(tickcodec_write_batches(&call.ticks, call.response.get(), call.batches.get(), headed, 2) == 1);
    CHECK(call.ticks.head == heads.data());
    call.ticks.struct_size = 1;
    CHECK(tickcodec_write_batches(&call.ticks, call.response.get(), call.batches.get(), headed, 2) == 1);
}

int main() {
    writes_batches_behind_each_other();
    writes_each_trade_as_a_frame();
    leaves_what_does_not_fit();
    stands_any_bytes();
    return 0;
}
