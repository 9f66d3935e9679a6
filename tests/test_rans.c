/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/rans_gen.h"

enum { TABLES = 20, MOST = 700, RUNS = 12, RUN_MAX = 3000 };

/* Tables of every kind: one symbol, two, uniform, geometric, one heavy symbol
 * among many of frequency 1. */
typedef struct tables {
    uint16_t freq[TABLES * MOST], size[TABLES];
    int bits;
    tsri_bank *bank;
} tables;

static tables *make_tables(tsr_context *ctx, int bits, uint64_t seed)
{
    tables *t = calloc(1, sizeof *t);
    check_rng r = { seed };
    uint16_t *freq = t->freq;

    t->bits = bits;
    for (int i = 0; i < TABLES; i++) {
        const uint32_t most = 1u << bits < MOST ? 1u << bits : MOST;
        t->size[i] = (uint16_t)(i == 3 ? 1 : i == 4 ? 2 : i == 5 ? most :
                                1 + check_below(&r, most));
        fill_table(&r, freq, t->size[i], bits, i % 3);
        freq += t->size[i];
    }
    assert_int_equal(tsri_bank_open(&t->bank, ctx, bits, t->freq, t->size,
                                    TABLES), TSR_OK);
    return t;
}

static void free_tables(tables *t, tsr_context *ctx)
{
    tsri_bank_close(&t->bank, ctx);
    free(t);
}

/* What a segment holds: runs, and after each some raw bits. */
typedef struct content {
    size_t n[RUNS];
    int table[RUNS];                 /* < 0: a class per symbol */
    uint16_t cls[RUNS][RUN_MAX], sym[RUNS][RUN_MAX];
    uint32_t raw[RUNS];
    int nbits[RUNS];
} content;

static void fill_content(content *c, const tables *t, uint64_t seed, size_t most)
{
    check_rng r = { seed };
    for (int k = 0; k < RUNS; k++) {
        c->n[k] = k % 5 == 1 ? 0 : check_below(&r, (uint32_t)most);
        c->table[k] = k % 3 ? -1 : (int)check_below(&r, TABLES);
        for (size_t i = 0; i < c->n[k]; i++) {
            const int table = c->table[k] < 0 ? (int)check_below(&r, TABLES)
                                              : c->table[k];
            c->cls[k][i] = (uint16_t)table;
            c->sym[k][i] = check_below(&r, 16) ? draw_symbol(&r, t->bank, table) :
                (uint16_t)check_below(&r, t->size[table]);
        }
        c->nbits[k] = (int)check_below(&r, 33);
        c->raw[k] = c->nbits[k] ? check_u32(&r) >> (32 - c->nbits[k]) : 0;
    }
}

static void put(tsri_rans_enc *enc, const tables *t, const content *c)
{
    for (int k = 0; k < RUNS; k++) {
        assert_int_equal(tsri_rans_put(enc, t->bank,
                         c->table[k] < 0 ? c->cls[k] : NULL, c->table[k],
                         c->sym[k], c->n[k]), TSR_OK);
        assert_int_equal(tsri_rans_put_bits(enc, c->raw[k], c->nbits[k]),
                         TSR_OK);
    }
}

/* The same by places, where these are of 16 bits. */
static void put_places(tsri_rans_enc *enc, const tables *t, const content *c)
{
    static uint16_t places[RUNS][RUN_MAX];
    for (int k = 0; k < RUNS; k++) {
        uint16_t *place = places[k]; /* the encoder's until it has finished */
        for (size_t i = 0; i < c->n[k]; i++)
            place[i] = (uint16_t)(tsri_bank_first(t->bank, c->cls[k][i]) +
                                  c->sym[k][i]);
        assert_int_equal(tsri_rans_put_places(enc, t->bank, place, c->n[k]), TSR_OK);
        assert_int_equal(tsri_rans_put_bits(enc, c->raw[k], c->nbits[k]),
                         TSR_OK);
    }
}

static void same_by_places(tsr_context *ctx, const tables *t, const content *c,
                           uint32_t crc, int lanes, const uint8_t *want,
                           size_t want_size)
{
    const uint8_t *got;
    size_t size;
    tsri_rans_enc *enc;

    if (tsri_bank_first(t->bank, TABLES) > UINT16_MAX)
        return;
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    put_places(enc, t, c);
    assert_int_equal(tsri_rans_finish(enc, crc, lanes, &got, &size), TSR_OK);
    assert_int_equal(size, want_size);
    assert_memory_equal(got, want, size);
    tsri_rans_enc_close(&enc);
}

