/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/bigtable.h"
#include "entropy/freq.h"
#include "entropy/histogram.h"
#include "entropy/rans_bits.h"

enum {
    BITS = 12,       /* of the bucket table */
    PLAIN_MAX = 256, /* alphabets up to this have a table of their own */
    NARROW_MAX = 1 << 16, /* alphabets up to this have maps of 16 bits */
    BLOCK = 2048,    /* symbols at a time; a multiple of all lane counts, so
                        that blocks of a run are a run */
    COUNT_BLOCK = 16384
};

struct tsri_bigtable {
    size_t n;
    tsri_bank *bank;    /* NULL: all tokens have the bucket `only` */
    int only;
    bool plain;         /* up to 256 symbols: tokens are symbols */
    bool sparse;        /* some buckets cannot be coded, see `coded` */
    tsri_ranks rank, token; /* each the other's inverse; at is NULL where a
                               token is its rank, and in plain tables */
    bool coded[PLAIN_MAX];
};

/* ---- tables ---- */

int tsri_bigtable_buckets(size_t n)
{
    if (n <= PLAIN_MAX)
        return (int)n;
    return n > TSRI_BIGTABLE_MAX ? 0 : (int)tsri_bucket_of((uint32_t)n - 1) + 1;
}

int tsri_bigtable_tail(size_t n, int bucket)
{
    return n <= PLAIN_MAX ? 0 : tsri_bucket_tail((uint32_t)bucket);
}

/* Falling frequency, then rising symbol: a stable radix sort, 11 bits at a
 * time, of the inverted frequencies.  Three passes: from `rank` to `token`. */
static tsr_error sort(tsr_context *ctx, const uint32_t *freq, size_t n,
                      uint32_t *rank, uint32_t *token)
{
    uint32_t *from = rank, *to = token, *swap, *count;

    count = tsri_alloc(ctx, 2049, sizeof *count);
    if (!count)
        return tsri_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        from[i] = (uint32_t)i;
    for (int shift = 0; shift < 33; shift += 11) {
        memset(count, 0, 2049 * sizeof *count);
        for (size_t i = 0; i < n; i++)
            count[(~freq[i] >> shift & 2047) + 1]++;
        for (int k = 0; k < 2047; k++)
            count[k + 1] += count[k];
        for (size_t i = 0; i < n; i++)
            to[count[~freq[from[i]] >> shift & 2047]++] = from[i];
        swap = from;
        from = to;
        to = swap;
    }
    tsri_free(ctx, count);
    return TSR_OK;
}

static tsr_error keep_maps(tsri_bigtable *t, tsr_context *ctx,
                           const uint32_t *token)
{
    const bool wide = t->n > NARROW_MAX;
    size_t same = 0;

    while (same < t->n && token[same] == same)
        same++;
    if (same == t->n)
        return TSR_OK;
    t->rank = (tsri_ranks){ tsri_alloc(ctx, t->n, wide ? 4 : 2), wide };
    t->token = (tsri_ranks){ tsri_alloc(ctx, t->n, wide ? 4 : 2), wide };
    if (!t->rank.at || !t->token.at)
        return tsri_nomem(ctx);
    for (size_t r = 0; r < t->n; r++) {
        tsri_set_rank(t->token, r, token[r]);
        tsri_set_rank(t->rank, token[r], (uint32_t)r);
    }
    return TSR_OK;
}

static tsr_error open_bank(tsri_bigtable *t, tsr_context *ctx,
                           const uint64_t *count)
{
    uint16_t freq[PLAIN_MAX];
    const uint16_t size = (uint16_t)tsri_bigtable_buckets(t->n);

    TSR_TRY(tsri_freq_normalise(count, size, BITS, freq));
    return tsri_bank_open(&t->bank, ctx, BITS, freq, &size, 1);
}

static tsr_error open_plain(tsri_bigtable *t, tsr_context *ctx,
                            const uint32_t *freq)
{
    uint64_t count[PLAIN_MAX];

    for (size_t i = 0; i < t->n; i++)
        count[i] = freq[i];
    return open_bank(t, ctx, count);
}

