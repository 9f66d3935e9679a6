/* SPDX-License-Identifier: BSD-2-Clause */
/* Rotary position embeddings: angles, and heads turned by them. */
#include <math.h>
#include "codecs/kv/move_impl.h"
#include "tests/kv_case.h"

/* Plain C, and what this machine has. */
enum { CPUS = 2 };
static unsigned cpus[CPUS];

static double llama3(const tsr_kv_rope *what, double f)
{
    const double wave = 2 * acos(-1) / f;
    if (wave < what->original / what->high_factor)
        return f;
    if (wave > what->original / what->low_factor)
        return f / what->factor;
    const double smooth = (what->original / wave - what->low_factor) /
        (what->high_factor - what->low_factor);
    return (1 - smooth) * f / what->factor + smooth * f;
}

static double angle_of(const tsr_kv_rope *what, uint64_t pos, int pair)
{
    const double f = 1 / pow(what->theta, 2.0 * pair / what->dims);
    return (double)pos * (what->scaling == 0 ? f :
                          what->scaling == 1 ? f / what->factor :
                          llama3(what, f));
}

static const tsr_kv_rope ropes[] = {
    { 1, 0, 128, 10000, 0, 0, 0, 0, 0 },
    { 1, 0, 64, 5e5, 2, 8, 1, 4, 8192 },
    { 2, 0, 96, 1e6, 1, 4, 0, 0, 0 },
    { 2, 512, 64, 10000, 0, 0, 0, 0, 0 },
    { 1, 512, 64, 10000, 0, 0, 0, 0, 0 },
    { 1, 3, 6, 100, 0, 0, 0, 0, 0 },
    { 2, 1, 10, 100, 2, 32, 0.5, 2, 100 },
    { 1, 0, 80, 10000, 0, 0, 0, 0, 0 },
    { 1, 0, 20, 10000, 0, 0, 0, 0, 0 }
};
enum { ROPES = sizeof ropes / sizeof *ropes };
static const int rope_dims[ROPES] = { 128, 64, 96, 576, 576, 9, 11, 80, 64 };

/* Near to the true cosines, and the format's two products to the bit. */
static void angles(void **state)
{
    static const uint64_t positions[] = { 0, 1, 255, 256, 1000, 4095, 4096,
                                          100000, 2147483647 };
    tsr_context *ctx = check_context("c", 1);

    (void)state;
    for (int k = 0; k < ROPES; k++) {
        const int pairs = ropes[k].dims / 2;
        tsri_rope *rope;
        size_t blocks;
        assert_int_equal(tsri_rope_open(&rope, ctx, &ropes[k], rope_dims[k],
                                        4096), TSR_OK);
        const float *low = tsri_rope_low(rope);
        const float *high = tsri_rope_high(rope, &blocks);
        assert_int_equal(blocks, 16);
        for (size_t p = 0; p < sizeof positions / sizeof *positions; p++) {
            const uint64_t pos = positions[p];
            float cs[128], spare[128];
            const float *h = tsri_rope_high_row(rope, pos / 256, spare);
            const float *l = low + pos % 256 * (size_t)pairs * 2;
            assert_int_equal(h != spare, pos < 4096);
            if (pos < 4096)
                assert_ptr_equal(h, high + pos / 256 * (size_t)pairs * 2);
            tsri_rope_angles(rope, pos, cs);
            for (int i = 0; i < pairs; i++) {
                const double a = angle_of(&ropes[k], pos, i);
                const float ch = h[2 * i], sh = h[2 * i + 1];
                const float cl = l[2 * i], sl = l[2 * i + 1];
                const float cc = ch * cl, ss = sh * sl, sc = sh * cl, cs1 = ch * sl;
                assert_true(cs[2 * i] == cc - ss && cs[2 * i + 1] == sc + cs1);
                assert_true(fabs(cs[2 * i] - cos(a)) < 4e-7);
                assert_true(fabs(cs[2 * i + 1] - sin(a)) < 4e-7);
            }
            for (int v = 0; v < CPUS; v++) {
                float again[128 + 1] = { 0 };
                again[2 * pairs] = 77;
                tsri_rope_angles_at(rope, cpus[v], pos, h, again);
                assert_memory_equal(cs, again, (size_t)pairs * 8);
                assert_true(again[2 * pairs] == 77);
            }
        }
        tsri_rope_close(&rope, ctx);
        assert_null(rope);
    }
    tsr_context_close(&ctx);
}

