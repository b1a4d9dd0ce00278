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
 * Sums are integers of 128 or 192 bits: nothing is lost, however many trades have gone through, and a value after 10^9
 * trades is the one computed afresh from its window. A double is the one nearest to the exact value, or its error is
 * stated below. The same trades give the same bits on every machine. A value that is not defined (a ratio to nothing,
 * an indicator that is not warm yet) is NaN, and nothing else is.
 *
 * Ownership and threads
 * ---------------------
 * The caller owns every column and struct; the library reads and writes them during the call only. A state belongs to
 * the caller until lsig_state_free(). One state may be used by one thread at a time; different states share nothing,
 * so any number of them may be used at once. Only lsig_state_new(), lsig_load() and lsig_series_new() allocate memory,
 * only lsig_state_free() and lsig_series_free() give it back. What is said of a state here goes for a series as well.
 *
 * Errors
 * ------
 * Functions return LSIG_OK or one of the LSIG_E_ codes. Everything is checked before anything changes: after an error
 * the state is as it was, and no output has been written.
 *
 * Versions
 * --------
 * A struct that begins with its own size, set by the caller to sizeof, may grow: later versions append fields, which are
 * zero for a caller that does not know them. Functions may be added too. Any other change raises LSIG_ABI_VERSION; a
 * caller that binds at run time compares it with lsig_abi_version() and refuses another number.
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

#define LSIG_ABI_VERSION 4

#define LSIG_OK 0
#define LSIG_E_ARGUMENT 1  /* a pointer is NULL, or a struct_size is none this library knows */
#define LSIG_E_MEMORY 2    /* memory is exhausted */
#define LSIG_E_SETTING 3   /* a setting of lsig_config is out of range; lsig_wrong_setting() names it */
#define LSIG_E_TRADE_ID 4  /* a trade_id is negative or not above the one before it */
#define LSIG_E_PRICE 5     /* a price_e8 is not above zero */
#define LSIG_E_QUANTITY 6  /* a quantity_e8 is below zero */
#define LSIG_E_TIME 7      /* a time_us is below zero or above LSIG_TIME_MAX_US */
#define LSIG_E_SIDE 8      /* an is_buyer_maker is neither 0 nor 1 */
#define LSIG_E_SIGNAL 9    /* an output is wanted whose group is not among lsig_config.signals */
#define LSIG_E_CAPACITY 10 /* there is no room for the candles or the bytes; the number needed has been written */
#define LSIG_E_DAMAGED 11  /* the bytes are no saved state, or not as they were saved */
#define LSIG_E_FORMAT 12   /* the bytes are a state saved in another format version */
#define LSIG_E_CANDLE 13   /* a candle's prices are not 0 < low <= close <= high */
#define LSIG_E_NOT_WARM 14 /* a candle to go on from has not all its indicators yet */

/* Groups of signals, to be added up for lsig_config.signals. */
#define LSIG_MOVING_AVERAGE 1
#define LSIG_EXPONENTIAL_AVERAGE 2
#define LSIG_WINDOW_VWAP 4
#define LSIG_DEVIATION 8
#define LSIG_EXTREMES 16
#define LSIG_FLOW 32
#define LSIG_RATE 64
#define LSIG_VOLATILITY 128
#define LSIG_SESSION 256
#define LSIG_CANDLES 512
#define LSIG_ALL 1023

#define LSIG_INTERVALS 6 /* of candles: 1 s, 1 min, 5 min, 15 min, 1 h, 1 d, numbered from 0 */
#define LSIG_WINDOW_MAX 1048576
#define LSIG_PERIOD_MAX 4096
#define LSIG_EMPTY_MAX 86400
#define LSIG_TIME_MAX_US 253402300799999999 /* the last microsecond of the year 9999 */

/* The signals of one symbol: opaque. */
typedef struct lsig_state lsig_state;

/* Closed candles of one interval, one after the other, for their indicators alone: opaque. */
typedef struct lsig_series lsig_series;

/*
 * Settings of a state; 0 means the default everywhere.
 *
 * A window is a number of trades, the newest included; until that many have come it is as long as there are trades.
 * 1 to LSIG_WINDOW_MAX, 20 by default. A period is a number of closed candles, 1 to LSIG_PERIOD_MAX.
 */
