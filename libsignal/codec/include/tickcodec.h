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

/* --- frames: what a venue says -> messages of the bus ------------------------------------------------------------ */

/* The trades of one symbol, in the order of the frames. */
typedef struct tickcodec_group {
    int64_t name_at; /* where in `out` the symbol stands, in lower case */
    int64_t name_size;
    int64_t at; /* where in `out` its tickmesh.v1.TradeBatches of one stands */
    int64_t size;
    int64_t rows;
    int64_t first_id; /* of the first row */
    int64_t last_id;  /* of the last row */
    int64_t highest_id;
    int64_t is_consecutive; /* whether each row's id is the one after that of the row before */
    int64_t earliest_us;
    int64_t latest_us;
    int64_t last_us; /* the time of the last row */
} tickcodec_group;

/* One call's room and results. */
typedef struct tickcodec_frames {
    size_t struct_size;
    size_t max_frames;
    size_t max_groups;
    int64_t max_id;          /* the highest id that a trade may have */
    const char *venue;       /* at most 16 bytes: goes into the messages */
    size_t venue_size;
    int64_t received_time_us; /* likewise */
    uint8_t *out;            /* TICKCODEC_FRAME_BYTES * max_frames bytes, aligned to 8 */
    tickcodec_group *groups; /* the symbols, in the order in which they come first */
    int64_t *others;         /* max_frames: the frames that are left to Python, rising */
    size_t group_count;
    size_t other_count;
} tickcodec_frames;

#define TICKCODEC_FRAME_BYTES 184

/* Read frames of Binance's combined streams, `{"stream":"...","data":{"e":"trade",...}}`, separated by '\n'.
 *
 * Only a trade as Binance has always written it is read here: no blanks, no escapes, nothing beyond ASCII, each field
 * once, integers and decimals that fit. Any other frame is among `others`. Returns 0, or 1 when nothing could be read:
 * the text has another number of lines than `frames`, there are more frames or symbols than there is room for, the
 * venue is too long, or the struct has another size. */
TICKCODEC_API int tickcodec_read_frames(tickcodec_frames *call, const char *text, size_t size, size_t frames);

/* --- passing: trades of the venue that go on at the next id of their symbol ---------------------------------------- */

/* How far the trades of a symbol have gone on, and those that went on last. */
typedef struct tickcodec_passed {
    int64_t symbol_size;
    int64_t partition; /* any number: what is published together has the same */
    int64_t first_key; /* of the epoch: keys are that much above ids */
    int64_t passes;    /* whether trades may go on here, as keys that are ids: 0 or 1 */
    int64_t last_id;   /* of the last one; below 0 before the first */
    int64_t last_us;   /* when it happened */
    int64_t trades;    /* that went on here, since somebody has set it to 0 */
    int64_t batches;   /* likewise */
    int64_t turn;      /* in which the last one went on: rises from call to call */
    double came_s;     /* when trades came last, as `now_s` has it */
    int64_t *recent;   /* recent_size rows of id, time, price, quantity, is_buyer_maker and when it came, in a ring */
    int64_t recent_size;  /* 1 or more */
    int64_t recent_count; /* rows written so far: the next one goes to recent_count % recent_size */
    char symbol[96];      /* in lower case; last, so that what is looked at lies together */
} tickcodec_passed;

#define TICKCODEC_RECENT_NUMBERS 6

/* One call's question and answer. */
typedef struct tickcodec_passing {
    size_t struct_size;
    tickcodec_passed **slots; /* that `tickcodec_put_passed` has filled */
    size_t slot_count;
    int64_t max_rows;    /* of a batch that goes on */
    int64_t earliest_us; /* of its trades */
    int64_t latest_us;
    int64_t received_time_us;
    int64_t turn;
    double now_s;
    int64_t *partitions; /* one for each group: that of its symbol, or -1 where its trades have not gone on */
    int64_t rows;        /* how many trades have gone on */
    int64_t oldest_us;   /* the lowest of the times of their groups' last trades */
    int64_t newest_us;   /* the time of the last one of all */
} tickcodec_passing;

