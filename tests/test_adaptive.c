/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include <math.h>
#include "entropy/adaptive.h"
#include "lib/bytes.h"
#include "lib/core.h"
#include "lib/crc32c.h"

enum { SETS = 3, RUNS = 7, RUN_MAX = 5000 };

/* ---- a straightforward decoder ---- */

typedef struct ref_model {
    int symbols, limit, left;
    uint32_t above[16], freq[16];
} ref_model;

static void ref_renew(ref_model *m)
{
    uint32_t up[17] = { 0 }, weight[16], log = 0;

    if (m->above[0] > (uint32_t)m->limit)
        for (int i = 0; i < 16; i++)
            m->above[i] /= 2;
    while (m->above[0] >> (log + 1))
        log++;
    for (int i = 0; i < m->symbols; i++)
        weight[i] = (m->above[i] << (14 - log)) +
                    ((uint32_t)(m->symbols - i) << (14 - log)) / 8;
    const uint32_t unit = ((32768u - (uint32_t)m->symbols) << 15) / weight[0];
    for (int i = 1; i < m->symbols; i++)
        up[i] = (uint32_t)(m->symbols - i) +
                (uint32_t)((uint64_t)weight[i] * unit >> 15);
    up[0] = 32768;
    for (int i = 0; i < m->symbols; i++) {
        m->freq[i] = up[i] - up[i + 1];
        assert_true(m->freq[i] >= 1 && up[i] > up[i + 1]);
    }
    m->left = (int)m->above[0] / 16;
    m->left = m->left < 1 ? 1 : m->left > 256 ? 256 : m->left;
}

static void ref_start(ref_model *m, int symbols, int memory)
{
    *m = (ref_model){ .symbols = symbols, .limit = 1 << memory };
    ref_renew(m);
}

typedef struct ref_dec {
    uint32_t state[32];
    uint16_t sum[32];
    const uint8_t *word, *end;
    int lanes;
} ref_dec;

static int ref_symbol(ref_dec *d, int lane, const ref_model *m)
{
    uint32_t x = d->state[lane], slot = x % 32768;
    int s = 0;
    while (slot >= m->freq[s])
        slot -= m->freq[s++];
    x = m->freq[s] * (x / 32768) + slot;
    if (x < 65536) {
        assert_true(d->word < d->end);
        x = x << 16 | tsri_get16(d->word);
        d->word += 2;
    }
    d->state[lane] = x;
    return s;
}

static void ref_learn(ref_model **m, const int *sym, int n)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k <= sym[i]; k++)
            m[i]->above[k]++;
        m[i]->left--;
    }
    for (int i = 0; i < n; i++)
        if (m[i]->left <= 0)
            ref_renew(m[i]);
}

static void ref_row(ref_dec *d, ref_model *models, int symbols,
                    const uint16_t *context, uint8_t *sym, int n)
{
    ref_model *m[32];
    int high[32], low[32];

    for (int i = 0; i < n; i++) {
        m[i] = models + 17 * (context ? context[i] : 0);
        high[i] = ref_symbol(d, i, m[i]);
    }
    ref_learn(m, high, n);
    for (int i = 0; i < n && symbols > 16; i++) {
        m[i] += 1 + high[i];
        low[i] = ref_symbol(d, i, m[i]);
    }
    if (symbols > 16)
        ref_learn(m, low, n);
    for (int i = 0; i < n; i++) {
        sym[i] = (uint8_t)(symbols > 16 ? 16 * high[i] + low[i] : high[i]);
        d->sum[i] = (uint16_t)((d->sum[i] + sym[i]) * 0x9E35u);
    }
}

static ref_model *ref_models(const tsri_adapt_shape *shape)
{
    ref_model *m = malloc((size_t)shape->contexts * 17 * sizeof *m);
    const int a = shape->symbols, highs = (a + 15) / 16;

    for (int c = 0; c < shape->contexts; c++) {
        ref_start(&m[17 * c], a > 16 ? highs : a, shape->memory);
        for (int h = 0; h < highs && a > 16; h++)
            ref_start(&m[17 * c + 1 + h], h < highs - 1 ? 16 : a - 16 * h,
                      shape->memory);
    }
    return m;
}

