/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays of symbols whose models learn: tiny ones by the range coder, and the
 * test for those that drift. */
#include "entropy/range.h"
#include "entropy/symbols.h"

enum { WINDOW = 2048, WINDOWS_MIN = 2, WINDOWS_MAX = 8 };

tsr_error tsri_symbols_put_range(const uint8_t *sym, size_t n, uint32_t last,
                                 uint8_t *out, size_t room, size_t *size)
{
    tsri_range_byte model = { 0 };
    tsri_range_enc enc;

    tsri_range_enc_open(&enc, out, room);
    for (size_t i = 0; i < n; i++)
        if (last < 16)
            tsri_range_put_nibble(&enc, &model.high, sym[i]);
        else
            tsri_range_put_byte(&enc, &model, sym[i]);
    return tsri_range_finish(&enc, size);
}

tsr_error tsri_symbols_get_range(const uint8_t *data, size_t size, size_t n,
                                 uint32_t last, uint8_t *sym)
{
    tsri_range_byte model = { 0 };
    tsri_range_dec dec;
    bool sound = true;

    tsri_range_dec_open(&dec, data, size);
    for (size_t i = 0; i < n; i++) {
        sym[i] = (uint8_t)(last < 16 ? tsri_range_get_nibble(&dec, &model.high)
                                     : tsri_range_get_byte(&dec, &model));
        sound &= sym[i] <= last;
    }
    return sound ? tsri_range_dec_end(&dec) : TSR_E_CORRUPT;
}

/* Adds what the symbols of a window would cost with a table of their own that
 * is known.  Their counts say too little by half a nat for each symbol used. */
static uint64_t window_cost(const tsr_context *ctx, const uint8_t *sym)
{
    tsri_symbols_count count;
    uint64_t used = 0;

    tsri_symbols_tally(ctx, &count, sym, WINDOW, 0);
    for (int s = 0; s < 256; s++)
        used += count.seen[s];
    return tsri_symbols_cost(&count, WINDOW) + used * 23 / 256;
}

bool tsri_symbols_drift(const tsr_context *ctx, const void *data, int width,
                        size_t n, uint32_t base, uint64_t cost)
{
    const size_t wanted = n >> 16 < WINDOWS_MIN ? WINDOWS_MIN : n >> 16;
    const size_t windows = wanted < WINDOWS_MAX ? wanted : WINDOWS_MAX;
    const size_t step = n / windows;
    uint8_t sym[WINDOW];
    uint64_t sum = 0;

    if (step < 2 * WINDOW)
        return false;
    for (size_t i = 0; i < windows; i++) {
        tsri_ints_narrow(data, width, i * step + (step - WINDOW) / 2, WINDOW,
                         base, sym);
        sum += window_cost(ctx, sym);
    }
    return sum + sum / 16 < cost / (n / WINDOW) * windows;
}
