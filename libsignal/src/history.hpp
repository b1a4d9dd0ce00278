// The last trades: what every window looks back into, and what a saved state keeps of the windows.
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
    const std::int64_t* trade_id;
    const std::int64_t* price_e8;
    const std::int64_t* quantity_e8;
    const std::int64_t* time_us;
    const std::uint8_t* is_buyer_maker;
};

// A ring addressed by position. It holds `depth` trades besides the block that was appended last, so a pass over that
// block finds also what leaves its window. Before the first trade there are zeros.
class History {
public:
    explicit History(std::size_t depth) : depth_(depth), mask_(ring_size(depth + kBlock) - 1) {
        for (auto* column : {&price_e8_, &quantity_e8_, &time_us_}) column->resize(mask_ + 1);
        is_buyer_maker_.resize(mask_ + 1);
    }

    void append(const Block& block) {
        copy(block, block.price_e8, price_e8_);
        copy(block, block.quantity_e8, quantity_e8_);
        copy(block, block.time_us, time_us_);
        copy(block, block.is_buyer_maker, is_buyer_maker_);
    }

    std::size_t depth() const { return depth_; }
    std::int64_t price_e8(std::uint64_t position) const { return price_e8_[position & mask_]; }
    std::int64_t quantity_e8(std::uint64_t position) const { return quantity_e8_[position & mask_]; }
    std::int64_t time_us(std::uint64_t position) const { return time_us_[position & mask_]; }
    std::uint8_t is_buyer_maker(std::uint64_t position) const { return is_buyer_maker_[position & mask_]; }

private:
    static std::size_t ring_size(std::size_t at_least) {
        std::size_t size = 1;
        while (size < at_least) size *= 2;
        return size;
    }

    template <class T>
    void copy(const Block& block, const T* column, std::vector<T>& ring) {
        const std::size_t at = block.first & mask_;
        const std::size_t until_end = std::min(block.n, ring.size() - at);
        std::copy_n(column, until_end, ring.data() + at);
        std::copy_n(column + until_end, block.n - until_end, ring.data());
    }

    std::size_t depth_;
    std::size_t mask_;
    std::vector<std::int64_t> price_e8_, quantity_e8_, time_us_;
    std::vector<std::uint8_t> is_buyer_maker_;
};

}  // namespace lsig
