/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays of symbols of more than 256: bucket tables, and classes of how
 * frequent each symbol is where the symbols are in no order. */
#include <string.h>
#include "entropy/symbols.h"

enum {
    CLASS_MAX = 64,             /* of a frequency of 1.4 * 2^31 */
    HALF_OCTAVE = 1 << 15       /* in units of tsri_log2() */
};

/* Class 0: never; class q: 2^((q - 1) / 2) times, rounded. */
static uint32_t frequency(int q)
{
    const uint64_t k = ((uint64_t)q - 1) / 2;
    return !q ? 0 : q % 2 ? (uint32_t)1 << k : (uint32_t)(((181ull << k) + 64) >> 7);
}

uint8_t tsri_symbols_class(uint32_t count)
{
    return (uint8_t)(count ? 1 + (tsri_log2(count) + HALF_OCTAVE / 2) /
                                 HALF_OCTAVE : 0);
}

tsr_error tsri_symbols_ranked(tsri_bigtable **table, tsr_context *ctx,
                              const uint8_t *classes, size_t n)
{
    uint32_t *freq = tsri_alloc(ctx, n, sizeof *freq);
    tsr_error error = freq ? TSR_OK : TSR_E_NOMEM;

    for (size_t i = 0; freq && i < n; i++) {
        error = classes[i] > CLASS_MAX ? TSR_E_CORRUPT : error;
        freq[i] = error ? 0 : frequency(classes[i]);
    }
    if (!error)
        error = tsri_bigtable_open(table, ctx, freq, n);
    tsri_free(ctx, freq);
    return error;
}

uint64_t tsri_symbols_bucket_cost(const tsri_symbols_count *count, size_t alphabet)
{
    const int buckets = tsri_bigtable_buckets(alphabet);
    uint64_t bits = 0;

    for (int b = 0; b < buckets; b++)
        bits += count->of[b] * (uint64_t)tsri_bigtable_tail(alphabet, b);
    return tsri_symbols_cost(count, count->n) + bits / 8;
}

/* A bucket with a quarter more a symbol than one before it, and that not by
 * chance, says that the symbols are not in order. */
bool tsri_symbols_unsorted(const tsri_symbols_count *count, size_t alphabet)
{
    enum { ENOUGH = 256 };
    const int buckets = tsri_bigtable_buckets(alphabet);
    uint64_t least = UINT64_MAX;

    for (int b = 0; b < buckets; b++) {
        const uint64_t each = count->of[b] << 20 >> tsri_bigtable_tail(alphabet, b);
        if (count->of[b] >= ENOUGH && each / 5 > least / 4)
            return true;
        least = each < least && b < buckets - 1 ? each : least;
    }
    return false;
}

uint64_t tsri_symbols_token_cost(const uint32_t *count, size_t alphabet, uint64_t n)
{
    const uint64_t all = tsri_log2(n);
    uint64_t bits = 0;

    /* n < 2^32 symbols of at most 32 bits, times 2^16 */
    for (size_t i = 0; i < alphabet; i++)
        if (count[i])
            bits += count[i] * (all - tsri_log2(count[i]));
    return bits >> 19;
}
