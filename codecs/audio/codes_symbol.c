/* SPDX-License-Identifier: BSD-2-Clause */
/* One symbol by a table. */
#include "codecs/audio/codes_impl.h"

/* The last symbol that begins at or before a slot. */
static int search(const tsri_codes_table *t, uint32_t slot)
{
    int low = 0;

    for (int size = t->n; size > 1;) {
        const int half = size / 2;
        low += t->start[low + half] <= slot ? half : 0;
        size -= half;
    }
    return low;
}

/* The same by the sums of blocks, then through the symbols of one. */
static int search_sums(const tsri_codes_table *t, uint32_t slot)
{
    int low = 0;

    for (int size = (int)tsri_codes_blocks(t->n); size > 1;) {
        const int half = size / 2, s = (low + half) * TSRI_CODES_BLOCK;
        low += tsri_codes_begin(t, s) <= slot ? half : 0;
        size -= half;
    }
    uint64_t sum = t->before[low];
    int s = low * TSRI_CODES_BLOCK;
    const int end = tsri_min(s + TSRI_CODES_BLOCK, t->n);
    for (; s + 1 < end; s++) {
        sum += t->weight[t->logs[s]];
        if (tsri_codes_start((uint32_t)s + 1, sum, t->scale) > slot)
            break;
    }
    return s;
}

void tsri_codes_symbol(tsri_codes_pen *pen, const tsri_codes_table *t,
                       uint16_t *symbol)
{
    if (pen->reads) {
        const uint32_t slot = tsri_range_slot(&pen->dec, TSRI_CODES_BITS);
        *symbol = (uint16_t)(t->start ? search : search_sums)(t, slot);
    }
    const uint32_t start = tsri_codes_begin(t, *symbol);
    const uint32_t end = tsri_codes_begin(t, *symbol + 1);
    if (pen->reads)
        tsri_range_take(&pen->dec, start, end, TSRI_CODES_BITS);
    else
        tsri_range_put_slots(&pen->enc, start, end, TSRI_CODES_BITS);
}
