// Indicators on a series of candles, with TA-Lib's definitions: what it calls unstable periods are zero.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "libsignal.h"
#include "wide.hpp"

namespace lsig {

// An average that starts as the mean of its first `period` values and is then pulled towards each new one.
class Smoothed {
public:
    Smoothed(std::uint32_t period, double pull) : period_(period), pull_(pull) {}

    static Smoothed exponential(std::uint32_t period) { return {period, 2.0 / (period + 1.0)}; }
    static Smoothed wilder(std::uint32_t period) { return {period, 1.0 / period}; }

    void add(double value) {
        if (pull_ == 1) {
            // Of a period of one candle nothing older is left, not even as a rounding error of what was far larger.
            value_ = value;
            n_ = period_;
        } else if (warm()) {
            value_ += (value - value_) * pull_;
        } else {
            value_ += value;
            if (++n_ == period_) value_ /= period_;
        }
    }
    void resume(double value) {
        value_ = value;
        n_ = period_;
    }
    bool warm() const { return n_ == period_; }
    double value() const { return warm() ? value_ : kUndefined; }

    template <class Archive>
    void archive(Archive& bytes) {
        bytes.number(n_);
        bytes.number(value_);
        bytes.check(n_ <= period_ && std::isfinite(value_));
    }

private:
    std::uint32_t period_;
    double pull_;
    std::uint32_t n_ = 0;
    double value_ = 0;  // until warm, the sum
};

class Indicators {
public:
    explicit Indicators(const lsig_config& config)
        : slow_first_(config.macd_slow_period - config.macd_fast_period),
          gain_(Smoothed::wilder(config.rsi_period)),
          loss_(Smoothed::wilder(config.rsi_period)),
          range_(Smoothed::wilder(config.atr_period)),
          fast_(Smoothed::exponential(config.macd_fast_period)),
          slow_(Smoothed::exponential(config.macd_slow_period)),
          signal_(Smoothed::exponential(config.macd_signal_period)),
          exponential_(Smoothed::exponential(config.candle_ema_period)),
          closes_(config.candle_sma_period) {}

    // Take in the next closed candle and write the indicators right after it.
    void close(lsig_candle& candle) {
        const double close = static_cast<double>(candle.close_e8) / kScale;
        if (n_ != 0) {
            const double change = static_cast<double>(candle.close_e8 - previous_close_e8_) / kScale;
            gain_.add(change > 0 ? change : 0);
            loss_.add(change < 0 ? -change : 0);
            const std::int64_t top = std::max(candle.high_e8, previous_close_e8_);
            const std::int64_t bottom = std::min(candle.low_e8, previous_close_e8_);
            range_.add(static_cast<double>(top - bottom) / kScale);
        }
        // The fast average starts late, so that both know the same candles when the slow one is warm.
        if (n_ >= slow_first_ || fast_.warm()) fast_.add(close);
        slow_.add(close);
        if (slow_.warm()) signal_.add(fast_.value() - slow_.value());
        exponential_.add(close);

        std::int64_t& oldest = closes_[n_ % closes_.size()];
        closes_sum_ += static_cast<u128>(candle.close_e8 - oldest);  // wraps back, as unsigned integers do
        oldest = candle.close_e8;
        previous_close_e8_ = candle.close_e8;
        ++n_;

        candle.average_gain = gain_.value();
        candle.average_loss = loss_.value();
        candle.macd_fast = fast_.value();
        candle.macd_slow = slow_.value();
        const double moves = gain_.value() + loss_.value();
        candle.rsi = moves < kNoMove ? 0 : 100 * (gain_.value() / moves);
        candle.atr = range_.value();
        candle.macd = fast_.value() - slow_.value();
        candle.macd_signal = signal_.value();
        candle.macd_histogram = candle.macd - candle.macd_signal;
        candle.ema = exponential_.value();
        candle.sma = n_ >= closes_.size() ? nearest_ratio(closes_sum_, closes_.size() * kScale) : kUndefined;
    }

    // Go on behind a candle that has all its indicators; `closes_e8` are those up to its own, at least that one.
    void resume(const lsig_candle& last, const std::int64_t* closes_e8, std::size_t n) {
        gain_.resume(last.average_gain);
        loss_.resume(last.average_loss);
        range_.resume(last.atr);
        fast_.resume(last.macd_fast);
        slow_.resume(last.macd_slow);
        signal_.resume(last.macd_signal);
        exponential_.resume(last.ema);
        n_ = std::min(n, closes_.size());
        std::fill(closes_.begin(), closes_.end(), 0);
        std::copy_n(closes_e8 + (n - n_), n_, closes_.begin());
        sum_closes();
        previous_close_e8_ = closes_e8[n - 1];
    }

    template <class Archive>
    void archive(Archive& bytes) {
        bytes.number(n_);
        bytes.check(n_ <= kMostCandles);
        for (Smoothed* each : {&gain_, &loss_, &range_, &fast_, &slow_, &signal_, &exponential_}) each->archive(bytes);
        const std::uint64_t kept = std::min<std::uint64_t>(n_, closes_.size());
        for (std::uint64_t position = n_ - kept; position < n_; ++position) {
            std::int64_t& close = closes_[position % closes_.size()];
            bytes.number(close);
            bytes.check(close > 0);
        }
        if (Archive::kLoads) {
            sum_closes();
            previous_close_e8_ = n_ != 0 ? closes_[(n_ - 1) % closes_.size()] : 0;
        }
    }

private:
    void sum_closes() {
        closes_sum_ = 0;
        for (const std::int64_t close : closes_) closes_sum_ += static_cast<u128>(close);
    }

    static constexpr double kNoMove = 0x1p-1000;  // what is left of a move so long ago has lost its digits
    static constexpr std::uint64_t kMostCandles = std::uint64_t{1} << 62;

    std::uint32_t slow_first_;
    std::uint64_t n_ = 0;  // candles, of those before a resumption as many as there are closes of
    std::int64_t previous_close_e8_ = 0;
    Smoothed gain_, loss_, range_, fast_, slow_, signal_, exponential_;
    std::vector<std::int64_t> closes_;
    u128 closes_sum_ = 0;
};

}  // namespace lsig
