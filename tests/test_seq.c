/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/seq_net.h"
#include "lib/core.h"

static void near(const output *o, const gen_signal *ref)
{
    assert_int_equal(o->n, ref->length);
    assert_int_equal(o->channels, ref->channels);
    for (size_t i = 0; i < o->n * o->channels; i++) {
        const double off = fabs(o->y[i] - ref->x[i]);
        if (!(off <= 1e-5 * fmax(1, fabs(ref->x[i]))))
            fail_msg("sample %zu channel %zu of %zu: %g, not %g",
                     i / o->channels, i % o->channels, o->n, (double)o->y[i],
                     ref->x[i]);
    }
}

/* Whole signals against the definitions. */
static void check_whole(tsr_context *ctx, const gen_net *g, int out,
                        const float *x, size_t n)
{
    tsri_seq *q = gen_declare(ctx, g, out);
    for (int zero = 0; zero < 2; zero++) {
        gen_signal ref = gen_run(g, out, x, n, zero);
        output o = run_whole(ctx, q, x, n, zero);
        assert_int_equal(tsri_seq_out_length(q, n), ref.length);
        near(&o, &ref);
        free(ref.x);
        free(o.y);
    }
    tsri_seq_free(&q);
}

static void test_single_layers(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 11 };

    (void)unused;
    for (int i = 0; i < 120; i++) {
        gen_net g;
        float *x = gen_floats(&r, 40 * 3, 1);
        gen_start(&g, 1 + i % 3);
        const int out = gen_random_node(&g, &r, 0, true);
        for (size_t n = 0; n <= 40; n++)
            check_whole(ctx, &g, out, x, n);
        gen_free(&g);
        free(x);
    }
    tsr_context_close(&ctx);
}

static void test_random_nets(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 12 };

    (void)unused;
    for (int i = 0; i < 150; i++) {
        gen_net g;
        float *x = gen_floats(&r, 400 * 3, 1);
        const int out = gen_random(&g, &r, 6, true);
        for (size_t n = 0; n <= 40; n += 1 + check_below(&r, 5))
            check_whole(ctx, &g, out, x, n);
        check_whole(ctx, &g, out, x, 400);
        gen_free(&g);
        free(x);
    }
    tsr_context_close(&ctx);
}

/* EnCodec's rule on samples that can be checked by eye. */
static void test_reflection(void **unused)
{
    static const struct {
        int left, right;
        size_t n, out;
        float y[12];
    } cases[] = {
        { 2, 2, 5, 9, { 3, 2, 1, 2, 3, 4, 5, 4, 3 } },
        { 2, 2, 3, 7, { 3, 2, 1, 2, 3, 2, 1 } },
        /* 1 2 -> 1 2 0 -> 0 2 1 2 0 2 1 -> less one */
        { 2, 2, 2, 6, { 0, 2, 1, 2, 0, 2 } },
        { 2, 2, 1, 5, { 0, 0, 1, 0, 0 } },
        /* 1 2 -> 1 2 0 0 -> 0 0 2 1 2 0 0 0 -> less two */
        { 3, 1, 2, 6, { 0, 0, 2, 1, 2, 0 } },
        /* 1 2 3 -> 1 2 3 0 -> 1 2 3 0 3 2 1 -> less one */
        { 0, 3, 3, 6, { 1, 2, 3, 0, 3, 2 } },
        { 6, 0, 3, 9, { 0, 0, 0, 0, 3, 2, 1, 2, 3 } },
        { 1, 1, 0, 0, { 0 } },
    };
    tsr_context *ctx = check_context("c", 1);
    const float x[] = { 1, 2, 3, 4, 5 }, one = 1;

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tsri_seq *q;
        output o;
        assert_int_equal(tsri_seq_new(&q, ctx, 1), TSR_OK);
        tsri_seq_conv1d(q, 0, &(tsri_seq_conv){ .in = 1, .out = 1, .taps = 1,
                        .stride = 1, .dilation = 1, .left = cases[i].left,
                        .right = cases[i].right, .pad = TSRI_SEQ_REFLECT,
                        .weight = &one });
        assert_int_equal(tsri_seq_finish(q, 1), TSR_OK);
        o = run_whole(ctx, q, x, cases[i].n, false);
        assert_int_equal(o.n, cases[i].out);
        for (size_t t = 0; t < o.n; t++)
            assert_float_equal(o.y[t], cases[i].y[t], 0);
        free(o.y);
        tsri_seq_free(&q);
    }
    tsr_context_close(&ctx);
}

