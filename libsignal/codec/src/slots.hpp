// A table of hashes in memory of the caller's, of what has a name.
#ifndef TICKCODEC_SLOTS_HPP
#define TICKCODEC_SLOTS_HPP

#include <cstddef>
#include <cstdint>

namespace tickcodec {

// The slot that holds what has that name, or the free one where it would be: in a table of so many slots, a power of two, one
// of which is free (0).
template <typename Held, typename HasName>
Held &slot_of(Held *slots, std::size_t slot_count, const std::uint8_t *name, std::size_t size, HasName has_name) {
    std::uint64_t hash = 14695981039346656037u;  // FNV-1a
    for (std::size_t i = 0; i < size; ++i) hash = (hash ^ name[i]) * 1099511628211u;
    for (std::size_t slot = (hash ^ hash >> 32) & (slot_count - 1);; slot = (slot + 1) & (slot_count - 1)) {
        if (slots[slot] == Held{} || has_name(slots[slot])) return slots[slot];
    }
}

}  // namespace tickcodec

#endif
