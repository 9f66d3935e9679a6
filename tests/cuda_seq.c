/* SPDX-License-Identifier: BSD-2-Clause */
/* One-dimensional nets on a GPU, whatever the formats and the sizes of pushes,
 * against the same nets in plain C; skipped where there is none.
 *   cuda_seq          all checks
 *   cuda_seq few      some of each, for the sanitizers
 *   cuda_seq few NAME only the test of that name
 *   cuda_seq bench    layers of EnCodec and HiFi-Codec, alone */
#include <time.h>
#include "tests/seq_device_case.h"
#include "lib/nn/seq_internal.h"

static const struct {
    const char *name;
    int precision;
    seq_bound bound;
} formats[] = {
    { "f32", TSR_PRECISION_F32, { 2e-5, 1 } },
    { "f16", TSR_PRECISION_F16, { 2e-2, 1 } },
    { "bf16", TSR_PRECISION_BF16, { 1.5e-1, 1 } },
};
static tsr_context *device, *host;
static seq_bound bound;
static double worst;
static bool few;

static void check(const gen_net *g, int out, const float *x, size_t n,
                  check_rng *r)
{
    const double part = seq_against(device, host, g, out, x, n, bound, r);
    worst = fmax(worst, part);
    if (!(part <= 1))
        fail_msg("%g times the bound, %zu samples", part, n);
}

static void test_single_layers(void **state)
{
    check_rng r = { 31 };

    (void)state;
    for (int i = 0; i < (few ? 20 : 150); i++) {
        gen_net g;
        float *x = gen_floats(&r, 300 * 3, 1);
        gen_start(&g, 1 + i % 3);
        const int out = gen_random_node(&g, &r, 0, true);
        for (size_t n = 0; n <= 40; n += 1 + check_below(&r, few ? 30 : 10))
            check(&g, out, x, n, &r);
        check(&g, out, x, 300, &r);
        gen_free(&g);
        free(x);
    }
}

static void test_random_nets(void **state)
{
    check_rng r = { 32 };

    (void)state;
    for (int i = 0; i < (few ? 4 : 60); i++) {
        gen_net g;
        float *x = gen_floats(&r, 400 * 3, 1);
        const int out = gen_random(&g, &r, 4, true);
        check(&g, out, x, check_below(&r, 40), &r);
        check(&g, out, x, 400, &r);
        gen_free(&g);
        free(x);
    }
}

/* Every width and kind of tile: in, out, taps, stride, dilation, samples. */
static void test_sizes(void **state)
{
    static const int sizes[][6] = {
        { 1, 32, 7, 1, 1, 3000 }, { 32, 1, 7, 1, 1, 3000 },
        { 24, 12, 3, 1, 1, 2000 }, { 12, 24, 1, 1, 1, 2000 },
        { 32, 64, 4, 2, 1, 2000 }, { 64, 32, 3, 1, 1, 9000 },
        { 128, 256, 10, 5, 1, 700 }, { 256, 512, 16, 8, 1, 600 },
        { 512, 128, 7, 1, 1, 75 }, { 64, 64, 11, 1, 5, 9000 },
        { 37, 45, 5, 1, 1, 500 }, { 6, 100, 3, 2, 3, 13000 },
        { 20, 65, 3, 1, 2, 333 }, { 512, 512, 1, 1, 1, 70 },
        { 48, 40, 2, 1, 1, 20000 }, { 2, 2, 3, 1, 1, 77 },
        { 64, 64, 3, 1, 1, 14000 }, { 16, 128, 3, 1, 2, 13500 },
        { 32, 32, 3, 1, 1, 27000 }, { 40, 16, 3, 1, 1, 27000 },
        { 72, 8, 1, 1, 1, 26000 }, { 8, 24, 5, 2, 1, 600 },
    };
    check_rng r = { 33 };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += few ? 3 : 1) {
        const int *s = sizes[i], reach = (s[2] - 1) * s[4];
        const size_t n = few && s[5] > 700 ? 700 : (size_t)s[5];
        float *x = gen_floats(&r, n * (size_t)s[0], 1);
        gen_net g;
        gen_start(&g, s[0]);
        int y = gen_conv(&g, &r, 0, (tsri_seq_conv){ .out = s[1],
                         .taps = s[2], .stride = s[3], .dilation = s[4],
                         .left = reach / 2, .right = reach / 2,
                         .pad = TSRI_SEQ_REFLECT });
        y = gen_act(&g, &r, y, (tsri_curve)(i % 5));
        check(&g, y, x, n, &r);
        gen_free(&g);
        free(x);
    }
}

