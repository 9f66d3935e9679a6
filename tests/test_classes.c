/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/poor.h"
#include <math.h>
#include "entropy/classes.h"
#include "entropy/plan.h"
#include "entropy/tables.h"

enum { CHANNELS = 120, TOKENS = 500 };

/* Values of a few kinds: bells whose scales and places differ (some across 255
 * to 0), constants, noise of all values, two far apart, nothing counted. */
typedef struct content {
    uint8_t value[TOKENS][CHANNELS];
    uint32_t hist[CHANNELS][256];
    uint8_t cls[CHANNELS], offset[CHANNELS];
    tsri_classes classes;
    tsri_bank *bank;
} content;

static uint8_t sample(check_rng *r, int channel)
{
    double z = 0;
    for (int i = 0; i < 12; i++)
        z += (double)check_float(r) / 2;
    switch (channel % 10) {
    case 7: return (uint8_t)channel;
    case 8: return (uint8_t)check_u32(r);
    case 9: return check_below(r, 5) ? (uint8_t)channel : (uint8_t)(channel + 128);
    default: return (uint8_t)lrint(z * (0.5 + channel % 7) + 2.3 * channel);
    }
}

static content *make(uint64_t seed)
{
    content *c = calloc(1, sizeof *c);
    check_rng r = { seed };

    for (int i = 0; i < CHANNELS; i++)
        for (int t = 0; t < TOKENS; t++) {
            c->value[t][i] = sample(&r, i);
            c->hist[i][c->value[t][i]] += i != 50;
        }
    return c;
}

static void train(content *c, tsr_context *ctx, int most, int bits)
{
    assert_int_equal(tsri_classes_train(ctx, (const uint32_t (*)[256])c->hist,
                                        CHANNELS, most, bits, &c->classes,
                                        c->cls, c->offset), TSR_OK);
    assert_in_range(c->classes.tables, 1, most);
    assert_int_equal(c->classes.bits, bits);
    assert_int_equal(tsri_bank_open(&c->bank, ctx, bits, c->classes.freq,
                                    c->classes.sizes, c->classes.tables),
                     TSR_OK);
}

static int table_size(const content *c, int channel)
{
    return c->classes.sizes[c->cls[channel]];
}

/* What the channel's values cost with a table and an offset; UINT64_MAX where
 * one has no symbol. */
static uint64_t cost(const content *c, int channel, int table, int offset)
{
    uint64_t sum = 0;

    for (int v = 0; v < 256; v++) {
        const int s = (v - offset) & 255;
        if (!c->hist[channel][v])
            continue;
        if (s >= c->classes.sizes[table])
            return UINT64_MAX;
        sum += (uint64_t)c->hist[channel][v] *
               (uint64_t)tsri_bank_cost(c->bank, table, s);
    }
    return sum;
}

static uint64_t total(const content *c)
{
    uint64_t sum = 0;

    for (int i = 0; i < CHANNELS; i++) {
        const uint64_t some = cost(c, i, c->cls[i], c->offset[i]);
        assert_true(some != UINT64_MAX);
        sum += some;
    }
    return sum;
}

static double entropy(const content *c)
{
    double bits = 0;

    for (int i = 0; i < CHANNELS; i++)
        for (int v = 0; i != 50 && v < 256; v++)
            if (c->hist[i][v])
                bits -= c->hist[i][v] * log2((double)c->hist[i][v] / TOKENS);
    return bits;
}

/* All values can be coded; more tables cost less; with one for each channel
 * little is left. */
