/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs of bytes: every way to code them gives the same segment, every way to
 * decode them the same symbols or, where it is damaged, none. */
#include "tests/rans_gen.h"

enum { TABLES = 13, SYMBOLS = 1024, RUNS = 24, SYM_MAX = 1 << 17 };

static const int lane_counts[] = { 1, 4, 8, 32 };

/* Tables of the sizes where look-ups change. */
static tsri_bank *make_bank(tsr_context *ctx, check_rng *r, int bits)
{
    static const uint16_t want[TABLES] = { 1, 2, 3, 15, 16, 17, 31, 32, 33, 64,
                                           200, 255, 256 };
    uint16_t freq[SYMBOLS], size[TABLES], *at = freq;
    tsri_bank *bank;

    for (int i = 0; i < TABLES; i++) {
        size[i] = want[i] < 1 << bits ? want[i] : (uint16_t)(1 << bits);
        fill_table(r, at, size[i], bits, (int)check_below(r, 3));
        at += size[i];
    }
    assert_int_equal(tsri_bank_open(&bank, ctx, bits, freq, size, TABLES),
                     TSR_OK);
    return bank;
}

typedef struct content {
    size_t n[RUNS], all;
    int table[RUNS];
    uint8_t sym[SYM_MAX];
    const uint8_t *data;        /* the segment, its encoder's */
    size_t size;
} content;

static void fill_content(content *c, check_rng *r, const tsri_bank *bank,
                         size_t most)
{
    c->all = 0;
    for (int k = 0; k < RUNS; k++) {
        c->n[k] = check_below(r, 4) ? check_below(r, (uint32_t)most)
                                    : check_below(r, 70);
        c->table[k] = (int)check_below(r, TABLES);
        for (size_t i = 0; i < c->n[k]; i++)
            c->sym[c->all++] = (uint8_t)(check_below(r, 16) ?
                draw_symbol(r, bank, c->table[k]) :
                check_below(r, (uint32_t)tsri_bank_size(bank, c->table[k])));
    }
}

/* In three ways: 0: put8, 1: put, 2: put with classes. */
static void put_run(tsri_rans_enc *enc, const tsri_bank *bank,
                    const content *c, int k, const uint8_t *sym, int way)
{
    static uint16_t wide[SYM_MAX], cls[SYM_MAX];

    for (size_t i = 0; way && i < c->n[k]; i++) {
        wide[i] = sym[i];
        cls[i] = (uint16_t)c->table[k];
    }
    if (way)
        assert_int_equal(tsri_rans_put(enc, bank, way == 2 ? cls : NULL,
                                       c->table[k], wide, c->n[k]), TSR_OK);
    else
        assert_int_equal(tsri_rans_put8(enc, bank, c->table[k], sym, c->n[k]),
                         TSR_OK);
}

/* way 3: they alternate. */
static void encode(tsri_rans_enc *enc, const tsri_bank *bank, const content *c,
                   int lanes, int way, const uint8_t **data, size_t *size)
{
    const uint8_t *sym = c->sym;

    for (int k = 0; k < RUNS; sym += c->n[k++]) {
        put_run(enc, bank, c, k, sym, way < 3 ? way : k % 3);
        assert_int_equal(tsri_rans_put_bits(enc, (uint32_t)k, 5), TSR_OK);
    }
    assert_int_equal(tsri_rans_finish(enc, 3, lanes, data, size), TSR_OK);
}

/* All ways, with vectors and without, against one without. */
static void check_encoders(tsr_context *ctx, const tsri_bank *bank,
                           const content *c, int lanes)
{
    const unsigned cpu = ctx->cpu;
    tsri_rans_enc *plain, *enc;
    const uint8_t *want, *data;
    size_t want_size, size;

    ctx->cpu = 0;
    assert_int_equal(tsri_rans_enc_open(&plain, ctx), TSR_OK);
    encode(plain, bank, c, lanes, 1, &want, &want_size);
    for (int i = 0; i < 8; i++) {
        ctx->cpu = i & 4 ? cpu : 0;
        assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
        encode(enc, bank, c, lanes, i & 3, &data, &size);
        assert_int_equal(size, want_size);
        assert_memory_equal(data, want, size);
        tsri_rans_enc_close(&enc);
    }
    tsri_rans_enc_close(&plain);
    ctx->cpu = cpu;
}

static uint32_t get_bits(tsri_rans_dec *dec)
{
    return tsri_rans_get_bits(dec, 5);
}

/* Into a block of exactly the run's size, so that ASan sees a write too far. */
static tsr_error get_run(tsri_rans_dec *dec, const tsri_bank *bank,
                         const content *c, int k, const uint8_t *want,
                         bool *same)
{
    uint8_t *got = malloc(c->n[k] + !c->n[k]);
    const tsr_error error = tsri_rans_get8(dec, bank, c->table[k], got, c->n[k]);

    for (size_t i = 0; !error && i < c->n[k]; i++)
        assert_true(got[i] < tsri_bank_size(bank, c->table[k]));
    *same &= !error && !memcmp(got, want, c->n[k]);
    free(got);
    return error;
}