typedef struct lsig_config {
    size_t struct_size;              /* sizeof(lsig_config) */
    uint32_t signals;                /* the groups to work out; default LSIG_ALL. The others cost nothing. */
    uint32_t moving_average_window;  /* */
    uint32_t exponential_window;     /* a price's weight halves about every 0.35 * window trades */
    uint32_t vwap_window;            /* */
    uint32_t deviation_window;       /* of deviation and Bollinger's bands */
    uint32_t extremes_window;        /* */
    uint32_t flow_window;            /* */
    uint32_t rate_window;            /* */
    uint32_t volatility_window;      /* in returns, so one more price than that */
    uint32_t rsi_period;             /* default 14 */
    uint32_t atr_period;             /* default 14 */
    uint32_t macd_fast_period;       /* default 12; must be below the slow one */
    uint32_t macd_slow_period;       /* default 26 */
    uint32_t macd_signal_period;     /* default 9 */
    uint32_t candle_ema_period;      /* default 20 */
    uint32_t candle_sma_period;      /* default 20 */
    uint32_t empty_candles;          /* a run of at most so many empty intervals becomes candles, all of it; of a longer
                                        run none does, the next candle's empty_before counts it. 0 to LSIG_EMPTY_MAX,
                                        default 0: none ever do */
    double bollinger_width;          /* distance of the bands in deviations, above 0; default 2 */
} lsig_config;

/*
 * A candle: the trades of one interval, [start_us, start_us + interval_us), in the order of their ids.
 *
 * Wide numbers are words of 64 bits, the low one first; they cannot overflow. A candle of an empty interval has the
 * previous close for prices, count and volumes 0, and trade ids -1.
 *
 * Indicators are those right after this candle, over the closed candles of its interval; NaN until warm. Definitions,
 * also of what the first value is made of, are TA-Lib's with unstable period 0. With P the period, M the highest price
 * so far, f the candles since the close last changed and u = 2^-53 the errors stay below: rsi 1200 (P + f) u; atr, ema
 * and the averages that rsi and macd are made of 4 (P + 1) u M; macd 8 (slow + 1) u M; its signal and histogram
 * 16 (slow + signal) u M. sma is the double nearest to the exact mean. With the last four, atr, macd_signal, ema and the
 * closes that sma looks back to, lsig_series_resume() goes on to the next candle.
 */
typedef struct lsig_candle {
    int64_t interval_us;
    int64_t start_us;
    int64_t open_e8;
    int64_t high_e8;
    int64_t low_e8;
    int64_t close_e8;
    int64_t count;                   /* trades */
    int64_t first_trade_id;
    int64_t last_trade_id;
    int64_t empty_before;            /* empty intervals right before this one that have become no candles */
    uint64_t volume_e8[2];           /* base asset */
    uint64_t taker_buy_volume_e8[2]; /* of these, what takers bought */
    uint64_t quote_volume_e16[3];    /* sum of price * quantity, scaled by 10^16 */
    double rsi;                      /* Wilder's, 0 to 100; 0 where the close has not changed for some 690 P candles */
    double atr;                      /* Wilder's average true range */
    double macd;                     /* fast minus slow average; given as soon as the slow one is warm */
    double macd_signal;
    double macd_histogram;           /* macd - macd_signal */
    double ema;
    double sma;
    double average_gain;             /* Wilder's average of the rises of the close; rsi = 100 gain / (gain + loss) */
    double average_loss;             /* and of its falls, above zero too */
    double macd_fast;                /* the exponential averages whose difference macd is */
    double macd_slow;
} lsig_candle;

