/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/check.h"
#include "lib/nn/iconv.h"

enum { H = 5, W = 7 };

/* The definition, in 64 bits, from the weights as trained. */
static int64_t naive(const int32_t *weight, const int32_t *bias, int in, int taps,
                     int shift, int o, const int16_t *at, size_t stride)
{
    int64_t sum = bias[o];
    for (int i = 0; i < in; i++)
        for (int y = 0; y < taps; y++)
            for (int x = 0; x < taps; x++)
                sum += (int64_t)weight[((o * in + i) * taps + y) * taps + x] *
                       at[((size_t)y * (W + 2) + (size_t)x) * stride +
                          (size_t)(in - 1 - i)];
    return (sum + ((int64_t)1 << (shift - 1))) >> shift;
}

static void one(tsr_context *ctx, check_rng *rng, int in, int out, int taps, int n)
{
    const int shift = 1 + (int)check_below(rng, 12), spare = 4;
    const size_t stride = (size_t)(in + spare);
    const size_t map = (H + 2) * (W + 2) * stride;
    int32_t *weight = calloc((size_t)(out * in * taps * taps), sizeof *weight);
    int32_t *bias = calloc((size_t)out, sizeof *bias);
    int32_t *plain = calloc((size_t)(n * (out + 16)), sizeof *plain);
    int32_t *fast = calloc((size_t)(n * (out + 16)), sizeof *fast);
    int16_t *input = calloc(map, sizeof *input);
    int *from = calloc((size_t)in, sizeof *from);
    const int16_t *at[TSRI_ICONV_BATCH];
    tsri_iconv l;

    for (int i = 0; i < out * in * taps * taps; i++)
        weight[i] = (int32_t)check_below(rng, 401) - 200;
    for (int i = 0; i < out; i++)
        bias[i] = (int32_t)check_below(rng, 100000) - 50000;
    for (size_t i = 0; i < map; i++)
        input[i] = (int16_t)((int)check_below(rng, 4095) - TSRI_ICONV_LIMIT);
    for (int i = 0; i < in; i++)
        from[i] = in - 1 - i; /* a permutation, to see that it is used */
    for (int i = 0; i < n; i++)
        at[i] = input + (check_below(rng, H) * (W + 2) + check_below(rng, W)) * stride;

    assert_int_equal(tsri_iconv_open(&l, ctx, in, out, taps, shift, weight, in, bias,
                                     from), TSR_OK);
    tsri_iconv_plain(&l, at, n, stride, (W + 2) * stride, plain);
    tsri_iconv_pick(ctx->cpu)(&l, at, n, stride, (W + 2) * stride, fast);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < out; o++) {
            assert_int_equal(plain[i * l.padded + o],
                             naive(weight, bias, in, taps, shift, o, at[i], stride));
            assert_int_equal(fast[i * l.padded + o], plain[i * l.padded + o]);
        }
    tsri_iconv_close(&l, ctx);
    free(weight); free(bias); free(plain); free(fast); free(input); free(from);
}

static void test_all(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 11 };
    (void)state;
    for (int taps = 1; taps <= 3; taps += 2)
        for (int n = 1; n <= TSRI_ICONV_BATCH; n = n * 2 + 1)
            for (int out = 1; out < 40; out += 13)
                one(ctx, &rng, 2 + 2 * (int)check_below(&rng, 20), out, taps, n);
    one(ctx, &rng, 96, 128, 3, TSRI_ICONV_BATCH);
    tsr_context_close(&ctx);
}

static void test_refuse(void **state)
{
    tsr_context *ctx;
    tsri_iconv l;
    const int from[2] = { 0, 1 };
    (void)state;
    assert_int_equal(tsr_context_open(&ctx, NULL), TSR_OK);
    assert_int_equal(tsri_iconv_open(&l, ctx, 2, 1, 1, 0, (int32_t[]){ 1, 1 }, 2,
                                     (int32_t[]){ 0 }, from), TSR_E_CORRUPT);
    assert_int_equal(tsri_iconv_open(&l, ctx, 2, 1, 1, 4, (int32_t[]){ 40000, 1 }, 2,
                                     (int32_t[]){ 0 }, from), TSR_E_CORRUPT);
    assert_int_equal(tsri_iconv_open(&l, ctx, 2, 1, 1, 4, (int32_t[]){ 1, 1 }, 2,
                                     (int32_t[]){ INT32_MIN }, from), TSR_E_CORRUPT);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
