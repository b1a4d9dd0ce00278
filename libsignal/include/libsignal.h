/*
 * libsignal: trading signals of one symbol's trades, exact, O(1) per trade, a whole column of trades per call.
 *
 * In short
 * --------
 *   lsig_state_new()  ->  lsig_process() as often as trades come  ->  lsig_state_free()
 *
 * Feed every trade of one symbol once, in the order of the venue's ids; get the signals right after each trade.
 *
 *     #include <libsignal.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         const int64_t trade_id[] = {1, 2, 3};
 *         const int64_t price_e8[] = {6183763000000, 6183764000000, 6183763000000};
 *         const int64_t quantity_e8[] = {2000000, 4800000, 9000};
 *         const int64_t time_us[] = {1723161255342000, 1723161255617000, 1723161255617000};
 *         const uint8_t is_buyer_maker[] = {1, 0, 1};
 *         double moving_average[3];
 *         int64_t session_high_e8[3];
 *
 *         lsig_config config = {sizeof config};
 *         lsig_state *state = NULL;
 *         int code = lsig_state_new(&config, &state);
 *         if (code == LSIG_OK) {
 *             lsig_columns columns = {sizeof columns};
 *             columns.n = 3;
 *             columns.trade_id = trade_id;
 *             columns.price_e8 = price_e8;
 *             columns.quantity_e8 = quantity_e8;
 *             columns.time_us = time_us;
 *             columns.is_buyer_maker = is_buyer_maker;
 *             columns.moving_average = moving_average;
 *             columns.session_high_e8 = session_high_e8;
 *             code = lsig_process(state, &columns);
 *         }
 *         if (code != LSIG_OK) {
 *             fprintf(stderr, "%s\n", lsig_error_message(code));
 *         } else {
 *             printf("mean %.8f high %lld\n", moving_average[2], (long long)session_high_e8[2]);
 *         }
 *         lsig_state_free(state);
 *         return code == LSIG_OK ? 0 : 1;
 *     }
 *
 * Units
 * -----
 * `_e8` is an integer scaled by 10^8 (61837.63 is 6183763000000); `_us` is microseconds since 1970-01-01 UTC. What has
 * no suffix and is a double is in plain units: a price in the quote asset, a volume in the base asset.
 *
 * Exactness
 * ---------
 * Sums are integers of 128 bits: nothing is lost, however many trades have gone through. A double is the one nearest
 * to the exact value where nothing else is said.
 *
 * Ownership and threads
 * ---------------------
 * The caller owns every column and struct; the library reads and writes them during the call only. A state belongs to
 * the caller until lsig_state_free(). One state may be used by one thread at a time; different states share nothing,
 * so any number of them may be used at once. Only lsig_state_new() allocates memory, only lsig_state_free() gives it
 * back.
 *
 * Errors
 * ------
 * Functions return LSIG_OK or one of the LSIG_E_ codes. Everything is checked before anything changes: after an error
 * the state is as it was, and no output has been written.
 *
 * Versions
 * --------
 * A struct begins with its own size, set by the caller to sizeof: later versions append fields, which are zero for a
 * caller that does not know them. Any other change raises LSIG_ABI_VERSION; a caller that binds at run time compares
 * it with lsig_abi_version() and refuses another number.
 */
#ifndef LIBSIGNAL_H
#define LIBSIGNAL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LSIG_API __attribute__((visibility("default")))
#else
#define LSIG_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LSIG_ABI_VERSION 1

#define LSIG_OK 0
#define LSIG_E_ARGUMENT 1  /* a pointer is NULL, or a struct_size is none this library knows */
#define LSIG_E_MEMORY 2    /* memory is exhausted */
#define LSIG_E_WINDOW 3    /* a window is above LSIG_WINDOW_MAX */
#define LSIG_E_TRADE_ID 4  /* a trade_id is negative or not above the one before it */
#define LSIG_E_PRICE 5     /* a price_e8 is not above zero */
#define LSIG_E_QUANTITY 6  /* a quantity_e8 is below zero */
#define LSIG_E_TIME 7      /* a time_us is below zero or above LSIG_TIME_MAX_US */
#define LSIG_E_SIDE 8      /* an is_buyer_maker is neither 0 nor 1 */

#define LSIG_WINDOW_DEFAULT 20
#define LSIG_WINDOW_MAX 1048576
#define LSIG_TIME_MAX_US 253402300799999999 /* the last microsecond of the year 9999 */