/* ---- what is coded ---- */

typedef struct content {
    tsri_adapt_shape shape[SETS];
    int set[RUNS];
    bool has_context[RUNS];
    size_t n[RUNS];
    uint16_t context[RUNS][RUN_MAX];
    uint8_t sym[RUNS][RUN_MAX];
    uint32_t raw[RUNS];
    int nbits[RUNS];
} content;

/* kind 0: geometric, 1: even, 2: always the last, 3: drifts. */
static void fill_run(check_rng *r, content *c, int k, int kind)
{
    const tsri_adapt_shape *shape = &c->shape[c->set[k]];
    const uint32_t symbols = (uint32_t)shape->symbols;

    for (size_t i = 0; i < c->n[k]; i++) {
        uint32_t s = 0, context = check_below(r, (uint32_t)shape->contexts);
        if (k % 3 == 1) /* contexts that stay for long */
            context = (uint32_t)(i / 50) % (uint32_t)shape->contexts;
        while (kind % 2 == 0 && check_below(r, 3))
            s++;
        s = kind == 1 ? check_below(r, symbols) : kind == 2 ? symbols - 1 :
            kind == 3 ? (uint32_t)(i / 100) + check_below(r, 3) : s + context;
        c->sym[k][i] = (uint8_t)(s % symbols);
        c->context[k][i] = (uint16_t)context;
    }
}

static void fill(content *c, uint64_t seed, size_t most)
{
    static const int alphabets[] = { 1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 240,
                                     241, 255, 256 };
    check_rng r = { seed * 77 + 1 };

    for (int i = 0; i < SETS; i++) {
        c->shape[i].symbols = alphabets[check_below(&r, 14)];
        c->shape[i].contexts = 1 + (int)check_below(&r, i == 1 ? 3 : 300);
        c->shape[i].memory = 6 + (int)check_below(&r, 9);
    }
    for (int k = 0; k < RUNS; k++) {
        c->set[k] = (int)check_below(&r, SETS);
        c->has_context[k] = check_below(&r, 2);
        c->n[k] = k == 2 ? 0 : check_below(&r, (uint32_t)most);
        fill_run(&r, c, k, (int)check_below(&r, 4));
        c->nbits[k] = k % 2 ? (int)check_below(&r, 33) : 0;
        c->raw[k] = c->nbits[k] ? check_u32(&r) >> (32 - c->nbits[k]) : 0;
    }
}

static const uint16_t *context_of(const content *c, int k)
{
    return c->has_context[k] ? c->context[k] : NULL;
}

/* A copy of the segment, of exactly its size. */
static uint8_t *encode(tsr_context *ctx, bool fast, const content *c,
                       uint32_t crc, int lanes, size_t *size)
{
    const unsigned cpu = ctx->cpu;
    tsri_adapt_enc *enc;
    const uint8_t *data;

    ctx->cpu = fast ? cpu : 0;
    assert_int_equal(tsri_adapt_enc_open(&enc, ctx, c->shape, SETS), TSR_OK);
    ctx->cpu = cpu;
    for (int turn = 0; turn < 2; turn++) { /* the first is forgotten */
        tsri_adapt_enc_reset(enc);
        for (int k = 0; k < RUNS; k++) {
            assert_int_equal(tsri_adapt_put(enc, c->set[k], context_of(c, k),
                                            c->sym[k], c->n[k]), TSR_OK);
            assert_int_equal(tsri_adapt_put_bits(enc, c->raw[k], c->nbits[k]),
                             TSR_OK);
        }
    }
    assert_int_equal(tsri_adapt_finish(enc, crc, lanes, &data, size), TSR_OK);
    uint8_t *copy = malloc(*size + 1);
    memcpy(copy, data, *size);
    tsri_adapt_enc_close(&enc);
    return copy;
}

