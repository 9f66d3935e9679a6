/* SPDX-License-Identifier: BSD-2-Clause */
/* What streams keep: memory, its end, and their states as bytes. */
#include "tests/poor.h"
#include "tests/seq_net.h"
#include "lib/bytes.h"

static int allocations;

static void *count_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    allocations++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void count_free(void *cookie, void *memory)
{
    (void)cookie;
    free(memory);
}

static tsr_context *counting_context(uint64_t max_memory)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.backend = "c";
    s.allocator.alloc = count_alloc;
    s.allocator.free = count_free;
    s.max_memory = max_memory;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* A stream that runs evenly does not ask for memory, or hardly ever, when some
 * buffer's phase is new; after a reset never. */
static void test_steady(void **unused)
{
    tsr_context *ctx = counting_context((uint64_t)1 << 30);
    check_rng r = { 18 };
    float *x = gen_floats(&r, 333, 1), *y = malloc(1 << 16);
    gen_net g;
    const int out = gen_seanet(&g, &r, 4, false);
    tsri_seq *q = gen_declare(ctx, &g, out);

    (void)unused;
    for (int lazy = 0; lazy < 2; lazy++) {
        tsri_seq_stream *s;
        int before = 0;
        assert_int_equal(tsri_seq_open(&s, q, ctx, false), TSR_OK);
        for (int i = 0; i < 600; i++) {
            if (i == 300) {
                assert_true(allocations - before < 3);
                tsri_seq_reset(s);
            }
            if (i == 200 || i == 300)
                before = allocations;
            assert_int_equal(tsri_seq_push(s, x, 1 + (size_t)i * 7 % 100, lazy,
                                           false), TSR_OK);
            while (tsri_seq_take(s, y, 100))
                ;
        }
        assert_int_equal(allocations, before);
        tsri_seq_close(&s);
    }
    tsri_seq_free(&q);
    gen_free(&g);
    free(x);
    free(y);
    tsr_context_close(&ctx);
}

/* Every allocation may fail: an error, nothing lost, and the stream can start
 * again. */
static void test_no_memory(void **unused)
{
    tsr_context *ctx = poor_context("c", 1);
    check_rng r = { 22 };
    float *x = gen_floats(&r, 200, 1);
    const int held = poor_held;
    gen_net g;
    int out = gen_seanet(&g, &r, 2, true), done = 0;

    (void)unused;
    out = gen_norm(&g, &r, gen_act(&g, &r, out, TSRI_CURVE_SNAKE), 1);
    for (int k = 0; !done; k++) {
        tsri_seq *q = NULL;
        tsri_seq_stream *s = NULL;
        tsr_error error;
        poor_left = k;
        error = tsri_seq_new(&q, ctx, 1);
        for (int i = 1; i < g.nodes && !error; i++)
            gen_declare_node(q, &g.node[i]);
        if (!error)
            error = tsri_seq_finish(q, out);
        if (!error)
            error = tsri_seq_open(&s, q, ctx, false);
        if (!error) {
            error = tsri_seq_push(s, x, 200, false, true);
            done = !error;
            poor_left = POOR_MANY;
            tsri_seq_reset(s);
            assert_int_equal(tsri_seq_push(s, x, 200, true, true), TSR_OK);
            assert_int_equal(tsri_seq_ready(s), 200);
        }
        assert_int_equal(error, done ? TSR_OK : TSR_E_NOMEM);
        tsri_seq_close(&s);
        tsri_seq_free(&q);
        assert_int_equal(poor_held, held);
    }
    gen_free(&g);
    free(x);
    tsr_context_close(&ctx);
}

