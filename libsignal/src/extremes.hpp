// Highest and lowest price of the window.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "history.hpp"
#include "libsignal.h"
#include "rows.hpp"

namespace lsig {

// The highest and the lowest price of some trades; of none at first.
struct Range {
    std::int64_t high_e8 = std::numeric_limits<std::int64_t>::min();
    std::int64_t low_e8 = std::numeric_limits<std::int64_t>::max();

    void include(std::int64_t price_e8) {
        high_e8 = std::max(high_e8, price_e8);
        low_e8 = std::min(low_e8, price_e8);
    }
    void include(const Range& other) {
        high_e8 = std::max(high_e8, other.high_e8);
        low_e8 = std::min(low_e8, other.low_e8);
    }
};

// The trades fall into stretches as long as the window, so a window is the end of one stretch and the beginning of the
// next. The beginning's range grows with each trade; the ranges of all ends come of going through the last stretch
// backwards. Two comparisons a trade whatever the prices do; bench/ has the monotonic deque beside it, whose guesses go
// wrong on real prices.
//
// A stretch is gone through in chunks: of the others only the range is kept, and what a chunk needs of the history is
// next to what leaves the window anyway. So a long window costs no more memory, and its stretches end unnoticed.
class Extremes {
public:
    explicit Extremes(std::size_t window) : window_(window), chunks_((window + kBlock - 1) / kBlock + 1) {}

    void process(const Block& block, const History& history, const lsig_columns& out) {
        Integers unwanted;
        std::int64_t* const high_e8 = out.window_high_e8 != nullptr ? out.window_high_e8 : unwanted.data();
        std::int64_t* const low_e8 = out.window_low_e8 != nullptr ? out.window_low_e8 : unwanted.data();
        for (std::size_t row = 0; row < block.n;) {
            if (at_ % kBlock == 0) begin_chunk(history.price_e8.leaving(block.first + row - window_, kBlock));
            const std::size_t offset = at_ % kBlock, rows = std::min(block.n - row, chunk_size() - offset);
            Range chunk = chunk_;
            for (std::size_t i = 0; i < rows; ++i) {
                chunk.include(block.price_e8[row + i]);
                high_e8[row + i] = std::max(chunk.high_e8, rest_high_e8_[offset + i]);
                low_e8[row + i] = std::min(chunk.low_e8, rest_low_e8_[offset + i]);
            }
            chunk_ = chunk;
            row += rows;
            at_ += rows;
            if (at_ % kBlock == 0 || at_ == window_) end_chunk();
        }
    }

private:
    std::size_t chunk_size() const { return std::min(kBlock, window_ - at_ / kBlock * kBlock); }

    // Work out for each trade of the next chunk what else its window holds: `leaving` are the last stretch's prices
    // from the one on that the first of them throws out.
    void begin_chunk(const std::int64_t* leaving) {
        Range rest = beginning_;
        rest.include(chunks_[at_ / kBlock + 1]);
        for (std::size_t i = chunk_size(); i-- > 0;) {
            rest_high_e8_[i] = rest.high_e8;
            rest_low_e8_[i] = rest.low_e8;
            if (has_last_) rest.include(leaving[i]);
        }
        chunk_ = Range{};
    }

    void end_chunk() {
        beginning_.include(chunk_);
        chunks_[(at_ - 1) / kBlock] = chunk_;
        if (at_ < window_) return;
        for (std::size_t i = chunks_.size() - 1; i-- > 0;) chunks_[i].include(chunks_[i + 1]);
        beginning_ = Range{};
        has_last_ = true;
        at_ = 0;
    }

    std::size_t window_;
    std::size_t at_ = 0;         // trades in this stretch
    bool has_last_ = false;      // whether there was a stretch before
    Range beginning_;            // of this stretch up to its current chunk
    Range chunk_;                // of the current chunk so far
    std::vector<Range> chunks_;  // of this stretch's chunks; from the current one on, from there to the last stretch's end
    Integers rest_high_e8_, rest_low_e8_;  // beside the current chunk up to a trade of it, what the trade's window holds
};

}  // namespace lsig
