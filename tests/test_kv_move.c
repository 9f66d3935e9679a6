/* SPDX-License-Identifier: BSD-2-Clause */
/* Views of caches: read, written and refused; tiles in one pass. */
#include <math.h>
#include "codecs/kv/move_impl.h"
#include "tests/kv_case.h"

/* Plain C, and what this machine has. */
enum { CPUS = 2, GUARD = 64 };
static unsigned cpus[CPUS];

static const tsr_kv_dtype dtypes[] = { TSR_KV_F16, TSR_KV_BF16, TSR_KV_F32,
                                       TSR_KV_E4M3, TSR_KV_E5M2 };
enum { DTYPES = 5 };

/* ---- views ---- */

/* A cache of one plane as an engine keeps it. */
typedef enum layout { THD, HTD, NHD, HND, LAYOUTS } layout;

typedef struct cache {
    tsr_kv_shape shape;
    tsr_kv_view view;
    uint8_t *memory;            /* guards around the cache */
    size_t bytes;
    void *base[4];
    int32_t *blocks;
} cache;

static void shuffle(check_rng *r, int32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = (int32_t)i;
    for (size_t i = n; i > 1; i--) {
        const size_t k = check_below(r, (uint32_t)i);
        const int32_t t = v[i - 1];
        v[i - 1] = v[k];
        v[k] = t;
    }
}

/* gap: bytes left free after each head or token, a multiple of the element. */
static void make_cache(cache *c, check_rng *r, layout kind, tsr_kv_dtype dtype,
                       int heads, int dim, size_t tokens, int block, size_t gap)
{
    const bool paged = kind == NHD || kind == HND;
    const ptrdiff_t e = (ptrdiff_t)tsri_kv_dtype_bytes(dtype);
    const ptrdiff_t inner = paged ? block : (ptrdiff_t)tokens;
    const ptrdiff_t row = dim * e + (ptrdiff_t)gap;
    size_t blocks = paged ? (tokens + (size_t)block - 1) / (size_t)block + 2 : 1;

    memset(c, 0, sizeof *c);
    c->shape = (tsr_kv_shape){ 1, 1, { heads, 0 }, { dim, 0 } };
    c->view.dtype = dtype;
    c->view.base = c->base;
    c->view.tokens = tokens;
    c->view.token_stride = kind == HTD || kind == HND ? row : row * heads;
    c->view.head_stride = kind == HTD || kind == HND ? row * inner : row;
    c->view.block_stride = row * inner * heads;
    c->bytes = blocks * (size_t)c->view.block_stride;
    if (paged) {
        c->blocks = malloc(blocks * sizeof *c->blocks);
        shuffle(r, c->blocks, blocks);
        c->view.blocks = c->blocks;
        c->view.block_tokens = block;
    }
    c->memory = malloc(c->bytes + 2 * GUARD);
    c->base[0] = c->memory + GUARD;
    for (size_t i = 0; i < c->bytes + 2 * GUARD; i++)
        c->memory[i] = (uint8_t)check_u32(r);
}

static void free_cache(cache *c)
{
    free(c->memory);
    free(c->blocks);
}

/* The definition in tessera/kv.h. */
static uint8_t *element_at(const cache *c, size_t t, int h, int d)
{
    const tsr_kv_view *v = &c->view;
    ptrdiff_t place = (ptrdiff_t)t * v->token_stride;
    if (v->blocks)
        place = v->blocks[t / (size_t)v->block_tokens] * v->block_stride +
            (ptrdiff_t)(t % (size_t)v->block_tokens) * v->token_stride;
    return (uint8_t *)c->base[0] + place + h * v->head_stride +
        d * (ptrdiff_t)tsri_kv_dtype_bytes(v->dtype);
}

/* Gathers tokens and compares each number; scatters them into a copy and
 * compares all of its memory. */