static tsri_adapt_dec *open_dec(tsr_context *ctx, bool fast, const content *c)
{
    const unsigned cpu = ctx->cpu;
    tsri_adapt_dec *dec;

    ctx->cpu = fast ? cpu : 0;
    assert_int_equal(tsri_adapt_dec_open(&dec, ctx, c->shape, SETS), TSR_OK);
    ctx->cpu = cpu;
    return dec;
}

static tsr_error decode(tsr_context *ctx, bool fast, tsri_adapt_dec *dec,
                        const content *c, const uint8_t *data, size_t size,
                        uint32_t crc, bool *same)
{
    static uint8_t sym[RUN_MAX + 1];
    const unsigned cpu = ctx->cpu;

    *same = true;
    ctx->cpu = fast ? cpu : 0;
    const tsr_error error = tsri_adapt_start(dec, data, size, crc);
    ctx->cpu = cpu;
    if (error)
        return error;
    for (int k = 0; k < RUNS; k++) {
        sym[c->n[k]] = 0xee;
        TSR_TRY(tsri_adapt_get(dec, c->set[k], context_of(c, k), sym, c->n[k]));
        assert_int_equal(sym[c->n[k]], 0xee);
        for (size_t i = 0; i < c->n[k]; i++)
            assert_true(sym[i] < c->shape[c->set[k]].symbols);
        *same &= !memcmp(sym, c->sym[k], c->n[k]);
        *same &= tsri_adapt_get_bits(dec, c->nbits[k]) == c->raw[k];
    }
    return tsri_adapt_end(dec);
}

static void ref_check(const content *c, const uint8_t *data, size_t size,
                      uint32_t crc)
{
    static const int counts[] = { 1, 4, 8, 32 };
    ref_dec d = { .lanes = counts[data[0] & 3] };
    ref_model *models[SETS];
    const uint8_t *p = data + 1;
    uint8_t sym[32];
    uint64_t raw = 0;

    if (data[0] & 4)
        p += tsri_get_varint(p, size, &raw);
    for (int i = 0; i < d.lanes; i++, p += 4)
        d.state[i] = tsri_get32(p);
    d.word = p;
    d.end = data + size - raw;
    for (int i = 0; i < SETS; i++)
        models[i] = ref_models(&c->shape[i]);
    for (int k = 0; k < RUNS; k++)
        for (size_t i = 0; i < c->n[k]; i += (size_t)d.lanes) {
            const int n = c->n[k] - i < (size_t)d.lanes ? (int)(c->n[k] - i)
                                                        : d.lanes;
            ref_row(&d, models[c->set[k]], c->shape[c->set[k]].symbols,
                    c->has_context[k] ? c->context[k] + i : NULL, sym, n);
            assert_memory_equal(sym, c->sym[k] + i, (size_t)n);
        }
    assert_ptr_equal(d.word, d.end);
    const uint32_t seed = tsri_crc32c(crc, d.end, raw) & 0xffff;
    for (int i = 0; i < d.lanes; i++)
        assert_int_equal(d.state[i], 65536 + (seed ^ d.sum[i]));
    for (int i = 0; i < SETS; i++)
        free(models[i]);
}

/* ---- tests ---- */

/* Same bytes on every path, read by every path and by the decoder above. */
static void round_trip(tsr_context *ctx, const content *c, int lanes)
{
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;
    size_t size, fast_size;
    uint8_t *data = encode(ctx, false, c, 5, lanes, &size);
    bool same;

    if (size)
        ref_check(c, data, size, 5);
    for (int fast = 0; fast <= avx2; fast++) {
        uint8_t *again = encode(ctx, fast, c, 5, lanes, &fast_size);
        tsri_adapt_dec *dec = open_dec(ctx, fast, c);
        assert_int_equal(fast_size, size);
        assert_memory_equal(again, data, size);
        for (int turn = 0; turn < 2; turn++) {
            assert_int_equal(decode(ctx, fast, dec, c, again, size, 5, &same),
                             TSR_OK);
            assert_true(same);
        }
        if (size)
            assert_int_equal(decode(ctx, fast, dec, c, again, size, 6, &same),
                             TSR_E_CORRUPT);
        tsri_adapt_dec_close(&dec);
        free(again);
    }
    free(data);
}