static tsr_error open_ranked(tsri_bigtable *t, tsr_context *ctx,
                             const uint32_t *freq)
{
    uint64_t count[TSRI_BUCKETS_MAX] = { 0 };
    uint32_t *rank = tsri_alloc(ctx, t->n, sizeof *rank);
    uint32_t *token = tsri_alloc(ctx, t->n, sizeof *token);
    tsr_error error = TSR_E_NOMEM;

    if (rank && token)
        error = sort(ctx, freq, t->n, rank, token);
    if (!error)
        error = keep_maps(t, ctx, token);
    for (size_t i = 0; !error && i < t->n; i++)
        count[tsri_bucket_of((uint32_t)i)] += freq[token[i]];
    tsri_free(ctx, rank);
    tsri_free(ctx, token);
    return error ? error : open_bank(t, ctx, count);
}

static tsr_error begin(tsri_bigtable **out, tsr_context *ctx, size_t n)
{
    *out = NULL;
    if (n < 1 || n > TSRI_BIGTABLE_MAX)
        return tsri_fail(ctx, TSR_E_ARG, "an alphabet of %zu symbols", n);
    *out = tsri_calloc(ctx, 1, sizeof **out);
    if (!*out)
        return tsri_nomem(ctx);
    (*out)->n = n;
    (*out)->plain = n <= PLAIN_MAX;
    return TSR_OK;
}

static tsr_error end(tsri_bigtable **out, tsr_context *ctx, tsr_error error)
{
    if (error)
        tsri_bigtable_close(out, ctx);
    return error;
}

tsr_error tsri_bigtable_open(tsri_bigtable **out, tsr_context *ctx,
                             const uint32_t *freq, size_t n)
{
    TSR_TRY(begin(out, ctx, n));
    return end(out, ctx, (*out)->plain ? open_plain(*out, ctx, freq)
                                       : open_ranked(*out, ctx, freq));
}

/* The bank of a table whose buckets' frequencies come from outside. */
static tsr_error open_given(tsri_bigtable *t, tsr_context *ctx,
                            const uint16_t *freq)
{
    const uint16_t size = (uint16_t)tsri_bigtable_buckets(t->n);
    int used = 0;

    for (int b = 0; b < size; b++) {
        t->coded[b] = freq[b] > 0;
        t->only = freq[b] ? b : t->only;
        used += freq[b] > 0;
    }
    t->sparse = used < size;
    if (used == 1 && freq[t->only] == 1 << BITS)
        return TSR_OK;
    return tsri_bank_open_sparse(&t->bank, ctx, BITS, freq, &size, 1);
}

tsr_error tsri_bigtable_open_sorted(tsri_bigtable **out, tsr_context *ctx,
                                    const uint16_t *freq, size_t n)
{
    TSR_TRY(begin(out, ctx, n));
    return end(out, ctx, open_given(*out, ctx, freq));
}

void tsri_bigtable_close(tsri_bigtable **out, tsr_context *ctx)
{
    tsri_bigtable *t = *out;
    if (!t)
        return;
    tsri_bank_close(&t->bank, ctx);
    tsri_free(ctx, t->rank.at);
    tsri_free(ctx, t->token.at);
    tsri_free(ctx, t);
    *out = NULL;
}

/* ---- counts ---- */

static tsr_error count_tokens(const tsr_context *ctx, size_t n,
                              tsri_ranks token, size_t count, uint64_t *bucket)
{
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;
    const int buckets = tsri_bigtable_buckets(n);
    uint8_t sym[COUNT_BLOCK];
    uint32_t part[256];

    if (!buckets)
        return TSR_E_ARG;
    for (size_t k; count; count -= k, token = tsri_ranks_from(token, k)) {
        k = count < COUNT_BLOCK ? count : COUNT_BLOCK;
        if (tsri_ranks_most(token, k, avx2) >= n)
            return TSR_E_ARG;
        if (n > PLAIN_MAX)
            tsri_buckets(token, k, sym, avx2);
        else
            for (size_t i = 0; i < k; i++)
                sym[i] = (uint8_t)tsri_rank(token, i);
        tsri_rans_count8(sym, k, part);
        for (int b = 0; b < buckets; b++)
            bucket[b] += part[b];
    }
    return TSR_OK;
}

