// The last trades: what every window looks back into.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lsig {

// Trades are handled in blocks of at most this many, so that the passes over one block find it in the first cache.
constexpr std::size_t kBlock = 256;

// Consecutive trades being taken in; `first` is the position of the first one, counted from the state's birth.
struct Block {
    std::uint64_t first;
    std::size_t n;
    const std::int64_t* price_e8;
    const std::int64_t* quantity_e8;
    const std::int64_t* time_us;
    const std::uint8_t* is_buyer_maker;
};

inline std::size_t ring_size(std::size_t at_least) {
    std::size_t size = 1;
    while (size < at_least) size *= 2;
    return size;
}

// A ring addressed by position. It holds `depth` trades besides the block that was appended last, so a pass over that
// block finds also what leaves its window.
class History {
public:
    explicit History(std::size_t depth) : price_e8_(ring_size(depth + kBlock)), mask_(price_e8_.size() - 1) {}

    void append(const Block& block) {
        const std::size_t at = block.first & mask_;
        const std::size_t until_end = std::min(block.n, price_e8_.size() - at);
        std::copy_n(block.price_e8, until_end, price_e8_.begin() + static_cast<std::ptrdiff_t>(at));
        std::copy_n(block.price_e8 + until_end, block.n - until_end, price_e8_.begin());
    }

    std::int64_t price_e8(std::uint64_t position) const { return price_e8_[position & mask_]; }

private:
    std::vector<std::int64_t> price_e8_;
    std::size_t mask_;
};

}  // namespace lsig
