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

// One column of the last trades: a ring addressed by position, zero where no trade has been yet.
//
// A pass over a block also needs what leaves its window, trade by trade: at() gives it as a plain array. For that the
// ring's first entries stand once more behind its last.
template <class T>
class Ring {
public:
    // Holds `depth` trades besides the block that was appended last.
    explicit Ring(std::size_t depth) : size_(power_of_two_from(depth + kBlock)), entries_(size_ + kBlock) {}

    void append(std::uint64_t position, const T* column, std::size_t n) {
        fetch(position + kBlock, n);
        const std::size_t start = position & (size_ - 1);
        if (n == 1) {  // what a live feed mostly brings is not worth three calls of memmove()
            entries_[start] = *column;
            if (start < kBlock) entries_[size_ + start] = *column;
            return;
        }
        const std::size_t until_end = std::min(n, size_ - start);
        std::copy_n(column, until_end, &entries_[start]);
        if (start < kBlock) std::copy_n(column, std::min(n, kBlock - start), &entries_[size_ + start]);
        for (T* again : {&entries_[0], &entries_[size_]}) std::copy_n(column + until_end, n - until_end, again);
    }

    // The entries from this position on, up to kBlock of them.
    const T* at(std::uint64_t position) const { return &entries_[position & (size_ - 1)]; }

    // The n entries that leave a window, for a window that moves on with every block.
    const T* leaving(std::uint64_t position, std::size_t n) const {
        fetch(position + kBlock, n);
        return at(position);
    }

private:
    // Long rings do not fit the second cache, and what the next block will touch is known a block ahead. Not where blocks
    // are shorter than what is fetched at once: with many symbols it is long gone when its trades come.
    void fetch(std::uint64_t position, std::size_t n) const {
        if (n < 64 / sizeof(T)) return;
        const T* const entries = at(position);
        for (std::size_t i = 0; i < n; i += 64 / sizeof(T)) __builtin_prefetch(entries + i);
    }

    static std::size_t power_of_two_from(std::size_t least) {
        std::size_t size = 1;
        while (size < least) size *= 2;
        return size;
    }

    std::size_t size_;
    std::vector<T> entries_;
};

class History {
public:
    explicit History(std::size_t depth)
        : price_e8(depth), quantity_e8(depth), time_us(depth), is_buyer_maker(depth), depth_(depth) {}

    void append(const Block& block) {
        price_e8.append(block.first, block.price_e8, block.n);
        quantity_e8.append(block.first, block.quantity_e8, block.n);
        time_us.append(block.first, block.time_us, block.n);
        is_buyer_maker.append(block.first, block.is_buyer_maker, block.n);
    }

    std::size_t depth() const { return depth_; }

    Ring<std::int64_t> price_e8, quantity_e8, time_us;
    Ring<std::uint8_t> is_buyer_maker;

private:
    std::size_t depth_;
};

}  // namespace lsig