static void move_both_ways(const cache *c, size_t first, size_t n)
{
    const size_t channels = (size_t)(c->shape.heads[0] * c->shape.dim[0]);
    const size_t pitch = channels + 3, all = c->bytes + 2 * GUARD;
    const size_t bytes = tsri_kv_dtype_bytes(c->view.dtype);
    float *x = malloc((n * pitch + 1) * sizeof *x);
    uint8_t *want = malloc(all);
    cache to = *c;

    to.memory = malloc(all);
    to.base[0] = to.memory + ((uint8_t *)c->base[0] - c->memory);
    to.view.base = to.base;
    for (int v = 0; v < CPUS; v++) {
        memset(x, 0x55, (n * pitch + 1) * sizeof *x);
        memset(to.memory, 0xaa, all);
        memset(want, 0xaa, all);
        tsri_kv_gather(&c->view, &c->shape, cpus[v], 0, 0, first, n, x, pitch);
        tsri_kv_scatter(&to.view, &to.shape, cpus[v], 0, 0, first, n, x, pitch);
        for (size_t t = 0; t < n; t++)
            for (size_t k = 0; k < channels; k++) {
                const int h = (int)k / c->shape.dim[0];
                const uint8_t *at =
                    element_at(c, first + t, h, (int)k % c->shape.dim[0]);
                float one;
                uint8_t back[4];
                tsri_kv_from_dtype(c->view.dtype, 0, at, 1, &one);
                tsri_kv_to_dtype(c->view.dtype, 0, &one, 1, back);
                assert_memory_equal(&one, &x[t * pitch + k], sizeof one);
                memcpy(want + (at - c->memory), back, bytes);
            }
        for (size_t t = 0; t < n; t++)
            for (size_t k = channels; k < pitch; k++)
                assert_int_equal(tsri_float_bits(x[t * pitch + k]), 0x55555555);
        assert_int_equal(tsri_float_bits(x[n * pitch]), 0x55555555);
        assert_memory_equal(to.memory, want, all);
    }
    free(to.memory);
    free(want);
    free(x);
}

static void views(void **state)
{
    static const int dims[] = { 64, 80, 96, 128, 192, 576, 5, 1 };
    static const int heads[] = { 1, 2, 3, 8 };
    static const size_t tokens[] = { 1, 16, 17, 50 };
    check_rng r = { 11 };
    tsr_context *ctx = check_context("c", 1);

    (void)state;
    for (int round = 0; round < 320; round++) {
        const layout kind = (layout)(round % LAYOUTS);
        const tsr_kv_dtype t = dtypes[round % DTYPES];
        const size_t n = tokens[check_below(&r, 4)];
        const size_t first = check_below(&r, (uint32_t)n);
        cache c;
        make_cache(&c, &r, kind, t, heads[check_below(&r, 4)],
                   dims[round / 4 % 8], n, check_below(&r, 2) ? 16 : 17,
                   check_below(&r, 3) * tsri_kv_dtype_bytes(t));
        assert_int_equal(tsri_kv_view_check(ctx, &c.view, &c.shape, true), TSR_OK);
        move_both_ways(&c, 0, n);
        move_both_ways(&c, first, n - first);
        free_cache(&c);
    }
    tsr_context_close(&ctx);
}

/* Elements as they are, of some tokens, and back to where they came from. */
static void copies(void **state)
{
    check_rng r = { 12 };

    (void)state;
    for (int round = 0; round < 8 * LAYOUTS; round++) {
        const tsr_kv_dtype t = dtypes[round % DTYPES];
        const size_t e = tsri_kv_dtype_bytes(t), row = 3 * 20 * e;
        uint8_t *out = malloc(40 * row + 1), *want;
        cache c;
        make_cache(&c, &r, (layout)(round % LAYOUTS), t, 3, 20, 50, 17,
                   check_below(&r, 2) * e);
        want = malloc(c.bytes + 2 * GUARD);
        out[40 * row] = 0x55;
        tsri_kv_copy_out(&c.view, &c.shape, 0, 0, 10, 40, out);
        assert_int_equal(out[40 * row], 0x55);
        memcpy(want, c.memory, c.bytes + 2 * GUARD);
        for (size_t i = 0; i < 40 * 60; i++) {
            uint8_t *at = element_at(&c, 10 + i / 60, (int)(i % 60 / 20),
                                     (int)(i % 20));
            assert_memory_equal(out + i * e, at, e);
            memset(at, 0, e);
        }
        tsri_kv_copy_in(&c.view, &c.shape, 0, 0, 10, 40, out);
        assert_memory_equal(c.memory, want, c.bytes + 2 * GUARD);
        free(want);
        free(out);
        free_cache(&c);
    }
}