static tsr_error decode(const tsr_context *ctx, const tsri_bank *bank,
                        const content *c, const uint8_t *data, size_t size,
                        bool *same)
{
    const uint8_t *want = c->sym;
    tsri_rans_dec dec;

    *same = true;
    TSR_TRY(tsri_rans_dec_open(&dec, ctx, data, size, 3));
    for (int k = 0; k < RUNS; want += c->n[k++]) {
        TSR_TRY(get_run(&dec, bank, c, k, want, same));
        *same &= get_bits(&dec) == (uint32_t)k;
    }
    return tsri_rans_dec_end(&dec);
}

/* Two segments at once; goes on where one of them fails.  False: one cannot be
 * opened. */
static bool decode_pair(const tsr_context *ctx, const tsri_bank *bank,
                        const content *const c[2], tsr_error *error, bool *same)
{
    const uint8_t *want[2] = { c[0]->sym, c[1]->sym };
    tsri_rans_dec dec[2], *both[2] = { &dec[0], &dec[1] };
    tsri_rans_run8 runs[2];

    for (int j = 0; j < 2; j++) {
        same[j] = true;
        error[j] = tsri_rans_dec_open(&dec[j], ctx, c[j]->data, c[j]->size, 3);
        if (error[j])
            return false;
    }
    for (int k = 0; k < RUNS; k++) {
        for (int j = 0; j < 2; j++) {
            runs[j] = (tsri_rans_run8){ c[j]->table[k], calloc(c[j]->n[k] + 1, 1),
                                        c[j]->n[k] };
            runs[j].sym[runs[j].n] = 0xee;
        }
        const tsr_error all = tsri_rans_get8_pair(both, bank, runs);
        for (int j = 0; j < 2; want[j] += runs[j].n, j++) {
            same[j] &= !memcmp(runs[j].sym, want[j], runs[j].n);
            same[j] &= get_bits(&dec[j]) == (uint32_t)k;
            assert_true(all || runs[j].sym[runs[j].n] == 0xee);
            free(runs[j].sym);
        }
    }
    for (int j = 0; j < 2; j++)
        error[j] = tsri_rans_dec_end(&dec[j]);
    return true;
}

static void check_decoders(tsr_context *ctx, const tsri_bank *bank,
                           const content *const c[2])
{
    const unsigned cpu = ctx->cpu;
    tsr_error error[2];
    bool same[2];

    for (int fast = 0; fast < 2; fast++) {
        ctx->cpu = fast ? cpu : 0;
        for (int j = 0; j < 2; j++) {
            assert_int_equal(decode(ctx, bank, c[j], c[j]->data, c[j]->size,
                                    &same[j]), TSR_OK);
            assert_true(same[j]);
        }
        assert_true(decode_pair(ctx, bank, c, error, same));
        assert_true(!error[0] && !error[1] && same[0] && same[1]);
    }
    ctx->cpu = cpu;
}

static void test_all_ways(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c[2] = { calloc(1, sizeof **c), calloc(1, sizeof **c) };
    check_rng r = { 77 };
    tsri_rans_enc *enc[2];
    (void)state;
    for (int j = 0; j < 2; j++)
        assert_int_equal(tsri_rans_enc_open(&enc[j], ctx), TSR_OK);
    for (int bits = 1; bits <= TSRI_BANK_MAX_BITS; bits++) {
        tsri_bank *bank = make_bank(ctx, &r, bits);
        for (int i = 0; i < 12; i++) {
            const size_t most = i < 4 ? 100 : i < 8 ? 700 : 5000;
            for (int j = 0; j < 2; j++) {
                /* the last of the pairs have different numbers of lanes */
                const int lanes = lane_counts[i < 11 ? i % 4 : 3 - j];
                fill_content(c[j], &r, bank, most);
                check_encoders(ctx, bank, c[j], i % 3 ? lanes : 0);
                encode(enc[j], bank, c[j], lanes, 0, &c[j]->data, &c[j]->size);
            }
            check_decoders(ctx, bank, (const content *const *)c);
        }
        tsri_bank_close(&bank, ctx);
    }
    for (int j = 0; j < 2; j++) {
        tsri_rans_enc_close(&enc[j]);
        free(c[j]);
    }
    tsr_context_close(&ctx);
}

/* A copy of exactly `size` bytes, so that ASan sees a read too far. */
static uint8_t *exact_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + !size);
    memcpy(copy, data, size);
    return copy;
}

/* c[j] damaged, the other sound: one fails (or decodes something else, which
 * has a chance of 2^-16), the other does not. */