/* Decodes what put() wrote; *same tells whether it is what it was. */
static tsr_error get(tsr_context *ctx, bool avx2, const tables *t,
                     const content *c, const uint8_t *data, size_t size,
                     uint32_t crc, bool *same)
{
    static uint16_t sym[RUN_MAX];
    tsri_rans_dec dec;
    *same = true;
    TSR_TRY(tsri_rans_dec_open(&dec, ctx, data, size, crc));
    dec.avx2 = avx2;
    for (int k = 0; k < RUNS; k++) {
        TSR_TRY(tsri_rans_get(&dec, t->bank,
                              c->table[k] < 0 ? c->cls[k] : NULL,
                              c->table[k] < 0 ? 0 : c->table[k], sym, c->n[k]));
        for (size_t i = 0; i < c->n[k]; i++)
            assert_true(sym[i] < t->size[c->cls[k][i]]);
        *same &= !memcmp(sym, c->sym[k], 2 * c->n[k]);
        *same &= tsri_rans_get_bits(&dec, c->nbits[k]) == c->raw[k];
    }
    return tsri_rans_dec_end(&dec);
}

static const int lane_counts[] = { 1, 4, 8, 32 };

static void test_round_trip(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;
    content *c = malloc(sizeof *c);
    tsri_rans_enc *enc;
    bool same;
    (void)state;
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    for (int bits = 1; bits <= TSRI_BANK_MAX_BITS; bits++) {
        tables *t = make_tables(ctx, bits, (uint64_t)bits);
        for (int w = 0; w < 12; w++) {
            const uint32_t crc = (uint32_t)w * 0x12345679;
            const uint8_t *data;
            size_t size;
            fill_content(c, t, (uint64_t)(bits * 100 + w), RUN_MAX);
            put(enc, t, c);
            assert_int_equal(tsri_rans_finish(enc, crc, lane_counts[w % 4],
                                              &data, &size), TSR_OK);
            assert_int_equal(data[0], w % 4 | 4);
            same_by_places(ctx, t, c, crc, lane_counts[w % 4], data, size);
            for (int fast = 0; fast <= avx2; fast++) {
                assert_int_equal(get(ctx, fast, t, c, data, size, crc, &same),
                                 TSR_OK);
                assert_true(same);
                assert_int_equal(get(ctx, fast, t, c, data, size, crc + 1,
                                     &same), TSR_E_CORRUPT);
            }
        }
        free_tables(t, ctx);
    }
    tsri_rans_enc_close(&enc);
    free(c);
    tsr_context_close(&ctx);
}

/* One run of n symbols of one table, drawn by its probabilities (kind 0), evenly
 * (1), or all the dearest (2): the same on every path. */
static void one_run(tsr_context *ctx, tsri_rans_enc *enc, const tables *t,
                    const uint16_t *cls, int table, const uint16_t *sym,
                    size_t n, int lanes)
{
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;
    const uint8_t *data;
    size_t size;
    uint16_t *got = malloc(2 * n + 1);

    assert_int_equal(tsri_rans_put(enc, t->bank, cls, table, sym, n), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 5, lanes, &data, &size), TSR_OK);
    for (int fast = 0; fast <= avx2; fast++) {
        tsri_rans_dec dec;
        memset(got, 0xee, 2 * n + 1);
        assert_int_equal(tsri_rans_dec_open(&dec, ctx, data, size, 5), TSR_OK);
        dec.avx2 = fast;
        assert_int_equal(tsri_rans_get(&dec, t->bank, cls, table, got, n),
                         TSR_OK);
        assert_memory_equal(got, sym, 2 * n);
        assert_int_equal(((uint8_t *)got)[2 * n], 0xee);
        assert_int_equal(tsri_rans_dec_end(&dec), TSR_OK);
    }
    free(got);
}

static int dearest(const tables *t, int table)
{
    int most = 0;
    for (int i = 1; i < t->size[table]; i++)
        if (tsri_bank_cost(t->bank, table, i) >=
            tsri_bank_cost(t->bank, table, most))
            most = i;
    return most;
}

static void test_one_table(void **state)
{
    static const int sizes[] = { 2, 3, 15, 16, 17, 32, 33, 255, 256, 257, 700 };
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 21 };
    tsri_rans_enc *enc;
    uint16_t *sym = malloc(2 * RUN_MAX);
    (void)state;
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    for (int bits = 10; bits <= TSRI_BANK_MAX_BITS; bits++)
        for (size_t k = 0; k < 3 * sizeof sizes / sizeof *sizes; k++) {
            tables t = { .bits = bits, .size = { (uint16_t)sizes[k / 3] } };
            fill_table(&r, t.freq, t.size[0], bits, (int)(k % 3));
            assert_int_equal(tsri_bank_open(&t.bank, ctx, bits, t.freq, t.size,
                                            1), TSR_OK);
            for (int i = 0; i < 12; i++) {
                const size_t n = i < 6 ? check_below(&r, 100)
                                       : check_below(&r, RUN_MAX);
                const int dear = dearest(&t, 0);
                for (size_t j = 0; j < n; j++)
                    sym[j] = (uint16_t)(i % 3 == 0 ? draw_symbol(&r, t.bank, 0) :
                             i % 3 == 1 ? (int)check_below(&r, t.size[0]) : dear);
                one_run(ctx, enc, &t, NULL, 0, sym, n, lane_counts[i / 3]);
            }
            tsri_bank_close(&t.bank, ctx);
        }
    tsri_rans_enc_close(&enc);
    free(sym);
    tsr_context_close(&ctx);
}

