// What has happened since the session began.
#pragma once

#include "history.hpp"
#include "wide.hpp"

namespace lsig {

class Session {
public:
    struct Outputs {
        std::int64_t* high_e8;
        std::int64_t* low_e8;
        std::int64_t* count;
        double* volume;
    };

    void process(const Block& block, const Outputs& out) {
        if (count_ == 0) {
            open_e8_ = high_e8_ = low_e8_ = block.price_e8[0];
            open_time_us_ = block.time_us[0];
        }
        for (std::size_t i = 0; i < block.n; ++i) {
            high_e8_ = std::max(high_e8_, block.price_e8[i]);
            if (out.high_e8 != nullptr) out.high_e8[i] = high_e8_;
        }
        for (std::size_t i = 0; i < block.n; ++i) {
            low_e8_ = std::min(low_e8_, block.price_e8[i]);
            if (out.low_e8 != nullptr) out.low_e8[i] = low_e8_;
        }
        for (std::size_t i = 0; i < block.n; ++i) {
            volume_e8_ += static_cast<u128>(block.quantity_e8[i]);
            if (out.volume != nullptr) out.volume[i] = nearest_ratio(volume_e8_, kScale);
        }
        for (std::size_t i = 0; i < block.n && out.count != nullptr; ++i) {
            out.count[i] = count_ + static_cast<std::int64_t>(i) + 1;
        }
        count_ += static_cast<std::int64_t>(block.n);
    }

    std::int64_t count() const { return count_; }
    std::int64_t open_e8() const { return open_e8_; }
    std::int64_t open_time_us() const { return open_time_us_; }
    std::int64_t high_e8() const { return high_e8_; }
    std::int64_t low_e8() const { return low_e8_; }
    u128 volume_e8() const { return volume_e8_; }

private:
    std::int64_t count_ = 0;
    std::int64_t open_e8_ = 0;
    std::int64_t open_time_us_ = 0;
    std::int64_t high_e8_ = 0;
    std::int64_t low_e8_ = 0;
    u128 volume_e8_ = 0;
};

}  // namespace lsig