static const int lane_counts[] = { 0, 1, 4, 8, 32 };

static void test_round_trip(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = malloc(sizeof *c);
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        fill(c, seed, seed < 20 ? 100 : RUN_MAX);
        for (int i = 0; i < 5; i++)
            round_trip(ctx, c, lane_counts[i]);
    }
    free(c);
    tsr_context_close(&ctx);
}

static void test_sizes(void **state)
{
    static const int alphabets[] = { 1, 5, 16, 200 };
    tsr_context *ctx = check_context("c", 1);
    content *c = calloc(1, sizeof *c);
    check_rng r = { 4 };
    (void)state;
    for (int a = 0; a < 4; a++)
        for (size_t n = 0; n <= 100; n++) {
            for (int i = 0; i < SETS; i++)
                c->shape[i] = (tsri_adapt_shape){ alphabets[a], 1 + i, 9 };
            c->set[0] = (int)n % SETS;
            c->n[0] = n;
            c->has_context[0] = n % 2;
            fill_run(&r, c, 0, (int)n % 4);
            round_trip(ctx, c, lane_counts[1 + n % 4]);
        }
    free(c);
    tsr_context_close(&ctx);
}

/* A long run by one model, so that counts are halved and vectors have work. */
static size_t code_long(tsr_context *ctx, const tsri_adapt_shape *shape,
                        const uint16_t *context, const uint8_t *sym, size_t n)
{
    uint8_t *got = malloc(n);
    tsri_adapt_enc *enc;
    tsri_adapt_dec *dec;
    const uint8_t *data;
    size_t size;

    assert_int_equal(tsri_adapt_enc_open(&enc, ctx, shape, 1), TSR_OK);
    assert_int_equal(tsri_adapt_dec_open(&dec, ctx, shape, 1), TSR_OK);
    assert_int_equal(tsri_adapt_put(enc, 0, context, sym, n), TSR_OK);
    assert_int_equal(tsri_adapt_finish(enc, 1, 32, &data, &size), TSR_OK);
    assert_int_equal(tsri_adapt_start(dec, data, size, 1), TSR_OK);
    assert_int_equal(tsri_adapt_get(dec, 0, context, got, n), TSR_OK);
    assert_int_equal(tsri_adapt_end(dec), TSR_OK);
    assert_memory_equal(got, sym, n);
    tsri_adapt_dec_close(&dec);
    tsri_adapt_enc_close(&enc);
    free(got);
    return size;
}

/* The bound of one model for all. */
static double order0(const uint8_t *sym, size_t n)
{
    double bits = 0;
    size_t count[256] = { 0 };

    for (size_t i = 0; i < n; i++)
        count[sym[i]]++;
    for (int i = 0; i < 256; i++)
        if (count[i])
            bits += (double)count[i] * log2((double)n / (double)count[i]);
    return bits / 8;
}

/* Data with a bell shape, of a width that changes `changes` times. */
static void bells(check_rng *r, uint8_t *sym, uint16_t *context, size_t n,
                  int symbols, int changes)
{
    const size_t part = n / (size_t)(changes + 1) + 1;

    for (size_t i = 0; i < n; i++) {
        const uint32_t width = (uint32_t)symbols >> (2 + i / part % 3);
        uint32_t s = 0;
        for (int k = 0; k < 4; k++)
            s += check_below(r, width + 1);
        sym[i] = (uint8_t)(s % (uint32_t)symbols);
        context[i] = (uint16_t)(i / part % 3);
    }
}

