// Integers wider than 64 bits, as words, the low one first.
#ifndef TICKCODEC_WIDE_HPP
#define TICKCODEC_WIDE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tickcodec {

__extension__ typedef unsigned __int128 u128;

// An integer of up to three words that is taken apart from its low end, some digits at a time.
class DigitsLeft {
   public:
    DigitsLeft(const std::uint64_t *words, std::size_t count) : count_(count) {
        std::memcpy(words_, words, count * sizeof *words);
        strip();
    }

    bool is_zero() const { return count_ == 0; }

    // What is below `base`, which is taken away; the rest moves down.
    std::uint64_t take_below(std::uint64_t base) {
        u128 remainder = 0;
        for (std::size_t i = count_; i-- > 0;) {
            remainder = remainder << 64 | words_[i];
            words_[i] = static_cast<std::uint64_t>(remainder / base);
            remainder %= base;
        }
        strip();
        return static_cast<std::uint64_t>(remainder);
    }

   private:
    void strip() {
        while (count_ > 0 && words_[count_ - 1] == 0) --count_;
    }

    std::uint64_t words_[3] = {};
    std::size_t count_;
};

}  // namespace tickcodec

#endif