static void test_train(void **state)
{
    static const int most[] = { 1, 2, 5, 15, 40, 120, 256 };
    static const double above[] = { 1.5, 1.35, 1.12, 1.03, 1.01, 1.003, 1.003 };
    tsr_context *ctx = check_context("c", 1);
    content *c = make(41);
    double before = INFINITY;
    (void)state;
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        train(c, ctx, most[i], 12);
        const double bits = (double)total(c) / 2048;
        assert_true(bits <= before * 1.001);
        assert_true(bits < above[i] * entropy(c));
        for (int k = 0; k < CHANNELS; k++)
            assert_in_range(c->cls[k], 0, c->classes.tables - 1);
        before = bits;
        tsri_bank_close(&c->bank, ctx);
    }
    assert_int_equal(table_size(c, 7), 1); /* a constant has its own table */
    for (int bits = 8; bits <= 15; bits++) {
        train(c, ctx, 30, bits);
        total(c);
        tsri_bank_close(&c->bank, ctx);
    }
    free(c);
    tsr_context_close(&ctx);
}

static void test_plan(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    content *c = make(42);
    uint8_t *got = malloc(sizeof c->value), *out;
    uint32_t sizes[2];
    tsri_plan *plan;
    size_t size;
    (void)state;
    for (int t = 0; t < TOKENS; t++)
        c->hist[50][c->value[t][50]]++;
    train(c, ctx, 20, 12);
    assert_int_equal(tsri_plan_open(&plan, ctx, c->bank, &(tsri_plan_shape){
                         CHANNELS, CHANNELS, 256, c->cls, c->offset, 32 }),
                     TSR_OK);
    out = malloc(tsri_plan_bound(plan, TOKENS));
    assert_int_equal(tsri_plan_encode(plan, ctx, &(tsri_bytes2d){
                         c->value[0], TOKENS, CHANNELS, 1 }, 0, out, sizes,
                         &size), TSR_OK);
    assert_in_range(size, total(c) / 16384, total(c) / 16384 + 2 * 110);
    assert_int_equal(tsri_plan_decode(plan, ctx, out, size, sizes, 0,
                                      &(tsri_bytes2d){ got, TOKENS, CHANNELS,
                                                       1 }), TSR_OK);
    assert_memory_equal(got, c->value, sizeof c->value);
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&c->bank, ctx);
    free(out);
    free(got);
    free(c);
    tsr_context_close(&ctx);
}

/* The choice against a search of all offsets. */
static void test_choose(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    content *c = make(43), *other = make(44);
    uint64_t chosen, least = 0;
    (void)state;
    train(c, ctx, 40, 12);
    const uint64_t trained = total(c);
    assert_int_equal(tsri_classes_choose(ctx, c->bank,
                                         (const uint32_t (*)[256])c->hist,
                                         CHANNELS, c->cls, c->offset, &chosen),
                     TSR_OK);
    assert_int_equal(chosen, total(c));
    assert_true(chosen <= trained);
    for (int i = 0; i < CHANNELS; i++) {
        uint64_t best = UINT64_MAX;
        for (int t = 0; t < c->classes.tables; t++)
            for (int o = 0; o < 256; o++) {
                const uint64_t some = cost(c, i, t, o);
                best = some < best ? some : best;
            }
        least += best;
    }
    assert_true(least <= chosen && chosen - least <= least / 2000);
    /* Other values of the same kind may lie outside of the tables. */
    other->bank = c->bank;
    const tsr_error error = tsri_classes_choose(
        ctx, c->bank, (const uint32_t (*)[256])other->hist, CHANNELS,
        other->cls, other->offset, &chosen);
    other->classes = c->classes;
    assert_int_equal(error, TSR_OK);
    assert_int_equal(total(other), chosen);
    tsri_bank_close(&c->bank, ctx);
    free(other);
    free(c);
    tsr_context_close(&ctx);
}

