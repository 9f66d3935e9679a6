/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "entropy/bigtable.h"
#include "entropy/freq.h"

enum {
    BITS = 12,       /* of the bucket table */
    PLAIN_MAX = 256, /* alphabets up to this have a table of their own */
    MANTISSA = 2,
    BUCKETS = 80,    /* more than a rank below 2^20 can have */
    BLOCK = 4096     /* symbols at a time; a multiple of all lane counts, so
                        that blocks of a run are a run */
};

struct tsri_bigtable {
    size_t n;
    tsri_bank *bank;
    uint32_t *rank, *token;  /* each the other's inverse; NULL: plain table */
};

typedef struct split {
    uint16_t bucket;
    uint8_t nbits;
    uint32_t rest;
} split;

/* rank = (4 + mantissa) << nbits | rest, or the bucket itself below 4. */
static split split_rank(uint32_t rank)
{
    const int e = rank ? 31 - __builtin_clz(rank) : 0;
    const int nbits = e < MANTISSA ? 0 : e - MANTISSA;

    return (split){ (uint16_t)((nbits << MANTISSA) + (int)(rank >> nbits)),
                    (uint8_t)nbits, rank & ((1u << nbits) - 1) };
}

static int bucket_bits(uint32_t bucket)
{
    return bucket < 1 << MANTISSA ? 0 : (int)(bucket >> MANTISSA) - 1;
}

static uint32_t bucket_first(uint32_t bucket)
{
    const int nbits = bucket_bits(bucket);
    return (bucket - ((uint32_t)nbits << MANTISSA)) << nbits;
}

/* Falling frequency, then rising symbol: a stable radix sort, 11 bits at a
 * time, of the inverted frequencies. */
static tsr_error rank_symbols(tsri_bigtable *t, tsr_context *ctx,
                              const uint32_t *freq)
{
    uint32_t *from = t->rank, *to = t->token, *swap, *count;

    count = tsri_alloc(ctx, 2049, sizeof *count);
    if (!count)
        return tsri_nomem(ctx);
    for (size_t i = 0; i < t->n; i++)
        from[i] = (uint32_t)i;
    for (int shift = 0; shift < 33; shift += 11) {
        memset(count, 0, 2049 * sizeof *count);
        for (size_t i = 0; i < t->n; i++)
            count[(~freq[i] >> shift & 2047) + 1]++;
        for (int k = 0; k < 2047; k++)
            count[k + 1] += count[k];
        for (size_t i = 0; i < t->n; i++)
            to[count[~freq[from[i]] >> shift & 2047]++] = from[i];
        swap = from;
        from = to;
        to = swap;
    }
    tsri_free(ctx, count);
    /* Three passes: the order is in t->token. */
    for (size_t r = 0; r < t->n; r++)
        t->rank[t->token[r]] = (uint32_t)r;
    return TSR_OK;
}

static tsr_error open_bank(tsri_bigtable *t, tsr_context *ctx,
                           const uint64_t *count, int n)
{
    uint16_t freq[PLAIN_MAX];
    const uint16_t size = (uint16_t)n;

    TSR_TRY(tsri_freq_normalise(count, n, BITS, freq));
    return tsri_bank_open(&t->bank, ctx, BITS, freq, &size, 1);
}

static tsr_error open_plain(tsri_bigtable *t, tsr_context *ctx,
                            const uint32_t *freq)
{
    uint64_t count[PLAIN_MAX];

    for (size_t i = 0; i < t->n; i++)
        count[i] = freq[i];
    return open_bank(t, ctx, count, (int)t->n);
}

static tsr_error open_ranked(tsri_bigtable *t, tsr_context *ctx,
                             const uint32_t *freq)
{
    uint64_t count[BUCKETS] = { 0 };
    int buckets;

    t->rank = tsri_alloc(ctx, t->n, sizeof *t->rank);
    t->token = tsri_alloc(ctx, t->n, sizeof *t->token);
    if (!t->rank || !t->token)
        return tsri_nomem(ctx);
    TSR_TRY(rank_symbols(t, ctx, freq));
    for (size_t i = 0; i < t->n; i++)
        count[split_rank((uint32_t)i).bucket] += freq[t->token[i]];
    buckets = split_rank((uint32_t)t->n - 1).bucket + 1;
    return open_bank(t, ctx, count, buckets);
}