static void says_whether_finite(void **state)
{
    check_rng r = { 13 };
    const uint16_t infinity = 0x7c00;
    float x[3 * 64];
    cache c;

    (void)state;
    make_cache(&c, &r, HTD, TSR_KV_F16, 2, 32, 3, 0, 0);
    memset(c.base[0], 0x3c, c.bytes);
    for (int v = 0; v < CPUS; v++)
        assert_true(tsri_kv_gather(&c.view, &c.shape, cpus[v], 0, 0, 0, 3, x, 64));
    memcpy(element_at(&c, 1, 1, 31), &infinity, sizeof infinity);
    for (int v = 0; v < CPUS; v++) {
        assert_false(tsri_kv_gather(&c.view, &c.shape, cpus[v], 0, 0, 0, 3, x, 64));
        assert_true(tsri_kv_gather(&c.view, &c.shape, cpus[v], 0, 0, 2, 1, x, 64));
    }
    free_cache(&c);
}

/* ---- what is no view ---- */

static int checked(tsr_context *ctx, const cache *c, bool writing)
{
    return tsri_kv_view_check(ctx, &c->view, &c->shape, writing);
}

static void no_views(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    check_rng r = { 17 };
    cache good, c;

    (void)state;
    make_cache(&good, &r, HND, TSR_KV_F16, 2, 32, 40, 16, 0);
#define REFUSED(change)                                             \
    do {                                                            \
        c = good;                                                   \
        c.view.base = c.base;                                       \
        change;                                                     \
        assert_int_equal(checked(ctx, &c, false), TSR_E_ARG);       \
        assert_int_equal(checked(ctx, &c, true), TSR_E_ARG);        \
    } while (0)
    assert_int_equal(checked(ctx, &good, false), TSR_OK);
    assert_int_equal(tsri_kv_view_check(ctx, NULL, &good.shape, false), TSR_E_ARG);
    REFUSED(c.view.dtype = (tsr_kv_dtype)0);
    REFUSED(c.view.dtype = (tsr_kv_dtype)99);
    REFUSED(c.view.base = NULL);
    REFUSED(c.view.tokens = (1 << 20) + 1);
    REFUSED(c.view.tokens = SIZE_MAX);
    REFUSED(c.view.token_stride++);
    REFUSED(c.view.head_stride++);
    REFUSED(c.view.block_stride++);
    REFUSED(c.base[0] = c.memory + GUARD + 1);
    REFUSED(c.view.block_tokens = 0);
    REFUSED(c.view.block_tokens = -16);
    REFUSED(c.view.token_stride = PTRDIFF_MAX - 1);
    REFUSED(c.view.token_stride = PTRDIFF_MIN);
    REFUSED(c.view.head_stride = PTRDIFF_MAX - 1);
    REFUSED(c.view.head_stride = PTRDIFF_MIN);
    REFUSED(c.view.block_stride = PTRDIFF_MAX / 2 - 1);
    REFUSED(c.view.block_stride = PTRDIFF_MIN);
    REFUSED(c.view.token_stride = (PTRDIFF_MAX / 15 | 1) + 1);
    /* Strides that fit, behind a base that is too far up for them. */
    REFUSED(c.base[0] = (void *)(UINTPTR_MAX - 63));
    REFUSED((c.base[0] = (void *)(uintptr_t)64, c.view.head_stride *= -1));
#undef REFUSED
    for (int i = 0; i < 3; i++) {
        const int32_t kept = good.blocks[i];
        good.blocks[i] = i == 1 ? INT32_MIN : -1;
        assert_int_equal(checked(ctx, &good, false), TSR_E_ARG);
        assert_int_equal(checked(ctx, &good, true), TSR_E_ARG);
        good.blocks[i] = kept;
    }
    good.blocks[3] = -1;    /* behind the last token's block */
    assert_int_equal(checked(ctx, &good, true), TSR_OK);
    free_cache(&good);
    tsr_context_close(&ctx);
}