/* Put a symbol among some; `slot_count` is a power of two. Returns 0, or 1 where half of the slots are taken, the symbol is
 * there already, or its name is too long. */
TICKCODEC_API int tickcodec_put_passed(tickcodec_passed **slots, size_t slot_count, tickcodec_passed *symbol);

/* Let trades that `tickcodec_read_frames` has read go on: those groups, in order, whose symbol `passes`, whose ids follow
 * its last one and each other, and which keep the bounds; the others are left. `batches` are the `out` of that call. Returns
 * how many groups have gone on; 0 also where the struct has another size. */
TICKCODEC_API size_t tickcodec_pass(tickcodec_passing *call, const uint8_t *batches, size_t size, const tickcodec_group *groups, size_t count);

/* Write the last trades of symbols, at most `each` of one, with their keys, as a serialized tickmesh.v1.TradeBatches: symbols in their order,
 * as far as they fit; none of a symbol that has none. Returns how many symbols were written, and in `written` how many bytes. */
TICKCODEC_API size_t tickcodec_write_recent(const tickcodec_passed *const *symbols, size_t count, size_t each, const char *venue, size_t venue_size, uint8_t *out, size_t out_size, size_t *written);

/* --- batches: trades of the bus -> libsignal -> their signals for the bus ----------------------------------------- */

/* A TradeBatch of a message of many, and what became of it. */
typedef struct tickcodec_carried {
    int64_t at; /* where in the message it stands */
    int64_t size;
    int64_t names_size; /* so many of its bytes are its venue and symbol, with which it begins; 0 where it does not */
    int64_t venue_size; /* so many of those are its venue */
    int64_t symbol;     /* the number of the one that has taken it in */
    int64_t out_at;     /* where in `out` its SignalBatch stands */
    int64_t out_size;
    int64_t rows;
    int64_t first_id;
    int64_t last_id;
} tickcodec_carried;

/* Find the batches of a serialized tickmesh.v1.TradeBatches; what they hold is not looked at. Returns 0, or 1 when the
 * message is not one batch after the other, has none, or has more than `max_batches`. */
TICKCODEC_API int tickcodec_split(const uint8_t *message, size_t size, tickcodec_carried *batches, size_t max_batches, size_t *count);

/* A column of SignalBatch, or a double of its candles, that libsignal writes. */
typedef struct tickcodec_output {
    size_t number; /* of the field */
    size_t offset; /* of the output in lsig_columns, or of the double in lsig_candle */
} tickcodec_output;

/* What the candles of a length are called. */
typedef struct tickcodec_interval {
    int64_t length_us;
    const char *name; /* `1m` */
    size_t name_size; /* at most 16 */
} tickcodec_interval;

/* How candles are written, and room for them as libsignal has them. */
typedef struct tickcodec_candles {
    const tickcodec_interval *intervals; /* of all candles that libsignal closes */
    size_t interval_count;
    const tickcodec_output *indicators; /* of a candle, all behind its `revision`; in the order in which they are written */
    size_t indicator_count;             /* at most 32 */
    void *room;                         /* lsig_candle */
    size_t capacity;
} tickcodec_candles;

/* A symbol whose batches a state of libsignal takes in. */
typedef struct tickcodec_symbol {
    const uint8_t *names; /* its venue and symbol, as each of its batches begins */
    size_t names_size;
    int64_t number; /* of the caller's choice */
    void *state;    /* lsig_state */
    uint8_t *latest; /* room for the last trade that was taken in, with its signals: a SignalBatch of one row, no candles */
    size_t latest_room;
    size_t latest_size;   /* 0 where none was taken in */
    int64_t last_id;      /* of that trade */
    int64_t raw_sequence; /* of the message that carried it */
} tickcodec_symbol;