static void test_compression(void **state)
{
    enum { N = 200000 };
    tsr_context *ctx = check_context("c", 1);
    uint8_t *sym = malloc(N);
    uint16_t *context = malloc(2 * N);
    check_rng r = { 8 };
    (void)state;
    for (int symbols = 16; symbols <= 256; symbols *= 16) {
        const tsri_adapt_shape one = { symbols, 1, 13 }, three = { symbols, 3, 13 };
        bells(&r, sym, context, N, symbols, 0);
        double bound = order0(sym, N);
        size_t size = code_long(ctx, &one, NULL, sym, N);
        assert_true((double)size < 1.004 * bound);
        bells(&r, sym, context, N, symbols, 20);
        bound = order0(sym, N);
        size = code_long(ctx, &one, NULL, sym, N);
        assert_true((double)size < 0.99 * bound);
        assert_true((double)code_long(ctx, &three, context, sym, N) <
                    0.99 * (double)size);
    }
    free(context);
    free(sym);
    tsr_context_close(&ctx);
}

static void test_lanes(void **state)
{
    static const struct { size_t n; int code; } cases[] = {
        { 100, 0 }, { 1500, 0 }, { 3000, 1 }, { 8000, 2 }, { 30000, 3 },
    };
    tsr_context *ctx = check_context("c", 1);
    static uint8_t sym[30000];
    const tsri_adapt_shape shape = { 256, 1, 12 };
    tsri_adapt_enc *enc;
    check_rng r = { 9 };
    const uint8_t *data;
    size_t size;
    (void)state;
    for (size_t i = 0; i < sizeof sym; i++)
        sym[i] = (uint8_t)check_u32(&r);
    assert_int_equal(tsri_adapt_enc_open(&enc, ctx, &shape, 1), TSR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tsri_adapt_put(enc, 0, NULL, sym, cases[i].n), TSR_OK);
        assert_int_equal(tsri_adapt_finish(enc, 0, 0, &data, &size), TSR_OK);
        assert_int_equal(data[0], cases[i].code);
        assert_in_range(size, cases[i].n, cases[i].n + cases[i].n / 10 + 70);
    }
    tsri_adapt_enc_close(&enc);
    tsr_context_close(&ctx);
}

/* Every truncation and every flipped bit; those that the end does not notice
 * must show in the symbols. */
static void damage(tsr_context *ctx, const content *c, int lanes, int *flips,
                   int *unseen)
{
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;
    size_t size;
    uint8_t *data = encode(ctx, false, c, 9, lanes, &size);
    bool same;

    for (int fast = 0; fast <= avx2; fast++) {
        tsri_adapt_dec *dec = open_dec(ctx, fast, c);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *copy = malloc(cut + !cut);
            memcpy(copy, data, cut);
            if (decode(ctx, fast, dec, c, copy, cut, 9, &same) == TSR_OK)
                ++*unseen;
            free(copy);
        }
        for (size_t bit = 0; bit < 8 * size; bit++, ++*flips) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (decode(ctx, fast, dec, c, data, size, 9, &same) == TSR_OK) {
                assert_false(same);
                ++*unseen;
            }
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        tsri_adapt_dec_close(&dec);
    }
    free(data);
}

static void test_damage(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = malloc(sizeof *c);
    int flips = 0, unseen = 0;
    (void)state;
    for (uint64_t seed = 100; seed < 108; seed++) {
        fill(c, seed, 90);
        damage(ctx, c, lane_counts[1 + seed % 4], &flips, &unseen);
    }
    assert_in_range(flips, 10000, 100000);
    assert_in_range(unseen, 0, 3); /* one in 2^16 is expected */
    free(c);
    tsr_context_close(&ctx);
}

