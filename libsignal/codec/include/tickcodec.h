/* tickcodec: the mesh's trades from one form to another, many a call.
 *
 * What decides is written in Python; what only carries trades is written here. Each part does what a Python function
 * does, byte for byte, and leaves to Python whatever is unusual.
 *
 * Functions have no state, allocate nothing and may be called by several threads at once. Nothing is written beyond the
 * sizes that are given, and nothing is kept after the call. Units are in the names: `_e8` is scaled by 1e8, `_us` is
 * microseconds since 1970 UTC. */
#ifndef TICKCODEC_H
#define TICKCODEC_H

#include <stddef.h>
#include <stdint.h>

#define TICKCODEC_ABI_VERSION 1

#if defined(__GNUC__)
#define TICKCODEC_API __attribute__((visibility("default")))
#else
#define TICKCODEC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* TICKCODEC_ABI_VERSION of the library that was loaded: ask it first. */
TICKCODEC_API int tickcodec_abi_version(void);

/* --- frames: what a venue says -> columns ------------------------------------------------------------------------ */

/* The trades of one symbol, as they stand in `out` from `at` bytes on: int64_t trade_id[rows], price_e8[rows],
 * quantity_e8[rows], time_us[rows] and uint8_t is_buyer_maker[rows], in the order of the frames. */
typedef struct tickcodec_group {
    int64_t name_at; /* where in the text the symbol stands, as the venue writes it */
    int64_t name_size;
    int64_t at; /* a multiple of 8 */
    int64_t rows;
} tickcodec_group;

/* One call's room and results. A frame takes 88 bytes of `out` at most. */
typedef struct tickcodec_frames {
    size_t struct_size;
    size_t max_frames;
    size_t max_groups;
    int64_t max_id;         /* the highest id that a trade may have */
    uint8_t *out;           /* 88 * max_frames bytes, aligned to 8; of which 40 * rows + 8 * groups are results */
    tickcodec_group *groups;
    int64_t *others;        /* max_frames: the frames that are left to Python, rising */
    size_t group_count;     /* the symbols, in the order in which they come first */
    size_t other_count;
} tickcodec_frames;

/* Read frames of Binance's combined streams, `{"stream":"...","data":{"e":"trade",...}}`, separated by '\n'.
 *
 * Only a trade as Binance has always written it is read here: no blanks, no escapes, nothing beyond ASCII, each field
 * once, integers and decimals that fit. Any other frame is among `others`; all are when there are more symbols than
 * groups. Returns 0, or 1 when nothing could be read: the text has another number of lines than `frames`, there are
 * more than `max_frames`, or the struct has another size. */
TICKCODEC_API int tickcodec_read_frames(tickcodec_frames *call, const char *text, size_t size, size_t frames);

#ifdef __cplusplus
}
#endif

#endif
