/* SPDX-License-Identifier: BSD-2-Clause */
/* The graph runner's nodes that see whole planes, upsampling, padding at the
 * end: against double precision, in passes, out of memory. */
#include "tests/nn_device_plain.h"
#include "tests/nn_batch.h"
#include "tests/nn_pairs.h"
#include "tests/poor.h"

static const char *const backends[] = { "c", "device", "onednn" };
static int backend_count(void)
{
    return tsri_nn_onednn() ? 3 : 2;
}

static const int sizes[][2] = {
    { 1, 1 }, { 1, 7 }, { 9, 1 }, { 2, 3 }, { 8, 8 }, { 17, 31 }, { 33, 70 }
};
enum { SIZES = 7 };

static void check_small(tsr_context *ctx, int kind, int channels)
{
    for (int i = 0; i < SIZES; i++) {
        pair t;
        pair_open(&t, ctx, channels, sizes[i][0], sizes[i][1],
                  (uint64_t)(kind * 10 + i + 1), 0.2f, 2);
        pair_finish(&t, small(&t, kind));
        pair_out o = pair_run(&t, UINT64_MAX, 1);
        pair_check(&t, &o, 1e-5);
        assert_int_equal(o.calls, 1);
        pair_out again = pair_run(&t, 0, 8);
        assert_memory_equal(o.v, again.v, pair_count(&o.shape) * sizeof *o.v);
        free(again.v);
        free(o.v);
        pair_close(&t);
    }
}

static void test_small(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_context *ctx = nn_context(backends[b], 1 + b);
        for (int kind = 0; kind < 16; kind++) {
            check_small(ctx, kind, 12);
            check_small(ctx, kind, 32);
        }
        tsr_context_close(&ctx);
    }
}

/* A mean that is far greater than the deviation.  What a float input holds of
 * the deviation is exact, so the result is as good as without the mean. */
static void test_mean(void **state)
{
    static const float means[] = { 0, 10, -1000, 30000 };
    tsr_context *ctx = nn_context("auto", 2);
    (void)state;
    for (int i = 0; i < 4 * 2; i++) {
        pair t;
        pair_open(&t, ctx, 24, i & 1 ? 61 : 700, i & 1 ? 53 : 900,
                  (uint64_t)i + 1, means[i / 2], 1);
        pair_finish(&t, pair_norm(&t, 0, 6));
        pair_out o = pair_run(&t, UINT64_MAX, 1);
        pair_check(&t, &o, 2e-6);
        free(o.v);
        pair_close(&t);
    }
    tsr_context_close(&ctx);
}

/* The variant for this processor gives the same bits. */
static void test_variant(void **state)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f,
                                 -0.0f, 90, -90 };
    const tsri_row_normer fast = tsri_row_norm_pick(tsr_cpu_flags());
    check_rng rng = { 7 };
    (void)state;
    for (int i = 0; i < 3000; i++) {
        float c[24], src[8 * 20], want[8 * 20], got[8 * 20];
        const int n = (int)check_below(&rng, 20);
        for (int k = 0; k < 24; k++)
            c[k] = 3 * check_float(&rng);
        for (int k = 0; k < 8 * 20; k++)
            src[k] = i % 2 ? 30 * check_float(&rng) :
                     odd[check_below(&rng, 9)];
        memset(want, 1, sizeof want);
        memset(got, 1, sizeof got);
        tsri_row_norm((tsri_pre)(i % 3), want, src, n, c);
        fast((tsri_pre)(i % 3), got, src, n, c);
        for (int k = 0; k < 8 * 20; k++)
            assert_true(!memcmp(&want[k], &got[k], sizeof *got) ||
                        (isnan(want[k]) && isnan(got[k])));
    }
}

/* ---- attention ---- */

static void check_attention(tsr_context *ctx, int h, int w, int c, int kind,
                            int exact, float size)
{
    const bool large = h * w > 3000;
    pair t;
    pair_open(&t, ctx, c, h, w, (uint64_t)(h * w + kind), 0.1f, size);
    t.exact = exact;
    t.every = large ? 101 : 1;
    pair_finish(&t, attend(&t, 0, kind, c));
    pair_out o = pair_run(&t, UINT64_MAX, 1);
    pair_check(&t, &o, 1e-5);
    pair_out tiled = pair_run(&t, large ? 4000000 : 0, 32);
    assert_memory_equal(o.v, tiled.v, pair_count(&o.shape) * sizeof *o.v);
    free(tiled.v);
    free(o.v);
    pair_close(&t);
}