/* A copy of exactly `size` bytes, so that ASan sees a read too far. */
static uint8_t *exact_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    return copy;
}

/* Every truncation and every flipped bit; counts the flips and those that the
 * end does not notice, which must then show in the symbols. */
static void damage(tsr_context *ctx, const tables *t, const content *c,
                   const uint8_t *data, size_t size, int *flips, int *unseen)
{
    const bool avx2 = ctx->cpu & TSR_CPU_AVX2;
    bool same;
    for (int fast = 0; fast <= avx2; fast++) {
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *copy = exact_copy(data, cut);
            assert_int_not_equal(get(ctx, fast, t, c, copy, cut, 9, &same),
                                 TSR_OK);
            free(copy);
        }
        for (size_t bit = 0; bit < 8 * size; bit++) {
            uint8_t *copy = exact_copy(data, size);
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (get(ctx, fast, t, c, copy, size, 9, &same) == TSR_OK) {
                assert_false(same);
                ++*unseen;
            }
            ++*flips;
            free(copy);
        }
        uint8_t *longer = malloc(size + 2);
        memcpy(longer, data, size);
        memset(longer + size, 0, 2);
        assert_int_not_equal(get(ctx, fast, t, c, longer, size + 2, 9, &same),
                             TSR_OK);
        free(longer);
    }
}

static void test_damage(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = malloc(sizeof *c);
    tsri_rans_enc *enc;
    int flips = 0, unseen = 0;
    (void)state;
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    for (int bits = 2; bits <= 14; bits += 4) {
        tables *t = make_tables(ctx, bits, 5);
        for (int w = 0; w < 4; w++) {
            const uint8_t *data;
            size_t size;
            fill_content(c, t, (uint64_t)w + 7, 60);
            put(enc, t, c);
            assert_int_equal(tsri_rans_finish(enc, 9, lane_counts[w], &data,
                                              &size), TSR_OK);
            damage(ctx, t, c, data, size, &flips, &unseen);
        }
        free_tables(t, ctx);
    }
    assert_in_range(flips, ctx->cpu ? 30000 : 15000, ctx->cpu ? 60000 : 30000);
    assert_in_range(unseen, 0, flips / (1 << 14)); /* 2^-16 is expected */
    tsri_rans_enc_close(&enc);
    free(c);
    tsr_context_close(&ctx);
}

static void test_noise(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = malloc(sizeof *c);
    tables *t = make_tables(ctx, 12, 3);
    check_rng r = { 11 };
    bool same;
    (void)state;
    fill_content(c, t, 1, 200);
    for (int i = 0; i < 20000; i++) {
        const size_t size = check_below(&r, 400);
        uint8_t *noise = malloc(size + 1);
        for (size_t k = 0; k < size; k++)
            noise[k] = (uint8_t)check_u32(&r);
        if (size)
            noise[0] &= 7;
        if (get(ctx, i & 1 && ctx->cpu, t, c, noise, size, 0, &same) == TSR_OK)
            assert_false(same);
        free(noise);
    }
    free_tables(t, ctx);
    free(c);
    tsr_context_close(&ctx);
}

/* Sizes: nothing, what costs nothing, one symbol, the automatic lanes, and the
 * distance from the sum of the costs. */
