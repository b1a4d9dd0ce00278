// Bytes of a saved state: numbers in little-endian order, one after the other, on every machine the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "wide.hpp"

namespace lsig {

constexpr std::array<std::uint64_t, 256> make_crc_table() {
    std::array<std::uint64_t, 256> table{};
    for (std::uint64_t i = 0; i < 256; ++i) {
        std::uint64_t crc = i;
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xc96c5795d7870f42 : 0);
        table[i] = crc;
    }
    return table;
}

// CRC-64 as xz has it: finds every change of up to 64 neighbouring bits, and all but one in 2^64 of the others.
inline std::uint64_t crc64(const std::uint8_t* bytes, std::size_t n) {
    static constexpr auto kTable = make_crc_table();
    std::uint64_t crc = ~std::uint64_t{0};
    for (std::size_t i = 0; i < n; ++i) crc = kTable[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

template <std::size_t Size>
using UnsignedOf = std::conditional_t<Size == 1, std::uint8_t, std::conditional_t<Size == 4, std::uint32_t,
                   std::conditional_t<Size == 8, std::uint64_t, u128>>>;

// Writes numbers; where there is no room it only counts.
class Writer {
public:
    static constexpr bool kLoads = false;

    Writer(std::uint8_t* bytes, std::size_t capacity) : bytes_(bytes), capacity_(capacity) {}

    template <class T>
    void number(const T& value) {
        UnsignedOf<sizeof(T)> bits;
        std::memcpy(&bits, &value, sizeof bits);
        for (std::size_t i = 0; i < sizeof bits; ++i, ++at_) {
            if (at_ < capacity_) bytes_[at_] = static_cast<std::uint8_t>(bits >> 8 * i);
        }
    }
    void check(bool) {}
    std::size_t at() const { return at_; }

private:
    std::uint8_t* bytes_;
    std::size_t capacity_;
    std::size_t at_ = 0;
};

// Reads numbers; remembers when there were too few bytes or a check did not hold, and reads zeros from then on.
class Reader {
public:
    static constexpr bool kLoads = true;

    Reader(const std::uint8_t* bytes, std::size_t n) : bytes_(bytes), n_(n) {}

    template <class T>
    void number(T& value) {
        UnsignedOf<sizeof(T)> bits = 0;
        check(n_ - at_ >= sizeof bits);
        if (good_) {
            for (std::size_t i = 0; i < sizeof bits; ++i) {
                bits = static_cast<UnsignedOf<sizeof(T)>>(bits | UnsignedOf<sizeof(T)>{bytes_[at_++]} << 8 * i);
            }
        }
        std::memcpy(&value, &bits, sizeof bits);
    }
    void check(bool holds) { good_ = good_ && holds; }
    bool good() const { return good_; }
    bool at_end() const { return at_ == n_; }

private:
    const std::uint8_t* bytes_;
    std::size_t n_;
    std::size_t at_ = 0;
    bool good_ = true;
};

}  // namespace lsig
