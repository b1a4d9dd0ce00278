// The border: C on one side, C++ on the other. Nothing thrown gets past this file.
#include "libsignal.h"

#include <cstddef>
#include <new>

#include "check.hpp"
#include "state.hpp"

namespace {

// The sizes of the first version's structs: no caller has smaller ones.
constexpr std::size_t kSmallestConfig = offsetof(lsig_config, extremes_window) + sizeof(lsig_config::extremes_window);
constexpr std::size_t kSmallestColumns = offsetof(lsig_columns, session_volume) + sizeof(lsig_columns::session_volume);

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
        case LSIG_E_WINDOW: return "a window is above LSIG_WINDOW_MAX";
        case LSIG_E_TRADE_ID: return "a trade_id is negative or not above the one before it";
        case LSIG_E_PRICE: return "a price_e8 is not above zero";
        case LSIG_E_QUANTITY: return "a quantity_e8 is below zero";
        case LSIG_E_TIME: return "a time_us is below zero or above LSIG_TIME_MAX_US";
        case LSIG_E_SIDE: return "an is_buyer_maker is neither 0 nor 1";
        default: return "no error code of this library";
    }
}

int lsig_state_new(const lsig_config* config, lsig_state** out) {
    if (out == nullptr) return LSIG_E_ARGUMENT;
    *out = nullptr;
    lsig_config taken{};
    if (config != nullptr && !lsig::take_struct(taken, config, kSmallestConfig)) return LSIG_E_ARGUMENT;
    if (!lsig::windows_in_range(taken)) return LSIG_E_WINDOW;
    try {
        *out = new lsig_state(taken);
        return LSIG_OK;
    } catch (const std::bad_alloc&) {
        return LSIG_E_MEMORY;
    }
}

void lsig_state_free(lsig_state* state) { delete state; }

int lsig_process(lsig_state* state, lsig_columns* columns) {
    lsig_columns taken;
    if (state == nullptr || !lsig::take_struct(taken, columns, kSmallestColumns)) return LSIG_E_ARGUMENT;
    if (taken.n == 0) return LSIG_OK;
    if (!inputs_given(taken)) return LSIG_E_ARGUMENT;
    return state->process(taken, columns->error_row);
}

int lsig_reset_session(lsig_state* state) {
    if (state == nullptr) return LSIG_E_ARGUMENT;
    state->reset_session();
    return LSIG_OK;
}

int lsig_summarize(const lsig_state* state, lsig_summary* out) {
    if (state == nullptr || out == nullptr || out->struct_size != sizeof(lsig_summary)) return LSIG_E_ARGUMENT;
    state->summarize(*out);
    return LSIG_OK;
}