static void check_damaged(const tsr_context *ctx, const tsri_bank *bank,
                          const content *const c[2], int j, int *unseen)
{
    content *bad = malloc(sizeof *bad);
    const content *both[2] = { c[0], c[1] };
    tsr_error error[2];
    bool same[2];

    memcpy(bad, c[j], sizeof *bad);
    both[j] = bad;
    error[j] = decode(ctx, bank, bad, bad->data, bad->size, &same[j]);
    assert_true(error[j] || !same[j]);
    *unseen += !error[j];
    if (decode_pair(ctx, bank, both, error, same)) {
        assert_true(error[j] || !same[j]);
        assert_true(!error[!j] && same[!j]);
    }
    free(bad);
}

static void test_damage(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c[2] = { calloc(1, sizeof **c), calloc(1, sizeof **c) };
    check_rng r = { 5 };
    tsri_rans_enc *enc[2];
    int unseen = 0;
    (void)state;
    for (int j = 0; j < 2; j++)
        assert_int_equal(tsri_rans_enc_open(&enc[j], ctx), TSR_OK);
    for (int i = 0; i < 240; i++) {
        tsri_bank *bank = make_bank(ctx, &r, 1 + i % 15);
        const int j = (int)check_below(&r, 2);
        for (int k = 0; k < 2; k++) {
            fill_content(c[k], &r, bank, 150);
            encode(enc[k], bank, c[k], lane_counts[i % 7 ? 3 : i % 4], 0,
                   &c[k]->data, &c[k]->size);
        }
        const uint8_t *data = c[j]->data;
        const size_t size = c[j]->size;
        const size_t cut = check_below(&r, (uint32_t)size);
        uint8_t *copy = exact_copy(data, i & 1 ? cut : size);
        if (!(i & 1))
            copy[cut] ^= (uint8_t)(1 << check_below(&r, 8));
        c[j]->data = copy;
        c[j]->size = i & 1 ? cut : size;
        check_damaged(ctx, bank, (const content *const *)c, j, &unseen);
        free(copy);
        tsri_bank_close(&bank, ctx);
    }
    assert_in_range(unseen, 0, 1);
    for (int j = 0; j < 2; j++) {
        tsri_rans_enc_close(&enc[j]);
        free(c[j]);
    }
    tsr_context_close(&ctx);
}

/* Symbols and tables out of range; nothing is put then. */
static void test_refusal(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const uint16_t freq[] = { 300, 700, 3096, 4096 };
    uint16_t wide[4096];
    const uint16_t sizes[] = { 3, 1, 2048 };
    const unsigned cpu = ctx->cpu;
    uint8_t sym[100] = { 0 };
    tsri_bank *bank;
    (void)state;
    memcpy(wide, freq, sizeof freq);
    for (int i = 4; i < 2052; i++)
        wide[i] = 2;
    assert_int_equal(tsri_bank_open(&bank, ctx, 12, wide, sizes, 3), TSR_OK);
    for (int i = 0; i < 200; i++) {
        tsri_rans_enc *enc;
        tsri_rans_dec dec;
        const uint8_t *data;
        size_t size;
        ctx->cpu = i & 1 ? cpu : 0;
        assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
        sym[i / 2] = 3;
        assert_int_equal(tsri_rans_put8(enc, bank, 0, sym, 100), TSR_E_ARG);
        sym[i / 2] = i & 2 ? 255 : 1;
        assert_int_equal(tsri_rans_put8(enc, bank, 1, sym, 100), TSR_E_ARG);
        sym[i / 2] = 0;
        assert_int_equal(tsri_rans_put8(enc, bank, -1, sym, 100), TSR_E_ARG);
        assert_int_equal(tsri_rans_put8(enc, bank, 3, sym, 100), TSR_E_ARG);
        assert_int_equal(tsri_rans_put8(enc, bank, 2, sym, 100), TSR_E_ARG);
        assert_int_equal(tsri_rans_finish(enc, 0, 0, &data, &size), TSR_OK);
        assert_int_equal(size, 0);
        assert_int_equal(tsri_rans_dec_open(&dec, ctx, data, size, 0), TSR_OK);
        assert_int_equal(tsri_rans_get8(&dec, bank, -1, sym, 100), TSR_E_ARG);
        assert_int_equal(tsri_rans_get8(&dec, bank, 3, sym, 100), TSR_E_ARG);
        assert_int_equal(tsri_rans_get8(&dec, bank, 2, sym, 100), TSR_E_ARG);
        assert_int_equal(tsri_rans_get8(&dec, bank, 1, sym, 100), TSR_OK);
        assert_int_equal(tsri_rans_get8(&dec, bank, 0, sym, 100), TSR_E_CORRUPT);
        memset(sym, 0, sizeof sym);
        tsri_rans_enc_close(&enc);
    }
    ctx->cpu = cpu;
    tsri_bank_close(&bank, ctx);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_all_ways),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
