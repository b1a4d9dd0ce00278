// Trades are read as they stand; whatever bytes come, nothing is written beyond its room and nothing is lost.
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "tickcodec.h"

namespace {

constexpr std::size_t kMaxFrames = 64, kMaxGroups = 8;

std::string trade(std::int64_t id, const std::string &symbol = "BTCUSDT") {
    return "{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"E\":1,\"s\":\"" + symbol + "\",\"t\":" + std::to_string(id) +
           ",\"p\":\"61837.63000000\",\"q\":\"0.02\",\"T\":1723161255342,\"m\":true,\"M\":false}}";
}

struct Call {
    // In rooms of their own, so that the sanitizer sees a step beyond.
    std::unique_ptr<std::uint64_t[]> out{new std::uint64_t[TICKCODEC_FRAME_BYTES / 8 * kMaxFrames]};
    std::unique_ptr<tickcodec_group[]> groups{new tickcodec_group[kMaxGroups]};
    std::unique_ptr<std::int64_t[]> others{new std::int64_t[kMaxFrames]};
    tickcodec_frames frames{sizeof frames, kMaxFrames, kMaxGroups, 1000, "sixteen_letters_", 16, 7,
                            reinterpret_cast<std::uint8_t *>(out.get()), groups.get(), others.get(), 0, 0};

    int read(const std::string &text, std::size_t count) {
        const std::unique_ptr<char[]> exact(new char[text.size()]);
        text.copy(exact.get(), text.size());
        return tickcodec_read_frames(&frames, exact.get(), text.size(), count);
    }
};

std::string join(const std::vector<std::string> &frames) {
    std::string text;
    for (const auto &frame : frames) text += (&frame == frames.data() ? "" : "\n") + frame;
    return text;
}

void reads_trades_by_symbol() {
    Call call;
    CHECK(call.read(join({trade(7), trade(1, "ETHUSDT"), "{}", trade(8)}), 4) == 0);
    CHECK(call.frames.group_count == 2 && call.frames.other_count == 1 && call.others[0] == 2);
    const tickcodec_group &first = call.groups[0], &second = call.groups[1];
    CHECK(first.rows == 2 && first.first_id == 7 && first.last_id == 8 && first.is_consecutive == 1);
    CHECK(first.earliest_us == 1723161255342000 && first.latest_us == first.earliest_us && first.last_us == first.latest_us);
    CHECK(second.rows == 1 && second.at == first.size && second.size == 2 + 18 + 9 + 9 + 5 * 2 + 33);
    const std::string batches(reinterpret_cast<const char *>(call.frames.out), static_cast<std::size_t>(first.size));
    CHECK(batches[0] == 0x0a && static_cast<std::size_t>(batches[1]) == batches.size() - 2);
    const std::string message = batches.substr(2);
    CHECK(message.substr(0, 27) == std::string("\x0a\x10sixteen_letters_\x12\x07" "btcusdt", 27));
    const std::int64_t expected[] = {7, 8, 6183763000000, 6183763000000, 2000000, 2000000, 1723161255342000, 1723161255342000};
    for (std::size_t i = 0; i < 8; ++i) {
        std::int64_t found = 0;
        std::memcpy(&found, message.data() + 27 + 9 + 2 * (i / 2 + 1) + 8 * i, 8);
        CHECK_EQUAL(found, expected[i], i);
    }
    CHECK(message.substr(message.size() - 4) == std::string("\x42\x02\x01\x01", 4));
    CHECK(call.read(join({trade(7), trade(9)}), 2) == 0 && call.groups[0].is_consecutive == 0);
}

void leaves_what_does_not_fit() {
    Call call;
    CHECK(call.read(trade(1001), 1) == 0 && call.frames.other_count == 1);  // beyond max_id
    CHECK(call.read("", 1) == 0 && call.frames.other_count == 1);
    CHECK(call.read(trade(1) + "\n", 1) == 1 && call.read(trade(1), 2) == 1);
    CHECK(call.read(std::string(kMaxFrames, '\n'), kMaxFrames + 1) == 1);
    std::vector<std::string> many;
    for (std::size_t i = 0; i <= kMaxGroups; ++i) many.push_back(trade(1, "S" + std::to_string(i)));
    CHECK(call.read(join(many), many.size()) == 1);
    call.frames.venue_size = 17;
    CHECK(call.read(trade(1), 1) == 1);
    call.frames.venue_size = 0;
    CHECK(call.read(trade(1), 1) == 0);
    call.frames.struct_size = 1;
    CHECK(call.read(trade(1), 1) == 1);
}

void stands_any_bytes() {
    std::mt19937 random(1);
    const std::string bits = "{}\":,\\.0192etspqTm \n\xff\x80-xA";
    std::size_t read = 0;
    for (int round = 0; round < 60000; ++round) {
        std::vector<std::string> frames;
        for (std::size_t i = random() % 6; i > 0; --i) frames.push_back(trade(random() % 2000, "S" + std::to_string(random() % 12)));
        std::string text = join(frames);
        for (std::size_t i = random() % 4; i > 0 && !text.empty(); --i) {
            const std::size_t at = random() % text.size();
            switch (random() % 4) {
                case 0: text[at] = bits[random() % bits.size()]; break;
                case 1: text.erase(at, random() % 40); break;
                case 2: text.insert(at, text.substr(random() % text.size(), random() % 40)); break;
                default: text.insert(at, 1, static_cast<char>(random()));
            }
        }
        Call call;
        if (call.read(text, frames.size()) != 0) continue;
        std::size_t rows = 0;
        for (std::size_t i = 0; i < call.frames.group_count; ++i) {
            rows += static_cast<std::size_t>(call.groups[i].rows);
            CHECK(call.groups[i].at + call.groups[i].size <= static_cast<std::int64_t>(TICKCODEC_FRAME_BYTES * kMaxFrames));
        }
        CHECK(rows + call.frames.other_count == frames.size());
        read += rows;
    }
    CHECK(read > 30000);
}

}  // namespace

int main() {
    reads_trades_by_symbol();
    leaves_what_does_not_fit();
    stands_any_bytes();
    return 0;
}