/* Sums and curves that look as if they could be done by a convolution. */
static void test_neighbours(void **unused)
{
    const tsri_seq_conv one = { .out = 3, .taps = 1, .stride = 1,
                                .dilation = 1 };
    const tsri_seq_convtr shifted = { .out = 3, .taps = 3, .stride = 1,
                                      .trim = 1 };
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 24 };
    float *x = gen_floats(&r, 20 * 3, 1);

    (void)unused;
    for (int i = 0; i < 6; i++) {
        gen_net g;
        int a, b = 0;
        gen_start(&g, 3);
        a = i < 4 ? gen_conv(&g, &r, 0, one) : gen_convtr(&g, &r, 0, shifted);
        if (i < 4)
            a = gen_act(&g, &r, a, TSRI_CURVE_TANH);
        if (i == 2 || i == 3)
            b = gen_act(&g, &r, a, TSRI_CURVE_LEAKY);
        a = i % 2 ? gen_add(&g, a, b, 1) : gen_add(&g, b, a, 1);
        a = gen_act(&g, &r, gen_act(&g, &r, a, TSRI_CURVE_ELU),
                    TSRI_CURVE_SNAKE);
        for (size_t n = 0; n <= 20; n++)
            check_whole(ctx, &g, a, x, n);
        gen_free(&g);
    }
    free(x);
    tsr_context_close(&ctx);
}

/* A piece's size: often 0 or 1, sometimes all. */
static size_t piece(check_rng *r, size_t left)
{
    const uint32_t kind = check_below(r, 6);
    const size_t n = kind == 0 ? 0 : kind == 1 ? 1 :
                     kind == 2 ? check_below(r, 200) :
                     kind == 3 ? left : check_below(r, 12);
    return n < left ? n : left;
}

/* Saves a stream and goes on in another. */
static void replace(tsr_context *ctx, const tsri_seq *q, tsri_seq_stream **s,
                    bool zero_start, bool fresh)
{
    const size_t bytes = tsri_seq_state_bytes(*s);
    uint8_t *state = malloc(bytes);

    tsri_seq_state_save(*s, state);
    if (fresh) {
        tsri_seq_close(s);
        assert_int_equal(tsri_seq_open(s, q, ctx, zero_start), TSR_OK);
    }
    assert_int_equal(tsri_seq_state_load(*s, state, bytes), TSR_OK);
    assert_int_equal(tsri_seq_state_bytes(*s), bytes);
    free(state);
}

static output run_pieces(tsr_context *ctx, const tsri_seq *q, check_rng *r,
                         const float *x, size_t n, bool zero_start)
{
    const size_t channels = (size_t)tsri_seq_in_channels(q);
    const int style = (int)check_below(r, 3);   /* live, lazy, now and then */
    const bool saves = check_below(r, 2);
    tsri_seq_stream *s;
    output o = output_new(q);
    size_t at = 0, empty;
    bool end = false;

    assert_int_equal(tsri_seq_open(&s, q, ctx, zero_start), TSR_OK);
    empty = tsri_seq_state_bytes(s);
    while (!end) {
        const size_t k = piece(r, n - at);
        const bool lazy = style == 1 || (style == 2 && check_below(r, 2));
        end = at + k == n && check_below(r, 2);
        assert_int_equal(tsri_seq_push(s, k ? x + at * channels : NULL, k, lazy,
                                       end), TSR_OK);
        at += k;
        if (saves && !check_below(r, 4))
            replace(ctx, q, &s, zero_start, check_below(r, 2));
        if (check_below(r, 2))
            drain(s, &o, check_below(r, 2) ? 3 : SIZE_MAX);
    }
    drain(s, &o, SIZE_MAX);
    assert_int_equal(tsri_seq_ready(s), 0);
    assert_int_equal(tsri_seq_state_bytes(s), empty);   /* holds nothing */
    tsri_seq_close(&s);
    return o;
}

static void test_pieces(void **unused)
{
    tsr_context *ctx[3];
    check_rng r = { 13 };

    (void)unused;
    for (int t = 0; t < 3; t++)
        ctx[t] = check_context("c", t + 1);
    for (int i = 0; i < 400; i++) {
        gen_net g;
        const size_t n = check_below(&r, i % 4 ? 120 : 1500);
        const bool zero = check_below(&r, 2);
        float *x = gen_floats(&r, n * 3, 1);
        const int out = gen_random(&g, &r, 7, i % 3 == 0);
        tsri_seq *q = gen_declare(ctx[0], &g, out);
        output all = run_whole(ctx[0], q, x, n, zero);
        for (int k = 0; k < 4; k++) {
            output o = run_pieces(ctx[k % 3], q, &r, x, n, zero);
            same(&o, &all);
            free(o.y);
        }
        free(all.y);
        tsri_seq_free(&q);
        gen_free(&g);
        free(x);
    }
    for (int t = 0; t < 3; t++)
        tsr_context_close(&ctx[t]);
}