/* Clusters of every size, units that do not fill them, and more units than
 * they have threads for. */
static void test_lstm(void **state)
{
    static const int hidden[] = { 1, 3, 32, 33, 63, 64, 100, 128, 200, 256, 384,
                                  385, 512, 513, 640 };
    check_rng r = { 34 };

    (void)state;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i += few ? 4 : 1) {
        const size_t n = (i % 3 ? 20 : 250) + check_below(&r, 30);
        float *x = gen_floats(&r, n * 8, 1);
        gen_net g;
        gen_start(&g, 8);
        int y = gen_lstm(&g, &r, 0, hidden[i]);
        y = gen_lstm(&g, &r, y, hidden[i]);
        if (i % 2)
            y = gen_act(&g, &r, y, TSRI_CURVE_ELU);
        check(&g, y, x, n, &r);
        gen_free(&g);
        free(x);
    }
}

static void test_seanet(void **state)
{
    check_rng r = { 35 };

    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        gen_net g;
        float *x = gen_floats(&r, 5001, 1);
        const int out = gen_seanet(&g, &r, few ? 4 : 24, causal);
        check(&g, out, x, few ? 500 : 5001, &r);
        check(&g, out, x, check_below(&r, 1000), &r);
        gen_free(&g);
        free(x);
    }
}

/* Long signals: sums of many blocks, several portions. */
static void test_long(void **state)
{
    check_rng r = { 36 };
    const size_t n = few ? 3000 : 200000;
    float *x = gen_floats(&r, n, 1);
    gen_net g;

    (void)state;
    gen_start(&g, 1);
    int y = gen_conv(&g, &r, 0, (tsri_seq_conv){ .out = 48, .taps = 7,
                     .stride = 1, .dilation = 1, .left = 6, .complete = true,
                     .pad = TSRI_SEQ_REFLECT });
    const int a = gen_norm(&g, &r, y, 3);
    y = gen_norm(&g, &r, gen_act(&g, &r, a, TSRI_CURVE_LEAKY), 48);
    y = gen_conv(&g, &r, gen_add(&g, y, a, 0.5f), (tsri_seq_conv){ .out = 2,
                 .taps = 4, .stride = 4, .dilation = 1 });
    check(&g, y, x, n, &r);
    gen_free(&g);
    free(x);
}

/* The same bits however the signal is cut. */
static void test_cuts(void **state)
{
    check_rng r = { 37 };
    gen_net g;
    float *x = gen_floats(&r, 4000, 1);
    const int out = gen_seanet(&g, &r, few ? 4 : 16, true);
    tsri_seq *q = gen_declare(device, &g, out);

    (void)state;
    output whole = run_whole(device, q, x, 4000, false);
    output cut = seq_pieces(device, q, x, 4000, false, &r);
    worst = fmax(worst, seq_off(&cut, &whole, bound));
    printf("# cut: %g of the bound\n", seq_off(&cut, &whole, bound));
    free(whole.y);
    free(cut.y);
    tsri_seq_free(&q);
    gen_free(&g);
    free(x);
}

/* ---- how fast ---- */

static double milliseconds(const gen_net *g, int out, size_t n, int rounds)
{
    check_rng r = { 38 };
    float *x = gen_floats(&r, n * (size_t)g->node[0].channels, 1);
    tsri_seq *q = gen_declare(device, g, out);
    const tsri_seq_ops *ops = q->ops;
    tsri_seq_stream *s;
    struct timespec a, b;
    double best = 1e30;

    assert_int_equal(tsri_seq_open(&s, q, device, false), TSR_OK);
    for (int i = 0; i < rounds; i++) {
        tsri_seq_reset(s);
        assert_int_equal(ops->wait(q->dev), TSR_OK);
        timespec_get(&a, TIME_UTC);
        assert_int_equal(tsri_seq_push(s, x, n, false, true), TSR_OK);
        timespec_get(&b, TIME_UTC);
        const double ms = 1e3 * (double)(b.tv_sec - a.tv_sec) +
                          1e-6 * (double)(b.tv_nsec - a.tv_nsec);
        best = fmin(best, ms);
        s->taken = s->fetched;
    }
    tsri_seq_close(&s);
    tsri_seq_free(&q);
    free(x);
    return best;
}