static void test_refused(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const uint16_t freq[] = { 128, 128 }, two = 2;
    content *c = make(45);
    const uint32_t (*hist)[256] = (const uint32_t (*)[256])c->hist;
    uint64_t sum;
    (void)state;
    ctx->logger.log = NULL;
    assert_int_equal(tsri_classes_train(ctx, hist, 0, 4, 12, &c->classes, c->cls,
                                        c->offset), TSR_E_ARG);
    assert_int_equal(tsri_classes_train(ctx, hist, 9, 0, 12, &c->classes, c->cls,
                                        c->offset), TSR_E_ARG);
    assert_int_equal(tsri_classes_train(ctx, hist, 9, 257, 12, &c->classes,
                                        c->cls, c->offset), TSR_E_ARG);
    assert_int_equal(tsri_classes_train(ctx, hist, 9, 4, 7, &c->classes, c->cls,
                                        c->offset), TSR_E_ARG);
    assert_int_equal(tsri_classes_train(ctx, hist, 9, 4, 16, &c->classes, c->cls,
                                        c->offset), TSR_E_ARG);
    c->hist[3][7] = 1 << 28;
    assert_int_equal(tsri_classes_train(ctx, hist, 9, 4, 12, &c->classes, c->cls,
                                        c->offset), TSR_E_ARG);
    assert_int_equal(tsri_bank_open(&c->bank, ctx, 8, freq, &two, 1), TSR_OK);
    assert_int_equal(tsri_classes_choose(ctx, c->bank, hist + 7, 1, c->cls,
                                         c->offset, &sum), TSR_OK);
    assert_int_equal(sum, 2048 * TOKENS);
    assert_int_equal(tsri_classes_choose(ctx, c->bank, hist + 8, 1, c->cls,
                                         c->offset, &sum), TSR_E_ARG);
    tsri_bank_close(&c->bank, ctx);
    free(c);
    tsr_context_close(&ctx);
}

enum { SOME = 24 }; /* channels */

/* All there is, from training to the matrix that came back. */
static tsr_error everything(tsr_context *ctx, content *c, uint8_t *out,
                            uint8_t *got)
{
    const uint32_t (*hist)[256] = (const uint32_t (*)[256])c->hist;
    const tsri_bytes2d in = { c->value[0], TOKENS, CHANNELS, 1 };
    const tsri_bytes2d back = { got, TOKENS, CHANNELS, 1 };
    uint32_t sizes[20];
    size_t size, used;
    uint64_t sum;
    tsri_bank *bank;
    tsri_plan *plan = NULL;

    TSR_TRY(tsri_classes_train(ctx, hist, SOME, 9, 12, &c->classes, c->cls,
                               c->offset));
    TSR_TRY(tsri_tables_write(12, c->classes.freq, c->classes.sizes,
                              c->classes.tables, out, &size));
    TSR_TRY(tsri_tables_read(&bank, ctx, out, size, &used));
    tsr_error error = tsri_classes_choose(ctx, bank, hist, SOME, c->cls,
                                          c->offset, &sum);
    if (!error)
        error = tsri_plan_open(&plan, ctx, bank, &(tsri_plan_shape){
                                   SOME, 13, 64, c->cls, c->offset, 8 });
    if (!error)
        error = tsri_plan_encode(plan, ctx, &in, 5, out, sizes, &size);
    if (!error)
        error = tsri_plan_decode(plan, ctx, out, size, sizes, 5, &back);
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&bank, ctx);
    return error;
}

/* At every single allocation there is an error, and nothing is lost. */
static void test_no_memory(void **state)
{
    content *c = make(46);
    uint8_t *out = malloc(3 * sizeof c->value), *got = malloc(sizeof c->value);
    tsr_context *ctx = poor_context("c", 2);
    tsr_error error;
    int failures = 0;
    (void)state;
    const int before = poor_held;
    for (int n = 0;; n++) {
        poor_left = n;
        error = everything(ctx, c, out, got);
        assert_int_equal(poor_held, before);
        if (!error)
            break;
        assert_int_equal(error, TSR_E_NOMEM);
        failures++;
    }
    assert_true(failures > 100);
    for (int t = 0; t < TOKENS; t++)
        assert_memory_equal(got + (size_t)t * CHANNELS, c->value[t], SOME);
    tsr_context_close(&ctx);
    free(out);
    free(got);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