/* The group norm needs its whole signal: that is where memory ends. */
static void test_limit(void **unused)
{
    tsr_context *ctx = counting_context(100000);
    check_rng r = { 19 };
    float x[1000] = { 0 }, y[200];
    gen_net g;
    tsri_seq_stream *s;
    tsri_seq *q;
    tsr_error error = TSR_OK;

    (void)unused;
    gen_start(&g, 2);
    q = gen_declare(ctx, &g, gen_norm(&g, &r, 0, 1));
    assert_int_equal(tsri_seq_open(&s, q, ctx, false), TSR_OK);
    for (int i = 0; i < 1000 && !error; i++)
        error = tsri_seq_push(s, x, 100, true, false);
    assert_int_equal(error, TSR_E_LIMIT);
    assert_int_equal(tsri_seq_push(s, x, 1, true, true), TSR_E_ARG);
    tsri_seq_reset(s);
    assert_int_equal(tsri_seq_push(s, x, 100, false, true), TSR_OK);
    assert_int_equal(tsri_seq_take(s, y, 1000), 100);
    assert_int_equal(tsri_seq_push(s, x, 1, false, false), TSR_E_ARG);
    tsri_seq_close(&s);
    tsri_seq_free(&q);
    gen_free(&g);
    tsr_context_close(&ctx);
}

/* Streams with bytes changed at will: refused, or they run on. */
static void test_bad_states(void **unused)
{
    tsr_context_settings settings;
    tsr_context *ctx;
    check_rng r = { 20 };
    float *x = gen_floats(&r, 1000, 1);

    (void)unused;
    tsr_context_settings_init(&settings);
    settings.max_memory = 1 << 26;
    assert_int_equal(tsr_context_open(&ctx, &settings), TSR_OK);
    for (int i = 0; i < 60; i++) {
        gen_net g;
        const int out = gen_random(&g, &r, 6, i % 3 == 0);
        tsri_seq *q = gen_declare(ctx, &g, out);
        tsri_seq_stream *s;
        assert_int_equal(tsri_seq_open(&s, q, ctx, false), TSR_OK);
        assert_int_equal(tsri_seq_push(s, x, check_below(&r, 300), true,
                                       check_below(&r, 2)), TSR_OK);
        const size_t bytes = tsri_seq_state_bytes(s);
        uint8_t *state = malloc(bytes), *bad = malloc(bytes + 8);
        tsri_seq_state_save(s, state);
        for (int k = 0; k < 200; k++) {
            size_t size = bytes;
            memcpy(bad, state, bytes);
            memset(bad + bytes, 0, 8);
            if (k < 20)
                size = check_below(&r, (uint32_t)bytes);
            else if (k < 30)
                size = bytes + 1 + (size_t)k % 8;
            for (int f = 0; k >= 30 && f < 1 + k % 3; f++)
                bad[check_below(&r, (uint32_t)(bytes < 120 ? bytes : 120))] =
                    (uint8_t)check_below(&r, k % 2 ? 256 : 60);
            uint8_t *exact = malloc(size + 1);
            memcpy(exact, bad, size);
            const tsr_error error = tsri_seq_state_load(s, exact, size);
            free(exact);
            if (k < 30)
                assert_int_equal(error, TSR_E_CORRUPT);
            if (error)
                assert_int_equal(tsri_seq_push(s, x, 1, false, false), TSR_E_ARG);
            else {
                const tsr_error e = tsri_seq_push(s, x, 100, k % 2, true);
                assert_true(e == TSR_OK || e == TSR_E_ARG);
            }
            tsri_seq_reset(s);
            assert_int_equal(tsri_seq_push(s, x, 50, false, true), TSR_OK);
        }
        free(bad);
        free(state);
        tsri_seq_close(&s);
        tsri_seq_free(&q);
        gen_free(&g);
    }
    free(x);
    tsr_context_close(&ctx);
}