/*
 * One call's trades and where their signals go. Row i of each output is the value right after trade i. All columns
 * hold n rows; outputs may not overlap inputs or each other. With n the trades a window holds and u = 2^-53:
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

    /* Outputs; NULL where not wanted. A later version's signals are appended to them. */

    /* LSIG_CANDLES: a candle closes when a trade of a later interval comes, and never because time passes. */
    lsig_candle *candles;    /* the candles these trades close, in order of time, shorter intervals first; NULL: not told */
    size_t candle_capacity;  /* room in candles; 6 (1 + empty_candles) per trade always suffice */
    size_t candle_count;     /* out: candles written, or after LSIG_E_CAPACITY the room that is needed */
    uint8_t *late_intervals; /* bit k is set where the trade belongs to a candle of interval k that has already been
                                closed; it is then in no candle of that interval, but in those of longer ones */

    /* LSIG_MOVING_AVERAGE */
    double *moving_average; /* mean price of the window: the double nearest to the exact mean */

    /* LSIG_EXPONENTIAL_AVERAGE */
    double *exponential_average; /* from the first price on, each price pulls by 2 / (window + 1) of the distance;
                                    error below 4 (window + 1) u times the highest price so far */

    /* LSIG_WINDOW_VWAP */
    double *window_vwap; /* sum of price * quantity / sum of quantity; relative error below 7 u; NaN without volume */

    /* LSIG_DEVIATION */
    double *deviation;        /* population standard deviation of the prices (divided by n); relative error below 6 u */
    double *bollinger_upper;  /* middle + bollinger_width * deviation; error below 8 u times middle + width * deviation */
    double *bollinger_middle; /* mean price of the window: the double nearest to the exact mean */
    double *bollinger_lower;  /* middle - bollinger_width * deviation; error as of the upper one */

    /* LSIG_EXTREMES */
    int64_t *window_high_e8; /* highest price of the window */
    int64_t *window_low_e8;  /* lowest price of the window */

    /* LSIG_FLOW: by volume; NaN without any */
    double *buy_share;      /* what takers bought / all that was traded, 0 to 1; relative error below 6 u */
    double *flow_imbalance; /* (bought - sold) / (bought + sold), -1 to 1; relative error below 6 u */

    /* LSIG_RATE */
    double *trade_rate; /* (n - 1) / (time of the newest - time of the oldest), trades a second; relative error below
                           4 u; NaN where that time is not above zero */

    /* LSIG_VOLATILITY */
    double *volatility; /* population standard deviation of the last window returns ln(price / price before), not
                           annualized; error below 2^-56 + 2^-49 times the largest return; 0 for the first trade */

    /* LSIG_SESSION */
    int64_t *session_open_e8; /* price of the session's first trade */
    int64_t *session_high_e8; /* highest price since the session began */
    int64_t *session_low_e8;  /* lowest price since the session began */
    int64_t *session_count;   /* trades since the session began */
    double *session_volume;   /* base asset traded since the session began: the double nearest to the exact sum */
    double *session_vwap;     /* as window_vwap, since the session began */
} lsig_columns;

