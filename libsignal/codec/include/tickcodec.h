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

#ifdef __cplusplus
}
#endif

#endif