tsr_error tsri_bigtable_count16(const tsr_context *ctx, size_t n,
                                const uint16_t *token, size_t count,
                                uint64_t *bucket)
{
    return count_tokens(ctx, n, (tsri_ranks){ (void *)token, false }, count,
                        bucket);
}

tsr_error tsri_bigtable_count32(const tsr_context *ctx, size_t n,
                                const uint32_t *token, size_t count,
                                uint64_t *bucket)
{
    return count_tokens(ctx, n, (tsri_ranks){ (void *)token, true }, count,
                        bucket);
}

tsr_error tsri_bigtable_normalise(size_t n, const uint64_t *bucket,
                                  uint16_t *freq)
{
    const int size = tsri_bigtable_buckets(n);
    uint64_t count[PLAIN_MAX];
    uint16_t some[PLAIN_MAX];
    int used = 0;

    if (!size)
        return TSR_E_ARG;
    for (int b = 0; b < size; b++)
        if (bucket[b])
            count[used++] = bucket[b];
    if (!used)
        return tsri_freq_normalise(bucket, size, BITS, freq);
    TSR_TRY(tsri_freq_normalise(count, used, BITS, some));
    used = 0;
    for (int b = 0; b < size; b++)
        freq[b] = bucket[b] ? some[used++] : 0;
    return TSR_OK;
}

/* ---- coding ---- */

static inline __attribute__((always_inline)) void
look_up(tsri_ranks map, tsri_ranks from, size_t n, tsri_ranks to,
        const bool wide_map, const bool wide_from, const bool wide_to)
{
    map.wide = wide_map;
    from.wide = wide_from;
    to.wide = wide_to;
    for (size_t i = 0; i < n; i++)
        tsri_set_rank(to, i, tsri_rank(map, tsri_rank(from, i)));
}

/* to[i] = map[from[i]], a loop for each combination of widths that occurs. */
static void map_all(tsri_ranks map, tsri_ranks from, size_t n, tsri_ranks to)
{
    if (map.wide && !from.wide)
        look_up(map, from, n, to, true, false, true);
    else if (map.wide)
        look_up(map, from, n, to, true, true, true);
    else if (from.wide)
        look_up(map, from, n, to, false, true, false);
    else if (to.wide)
        look_up(map, from, n, to, false, false, true);
    else
        look_up(map, from, n, to, false, false, false);
}

/* Codes up to BLOCK tokens, but for their symbols, which it only tells. */
static tsr_error put_block(const tsri_bigtable *t, tsri_bits_out *out,
                           tsri_ranks token, size_t n, uint8_t *sym)
{
    uint32_t buffer[BLOCK];
    tsri_ranks rank = token;
    bool coded = true;

    if (tsri_ranks_most(token, n, out->avx2) >= t->n)
        return TSR_E_ARG;
    if (t->plain)
        for (size_t i = 0; i < n; i++)
            sym[i] = (uint8_t)tsri_rank(token, i);
    if (t->rank.at) {
        rank = (tsri_ranks){ buffer, t->rank.wide };
        map_all(t->rank, token, n, rank);
    }
    if (!t->plain)
        tsri_put_tails(out, rank, n, (uint32_t)t->n - 1, sym);
    for (size_t i = 0; t->sparse && i < n; i++)
        coded &= t->coded[sym[i]];
    return coded ? TSR_OK : TSR_E_ARG;
}

static tsr_error put(const tsri_bigtable *t, tsri_rans_enc *enc,
                     tsri_ranks token, size_t n)
{
    const int tail = t->plain ? 0 :
        tsri_bucket_tail(tsri_bucket_of((uint32_t)t->n - 1));
    tsri_bits_out out;
    uint8_t *sym;
    size_t room;

    if (!n)
        return TSR_OK;
    sym = tsri_rans_keep(enc, n);
    if (!sym || !tsri_mul(n, (size_t)tail, &room))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_rans_raw_begin(enc, room / 8, &out));
    for (size_t i = 0; i < n; i += BLOCK)
        TSR_TRY(put_block(t, &out, tsri_ranks_from(token, i),
                          n - i < BLOCK ? n - i : BLOCK, sym + i));
    tsri_rans_raw_end(enc, &out);
    return t->bank ? tsri_rans_put8(enc, t->bank, 0, sym, n) : TSR_OK;
}