static void views_at_the_edge(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    check_rng r = { 19 };
    cache c;

    (void)state;
    make_cache(&c, &r, HTD, TSR_KV_F32, 3, 8, 5, 0, 0);
    c.base[0] = NULL;
    assert_int_equal(checked(ctx, &c, false), TSR_E_ARG);
    assert_int_equal(checked(ctx, &c, true), TSR_OK);
    c.view.tokens = 0;
    assert_int_equal(checked(ctx, &c, false), TSR_OK);
    c.view.base = NULL;
    assert_int_equal(checked(ctx, &c, true), TSR_OK);
    c.view.base = c.base;
    c.view.tokens = 5;
    c.base[0] = c.memory + GUARD;
    /* One head for all may be read, not written. */
    c.view.head_stride = 0;
    assert_int_equal(checked(ctx, &c, false), TSR_OK);
    assert_int_equal(checked(ctx, &c, true), TSR_E_ARG);
    c.view.head_stride = 5 * 32;
    c.view.token_stride = 28;
    assert_int_equal(checked(ctx, &c, true), TSR_E_ARG);
    /* Last token first. */
    c.view.token_stride = -32;
    c.base[0] = c.memory + GUARD + 4 * 32;
    assert_int_equal(checked(ctx, &c, true), TSR_OK);
    move_both_ways(&c, 0, 5);
    free_cache(&c);
    tsr_context_close(&ctx);
}

/* Planes of different dims share strides. */
static void two_planes(void **state)
{
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_kv_shape shape = { 2, 2, { 2, 1 }, { 16, 8 } };
    uint8_t memory[2 * 4 * 64];
    void *base[4] = { memory, memory + 32, memory + 256, memory + 288 };
    const tsr_kv_view view = { .dtype = TSR_KV_E5M2, .base = base,
                               .token_stride = 64, .head_stride = 16,
                               .tokens = 4 };
    float x[4 * 8];

    (void)state;
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = (uint8_t)(i % 0x7c);
    assert_int_equal(tsri_kv_view_check(ctx, &view, &shape, true), TSR_OK);
    assert_true(tsri_kv_gather(&view, &shape, cpus[1], 1, 1, 1, 2, x, 8));
    for (int t = 0; t < 2; t++)
        for (int d = 0; d < 8; d++) {
            float one;
            tsri_kv_from_plain(TSR_KV_E5M2, &memory[288 + 64 * (t + 1) + d], 1,
                               &one);
            assert_true(x[t * 8 + d] == one);
        }
    tsr_context_close(&ctx);
}

/* ---- tiles ---- */