static void test_seanet(void **unused)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng r = { 14 };

    (void)unused;
    for (int causal = 0; causal < 2; causal++) {
        gen_net g;
        const int out = gen_seanet(&g, &r, 4, causal);
        tsri_seq *q = gen_declare(ctx, &g, out);
        float *x = gen_floats(&r, 3000, 1);
        for (size_t n = 0; n <= 600; n = 2 * n + 1)
            check_whole(ctx, &g, out, x, n);
        output all = run_whole(ctx, q, x, 3000, false);
        assert_int_equal(all.n, 3000);
        for (int k = 0; k < 10; k++) {
            output o = run_pieces(ctx, q, &r, x, 3000, false);
            same(&o, &all);
            free(o.y);
        }
        free(all.y);
        free(x);
        tsri_seq_free(&q);
        gen_free(&g);
    }
    tsr_context_close(&ctx);
}

/* Nets whose blocks are big enough to be shared out: by rows, and by panels
 * where rows are few. */
static void test_threads(void **unused)
{
    tsr_context *ctx[3];
    check_rng r = { 21 };
    float *x = gen_floats(&r, 3000 * 64, 1);

    (void)unused;
    for (int t = 0; t < 3; t++)
        ctx[t] = check_context("c", t + 1);
    for (int wide = 0; wide < 2; wide++) {
        const size_t n = wide ? 65 : 3000;
        const int width = wide ? 250 : 30;
        gen_net g;
        int a;
        gen_start(&g, 64);
        a = gen_conv(&g, &r, 0, (tsri_seq_conv){ .out = width, .taps = 11,
                     .stride = 2, .dilation = 3, .left = 15, .right = 15 });
        a = gen_act(&g, &r, a, TSRI_CURVE_ELU);
        a = gen_add(&g, gen_conv(&g, &r, a, (tsri_seq_conv){ .out = width,
                    .taps = 5, .stride = 1, .dilation = 1, .left = 2,
                    .right = 2 }), a, 1);
        a = gen_convtr(&g, &r, a, (tsri_seq_convtr){ .out = width, .taps = 6,
                                                     .stride = 3, .trim = 1 });
        a = gen_act(&g, &r, a, TSRI_CURVE_SNAKE);
        a = gen_norm(&g, &r, a, 2);
        a = gen_add(&g, a, gen_lstm(&g, &r, a, width), 0.5f);
        tsri_seq *q = gen_declare(ctx[0], &g, a);
        output all = run_whole(ctx[0], q, x, n, false);
        for (int k = 1; k < 6; k++) {
            output o = run_pieces(ctx[k % 3], q, &r, x, n, false);
            same(&o, &all);
            free(o.y);
        }
        free(all.y);
        tsri_seq_free(&q);
        gen_free(&g);
    }
    free(x);
    for (int t = 0; t < 3; t++)
        tsr_context_close(&ctx[t]);
}

/* A lazy node waits for a batch, and the next push that is not lazy for none. */
static void test_lazy(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    const float x[64] = { 0 };
    tsri_seq_stream *s;
    tsri_seq *q;

    (void)unused;
    assert_int_equal(tsri_seq_new(&q, ctx, 1), TSR_OK);
    assert_int_equal(tsri_seq_finish(q, tsri_seq_scale(q, 0, 2)), TSR_OK);
    assert_int_equal(tsri_seq_open(&s, q, ctx, false), TSR_OK);
    for (size_t i = 1; i <= 64; i++) {
        assert_int_equal(tsri_seq_push(s, x, 1, true, false), TSR_OK);
        assert_int_equal(tsri_seq_ready(s), i / 32 * 32);
    }
    assert_int_equal(tsri_seq_push(s, x, 5, true, false), TSR_OK);
    assert_int_equal(tsri_seq_push(s, NULL, 0, false, false), TSR_OK);
    assert_int_equal(tsri_seq_ready(s), 69);
    tsri_seq_close(&s);
    tsri_seq_free(&q);
    tsr_context_close(&ctx);
}

/* Sample by sample: outputs come when tsri_seq_needs() says, not before and
 * not later. */