static void test_attention(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_context *ctx = nn_context(backends[b], 1 + b);
        for (int kind = 0; kind < 3; kind++) {
            for (int i = b; i < SIZES; i += 2)
                check_attention(ctx, sizes[i][0], sizes[i][1], 20, kind, 16384,
                                1);
            check_attention(ctx, 16, 16, 64, kind, 16384, 3);
            check_attention(ctx, 19, 27, 8, kind, 16384, 6);
            /* Windows that are the whole plane, or not. */
            check_attention(ctx, 19, 27, 10, kind, 100, 1);
            check_attention(ctx, 150, 20, 8, kind, 1000, 1);
            check_attention(ctx, 5, 300, 8, kind, 1000, 2);
        }
        check_attention(ctx, 139, 161, 16, 0, 1000, 2);
        tsr_context_close(&ctx);
    }
}

/* Whole on one thread, then every budget on one, two and three. */
static void check_vqgan(const char *backend, int kind, int h, int w)
{
    static const uint64_t budgets[] = { UINT64_MAX, 0, 150000, 400000, 700000,
                                        1000000, 1300000 };
    pair_out whole = { { 0 }, NULL, 0 };
    for (int threads = 1; threads <= 3; threads++) {
        tsr_context *ctx = nn_context(backend, threads);
        pair t;
        vqgan_open(&t, ctx, kind, h, w);
        for (int i = 0; i < 7; i++) {
            if (budgets[i] < 700000 && h * w > 300)
                continue;       /* tile by tile only small planes */
            pair_out o = pair_run(&t, budgets[i], 16);
            if (!whole.v) {
                whole = o;
                pair_check(&t, &o, 2e-5);
                continue;
            }
            assert_memory_equal(o.v, whole.v,
                                pair_count(&o.shape) * sizeof *o.v);
            free(o.v);
        }
        pair_close(&t);
        tsr_context_close(&ctx);
    }
    free(whole.v);
}

static void test_vqgan(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        check_vqgan(backends[b], 0, 1, 1);
        check_vqgan(backends[b], 0, 13, 22);
        check_vqgan(backends[b], 0, 56, 73);
        check_vqgan(backends[b], 1, 1, 1);
        check_vqgan(backends[b], 1, 3, 5);
        check_vqgan(backends[b], 1, 17, 23);
        check_vqgan(backends[b], 3, 17, 23);
    }
}

/* ---- memory ---- */

static atomic_size_t in_use, peak;

static void *count_alloc(void *cookie, size_t size, size_t align)
{
    char *p = aligned_alloc(align, (size + 2 * align - 1) / align * align);
    (void)cookie;
    assert_non_null(p);
    memcpy(p, &size, sizeof size);
    in_use += size;
    peak = in_use > peak ? in_use : peak;
    return p + align;
}

static void count_free(void *cookie, void *memory)
{
    char *p = (char *)memory - 64;
    size_t size;
    (void)cookie;
    memcpy(&size, p, sizeof size);
    in_use -= size;
    free(p);
}

static tsr_context *counting_context(const char *backend)
{
    tsr_context_settings s;
    tsr_context *ctx;
    tsr_context_settings_init(&s);
    s.backend = backend;
    s.threads = 2;
    s.allocator = (tsr_allocator){ NULL, count_alloc, count_free };
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* A budget is kept down to the least there can be, a greater one asks for less
 * of the input again. */
static void check_budgets(const char *backend, int kind, int h, int w)
{
    tsr_context *ctx = counting_context(backend);
    uint64_t before = UINT64_MAX, whole;
    pair t;

    vqgan_open(&t, ctx, kind, h, w);
    const pair_map *out = &t.map[t.net->output];
    whole = tsri_net_memory(t.net, h, w, (tsri_rect){ 0, 0, out->h, out->w }) +
            pair_count(out) * sizeof(float);
    for (int eighths = 3; eighths <= 8; eighths++) {
        const uint64_t budget = whole * (uint64_t)eighths / 8;
        const size_t start = in_use;
        peak = in_use;
        t.asked = 0;
        pair_out o = pair_run(&t, budget, 8);
        assert_true(peak - start <= budget);
        assert_int_equal(in_use, start);
        assert_true(t.asked <= before);
        before = t.asked;
        free(o.v);
    }
    assert_int_equal(before, h * w);
    pair_close(&t);
    tsr_context_close(&ctx);
    assert_int_equal(in_use, 0);
}

static void test_memory(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        if (!strcmp(backends[b], "device"))
            continue;           /* its memory is its own */
        check_budgets(backends[b], 0, 200, 180);
        check_budgets(backends[b], 1, 40, 50);
        check_budgets(backends[b], 3, 50, 40);
    }
}