static void test_noise(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = malloc(sizeof *c);
    check_rng r = { 31 };
    bool same;
    (void)state;
    fill(c, 200, 300);
    for (int fast = 0; fast <= 1; fast++) {
        tsri_adapt_dec *dec = open_dec(ctx, fast, c);
        for (int i = 0; i < 3000; i++) {
            const size_t size = check_below(&r, 1200);
            uint8_t *noise = malloc(size + 1);
            for (size_t k = 0; k < size; k++)
                noise[k] = (uint8_t)check_u32(&r);
            if (size)
                noise[0] &= 7;
            if (decode(ctx, fast, dec, c, noise, size, 0, &same) == TSR_OK)
                assert_false(same);
            free(noise);
        }
        tsri_adapt_dec_close(&dec);
    }
    free(c);
    tsr_context_close(&ctx);
}

static void test_arguments(void **state)
{
    static const tsri_adapt_shape bad[] = {
        { 0, 1, 12 }, { 257, 1, 12 }, { 2, 0, 12 }, { 2, 65537, 12 },
        { 17, 3856, 12 }, { 2, 1, 5 }, { 2, 1, 15 }, { -1, -1, 12 },
    };
    const tsri_adapt_shape good[] = { { 3, 2, 12 }, { 17, 3854, 12 } };
    tsr_context *ctx = check_context("c", 1);
    tsri_adapt_enc *enc;
    tsri_adapt_dec *dec;
    const uint8_t *data;
    uint8_t sym[40] = { 0 };
    uint16_t context[40] = { 0 };
    size_t size;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsri_adapt_enc_open(&enc, ctx, &bad[i], 1), TSR_E_ARG);
        assert_null(enc);
        assert_int_equal(tsri_adapt_dec_open(&dec, ctx, &bad[i], 1), TSR_E_ARG);
        assert_null(dec);
    }
    assert_int_equal(tsri_adapt_enc_open(&enc, ctx, good, 0), TSR_E_ARG);
    assert_int_equal(tsri_adapt_enc_open(&enc, ctx, good, 2), TSR_OK);
    assert_int_equal(tsri_adapt_dec_open(&dec, ctx, good, 2), TSR_OK);
    assert_int_equal(tsri_adapt_put(enc, 2, NULL, sym, 1), TSR_E_ARG);
    assert_int_equal(tsri_adapt_put(enc, -1, NULL, sym, 1), TSR_E_ARG);
    sym[39] = 3;
    assert_int_equal(tsri_adapt_put(enc, 0, NULL, sym, 40), TSR_E_ARG);
    sym[39] = 2;
    context[39] = 2;
    assert_int_equal(tsri_adapt_put(enc, 0, context, sym, 40), TSR_E_ARG);
    context[39] = 1;
    assert_int_equal(tsri_adapt_put(enc, 0, context, sym, 40), TSR_OK);
    assert_int_equal(tsri_adapt_finish(enc, 0, 2, &data, &size), TSR_E_ARG);
    assert_int_equal(tsri_adapt_finish(enc, 0, 0, &data, &size), TSR_OK);
    assert_int_equal(tsri_adapt_start(dec, data, size, 0), TSR_OK);
    assert_int_equal(tsri_adapt_get(dec, 2, NULL, sym, 1), TSR_E_ARG);
    context[0] = 2;
    assert_int_equal(tsri_adapt_get(dec, 0, context, sym, 40), TSR_E_ARG);
    context[0] = 0;
    assert_int_equal(tsri_adapt_get(dec, 0, context, sym, 40), TSR_OK);
    assert_int_equal(tsri_adapt_end(dec), TSR_OK);
    assert_false(tsri_adapt_cut(dec));
    assert_int_equal(tsri_adapt_get_bits(dec, 1), 0);
    assert_true(tsri_adapt_cut(dec));
    tsri_adapt_enc_close(&enc);
    tsri_adapt_enc_close(&enc);
    tsri_adapt_dec_close(&dec);
    tsri_adapt_dec_close(&dec);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_compression),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
