// The whole of our test framework: say what did not hold, and where; leave with 1.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(what)                                                                   \
    do {                                                                              \
        if (!(what)) {                                                                \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
            std::exit(1);                                                             \
        }                                                                             \
    } while (false)

#define CHECK_EQUAL(found, expected, row)                                                                      \
    do {                                                                                                       \
        const auto found_ = (found);                                                                           \
        const auto expected_ = (expected);                                                                     \
        if (!(found_ == expected_)) {                                                                          \
            std::fprintf(stderr, "%s:%d: %s is %.17g, expected %.17g, at row %zu\n", __FILE__, __LINE__, #found, \
                         static_cast<double>(found_), static_cast<double>(expected_), static_cast<std::size_t>(row)); \
            std::exit(1);                                                                                      \
        }                                                                                                      \
    } while (false)