/* Symbols by their names. */
typedef struct tickcodec_symbols {
    tickcodec_symbol **slots; /* NULL where none is */
    size_t slot_count;        /* a power of two */
    size_t count;
} tickcodec_symbols;

/* Put a symbol where its batches find it; it has to stay where it is. Returns 0, or 1 where one of that name is there
 * already, or where not even one slot in two would stay free. */
TICKCODEC_API int tickcodec_put_symbol(tickcodec_symbols *symbols, tickcodec_symbol *symbol);

/* One call's room and results. */
typedef struct tickcodec_signals {
    size_t struct_size;
    int (*process)(void *state, void *columns); /* lsig_process */
    const tickcodec_symbols *symbols;
    const tickcodec_output *outputs;            /* in the order in which they are written */
    size_t output_count;
    const tickcodec_candles *candles; /* the room is for those that a batch closes */
    size_t max_rows;     /* of a batch */
    size_t max_together; /* so many trades are written in one call, or one batch if that is longer */
    int64_t *work;       /* (4 + output_count) * max_rows numbers */
    uint8_t *out;
    size_t out_size;
    int64_t max_id;       /* the highest id that a trade may have */
    int64_t max_time_us;  /* the latest time that a trade may have */
    int64_t raw_sequence; /* goes into the messages */
    size_t written;       /* bytes of `out` */
    size_t trades;        /* that were taken in */
} tickcodec_signals;

/* Let the states of their symbols take in batches that were found in a message: in order, up to the first that is not
 * written as the bus' writers do, whose symbol is not there, which is of another venue than the first one, whose ids or times
 * are too high, for which there is too little room, or which libsignal does not take. `out` becomes a serialized
 * tickmesh.v1.SignalBatches of all of them, with the candles that each has closed, and each symbol has its last trade. Room
 * is wanted for as many candles as `candles` holds, 290 bytes and ten for each indicator. Returns how many were taken in; 0
 * also where the struct has another size, or anything in it is more than it may be. */
TICKCODEC_API size_t tickcodec_process_batches(tickcodec_signals *call, const uint8_t *message, tickcodec_carried *batches, size_t count);

/* A batch of a message of many that has closed candles, as few have, or that is not as signal writes it. */
typedef struct tickcodec_part {
    int64_t number; /* which of them it is, from 1 on */
    int64_t at;     /* where in the message it stands */
    int64_t size;
    int64_t candles;  /* how many it has closed; 0 where it is not as signal writes it, and nothing below counts */
    int64_t names_at; /* where in the message its trades stand, which begin with its venue and symbol */
    int64_t names_size;
    int64_t raw_sequence;
    int64_t reached_us; /* the highest time of its trades */
} tickcodec_part;

/* One call's room and results. */
typedef struct tickcodec_closing {
    size_t struct_size;
    const tickcodec_candles *candles; /* those of all batches go into its room, one behind the other */
    size_t max_rows;                  /* of a batch */
    int64_t max_id;                   /* the highest id that a trade may have */
    int64_t max_time_us;              /* the latest time that a trade may have */
    int64_t max_count;                /* how many trades a candle may have */
    tickcodec_part *parts;
    size_t max_parts;
    size_t part_count;
} tickcodec_closing;

/* Find those batches of a serialized tickmesh.v1.SignalBatches that have closed candles or are not written as signal does,
 * and read the candles of the former. Of those nothing is to be said against trades and candles, but for the venue and the
 * symbol, and no indicator is above 1e30. Returns 0, or 1 when the message is not one batch after the other, has none, or
 * has more than `max_parts` of those, and where the struct has another size. */
TICKCODEC_API int tickcodec_find_closing(tickcodec_closing *call, const uint8_t *message, size_t size);