/* Every allocation in turn fails, of building and of running in passes. */
static void test_no_memory(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_error error = TSR_E_NOMEM;
        const float one[64] = { 1 };
        for (int n = 0; error; n++) {
            tsr_context *ctx = poor_context(nn_host(backends[b]), 2);
            nn_use(ctx, backends[b]);
            const int held = poor_held;
            tsri_net *net;
            pair t = { .map[0] = { 4, 9, 9, NULL } };
            pair_out o = { { 4, 9, 9, NULL }, NULL, 0 };
            t.input = calloc(4 * 81, sizeof *t.input);
            o.v = calloc(4 * 81, sizeof *o.v);
            poor_left = n;
            error = tsri_net_new(&net, ctx, 4);
            if (!error) {
                const int x = tsri_net_norm(net, tsri_net_act(
                    net, 0, TSRI_ACT_SILU), &(tsri_norm){ 2, 1, one, one });
                const int a = tsri_net_attention(net, x, x, tsri_net_conv(
                    net, x, &(tsri_conv){ 4, 4, 1, 1, TSRI_PAD_ZERO, one, NULL,
                                          TSRI_BOTH }));
                error = tsri_net_finish(net, tsri_net_add(net, x, a));
            }
            if (!error)
                error = tsri_net_run_tiled(net, 9, 9, 20000, 1, pair_source, &t,
                                           pair_sink, &o);
            assert_true(error == TSR_OK || error == TSR_E_NOMEM);
            tsri_net_free(&net);
            assert_int_equal(poor_held, held);
            poor_left = POOR_MANY;
            tsr_context_close(&ctx);
            free(t.input);
            free(o.v);
        }
    }
}

/* ---- hostile values, faults ---- */

static void test_not_numbers(void **state)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY, 3e38f, 1e-42f };
    (void)state;
    for (int i = 0; i < 5 * 3 * backend_count(); i++) {
        tsr_context *ctx = nn_context(backends[i / 15], 2);
        const int kind = i / 5 % 3;
        pair t;
        pair_open(&t, ctx, 4, 7, 6, (uint64_t)i + 1, 0, 1);
        t.exact = kind == 1 ? 10 : 1000;
        const int out = kind ? decoder(&t) : attend(&t, 0, 2, 4);
        for (int k = 0; k < t.owned && kind == 2; k += 3)
            t.weights[k][k % 3] = odd[i % 5];
        t.input[17] = kind < 2 ? odd[i % 5] : 1;
        pair_finish(&t, out);
        pair_out whole = pair_run(&t, UINT64_MAX, 1);
        pair_out tiled = pair_run(&t, 0, 8);
        for (size_t k = 0; k < pair_count(&whole.shape); k++)
            assert_true(whole.v[k] == tiled.v[k] ||
                        (isnan(whole.v[k]) && isnan(tiled.v[k])));
        free(whole.v);
        free(tiled.v);
        pair_close(&t);
        tsr_context_close(&ctx);
    }
}

static int broken(tsri_net *net, int fault)
{
    static const float w[4 * 4 * 9];
    tsri_norm n = { 2, 1e-6f, w, w };
    tsri_conv c = { 4, 2, 3, 2, TSRI_PAD_ZERO, w, w, TSRI_END };
    int x = tsri_net_conv(net, 0, &c);

    c.side = TSRI_BOTH;
    switch (fault) {
    case 0: n.groups = 3; break;
    case 1: n.groups = 0; break;
    case 2: n.gamma = NULL; break;
    case 3: n.beta = NULL; break;
    case 4: n.eps = -1; break;
    case 5: n.eps = NAN; break;
    case 6: return tsri_net_norm(net, 5, &n);
    case 7: return tsri_net_upsample(net, -1);
    case 8: return tsri_net_attention(net, x, x, 0);
    case 9: return tsri_net_attention(net, x, tsri_net_upsample(net, x), x);
    case 10: return tsri_net_attention(net, x, x, 9);
    case 11: c.side = TSRI_END; c.pad = TSRI_PAD_REFLECT; break;
    case 12: c.side = (tsri_side)2; break;
    default:
        for (int i = 0; i < 20; i++)
            x = tsri_net_upsample(net, x);
        return x;
    }
    return fault < 6 ? tsri_net_norm(net, 0, &n) : tsri_net_conv(net, 0, &c);
}

static void test_builder(void **state)
{
    tsr_context *ctx;
    (void)state;
    for (int fault = 0; fault < 14; fault++) {
        tsri_net *net;
        tsr_context_settings s;
        tsr_context_settings_init(&s);
        assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
        assert_int_equal(tsri_net_new(&net, ctx, 4), TSR_OK);
        assert_int_equal(broken(net, fault), -1);
        assert_int_equal(tsri_net_finish(net, 0), TSR_E_ARG);
        tsri_net_free(&net);
        tsr_context_close(&ctx);
    }
}

/* Statistics and attention of several inputs at once on a device. */
static void test_batch(void **state)
{
    tsr_context *ctx = nn_context("device", 1);
    (void)state;
    for (int kind = 0; kind < 18; kind++) {
        pair t;
        pair_open(&t, ctx, 12, 9, 14, (uint64_t)kind, 0.2f, 2);
        pair_finish(&t, kind < 16 ? small(&t, kind) : attend(&t, 0, kind - 15, 12));
        assert_int_equal(batch_differs(t.net, 9, 14, (uint64_t)kind), 0);
        pair_close(&t);
    }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_mean),
        cmocka_unit_test(test_variant),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_vqgan),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_builder),
        cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
