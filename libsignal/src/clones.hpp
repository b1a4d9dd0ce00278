// One function compiled for several generations of processors; the loader picks the newest one the machine knows.
//
// They differ in how many rows an instruction takes, never in a result: every operation is one that IEEE rounds, and
// none is fused with another (-ffp-contract=off). Everything a cloned function calls becomes part of it (flatten), as
// only what is inside is compiled anew.
#pragma once

#include <cstddef>  // says whether this is glibc, whose loader can pick

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LSIG_CLONED [[gnu::flatten, gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define LSIG_CLONED
#endif