static void check_needs(tsr_context *ctx, const tsri_seq *q, const float *x,
                        size_t n, bool zero_start)
{
    const size_t channels = (size_t)tsri_seq_in_channels(q);
    tsri_seq_stream *s;

    assert_int_equal(tsri_seq_open(&s, q, ctx, zero_start), TSR_OK);
    for (size_t i = 1; i <= n; i++) {
        assert_int_equal(tsri_seq_push(s, x + (i - 1) * channels, 1, false,
                                       false), TSR_OK);
        const uint64_t out = tsri_seq_ready(s);
        if (out)
            assert_true(tsri_seq_needs(q, out, zero_start) <= i);
        assert_true(tsri_seq_needs(q, out + 1, zero_start) > i);
    }
    tsri_seq_close(&s);
}

static void test_needs(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 15 };

    (void)unused;
    for (int i = 0; i < 200; i++) {
        gen_net g;
        float *x = gen_floats(&r, 100 * 3, 1);
        const int out = gen_random(&g, &r, 6, i % 5 == 0);
        tsri_seq *q = gen_declare(ctx, &g, out);
        check_needs(ctx, q, x, 100, i % 2);
        tsri_seq_free(&q);
        gen_free(&g);
        free(x);
    }
    tsr_context_close(&ctx);
}

/* Reflection in front waits for what is reflected; zeros do not. */
static void test_needs_at_start(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 23 };
    gen_net g;
    tsri_seq *q;
    int x = 0;

    (void)unused;
    gen_start(&g, 1);
    for (int i = 0; i < 2; i++)
        x = gen_conv(&g, &r, x, (tsri_seq_conv){ .out = 1, .taps = 7,
                     .stride = 1, .dilation = 1, .left = 6, .complete = true,
                     .pad = TSRI_SEQ_REFLECT });
    q = gen_declare(ctx, &g, gen_crop(&g, x, 2, 1));
    assert_int_equal(tsri_seq_needs(q, 1, false), 7);
    assert_int_equal(tsri_seq_needs(q, 5, false), 8);
    assert_int_equal(tsri_seq_needs(q, 1, true), 4);
    tsri_seq_free(&q);
    gen_free(&g);
    tsr_context_close(&ctx);
}

/* Numbers without end do not wrap round. */
static void test_huge_counts(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 16 };
    gen_net g;
    tsri_seq *q;
    int out;

    (void)unused;
    gen_start(&g, 1);
    out = gen_convtr(&g, &r, 0, (tsri_seq_convtr){ .out = 1, .taps = 4,
                                                   .stride = 2, .trim = 1 });
    q = gen_declare(ctx, &g, out);
    assert_true(tsri_seq_out_length(q, UINT64_MAX - 1) == UINT64_MAX);
    assert_true(tsri_seq_needs(q, UINT64_MAX - 3, false) >= UINT64_MAX / 2 - 2);
    assert_true(tsri_seq_needs(q, UINT64_MAX, false) == UINT64_MAX);
    assert_true(tsri_seq_macs(q) == 4);
    tsri_seq_free(&q);
    gen_free(&g);
    tsr_context_close(&ctx);
}

static void test_macs(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 17 };
    gen_net g;
    tsri_seq *q;
    int x;

    (void)unused;
    gen_start(&g, 2);
    x = gen_conv(&g, &r, 0, (tsri_seq_conv){ .out = 6, .taps = 4, .stride = 2,
                                             .dilation = 1 });
    x = gen_lstm(&g, &r, x, 5);
    x = gen_convtr(&g, &r, x, (tsri_seq_convtr){ .out = 3, .taps = 4,
                                                 .stride = 4 });
    q = gen_declare(ctx, &g, x);
    assert_float_equal(tsri_seq_macs(q), 2 * 6 * 4 / 2.0 + 20 * 11 / 2.0 +
                                         5 * 12 / 2.0, 1e-9);
    tsri_seq_free(&q);
    gen_free(&g);
    tsr_context_close(&ctx);
}

/* The input may be the result; unread nodes cost nothing. */
static void test_input_is_output(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    const float x[6] = { 1, 2, 3, 4, 5, 6 };
    float y[6];
    tsri_seq_stream *s;
    tsri_seq *q;

    (void)unused;
    assert_int_equal(tsri_seq_new(&q, ctx, 2), TSR_OK);
    tsri_seq_scale(q, 0, 2);
    assert_int_equal(tsri_seq_finish(q, 0), TSR_OK);
    assert_int_equal(tsri_seq_out_channels(q), 2);
    assert_int_equal(tsri_seq_open(&s, q, ctx, false), TSR_OK);
    assert_int_equal(tsri_seq_push(s, x, 3, true, true), TSR_OK);
    assert_int_equal(tsri_seq_ready(s), 3);
    assert_int_equal(tsri_seq_take(s, y, 2), 2);
    assert_int_equal(tsri_seq_take(s, y + 4, 2), 1);
    assert_memory_equal(x, y, sizeof x);
    tsri_seq_close(&s);
    tsri_seq_free(&q);
    tsr_context_close(&ctx);
}