/* Write the candles of the message that tickcodec_find_closing has read last as rows of PostgreSQL's binary COPY, without its
 * header and end. Their fields: venue, symbol, name of the interval, start; open, high, low, close, volume, quote volume and
 * taker buy volume as numeric with 8 decimals (the quote volume 16); count, first and last id; revision 0; the doubles of
 * lsig_candle in their order, NULL where they are NaN. A row wants room for 600 bytes and its venue and symbol. Returns 0, or
 * 1 when one of its batches is not as signal writes it, or there is less room. */
TICKCODEC_API int tickcodec_candle_rows(const tickcodec_closing *call, const uint8_t *message, uint8_t *out, size_t out_size, size_t *written);

/* --- columns: trades of the bus -> columns, those of each symbol together ------------------------------------------ */

/* Count the batches and the trades of a serialized tickmesh.v1.TradeBatches that `tickcodec_join_trades` can read. Returns
 * 0, or 1 when it cannot: the message is not one batch after the other or has none; or one of them is not written as the
 * bus' writers do, has columns of several lengths, no trades, or more than `max_rows`. */
TICKCODEC_API int tickcodec_count_trades(const uint8_t *message, size_t size, size_t max_rows, size_t *batches, size_t *rows);

/* The trades of one venue and symbol, in the order of the batches. */
typedef struct tickcodec_joined_group {
    int64_t names_at; /* where in the messages its first batch begins, with venue and symbol */
    int64_t names_size;
    int64_t received_time_us; /* of its first batch */
    int64_t first_row;        /* in the columns */
    int64_t rows;
} tickcodec_joined_group;

/* One call's room and results. */
typedef struct tickcodec_joined {
    size_t struct_size;
    const uint8_t *messages; /* serialized tickmesh.v1.TradeBatches, one behind the other */
    size_t size;
    size_t batches; /* in all of them, as `tickcodec_count_trades` has counted */
    size_t rows;    /* likewise: so many each column has room for */
    size_t max_rows; /* of a batch */
    int64_t *columns[4]; /* ids, prices and quantities (e8), times (us) */
    uint8_t *makers;     /* 1 where the buyer is the maker, else 0 */
    int64_t *group_of_batch; /* work: one for each batch */
    int64_t *slots;          /* work */
    size_t slot_count;       /* a power of two, more than `max_groups` */
    tickcodec_joined_group *groups; /* in the order in which they come first */
    size_t max_groups;
    size_t group_count;
} tickcodec_joined;

/* Put the trades of messages into columns, all of one venue and symbol behind each other. Returns 0, or 1 when nothing is
 * to be used: the messages hold anything else than was counted, or more symbols than there is room for, a bool is neither
 * 0 nor 1, or the struct has another size. */
TICKCODEC_API int tickcodec_join_trades(tickcodec_joined *call);

/* --- rows: trades -> PostgreSQL's binary COPY --------------------------------------------------------------------- */

/* Trades that follow each other in the columns, all of one symbol. */
typedef struct tickcodec_copied_group {
    int64_t venue_size; /* bytes of `names` */
    int64_t symbol_size;
    int64_t rows;
} tickcodec_copied_group;

/* One call's trades, room and result. */
typedef struct tickcodec_copied {
    size_t struct_size;
    const int64_t *columns[4]; /* ids, prices and quantities (e8, not below zero), times (us) */
    const uint8_t *makers;     /* 1 where the buyer is the maker, else 0 */
    const char *names;         /* venue and symbol of each group, one behind the other */
    const tickcodec_copied_group *groups;
    size_t group_count;
    uint8_t *out;
    size_t out_size; /* a row takes TICKCODEC_TRADE_ROW_BYTES, its venue and its symbol */
    size_t written;
} tickcodec_copied;

#define TICKCODEC_TRADE_ROW_BYTES 83

/* Write trades as rows of a binary COPY, without its header and end. Their fields: time, venue, symbol, id; price and quantity
 * as numeric of five digits to the base of 10,000, two of them behind the point; whether the buyer is the maker. Returns 0, or
 * 1 where there is less room, or the struct has another size. */