static const struct { int heads, dim; tsr_kv_rope rope; } shapes[] = {
    { 2, 64, { 1, 0, 64, 10000, 0, 0, 0, 0, 0 } },
    { 3, 80, { 1, 0, 80, 1e6, 0, 0, 0, 0, 0 } },
    { 1, 96, { 2, 0, 96, 10000, 1, 4, 0, 0, 0 } },
    { 8, 128, { 1, 0, 128, 5e5, 2, 8, 1, 4, 8192 } },
    { 2, 128, { .layout = 0 } },
    { 4, 128, { 2, 0, 128, 10000, 0, 0, 0, 0, 0 } },
    { 2, 192, { 1, 128, 64, 10000, 0, 0, 0, 0, 0 } },
    { 1, 576, { 2, 512, 64, 10000, 0, 0, 0, 0, 0 } },
    { 1, 576, { 1, 512, 64, 10000, 0, 0, 0, 0, 0 } },
    { 8, 576, { 1, 512, 64, 10000, 0, 0, 0, 0, 0 } },
    { 4, 64, { 1, 16, 32, 10000, 0, 0, 0, 0, 0 } },
    { 4, 64, { 2, 8, 16, 10000, 0, 0, 0, 0, 0 } },
    { 2, 64, { 1, 0, 24, 10000, 0, 0, 0, 0, 0 } },
    { 2, 72, { 1, 4, 32, 10000, 0, 0, 0, 0, 0 } },
    { 3, 20, { 1, 3, 10, 10000, 0, 0, 0, 0, 0 } },
    { 3, 2047, { 2, 1, 2046, 10000, 0, 0, 0, 0, 0 } },
    { 5, 1, { .layout = 0 } }
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* A tile, and what the parts make of it one after the other. */
typedef struct tile {
    cache c;
    tsri_kv_patch patch;
    tsri_rope *rope;
    size_t channels, pitch;
    float *m, step;
    uint8_t boost[300];
} tile;

static void make_tile(tile *t, tsr_context *ctx, check_rng *r, int round)
{
    const int k = round % SHAPES;
    const size_t tokens = check_below(r, 3) ? 1 + check_below(r, 40) : 1;
    float *x;

    make_cache(&t->c, r, (layout)check_below(r, LAYOUTS), dtypes[round % DTYPES],
               shapes[k].heads, shapes[k].dim, tokens,
               check_below(r, 2) ? 16 : 17, 0);
    assert_int_equal(tsri_rope_open(&t->rope, ctx, &shapes[k].rope,
                                    shapes[k].dim, 1024), TSR_OK);
    t->channels = (size_t)(shapes[k].heads * shapes[k].dim);
    t->pitch = t->channels + check_below(r, 3) * 7;
    t->step = 0.05f + (float)check_below(r, 64) / 100;
    t->m = malloc(t->channels * sizeof *t->m);
    for (size_t i = 0; i < t->channels; i++)
        t->m[i] = check_float(r);
    x = malloc(tokens * t->channels * sizeof *x);
    for (size_t i = 0; i < tokens * t->channels; i++)
        x[i] = check_float(r) * 6;
    tsri_kv_scatter(&t->c.view, &t->c.shape, 0, 0, 0, 0, tokens, x, t->channels);
    free(x);
    for (size_t i = 0; i < sizeof t->boost; i++)
        t->boost[i] = (uint8_t)check_below(r, 8);
    t->patch = (tsri_kv_patch){
        .view = &t->c.view, .shape = &t->c.shape,
        .rope = check_below(r, 4) ? t->rope : NULL,
        /* Over the end of 256 positions, and of the table. */
        .pos = check_below(r, 2) ? 1024 - check_below(r, 30) : check_below(r, 600),
        .first = check_below(r, (uint32_t)tokens),
        .boost = check_below(r, 2) ? t->boost : NULL
    };
    t->patch.n = tokens - t->patch.first;
}

static void free_tile(tile *t, tsr_context *ctx)
{
    tsri_rope_close(&t->rope, ctx);
    free(t->m);
    free_cache(&t->c);
}

static int boost_at(const tile *t, size_t i)
{
    return t->patch.boost ? t->patch.boost[i] : 0;
}

static void angles_at(const tile *t, size_t i, float *cs)
{
    tsri_rope_angles(t->patch.rope, t->patch.pos + t->patch.first + i, cs);
}

static bool load_by_parts(const tile *t, const float *m, int16_t *q,
                          uint32_t *sum)
{
    const tsri_kv_patch *p = &t->patch;
    float *x = malloc(t->channels * sizeof *x), cs[2048];
    bool good = true;

    for (size_t i = 0; i < p->n; i++, q += t->pitch) {
        const float by = ldexpf(1 / t->step, boost_at(t, i));
        good &= tsri_kv_gather(p->view, p->shape, 0, 0, 0, p->first + i, 1, x,
                               t->channels);
        if (p->rope) {
            angles_at(t, i, cs);
            tsri_rope_take_off(tsri_rope_what(p->rope), 0, cs, x,
                               p->shape->heads[0], p->shape->dim[0]);
        }
        good &= tsri_kv_quantise(0, x, m, by, t->channels, q, NULL);
        tsri_kv_add_magnitudes(0, q, t->channels, boost_at(t, i), sum);
    }
    free(x);
    return good;
}

static void store_by_parts(const tile *t, const tsr_kv_view *view, const float *m,
                           const int16_t *q)
{
    const tsri_kv_patch *p = &t->patch;
    float *x = malloc(t->channels * sizeof *x), cs[2048];

    for (size_t i = 0; i < p->n; i++, q += t->pitch) {
        tsri_kv_dequantise(0, q, m, ldexpf(t->step, -boost_at(t, i)), t->channels,
                           x);
        if (p->rope) {
            angles_at(t, i, cs);
            tsri_rope_put_back(tsri_rope_what(p->rope), 0, cs, x,
                               p->shape->heads[0], p->shape->dim[0]);
        }
        tsri_kv_scatter(view, p->shape, 0, 0, 0, p->first + i, 1, x, t->channels);
    }
    free(x);
}

/* In one pass the same as by parts; nothing beside it touched. */
static void load_both_ways(const tile *t, const float *m, bool expect)
{
    const size_t n = t->patch.n * t->pitch + 1, sums = t->channels + 1;
    int16_t *q[3];
    uint32_t *sum[3];

    for (int k = 0; k < 3; k++) {
        q[k] = malloc(n * sizeof **q);
        sum[k] = malloc(sums * sizeof **sum);
        memset(q[k], 0x55, n * sizeof **q);
        memset(sum[k], 0x11, sums * sizeof **sum);
    }
    assert_int_equal(load_by_parts(t, m, q[2], sum[2]), expect);
    for (int v = 0; v < CPUS; v++) {
        assert_int_equal(tsri_kv_load_tile(&t->patch, cpus[v], m, 1 / t->step,
                                           q[v], t->pitch, sum[v]), expect);
        if (expect) {
            assert_memory_equal(q[v], q[2], n * sizeof **q);
            assert_memory_equal(sum[v], sum[2], sums * sizeof **sum);
        }
        memset(q[v], 0x55, n * sizeof **q);
        assert_int_equal(tsri_kv_load_tile(&t->patch, cpus[v], m, 1 / t->step,
                                           q[v], t->pitch, NULL), expect);
        if (expect)
            assert_memory_equal(q[v], q[2], n * sizeof **q);
    }
    for (int k = 0; k < 3; k++) {
        free(q[k]);
        free(sum[k]);
    }
}

static void store_both_ways(const tile *t, check_rng *r, const float *m)
{
    const size_t n = t->patch.n * t->pitch, all = t->c.bytes + 2 * GUARD;
    int16_t *q = malloc(n * sizeof *q);
    uint8_t *memory[3];
    void *base[3];

    for (size_t i = 0; i < n; i++)
        q[i] = check_below(r, 50) ? (int16_t)((int)check_below(r, 200) - 100)
                                  : (int16_t)((int)check_below(r, 65535) - 32767);
    for (int k = 0; k < 3; k++) {
        tsr_kv_view view = t->c.view;
        tsri_kv_patch to = t->patch;
        memory[k] = malloc(all);
        memcpy(memory[k], t->c.memory, all);
        base[k] = memory[k] + ((uint8_t *)t->c.base[0] - t->c.memory);
        view.base = &base[k];
        to.view = &view;
        if (k < CPUS)
            tsri_kv_store_tile(&to, cpus[k], q, t->pitch, m, t->step);
        else
            store_by_parts(t, &view, m, q);
    }
    for (int v = 0; v < CPUS; v++)
        assert_memory_equal(memory[v], memory[2], all);
    for (int k = 0; k < 3; k++)
        free(memory[k]);
    free(q);
}

static void tiles(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 37 };

    (void)state;
    for (int round = 0; round < 5 * SHAPES * DTYPES; round++) {
        tile t;
        make_tile(&t, ctx, &r, round);
        load_both_ways(&t, round & 1 ? t.m : NULL, true);
        store_both_ways(&t, &r, round & 1 ? t.m : NULL);
        free_tile(&t, ctx);
    }
    tsr_context_close(&ctx);
}