/* Where a state stands. Prices and times are 0 as long as there is no trade they could be of. */
typedef struct lsig_summary {
    size_t struct_size;            /* sizeof(lsig_summary) */
    int64_t count;                 /* trades ever processed */
    int64_t last_trade_id;         /* -1 before the first trade */
    int64_t last_price_e8;         /* */
    int64_t last_time_us;          /* */
    int64_t session_count;         /* trades since the session began; this and the rest are 0 without LSIG_SESSION */
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
 * The name of the first setting that is out of range, such as "rsi_period"; NULL when lsig_state_new() would take them
 * all, and when config is NULL or its struct_size is none this library knows. A constant text.
 */
LSIG_API const char *lsig_wrong_setting(const lsig_config *config);

/*
 * Make a state that has seen no trade. config may be NULL: all defaults. Free it with lsig_state_free().
 * Errors: LSIG_E_ARGUMENT, LSIG_E_SETTING, LSIG_E_MEMORY; *out is then NULL.
 */
LSIG_API int lsig_state_new(const lsig_config *config, lsig_state **out);

/*
 * Tell the settings of a state, defaults filled in; out->struct_size must be set.
 * Errors: LSIG_E_ARGUMENT.
 */
LSIG_API int lsig_get_config(const lsig_state *state, lsig_config *out);

/* Free a state; NULL is allowed. */
LSIG_API void lsig_state_free(lsig_state *state);

/*
 * Take in n trades and write their signals. One call with n trades gives the same as n calls with one.
 * Errors: LSIG_E_ARGUMENT, LSIG_E_SIGNAL, LSIG_E_CAPACITY (candle_count tells the room needed), LSIG_E_TRADE_ID,
 * LSIG_E_PRICE, LSIG_E_QUANTITY, LSIG_E_TIME, LSIG_E_SIDE (error_row tells the row).
 */
LSIG_API int lsig_process(lsig_state *state, lsig_columns *columns);

/*
 * Begin a new session with the next trade. Windows and candles go on: they know no sessions.
 * Errors: LSIG_E_ARGUMENT.
 */
LSIG_API int lsig_reset_session(lsig_state *state);

/*
 * Tell where the state stands; out->struct_size must be set.
 * Errors: LSIG_E_ARGUMENT.
 */
LSIG_API int lsig_summarize(const lsig_state *state, lsig_summary *out);

/*
 * Tell the candle of interval 0 .. LSIG_INTERVALS - 1 that is still open, as it is now; its indicators are NaN. count
 * is 0 before the first trade.
 * Errors: LSIG_E_ARGUMENT, LSIG_E_SIGNAL without LSIG_CANDLES.
 */
LSIG_API int lsig_open_candle(const lsig_state *state, uint32_t interval, lsig_candle *out);

/*
 * Write the whole state, its settings included, into `capacity` bytes; *size becomes the number of bytes it takes. The
 * same state gives the same bytes, on every machine and however its trades were cut into calls.
 * About 200 bytes, 25 for each trade the longest window holds, and with the default periods 2,000 for the candles.
 * Errors: LSIG_E_ARGUMENT; LSIG_E_CAPACITY: *size tells the room needed, what has been written is of no use. Asking
 * with a capacity of 0 and bytes NULL is the way to learn the size.
 */
LSIG_API int lsig_save(const lsig_state *state, uint8_t *bytes, size_t capacity, size_t *size);

/*
 * Make a state from saved bytes: it goes on exactly as the saved one would have. Free it with lsig_state_free().
 * The bytes may come from anywhere: what is damaged or foreign is an error, no bytes at all (size 0) are damaged ones.
 * Errors: LSIG_E_ARGUMENT (bytes or out is NULL), LSIG_E_DAMAGED, LSIG_E_FORMAT, LSIG_E_MEMORY; *out is then NULL.
 */
LSIG_API int lsig_load(const uint8_t *bytes, size_t size, lsig_state **out);

/*
 * Make a series that has seen no candle, for who keeps candles and changes them: where a late trade changes a candle, the
 * indicators of those after it are worked out again without the trades. Of config only the periods matter; it may be
 * NULL: all defaults. Free it with lsig_series_free().
 * Errors: LSIG_E_ARGUMENT, LSIG_E_SETTING, LSIG_E_MEMORY; *out is then NULL.
 */
LSIG_API int lsig_series_new(const lsig_config *config, lsig_series **out);

/* Free a series; NULL is allowed. */
LSIG_API void lsig_series_free(lsig_series *series);

/*
 * Go on behind a closed candle, whatever made it and whenever: from here on the indicators are, to the bit, what they are
 * in a series or state that has seen all candles up to it. Of `last` only indicators are read: atr, macd_signal, ema,
 * average_gain, average_loss, macd_fast and macd_slow. closes_e8 are the closes of the n candles up to it, its own as the
 * last one; the last candle_sma_period of them count, and with fewer sma is NaN until so many are known.
 * Errors: LSIG_E_ARGUMENT (also where n is 0), LSIG_E_PRICE, LSIG_E_NOT_WARM (one of these indicators is not finite, or an
 * average of moves is below zero); the series is then as it was.
 */
LSIG_API int lsig_series_resume(lsig_series *series, const lsig_candle *last, const int64_t *closes_e8, size_t n);

/*
 * Take in the next n closed candles and write the indicators right after each of them. Of a candle high_e8, low_e8 and
 * close_e8 are read and the indicators written. One call with n candles gives the same as n calls with one.
 * Errors: LSIG_E_ARGUMENT, LSIG_E_CANDLE (*error_row tells the row; error_row may be NULL).
 */
LSIG_API int lsig_series_close(lsig_series *series, lsig_candle *candles, size_t n, size_t *error_row);

#ifdef __cplusplus
}
#endif

#endif