TICKCODEC_API int tickcodec_trade_rows(tickcodec_copied *call);

/* --- ticks: what signal sends -> the messages of /ws ------------------------------------------------------------- */

/* A tickmesh.v1.SignalBatch of at least one trade, all of whose trades' columns have the same length. */
typedef struct tickcodec_batch {
    int64_t at; /* where in the response it stands */
    int64_t size;
    int64_t venue_at; /* likewise */
    int64_t venue_size;
    int64_t symbol_at; /* likewise */
    int64_t symbol_size;
    int64_t rows;
    int64_t first_id; /* of the first row */
    int64_t last_id;  /* of the last row */
    int64_t last_us;  /* the time of the last row */
} tickcodec_batch;

/* Find the batches of a serialized tickmesh.v1.WatchResponse. Returns 0, or 1 when it holds anything else, more than
 * `max_batches`, or what cannot be read. */
TICKCODEC_API int tickcodec_find_batches(const uint8_t *response, size_t size, tickcodec_batch *batches, size_t max_batches, size_t *count);

/* What a member of the JSON is written as. */
#define TICKCODEC_E8 0      /* sfixed64, scaled by 1e8: a plain decimal number */
#define TICKCODEC_INTEGER 1 /* sfixed64 */
#define TICKCODEC_DOUBLE 2  /* double: the fewest digits that read back as it, no exponent; null for NaN and infinities */

/* A member of the JSON: a column of SignalBatch. */
typedef struct tickcodec_member {
    const char *key; /* what stands before the number: `,"high":` */
    size_t key_size;
    size_t field; /* the column's number in SignalBatch, below 64 */
    int64_t kind;
} tickcodec_member;

/* One call's room and results. */
typedef struct tickcodec_ticks {
    size_t struct_size;
    const tickcodec_member *members; /* in the order in which they are written */
    size_t member_count;
    const char *head; /* what stands before a trade's price: `{"symbol":"btcusdt","name":"Bitcoin (BTC)","venue":"sim","price":` */
    size_t head_size;
    uint8_t *out;
    size_t out_size;
    size_t written;
    const char *tail; /* what ends a trade: `}` */
    size_t tail_size;
    int64_t as_list; /* 1: no frames, so that `},` for a tail makes items of a list, and each trade says its epoch */
} tickcodec_ticks;

/* Write `rows` trades of a batch that was found in a response, from row `first` on: each as one JSON object in one text
 * frame of a WebSocket server, or without one. Returns 0, or 1 when nothing is to be used: a column is missing or has another length than the
 * trades', an id is negative, a time not between 1970 and 9999, there is too little room (a row wants as much as its
 * longest numbers may need), or the struct has another size. */
TICKCODEC_API int tickcodec_write_ticks(tickcodec_ticks *call, const uint8_t *response, const tickcodec_batch *batch, size_t first, size_t rows);

/* A batch that is to be written. */
typedef struct tickcodec_headed {
    int64_t batch;     /* which of those that were found */
    int64_t head_size; /* of what stands before its trades' prices */
} tickcodec_headed;

/* Write whole batches that were found in a response, as `tickcodec_write_ticks` does one after the other; `head` has the
 * heads of all of them, one behind the other. Returns 0, or 1 when nothing is to be used. */
TICKCODEC_API int tickcodec_write_batches(tickcodec_ticks *call, const uint8_t *response, const tickcodec_batch *batches, const tickcodec_headed *headed, size_t count);

/* --- sockets: the same bytes to many clients ---------------------------------------------------------------------- */

/* Send the same bytes to each of `count` stream sockets, and wait for none. `sent[i]` becomes how many of them socket i
 * took; 0 where it has no room, or an error that the next write to it will tell. Returns how many took all of them. */
TICKCODEC_API size_t tickcodec_send_to_all(const int32_t *sockets, size_t count, const uint8_t *bytes, size_t size, int64_t *sent);

#ifdef __cplusplus
}
#endif

#endif