static void no_ropes(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_kv_rope good = { 1, 0, 64, 5e5, 2, 8, 1, 4, 8192 };
    tsr_kv_rope c;
    tsri_rope *rope;

    (void)state;
#define REFUSED(change)                                                     \
    do {                                                                    \
        c = good;                                                           \
        change;                                                             \
        assert_int_equal(tsri_rope_open(&rope, ctx, &c, 64, 10), TSR_E_ARG); \
        assert_null(rope);                                                  \
    } while (0)
    REFUSED(c.layout = 3);
    REFUSED(c.layout = -1);
    REFUSED(c.offset = -1);
    REFUSED(c.offset = 1);
    REFUSED(c.offset = INT32_MAX);
    REFUSED(c.dims = 0);
    REFUSED(c.dims = 63);
    REFUSED(c.dims = 66);
    REFUSED(c.dims = -2);
    REFUSED(c.dims = INT32_MAX - 1);
    REFUSED(c.theta = 0.99);
    REFUSED(c.theta = 1.01e12);
    REFUSED(c.theta = NAN);
    REFUSED(c.scaling = 3);
    REFUSED(c.scaling = -1);
    REFUSED(c.factor = 0.5);
    REFUSED(c.factor = NAN);
    REFUSED(c.factor = INFINITY);
    REFUSED(c.low_factor = 0);
    REFUSED(c.low_factor = 4);
    REFUSED(c.high_factor = NAN);
    REFUSED(c.original = 0);
    REFUSED((c.scaling = 1, c.factor = 0));
#undef REFUSED
    assert_int_equal(tsri_rope_open(&rope, ctx, &good, 64, UINT64_MAX), TSR_E_ARG);
    c = (tsr_kv_rope){ .layout = 0, .dims = -5 };
    assert_int_equal(tsri_rope_open(&rope, ctx, &c, 64, 10), TSR_OK);
    assert_int_equal(tsri_rope_what(rope)->dims, -5);
    tsri_rope_close(&rope, ctx);
    tsr_context_close(&ctx);
}

static void turns(void **state)
{
    enum { HEADS = 3, MOST = HEADS * 576 };
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 23 };

    (void)state;
    for (int k = 0; k < ROPES; k++) {
        const tsr_kv_rope *w = &ropes[k];
        const int dim = rope_dims[k], n = HEADS * dim, pairs = w->dims / 2;
        float x[MOST] = { 0 }, y[CPUS][MOST + 1], cs[128];
        tsri_rope *rope;
        assert_int_equal(tsri_rope_open(&rope, ctx, w, dim, 4096), TSR_OK);
        tsri_rope_angles(rope, 777, cs);
        for (int i = 0; i < n; i++)
            x[i] = check_float(&r) * 9;
        for (int v = 0; v < CPUS; v++) {
            memcpy(y[v], x, sizeof x);
            y[v][n] = 77;
            tsri_rope_take_off(w, cpus[v], cs, y[v], HEADS, dim);
        }
        assert_memory_equal(y[0], y[1], (size_t)(n + 1) * sizeof(float));
        for (int i = 0; i < n; i++) {
            const int d = i % dim - w->offset;
            const bool second = w->layout == 1 ? d >= pairs : d & 1;
            const int pair = w->layout == 1 ? d % pairs : d / 2;
            const int apart = w->layout == 1 ? pairs : 1;
            if (d < 0 || d >= w->dims) {
                assert_true(y[0][i] == x[i]);
                continue;
            }
            const float c = cs[2 * pair], s = cs[2 * pair + 1];
            const float own = x[i] * c;
            const float other = x[second ? i - apart : i + apart] * s;
            assert_true(y[0][i] == (second ? own - other : own + other));
        }
        for (int v = 0; v < CPUS; v++)
            tsri_rope_put_back(w, cpus[v], cs, y[v], HEADS, dim);
        assert_memory_equal(y[0], y[1], (size_t)(n + 1) * sizeof(float));
        for (int i = 0; i < n; i++)
            assert_true(fabsf(y[0][i] - x[i]) < 1e-5f);
        tsri_rope_close(&rope, ctx);
    }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(angles),
        cmocka_unit_test(no_ropes),
        cmocka_unit_test(turns)
    };
    cpus[1] = tsr_cpu_flags();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