/* A state is of one structure and one kind of start. */
static void test_foreign_state(void **unused)
{
    tsr_context *ctx = check_context("c", 1);
    tsri_seq *q[2];
    tsri_seq_stream *a, *b;
    uint8_t state[1024];
    const float x[4] = { 1, 2, 3, 4 };

    (void)unused;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tsri_seq_new(&q[i], ctx, 1), TSR_OK);
        tsri_seq_act(q[i], tsri_seq_scale(q[i], 0, 2), TSRI_CURVE_TANH, 0, NULL);
        assert_int_equal(tsri_seq_finish(q[i], 2 - i), TSR_OK);
    }
    assert_int_equal(tsri_seq_open(&a, q[0], ctx, false), TSR_OK);
    assert_int_equal(tsri_seq_push(a, x, 4, false, false), TSR_OK);
    const size_t bytes = tsri_seq_state_bytes(a);
    assert_true(bytes <= sizeof state);
    tsri_seq_state_save(a, state);
    assert_int_equal(tsri_seq_open(&b, q[1], ctx, false), TSR_OK);
    assert_int_equal(tsri_seq_state_load(b, state, bytes), TSR_E_CORRUPT);
    tsri_seq_close(&b);
    assert_int_equal(tsri_seq_open(&b, q[0], ctx, true), TSR_OK);
    assert_int_equal(tsri_seq_state_load(b, state, bytes), TSR_E_CORRUPT);
    tsri_seq_close(&b);
    tsri_seq_close(&a);
    tsri_seq_free(&q[0]);
    tsri_seq_free(&q[1]);
    tsr_context_close(&ctx);
}

/* States whose numbers fit each other almost: the net is a transposed
 * convolution by 4 of one channel. */
static void test_crafted_states(void **unused)
{
    enum { TAKEN = 8, IN = 16, OUT = 24, DATA = 32 };
    tsr_context *ctx = check_context("c", 1);
    const float x[3] = { 1, 2, 3 }, w[6] = { 1, 1, 1, 1, 1, 1 };
    uint8_t state[DATA + 64] = { 0 };
    tsri_seq_stream *s;
    tsri_seq *q;

    (void)unused;
    assert_int_equal(tsri_seq_new(&q, ctx, 1), TSR_OK);
    tsri_seq_convtr1d(q, 0, &(tsri_seq_convtr){ .in = 1, .out = 1, .taps = 6,
                                                .stride = 4, .weight = w });
    assert_int_equal(tsri_seq_finish(q, 1), TSR_OK);
    for (int end = 0; end < 2; end++) {
        const size_t kept = end ? 0 : 4;        /* the last input */
        assert_int_equal(tsri_seq_open(&s, q, ctx, false), TSR_OK);
        assert_int_equal(tsri_seq_push(s, x, 3, false, end), TSR_OK);
        assert_int_equal(tsri_seq_state_bytes(s), DATA + kept + 12 * 4);
        tsri_seq_state_save(s, state);
        assert_int_equal(tsri_seq_state_load(s, state, DATA + kept + 48), TSR_OK);
        /* two outputs less: half a row, so one input more; or an end that is
         * not reached */
        tsri_put64(state + OUT, 10);
        assert_int_equal(tsri_seq_state_load(s, state, DATA + 2 * kept + 40),
                         TSR_E_CORRUPT);
        /* more taken than made */
        tsri_put64(state + OUT, 12);
        tsri_put64(state + TAKEN, 13);
        for (size_t bytes = DATA; bytes <= DATA + 60; bytes += 4)
            assert_int_equal(tsri_seq_state_load(s, state, bytes),
                             TSR_E_CORRUPT);
        /* consistent, but near the end of the numbers */
        tsri_put64(state + IN, (uint64_t)1 << 60);
        tsri_put64(state + OUT, (uint64_t)1 << 62);
        tsri_put64(state + TAKEN, (uint64_t)1 << 62);
        assert_int_equal(tsri_seq_state_load(s, state, DATA + kept),
                         TSR_E_CORRUPT);
        tsri_seq_close(&s);
    }
    tsri_seq_free(&q);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_bad_states),
        cmocka_unit_test(test_foreign_state),
        cmocka_unit_test(test_crafted_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