static void test_size(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const uint16_t freq[] = { 1024, 1024, 2048, 4096 }, sizes[] = { 3, 1 };
    static uint16_t zero[100000];
    tsri_bank *bank;
    tsri_rans_enc *enc;
    tsri_rans_dec dec;
    uint16_t sym[64];
    const uint8_t *data;
    size_t size;
    (void)state;
    assert_int_equal(tsri_bank_open(&bank, ctx, 12, freq, sizes, 2), TSR_OK);
    assert_int_equal(tsri_bank_cost(bank, 0, 0), 2 * 2048);
    assert_int_equal(tsri_bank_cost(bank, 0, 2), 2048);
    assert_int_equal(tsri_bank_cost(bank, 1, 0), 0);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_rans_put(enc, bank, NULL, 1, zero, 64), TSR_OK);
    assert_int_equal(tsri_rans_finish(enc, 77, 0, &data, &size), TSR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(tsri_rans_dec_open(&dec, ctx, NULL, 0, 77), TSR_OK);
    assert_int_equal(tsri_rans_get(&dec, bank, NULL, 1, sym, 64), TSR_OK);
    assert_memory_equal(sym, zero, sizeof sym);
    assert_int_equal(tsri_rans_dec_end(&dec), TSR_OK);
    assert_int_equal(tsri_rans_get(&dec, bank, NULL, 0, sym, 64), TSR_E_CORRUPT);
    assert_int_equal(tsri_rans_get(&dec, bank, NULL, 2, sym, 64), TSR_E_ARG);
    static const struct { size_t n; int code; size_t least, most; } cases[] = {
        { 1, 0, 5, 5 }, { 8000, 0, 2003, 2005 }, { 8200, 1, 2064, 2066 },
        { 16400, 2, 4129, 4133 }, { 65600, 3, 16505, 16529 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tsri_rans_put(enc, bank, NULL, 0, zero, cases[i].n),
                         TSR_OK);
        assert_int_equal(tsri_rans_finish(enc, 0, 0, &data, &size), TSR_OK);
        assert_int_equal(data[0], cases[i].code);
        assert_in_range(size, cases[i].least, cases[i].most);
    }
    assert_int_equal(tsri_rans_put(enc, bank, NULL, 0, (uint16_t[]){ 3 }, 1),
                     TSR_E_ARG);
    assert_int_equal(tsri_rans_put(enc, bank, NULL, 2, zero, 1), TSR_E_ARG);
    assert_int_equal(tsri_rans_put_places(enc, bank, (uint16_t[]){ 0, 4 }, 2),
                     TSR_E_ARG);
    assert_int_equal(tsri_rans_finish(enc, 0, 2, &data, &size), TSR_E_ARG);
    tsri_rans_enc_close(&enc);
    tsri_bank_close(&bank, ctx);
    tsr_context_close(&ctx);
}

static void test_division(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 1 };
    (void)state;
    for (uint32_t f = 1; f < 1 << 15; f++) {
        const uint16_t freq[] = { (uint16_t)f, (uint16_t)((1 << 15) - f) };
        tsri_bank *bank;
        assert_int_equal(tsri_bank_open(&bank, ctx, 15, freq,
                                        (uint16_t[]){ 2 }, 1), TSR_OK);
        for (int i = 0; i < 40; i++) {
            const tsri_rans_sym *s = &bank->sym[0];
            const uint32_t most = s->last / f + 1;
            const uint32_t q = most - (i < 10 ? (uint32_t)i / 2 :
                                       check_u32(&r) % most);
            const uint32_t x = q * f - (i & 1 || q == most);
            const uint32_t y = x + s->inc;
            assert_true(y >= x);
            assert_true((uint64_t)y * s->mul >> 32 >> s->shift ==
                        (f > 1 ? x / f : x - 1));
        }
        tsri_bank_close(&bank, ctx);
    }
    tsr_context_close(&ctx);
}

static tsr_error try_bank(tsr_context *ctx, int bits, const uint16_t *freq,
                          const uint16_t *sizes, int n)
{
    tsri_bank *bank;
    const tsr_error error = tsri_bank_open(&bank, ctx, bits, freq, sizes, n);
    assert_true(!error == !!bank);
    tsri_bank_close(&bank, ctx);
    return error;
}

static void test_bank(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const uint16_t good[] = { 1, 3, 4 }, zero[] = { 4, 0 }, big[] = { 1, 65535 };
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(try_bank(ctx, 2, good, (uint16_t[]){ 2, 1 }, 2), TSR_OK);
    assert_int_equal(try_bank(ctx, 2, good, (uint16_t[]){ 1, 2 }, 2),
                     TSR_E_CORRUPT);
    assert_int_equal(try_bank(ctx, 2, zero, (uint16_t[]){ 2 }, 1),
                     TSR_E_CORRUPT);
    assert_int_equal(try_bank(ctx, 2, good, (uint16_t[]){ 0 }, 1),
                     TSR_E_CORRUPT);
    assert_int_equal(try_bank(ctx, 15, big, (uint16_t[]){ 2 }, 1),
                     TSR_E_CORRUPT);
    assert_int_equal(try_bank(ctx, 16, good, (uint16_t[]){ 3 }, 1), TSR_E_ARG);
    assert_int_equal(try_bank(ctx, 0, good, (uint16_t[]){ 1 }, 1), TSR_E_ARG);
    assert_int_equal(try_bank(ctx, 2, good, (uint16_t[]){ 2 }, 0), TSR_E_ARG);
    assert_int_equal(try_bank(ctx, 2, good, (uint16_t[]){ 2 }, 1025), TSR_E_ARG);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bank),
        cmocka_unit_test(test_division),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_one_table),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