/* One value that is not finite, or too large, anywhere. */
static void tiles_are_refused(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng r = { 41 };

    (void)state;
    for (int round = 0; round < 4 * SHAPES * DTYPES; round++) {
        tile t;
        float bad = round & 1 ? NAN : round & 2 ? -1e6f : INFINITY;
        make_tile(&t, ctx, &r, round);
        if (t.c.view.dtype >= TSR_KV_E4M3)
            bad = NAN;
        t.patch.boost = NULL;
        t.step = 0.01f;
        tsri_kv_to_plain(t.c.view.dtype, &bad, 1, element_at(
            &t.c, t.patch.first + check_below(&r, (uint32_t)t.patch.n),
            (int)check_below(&r, (uint32_t)t.c.shape.heads[0]),
            (int)check_below(&r, (uint32_t)t.c.shape.dim[0])));
        load_both_ways(&t, t.m, false);
        free_tile(&t, ctx);
    }
    tsr_context_close(&ctx);
}

/* Values are not turned, 32767 is the largest, and a tile of no tokens is
 * nothing. */
static void second_plane_and_nothing(void **state)
{
    static const tsr_kv_rope what = { 1, 0, 16, 10000, 0, 0, 0, 0, 0 };
    const tsr_kv_shape shape = { 1, 2, { 1, 1 }, { 16, 16 } };
    tsr_context *ctx = check_context("c", 1);
    float memory[2][16];
    void *base[2] = { memory[0], memory[1] };
    const tsr_kv_view view = { .dtype = TSR_KV_F32, .base = base,
                               .token_stride = 64, .head_stride = 64,
                               .tokens = 1 };
    tsri_rope *rope;
    int16_t q[16];

    (void)state;
    assert_int_equal(tsri_rope_open(&rope, ctx, &what, 16, 10), TSR_OK);
    for (int i = 0; i < 32; i++)
        memory[i / 16][i % 16] = (float)(i % 16 + 1) * 100;
    for (int edge = 32766; edge <= 32768; edge++)
        for (int v = 0; v < 2 * CPUS; v++) {
            const tsri_kv_patch p = { .view = &view, .shape = &shape,
                                      .plane = 1, .n = 1 };
            memory[1][v * 5] = (float)(v & 2 ? -edge : edge);
            assert_int_equal(tsri_kv_load_tile(&p, cpus[v & 1], NULL, 1, q, 16,
                                               NULL), edge <= 32767);
            assert_true(edge > 32767 || q[v * 5] == (v & 2 ? -edge : edge));
            memory[1][v * 5] = (float)(v * 5 + 1) * 100;
        }
    for (int v = 0; v < CPUS; v++)
        for (int plane = 0; plane < 2; plane++) {
            const tsri_kv_patch p = { .view = &view, .shape = &shape,
                                      .rope = rope, .pos = 5, .plane = plane,
                                      .n = 1 };
            tsri_kv_patch none = p;
            bool same = true;
            assert_true(tsri_kv_load_tile(&p, cpus[v], NULL, 1, q, 16, NULL));
            for (int i = 0; i < 16; i++)
                same &= q[i] == (i + 1) * 100;
            assert_int_equal(same, plane == 1);
            none.n = 0;
            assert_true(tsri_kv_load_tile(&none, cpus[v], NULL, 1, NULL, 16, NULL));
            tsri_kv_store_tile(&none, cpus[v], NULL, 16, NULL, 1);
        }
    tsri_rope_close(&rope, ctx);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views),
        cmocka_unit_test(copies),
        cmocka_unit_test(says_whether_finite),
        cmocka_unit_test(no_views),
        cmocka_unit_test(views_at_the_edge),
        cmocka_unit_test(two_planes),
        cmocka_unit_test(tiles),
        cmocka_unit_test(tiles_are_refused),
        cmocka_unit_test(second_plane_and_nothing)
    };
    cpus[1] = tsr_cpu_flags();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
