// A state as bytes: magic, format version, length, settings, state, checksum.
#pragma once

#include <memory>

#include "bytes.hpp"
#include "libsignal.h"
#include "settings.hpp"
#include "state.hpp"

namespace lsig {

constexpr std::uint32_t kMagic = 0x4749534c;  // "LSIG"
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kChecksumSize = 8;

inline int save(const lsig_state& state, std::uint8_t* bytes, std::size_t capacity, std::size_t& size) {
    Writer counter(nullptr, 0);
    const auto write = [&](Writer& writer) {
        writer.number(kMagic);
        writer.number(kFormat);
        writer.number(static_cast<std::uint64_t>(size));
        lsig_config config = state.config();
        archive(writer, config);
        const_cast<lsig_state&>(state).archive(writer);  // one description for both ways; a Writer changes nothing
    };
    write(counter);
    size = counter.at() + kChecksumSize;
    if (size > capacity) return LSIG_E_CAPACITY;
    Writer writer(bytes, capacity);
    write(writer);
    writer.number(crc64(bytes, writer.at()));
    return LSIG_OK;
}

inline int load(const std::uint8_t* bytes, std::size_t size, std::unique_ptr<lsig_state>& state) {
    if (size < kChecksumSize) return LSIG_E_DAMAGED;
    Reader reader(bytes, size - kChecksumSize);
    std::uint32_t magic = 0, format = 0;
    std::uint64_t length = 0, checksum = 0;
    reader.number(magic);
    reader.number(format);
    reader.number(length);
    Reader(bytes + size - kChecksumSize, kChecksumSize).number(checksum);
    if (magic != kMagic || length != size || checksum != crc64(bytes, size - kChecksumSize)) return LSIG_E_DAMAGED;
    if (format != kFormat) return LSIG_E_FORMAT;

    // The checksum vouches for accidents only, so nothing that follows is believed either.
    lsig_config config{};
    archive(reader, config);
    if (!reader.good() || fill_in_defaults(config) != nullptr) return LSIG_E_DAMAGED;
    auto loaded = std::make_unique<lsig_state>(config);
    loaded->archive(reader);
    if (!reader.good() || !reader.at_end()) return LSIG_E_DAMAGED;
    state = std::move(loaded);
    return LSIG_OK;
}

}  // namespace lsig