static void quiet(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    (void)text;
}

/* Each call declares something wrong in a net whose input has 2 channels. */
static void declare_wrong(tsri_seq *q, int which)
{
    static const float w[64] = { 0 };
    tsri_seq_conv c = { .in = 2, .out = 2, .taps = 2, .stride = 1,
                        .dilation = 1, .weight = w };
    tsri_seq_convtr t = { .in = 2, .out = 2, .taps = 4, .stride = 2,
                          .weight = w };

    switch (which) {
    case 0: c.in = 3; break;
    case 1: c.out = 0; break;
    case 2: c.taps = 0; break;
    case 3: c.stride = 0; break;
    case 4: c.dilation = INT32_MAX; break;
    case 5: c.left = -1; break;
    case 6: c.right = INT32_MAX; break;
    case 7: c.weight = NULL; break;
    case 8: c.complete = true; c.left = 2; break;
    case 9: c.stride = 4096; tsri_seq_conv1d(q, 0, &c); break;
    case 10: t.taps = 1; break;
    case 11: t.trim = 3; break;
    case 12: t.out = INT32_MAX; break;
    case 13: t.weight = NULL; break;
    case 14: t.in = 1; break;
    case 15: tsri_seq_act(q, 7, TSRI_CURVE_ELU, 0, NULL); break;
    case 16: tsri_seq_act(q, 0, TSRI_CURVE_SNAKE, 0, NULL); break;
    case 17: tsri_seq_add(q, 0, tsri_seq_convtr1d(q, 0, &t), 1); break;
    case 18: tsri_seq_add(q, 0, -1, 1); break;
    case 19: tsri_seq_lstm(q, 0, 0, w, w, w, w); break;
    case 20: tsri_seq_lstm(q, 0, 1, w, w, NULL, w); break;
    case 21: tsri_seq_group_norm(q, 0, 3, 1, w, w); break;
    case 22: tsri_seq_group_norm(q, 0, 1, 1, NULL, w); break;
    case 23: tsri_seq_scale(q, 3, 1); break;
    case 24: tsri_seq_finish(q, 0); break;
    case 25: tsri_seq_crop(q, 0, -1, 0); break;
    case 26: tsri_seq_crop(q, 0, 0, INT32_MAX); break;
    case 27:
        t.full = true;
        t.trim = 1;
        tsri_seq_convtr1d(q, 0, &t);
        break;
    }
    if (which < 10)
        tsri_seq_conv1d(q, which == 9 ? 1 : 0, &c);
    else if (which < 15)
        tsri_seq_convtr1d(q, 0, &t);
}

static void test_faults(void **unused)
{
    tsr_context_settings settings;
    tsr_context *ctx;
    tsri_seq *q;

    (void)unused;
    tsr_context_settings_init(&settings);
    settings.logger.log = quiet;
    assert_int_equal(tsr_context_open(&ctx, &settings), TSR_OK);
    for (int i = 0; i < 28; i++) {
        assert_int_equal(tsri_seq_new(&q, ctx, 2), TSR_OK);
        declare_wrong(q, i);
        assert_int_equal(tsri_seq_scale(q, 0, 1), -1);
        assert_int_equal(tsri_seq_finish(q, 0), TSR_E_ARG);
        tsri_seq_free(&q);
    }
    assert_int_equal(tsri_seq_new(&q, ctx, 0), TSR_E_ARG);
    assert_null(q);
    assert_int_equal(tsri_seq_new(&q, ctx, 1), TSR_OK);
    for (int i = 0; i < 2000; i++)
        tsri_seq_scale(q, 0, 1);
    assert_int_equal(tsri_seq_finish(q, 1), TSR_E_ARG);
    tsri_seq_free(&q);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_layers),
        cmocka_unit_test(test_random_nets),
        cmocka_unit_test(test_reflection),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_seanet),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_needs_at_start),
        cmocka_unit_test(test_huge_counts),
        cmocka_unit_test(test_macs),
        cmocka_unit_test(test_input_is_output),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