static void bench_layer(int in, int out, int taps, int stride, size_t n)
{
    check_rng r = { 39 };
    gen_net g;

    /* One output channel is left, so that little comes back. */
    gen_start(&g, in);
    int y = gen_conv(&g, &r, 0, (tsri_seq_conv){ .out = out, .taps = taps,
                     .stride = stride, .dilation = 1 });
    const tsri_seq_conv one = { .out = 1, .taps = 1, .stride = 64,
                                .dilation = 1 };
    y = gen_conv(&g, &r, y, one);
    const double macs = (double)in * out * taps * (double)n / stride;
    const double ms = milliseconds(&g, y, n, 20);
    gen_start(&g, in);
    y = gen_conv(&g, &r, 0, (tsri_seq_conv){ .out = 1, .taps = 1,
                 .stride = 64 * stride, .dilation = 1 });
    const double without = milliseconds(&g, y, n, 20);
    printf("%5d -> %4d, %2d taps, stride %2d, %7zu samples: %8.3f ms, %7.2f "
           "TFLOP/s\n", in, out, taps, stride, n, ms - without,
           2e-9 * macs / (ms - without));
    gen_free(&g);
}

static void bench_lstm(int hidden)
{
    check_rng r = { 40 };
    gen_net g;

    gen_start(&g, 8);
    int y = gen_lstm(&g, &r, 0, hidden);
    y = gen_conv(&g, &r, y, (tsri_seq_conv){ .out = 1, .taps = 1, .stride = 1,
                                             .dilation = 1 });
    const double ms = milliseconds(&g, y, 1750, 5) - milliseconds(&g, y, 750, 5);
    printf("LSTM of %4d: %.3f us a step\n", hidden, ms);
    gen_free(&g);
}

static void bench(void)
{
    bench_layer(1, 32, 7, 1, 240000);
    bench_layer(24, 12, 3, 1, 240000);
    bench_layer(32, 16, 3, 1, 240000);
    bench_layer(32, 32, 1, 1, 240000);
    bench_layer(32, 64, 4, 2, 240000);
    bench_layer(64, 32, 3, 1, 120000);
    bench_layer(128, 64, 3, 1, 30000);
    bench_layer(128, 256, 10, 5, 30000);
    bench_layer(256, 512, 16, 8, 6000);
    bench_layer(512, 2048, 2, 1, 750);
    bench_layer(256, 640, 2, 1, 6000);
    bench_layer(128, 256, 2, 1, 30000);
    bench_layer(256, 256, 11, 1, 8000);
    bench_lstm(384);
    bench_lstm(512);
    bench_lstm(128);
}

/* NULL: there is no device. */
static tsr_context *on_device(int precision)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.device = "cuda";
    s.precision = precision;
    return tsr_context_open(&ctx, &s) ? NULL : ctx;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_layers),
        cmocka_unit_test(test_random_nets),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_lstm),
        cmocka_unit_test(test_seanet),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_cuts),
    };
    int failed = 0;

    few = argc > 1 && !strcmp(argv[1], "few");
    if (few && argc > 2)
        cmocka_set_test_filter(argv[2]);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        device = on_device(formats[i].precision);
        if (!device) {
            printf("1..0 # SKIP no CUDA device\n");
            return 0;
        }
        host = check_context("c", 1);
        bound = formats[i].bound;
        worst = 0;
        printf("# %s\n", formats[i].name);
        if (argc > 1 && !strcmp(argv[1], "bench"))
            bench();
        else
            failed += cmocka_run_group_tests(tests, NULL, NULL);
        printf("# %s: at most %.2g of the bound\n", formats[i].name, worst);
        tsr_context_close(&host);
        tsr_context_close(&device);
    }
    return failed != 0;
}
