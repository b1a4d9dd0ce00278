// Highest and lowest price of the window, by monotonic deques.
#pragma once

#include <vector>

#include "history.hpp"

namespace lsig {

// Keeps the positions that can still become the extreme: each is beaten by none that came after it. A trade enters
// and leaves once, so a trade costs O(1) on average whatever the window.
template <bool Highest>
class WindowExtreme {
public:
    explicit WindowExtreme(std::uint64_t window)
        : window_(window), entries_(ring_size(window + 1)), mask_(entries_.size() - 1) {}

    void process(const Block& block, std::int64_t* extreme_e8) {
        for (std::size_t i = 0; i < block.n; ++i) {
            const std::uint64_t position = block.first + i;
            const std::int64_t price = block.price_e8[i];
            while (front_ != back_ && !beats(entries_[(back_ - 1) & mask_].price_e8, price)) --back_;
            entries_[back_++ & mask_] = {position, price};
            if (entries_[front_ & mask_].position + window_ <= position) ++front_;
            if (extreme_e8 != nullptr) extreme_e8[i] = entries_[front_ & mask_].price_e8;
        }
    }

private:
    struct Entry {
        std::uint64_t position;
        std::int64_t price_e8;
    };

    static bool beats(std::int64_t a, std::int64_t b) { return Highest ? a > b : a < b; }

    std::uint64_t window_;
    std::vector<Entry> entries_;
    std::size_t mask_;
    std::size_t front_ = 0;  // front_ and back_ only rise; the mask folds them into the ring
    std::size_t back_ = 0;
};

}  // namespace lsig
