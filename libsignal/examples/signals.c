#include <libsignal.h>
#include <stdio.h>

int main(void) {
    const int64_t trade_id[] = {1, 2, 3};
    const int64_t price_e8[] = {6183763000000, 6183764000000, 6183763000000};
    const int64_t quantity_e8[] = {2000000, 4800000, 9000};
    const int64_t time_us[] = {1723161255342000, 1723161255617000, 1723161255617000};
    const uint8_t is_buyer_maker[] = {1, 0, 1};
    double moving_average[3];
    int64_t session_high_e8[3];

    lsig_config config = {sizeof config};
    lsig_state *state = NULL;
    int code = lsig_state_new(&config, &state);
    if (code == LSIG_OK) {
        lsig_columns columns = {sizeof columns};
        columns.n = 3;
        columns.trade_id = trade_id;
        columns.price_e8 = price_e8;
        columns.quantity_e8 = quantity_e8;
        columns.time_us = time_us;
        columns.is_buyer_maker = is_buyer_maker;
        columns.moving_average = moving_average;
        columns.session_high_e8 = session_high_e8;
        code = lsig_process(state, &columns);
    }
    if (code != LSIG_OK) {
        fprintf(stderr, "%s\n", lsig_error_message(code));
    } else {
        printf("mean %.8f high %lld\n", moving_average[2], (long long)session_high_e8[2]);
    }
    lsig_state_free(state);
    return code == LSIG_OK ? 0 : 1;
}