/* Makes tokens of n symbols. */
static tsr_error get_block(const tsri_bigtable *t, tsri_rans_dec *dec,
                           const uint8_t *sym, size_t n, tsri_ranks token)
{
    uint32_t buffer[BLOCK];
    tsri_ranks rank = token;

    if (t->plain) {
        for (size_t i = 0; i < n; i++)
            tsri_set_rank(token, i, sym[i]);
        return TSR_OK;
    }
    if (t->token.at)
        rank = (tsri_ranks){ buffer, t->token.wide };
    if (tsri_rans_get_tails(dec, sym, n, rank) >= t->n)
        return TSR_E_CORRUPT;
    if (t->token.at)
        map_all(t->token, rank, n, token);
    return TSR_OK;
}

static tsr_error get(const tsri_bigtable *t, tsri_rans_dec *dec,
                     tsri_ranks token, size_t n)
{
    uint8_t sym[BLOCK];

    memset(sym, t->only, sizeof sym);
    for (size_t k; n; n -= k, token = tsri_ranks_from(token, k)) {
        k = n < BLOCK ? n : BLOCK;
        if (t->bank)
            TSR_TRY(tsri_rans_get8(dec, t->bank, 0, sym, k));
        TSR_TRY(get_block(t, dec, sym, k, token));
    }
    return TSR_OK;
}

static tsr_error get_pair(const tsri_bigtable *t, tsri_rans_dec *dec[2],
                          const tsri_ranks token[2], const size_t n[2])
{
    const size_t most = n[0] > n[1] ? n[0] : n[1];
    uint8_t sym[2][BLOCK];

    memset(sym, t->only, sizeof sym);
    for (size_t at = 0; at < most; at += BLOCK) {
        tsri_rans_run8 run[2];
        tsri_ranks to[2];
        for (int s = 0; s < 2; s++) {
            const size_t done = at < n[s] ? at : n[s], left = n[s] - done;
            run[s] = (tsri_rans_run8){ 0, sym[s], left < BLOCK ? left : BLOCK };
            to[s] = tsri_ranks_from(token[s], done);
        }
        if (t->bank)
            TSR_TRY(tsri_rans_get8_pair(dec, t->bank, run));
        for (int s = 0; s < 2; s++)
            TSR_TRY(get_block(t, dec[s], sym[s], run[s].n, to[s]));
    }
    return TSR_OK;
}

tsr_error tsri_bigtable_put16(const tsri_bigtable *table, tsri_rans_enc *enc,
                              const uint16_t *token, size_t n)
{
    return put(table, enc, (tsri_ranks){ (void *)token, false }, n);
}

tsr_error tsri_bigtable_put32(const tsri_bigtable *table, tsri_rans_enc *enc,
                              const uint32_t *token, size_t n)
{
    return put(table, enc, (tsri_ranks){ (void *)token, true }, n);
}

tsr_error tsri_bigtable_get16(const tsri_bigtable *table, tsri_rans_dec *dec,
                              uint16_t *token, size_t n)
{
    if (table->n > NARROW_MAX)
        return TSR_E_ARG;
    return get(table, dec, (tsri_ranks){ token, false }, n);
}

tsr_error tsri_bigtable_get32(const tsri_bigtable *table, tsri_rans_dec *dec,
                              uint32_t *token, size_t n)
{
    return get(table, dec, (tsri_ranks){ token, true }, n);
}

tsr_error tsri_bigtable_get16_pair(const tsri_bigtable *table,
                                   tsri_rans_dec *dec[2], uint16_t *token[2],
                                   const size_t n[2])
{
    const tsri_ranks to[2] = { { token[0], false }, { token[1], false } };
    if (table->n > NARROW_MAX)
        return TSR_E_ARG;
    return get_pair(table, dec, to, n);
}

tsr_error tsri_bigtable_get32_pair(const tsri_bigtable *table,
                                   tsri_rans_dec *dec[2], uint32_t *token[2],
                                   const size_t n[2])
{
    const tsri_ranks to[2] = { { token[0], true }, { token[1], true } };
    return get_pair(table, dec, to, n);
}