tsr_error tsri_bigtable_open(tsri_bigtable **out, tsr_context *ctx,
                             const uint32_t *freq, size_t n)
{
    tsri_bigtable *t;
    tsr_error error;

    *out = NULL;
    if (n < 1 || n > TSRI_BIGTABLE_MAX)
        return tsri_fail(ctx, TSR_E_ARG, "an alphabet of %zu symbols", n);
    t = tsri_calloc(ctx, 1, sizeof *t);
    if (!t)
        return tsri_nomem(ctx);
    t->n = n;
    error = n <= PLAIN_MAX ? open_plain(t, ctx, freq)
                           : open_ranked(t, ctx, freq);
    if (error)
        tsri_bigtable_close(&t, ctx);
    *out = t;
    return error;
}

void tsri_bigtable_close(tsri_bigtable **out, tsr_context *ctx)
{
    tsri_bigtable *t = *out;
    if (!t)
        return;
    tsri_bank_close(&t->bank, ctx);
    tsri_free(ctx, t->rank);
    tsri_free(ctx, t->token);
    tsri_free(ctx, t);
    *out = NULL;
}

/* Codes up to BLOCK tokens. */
static tsr_error put_block(const tsri_bigtable *t, tsri_rans_enc *enc,
                           const uint32_t *token, size_t n)
{
    uint16_t sym[BLOCK];

    for (size_t i = 0; i < n; i++) {
        if (token[i] >= t->n)
            return TSR_E_ARG;
        sym[i] = (uint16_t)token[i];
        if (t->rank) {
            const split s = split_rank(t->rank[token[i]]);
            sym[i] = s.bucket;
            TSR_TRY(tsri_rans_put_bits(enc, s.rest, s.nbits));
        }
    }
    return tsri_rans_put(enc, t->bank, NULL, 0, sym, n);
}

static tsr_error get_block(const tsri_bigtable *t, tsri_rans_dec *dec,
                           uint32_t *token, size_t n)
{
    uint16_t sym[BLOCK];

    TSR_TRY(tsri_rans_get(dec, t->bank, NULL, 0, sym, n));
    for (size_t i = 0; i < n; i++) {
        token[i] = sym[i];
        if (t->rank) {
            const uint32_t rank = bucket_first(sym[i]) +
                tsri_rans_get_bits(dec, bucket_bits(sym[i]));
            if (rank >= t->n)
                return TSR_E_CORRUPT;
            token[i] = t->token[rank];
        }
    }
    return TSR_OK;
}

tsr_error tsri_bigtable_put32(const tsri_bigtable *table, tsri_rans_enc *enc,
                              const uint32_t *token, size_t n)
{
    for (size_t k; n; n -= k, token += k) {
        k = n < BLOCK ? n : BLOCK;
        TSR_TRY(put_block(table, enc, token, k));
    }
    return TSR_OK;
}

tsr_error tsri_bigtable_put16(const tsri_bigtable *table, tsri_rans_enc *enc,
                              const uint16_t *token, size_t n)
{
    uint32_t wide[BLOCK];

    for (size_t k; n; n -= k, token += k) {
        k = n < BLOCK ? n : BLOCK;
        for (size_t i = 0; i < k; i++)
            wide[i] = token[i];
        TSR_TRY(put_block(table, enc, wide, k));
    }
    return TSR_OK;
}

tsr_error tsri_bigtable_get32(const tsri_bigtable *table, tsri_rans_dec *dec,
                              uint32_t *token, size_t n)
{
    for (size_t k; n; n -= k, token += k) {
        k = n < BLOCK ? n : BLOCK;
        TSR_TRY(get_block(table, dec, token, k));
    }
    return TSR_OK;
}

tsr_error tsri_bigtable_get16(const tsri_bigtable *table, tsri_rans_dec *dec,
                              uint16_t *token, size_t n)
{
    uint32_t wide[BLOCK];

    if (table->n > 1 << 16)
        return TSR_E_ARG;
    for (size_t k; n; n -= k, token += k) {
        k = n < BLOCK ? n : BLOCK;
        TSR_TRY(get_block(table, dec, wide, k));
        for (size_t i = 0; i < k; i++)
            token[i] = (uint16_t)wide[i];
    }
    return TSR_OK;
}
