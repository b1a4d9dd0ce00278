// The border: C on one side, C++ on the other. Nothing thrown gets past this file.
#include "libsignal.h"

#include <memory>
#include <new>

#include "check.hpp"
#include "saved.hpp"
#include "series.hpp"
#include "settings.hpp"
#include "state.hpp"

namespace {

// Run what may throw, and only for want of memory.
template <class Function>
int guarded(Function function) {
    try {
        return function();
    } catch (const std::bad_alloc&) {
        return LSIG_E_MEMORY;
    }
}

// Make a state or a series of settings that may be left out.
template <class Made>
int make(const lsig_config* config, Made** out) {
    if (out == nullptr) return LSIG_E_ARGUMENT;
    *out = nullptr;
    lsig_config taken{};
    if (config != nullptr && !lsig::take_struct(taken, config)) return LSIG_E_ARGUMENT;
    if (lsig::fill_in_defaults(taken) != nullptr) return LSIG_E_SETTING;
    return guarded([&] {
        *out = new Made(taken);
        return LSIG_OK;
    });
}

bool inputs_given(const lsig_columns& columns) {
    return columns.trade_id != nullptr && columns.price_e8 != nullptr && columns.quantity_e8 != nullptr &&
           columns.time_us != nullptr && columns.is_buyer_maker != nullptr;
}

}  // namespace

int lsig_abi_version(void) { return LSIG_ABI_VERSION; }

const char* lsig_error_message(int code) {
    switch (code) {
        case LSIG_OK: return "no error";
        case LSIG_E_ARGUMENT: return "a pointer is NULL or a struct_size is none this library knows";
        case LSIG_E_MEMORY: return "memory is exhausted";
        case LSIG_E_SETTING: return "a setting is out of range";
        case LSIG_E_TRADE_ID: return "a trade_id is negative or not above the one before it";
        case LSIG_E_PRICE: return "a price_e8 is not above zero";
        case LSIG_E_QUANTITY: return "a quantity_e8 is below zero";
        case LSIG_E_TIME: return "a time_us is below zero or above LSIG_TIME_MAX_US";
        case LSIG_E_SIDE: return "an is_buyer_maker is neither 0 nor 1";
        case LSIG_E_SIGNAL: return "an output is wanted whose group of signals the state does not work out";
        case LSIG_E_CAPACITY: return "there is no room for the candles or the bytes";
        case LSIG_E_DAMAGED: return "the bytes are no saved state or not as they were saved";
        case LSIG_E_FORMAT: return "the bytes are a state saved in another format version";
        case LSIG_E_CANDLE: return "a candle's prices are not 0 < low <= close <= high";
        case LSIG_E_NOT_WARM: return "a candle to go on from has not all its indicators yet";
        default: return "no error code of this library";
    }
}

const char* lsig_wrong_setting(const lsig_config* config) {
    lsig_config taken{};
    return lsig::take_struct(taken, config) ? lsig::fill_in_defaults(taken) : nullptr;
}

int lsig_state_new(const lsig_config* config, lsig_state** out) { return make(config, out); }

int lsig_get_config(const lsig_state* state, lsig_config* out) {
    if (state == nullptr || !lsig::is_struct(out)) return LSIG_E_ARGUMENT;
    lsig::give_struct(out, state->config());
    return LSIG_OK;
}

void lsig_state_free(lsig_state* state) { delete state; }

int lsig_process(lsig_state* state, lsig_columns* columns) {
    lsig_columns taken;
    if (state == nullptr || !lsig::take_struct(taken, columns)) return LSIG_E_ARGUMENT;
    columns->candle_count = 0;
    if (taken.n == 0) return LSIG_OK;
    if (!inputs_given(taken)) return LSIG_E_ARGUMENT;
    return state->process(taken, *columns);
}

int lsig_reset_session(lsig_state* state) {
    if (state == nullptr) return LSIG_E_ARGUMENT;
    state->reset_session();
    return LSIG_OK;
}

int lsig_summarize(const lsig_state* state, lsig_summary* out) {
    if (state == nullptr || !lsig::is_struct(out)) return LSIG_E_ARGUMENT;
    lsig_summary summary{};
    state->summarize(summary);
    lsig::give_struct(out, summary);
    return LSIG_OK;
}

int lsig_open_candle(const lsig_state* state, uint32_t interval, lsig_candle* out) {
    if (state == nullptr || interval >= LSIG_INTERVALS || out == nullptr) return LSIG_E_ARGUMENT;
    return state->describe_open_candle(interval, *out);
}

int lsig_save(const lsig_state* state, uint8_t* bytes, size_t capacity, size_t* size) {
    if (state == nullptr || size == nullptr || (bytes == nullptr && capacity != 0)) return LSIG_E_ARGUMENT;
    return lsig::save(*state, bytes, capacity, *size);
}

int lsig_load(const uint8_t* bytes, size_t size, lsig_state** out) {
    if (out == nullptr) return LSIG_E_ARGUMENT;
    *out = nullptr;
    if (bytes == nullptr) return LSIG_E_ARGUMENT;
    return guarded([&] {
        std::unique_ptr<lsig_state> state;
        const int code = lsig::load(bytes, size, state);
        *out = state.release();
        return code;
    });
}

int lsig_series_new(const lsig_config* config, lsig_series** out) { return make(config, out); }

void lsig_series_free(lsig_series* series) { delete series; }

int lsig_series_resume(lsig_series* series, const lsig_candle* last, const int64_t* closes_e8, size_t n) {
    if (series == nullptr || last == nullptr || closes_e8 == nullptr || n == 0) return LSIG_E_ARGUMENT;
    return series->resume(*last, closes_e8, n);
}

int lsig_series_close(lsig_series* series, lsig_candle* candles, size_t n, size_t* error_row) {
    if (series == nullptr || (candles == nullptr && n != 0)) return LSIG_E_ARGUMENT;
    return series->close(candles, n, error_row);
}
