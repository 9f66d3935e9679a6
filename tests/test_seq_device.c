/* SPDX-License-Identifier: BSD-2-Clause */
/* What the runner of one-dimensional nets asks of a device: nets on a plain one
 * on the host against the same nets without. */
#include "tests/poor.h"
#include "tests/seq_device_case.h"
#include "tests/seq_device_plain.h"

static const seq_bound bound = { 1e-5, 1 };
static tsr_context *device, *host;

static int setup(void **state)
{
    (void)state;
    device = plain_seq_context();
    host = check_context("c", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tsr_context_close(&device);
    tsr_context_close(&host);
    return 0;
}

static void check(const gen_net *g, int out, const float *x, size_t n,
                  check_rng *r)
{
    assert_in_range((int)(1000 * seq_against(device, host, g, out, x, n, bound,
                                             r)), 0, 1000);
}

static void test_single_layers(void **state)
{
    check_rng r = { 21 };

    (void)state;
    for (int i = 0; i < 120; i++) {
        gen_net g;
        float *x = gen_floats(&r, 40 * 3, 1);
        gen_start(&g, 1 + i % 3);
        const int out = gen_random_node(&g, &r, 0, true);
        for (size_t n = 0; n <= 40; n += 1 + check_below(&r, 3))
            check(&g, out, x, n, &r);
        gen_free(&g);
        free(x);
    }
}

static void test_random_nets(void **state)
{
    check_rng r = { 22 };

    (void)state;
    for (int i = 0; i < 150; i++) {
        gen_net g;
        float *x = gen_floats(&r, 400 * 3, 1);
        const int out = gen_random(&g, &r, 6, true);
        for (size_t n = 0; n <= 40; n += 1 + check_below(&r, 8))
            check(&g, out, x, n, &r);
        check(&g, out, x, 400, &r);
        gen_free(&g);
        free(x);
    }
}

static void test_seanet(void **state)
{
    check_rng r = { 23 };

    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        gen_net g;
        float *x = gen_floats(&r, 3001, 1);
        const int out = gen_seanet(&g, &r, 8, causal);
        for (int i = 0; i < 4; i++)
            check(&g, out, x, i ? check_below(&r, 3000) : 3001, &r);
        gen_free(&g);
        free(x);
    }
}

/* Layers that read one another, longer than what the second waits for. */
static void test_lstms(void **state)
{
    check_rng r = { 28 };

    (void)state;
    for (int layers = 2; layers <= 4; layers++) {
        gen_net g;
        float *x = gen_floats(&r, 500 * 3, 1);
        gen_start(&g, 3);
        int y = 0;
        for (int i = 0; i < layers; i++)
            y = gen_lstm(&g, &r, y, 3 + 2 * i);
        y = gen_act(&g, &r, y, TSRI_CURVE_ELU);
        for (int i = 0; i < 4; i++)
            check(&g, y, x, i ? check_below(&r, 500) : 500, &r);
        gen_free(&g);
        free(x);
    }
}

/* Little memory: signals are cut into portions. */
static void test_portions(void **state)
{
    check_rng r = { 24 };
    gen_net g;
    float *x = gen_floats(&r, 6000, 1);
    const int out = gen_seanet(&g, &r, 8, true);

    (void)state;
    const uint64_t all = device->max_memory;
    device->max_memory = 2 << 20;
    check(&g, out, x, 6000, &r);
    device->max_memory = all;
    gen_free(&g);
    free(x);
}

/* Every step in turn fails: the error comes out, and nothing but reset and close
 * is possible. */
static void test_failing(void **state)
{
    check_rng r = { 25 };
    gen_net g;
    float *x = gen_floats(&r, 500, 1);
    int out = gen_seanet(&g, &r, 2, true);
    tsr_context_settings settings;
    tsr_context *quiet;
    tsr_error error = TSR_E_BACKEND;

    (void)state;
    for (int i = 0; i < 2; i++)
        out = gen_lstm(&g, &r, out, 2);
    tsr_context_settings_init(&settings);
    assert_int_equal(tsr_context_open(&quiet, &settings), TSR_OK);
    quiet->seq = &plain_seq_ops;
    for (int i = 0; error; i++) {
        tsri_seq_stream *s;
        plain_seq_steps = i;
        tsri_seq *q = gen_declare(quiet, &g, out);
        assert_int_equal(tsri_seq_open(&s, q, quiet, false), TSR_OK);
        error = tsri_seq_push(s, x, 500, false, true);
        assert_true(error == TSR_OK || error == TSR_E_BACKEND);
        if (error)
            assert_int_equal(tsri_seq_push(s, x, 1, false, false), TSR_E_ARG);
        else
            assert_int_equal(tsri_seq_ready(s), tsri_seq_out_length(q, 500));
        tsri_seq_reset(s);
        assert_int_equal(tsri_seq_ready(s), 0);
        tsri_seq_close(&s);
        tsri_seq_free(&q);
    }
    plain_seq_steps = 1 << 30;
    tsr_context_close(&quiet);
    gen_free(&g);
    free(x);
}

static tsr_error declare_and_push(tsr_context *ctx, const gen_net *g, int out,
                                  const float *x, size_t n)
{
    tsri_seq_stream *s = NULL;
    tsri_seq *q;
    tsr_error error = tsri_seq_new(&q, ctx, 1);

    for (int i = 1; !error && i < g->nodes; i++)
        gen_declare_node(q, &g->node[i]);
    if (!error)
        error = tsri_seq_finish(q, out);
    if (!error)
        error = tsri_seq_open(&s, q, ctx, false);
    if (!error)
        error = tsri_seq_push(s, x, n, false, true);
    tsri_seq_close(&s);
    tsri_seq_free(&q);
    return error;
}

static void test_no_memory(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    const int before = poor_held;
    check_rng r = { 26 };
    gen_net g;
    float *x = gen_floats(&r, 200, 1);
    const int out = gen_seanet(&g, &r, 2, false);
    tsr_error error = TSR_E_NOMEM;

    (void)state;
    ctx->seq = &plain_seq_ops;
    for (int i = 0; error; i++) {
        poor_left = i;
        error = declare_and_push(ctx, &g, out, x, 200);
        assert_true(error == TSR_OK || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, before);
    }
    tsr_context_close(&ctx);
    gen_free(&g);
    free(x);
}

/* A stream of another context runs on the host, with the net's own weights. */
static void test_other_context(void **state)
{
    check_rng r = { 27 };
    gen_net g;
    float *x = gen_floats(&r, 300, 1);
    const int out = gen_seanet(&g, &r, 4, true);
    tsri_seq *q = gen_declare(device, &g, out), *p = gen_declare(host, &g, out);

    (void)state;
    output a = run_whole(host, q, x, 300, false);
    output b = run_whole(host, p, x, 300, false);
    same(&a, &b);
    free(a.y);
    free(b.y);
    tsri_seq_free(&q);
    tsri_seq_free(&p);
    gen_free(&g);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_layers),
        cmocka_unit_test(test_random_nets),
        cmocka_unit_test(test_seanet),
        cmocka_unit_test(test_lstms),
        cmocka_unit_test(test_portions),
        cmocka_unit_test(test_failing),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_other_context),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