/* The signals of one symbol: opaque. */
typedef struct lsig_state lsig_state;

/*
 * Settings of a state. A window is a number of trades, the newest included; until that many have come it is as long as
 * there are trades. 0 means LSIG_WINDOW_DEFAULT.
 */
typedef struct lsig_config {
    size_t struct_size;             /* sizeof(lsig_config) */
    uint32_t moving_average_window; /* of moving_average */
    uint32_t extremes_window;       /* of window_high_e8 and window_low_e8 */
} lsig_config;

/*
 * One call's trades and where their signals go. Row i of each output is the value right after trade i. All columns
 * hold n rows; outputs may not overlap inputs or each other.
 */
typedef struct lsig_columns {
    size_t struct_size; /* sizeof(lsig_columns) */
    size_t n;           /* trades in this call; 0 is allowed and changes nothing */
    size_t error_row;   /* out: the first wrong row after LSIG_E_TRADE_ID .. LSIG_E_SIDE */

    /* Inputs, all wanted. */
    const int64_t *trade_id;       /* the venue's ids, from 0, each above the one before; holes are allowed */
    const int64_t *price_e8;       /* above zero */
    const int64_t *quantity_e8;    /* zero or above */
    const int64_t *time_us;        /* 0 .. LSIG_TIME_MAX_US; may stand still or go back */
    const uint8_t *is_buyer_maker; /* 1: the taker sold; 0: the taker bought */

    /* Outputs; NULL where not wanted. */
    double *moving_average;   /* mean price of the window: the double nearest to the exact mean */
    int64_t *window_high_e8;  /* highest price of the window */
    int64_t *window_low_e8;   /* lowest price of the window */
    int64_t *session_high_e8; /* highest price since the session began */
    int64_t *session_low_e8;  /* lowest price since the session began */
    int64_t *session_count;   /* trades since the session began */
    double *session_volume;   /* base asset traded since the session began: the double nearest to the exact sum */
} lsig_columns;

/* Where a state stands. Prices and times are 0 as long as there is no trade they could be of. */
typedef struct lsig_summary {
    size_t struct_size;            /* sizeof(lsig_summary) */
    int64_t count;                 /* trades ever processed */
    int64_t last_trade_id;         /* -1 before the first trade */
    int64_t last_price_e8;         /* */
    int64_t last_time_us;          /* */
    int64_t session_count;         /* trades since the session began */
    int64_t session_open_e8;       /* price of the session's first trade */
    int64_t session_open_time_us;  /* time of the session's first trade */
    int64_t session_high_e8;       /* */
    int64_t session_low_e8;        /* */
    uint64_t session_volume_e8[2]; /* exact, 128 bits: low word, high word */
} lsig_summary;

/* The LSIG_ABI_VERSION the library was built with. */
LSIG_API int lsig_abi_version(void);

/* What an error code means: a constant text in English, never NULL, also for numbers that are no code. */
LSIG_API const char *lsig_error_message(int code);

/*
 * Make a state that has seen no trade. config may be NULL: all defaults. Free it with lsig_state_free().
 * Errors: LSIG_E_ARGUMENT, LSIG_E_WINDOW, LSIG_E_MEMORY; *out is then NULL.
 */
LSIG_API int lsig_state_new(const lsig_config *config, lsig_state **out);

/* Free a state; NULL is allowed. */
LSIG_API void lsig_state_free(lsig_state *state);

/*
 * Take in n trades and write their signals. One call with n trades gives the same as n calls with one.
 * Errors: LSIG_E_ARGUMENT, LSIG_E_TRADE_ID, LSIG_E_PRICE, LSIG_E_QUANTITY, LSIG_E_TIME, LSIG_E_SIDE. For the errors of
 * a trade columns->error_row is its row.
 */
LSIG_API int lsig_process(lsig_state *state, lsig_columns *columns);

/*
 * Begin a new session with the next trade. Windows go on: they know trades, not sessions.
 * Errors: LSIG_E_ARGUMENT.
 */
LSIG_API int lsig_reset_session(lsig_state *state);

/*
 * Tell where the state stands; out->struct_size must be set.
 * Errors: LSIG_E_ARGUMENT.
 */
LSIG_API int lsig_summarize(const lsig_state *state, lsig_summary *out);

#ifdef __cplusplus
}
#endif

#endif
