/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches to floats and back: number formats, views, positions, quantiser. */
#include <math.h>
#include "codecs/kv/move_impl.h"
#include "tests/check.h"

static const unsigned cpus[] = { 0, ~0u };
enum { CPUS = 2, GUARD = 64 };

static const tsr_kv_dtype dtypes[] = { TSR_KV_F16, TSR_KV_BF16, TSR_KV_F32,
                                       TSR_KV_E4M3, TSR_KV_E5M2 };
enum { DTYPES = 5 };

/* ---- number formats, by their definition ---- */

typedef struct format { int exponent, mantissa; bool infinities; } format;

static format format_of(tsr_kv_dtype dtype)
{
    switch (dtype) {
    case TSR_KV_F16: return (format){ 5, 10, true };
    case TSR_KV_BF16: return (format){ 8, 7, true };
    case TSR_KV_E5M2: return (format){ 5, 2, true };
    case TSR_KV_E4M3: return (format){ 4, 3, false };
    default: return (format){ 8, 23, true };
    }
}

/* What a code of few bits stands for. */
static double value_of(tsr_kv_dtype dtype, uint32_t code)
{
    const format f = format_of(dtype);
    const uint32_t m = code & ((1u << f.mantissa) - 1);
    const uint32_t top = (1u << f.exponent) - 1;
    const uint32_t e = code >> f.mantissa & top;
    const int bias = (int)top >> 1;
    const double sign = code >> (f.mantissa + f.exponent) & 1 ? -1 : 1;

    if (e == top && f.infinities)
        return m ? NAN : sign * INFINITY;
    if (e == top && m == (1u << f.mantissa) - 1)
        return NAN;
    return sign * (e ? ldexp(m + (1u << f.mantissa), (int)e - bias - f.mantissa)
                     : ldexp(m, 1 - bias - f.mantissa));
}

static uint32_t codes_of(tsr_kv_dtype dtype)
{
    return 1u << 8 * tsri_kv_dtype_bytes(dtype);
}

static void put_code(void *out, tsr_kv_dtype dtype, size_t i, uint32_t code)
{
    const size_t bytes = tsri_kv_dtype_bytes(dtype);
    memcpy((uint8_t *)out + i * bytes, &code, bytes);
}

static uint32_t code_at(const void *in, tsr_kv_dtype dtype, size_t i)
{
    const size_t bytes = tsri_kv_dtype_bytes(dtype);
    uint32_t code = 0;
    memcpy(&code, (const uint8_t *)in + i * bytes, bytes);
    return code;
}

/* Every code becomes its value, and that becomes the code again. */
static void every_code(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPES; d++) {
        if (dtypes[d] == TSR_KV_F32)
            continue;
        const size_t n = codes_of(dtypes[d]);
        uint8_t *in = malloc(n * 2), *out = malloc(n * 2);
        float *x = malloc(n * sizeof *x);
        for (size_t i = 0; i < n; i++)
            put_code(in, dtypes[d], i, (uint32_t)i);
        for (int c = 0; c < CPUS; c++) {
            assert_false(tsri_kv_from_dtype(dtypes[d], cpus[c], in, n, x));
            tsri_kv_to_dtype(dtypes[d], cpus[c], x, n, out);
            for (size_t i = 0; i < n; i++) {
                const double v = value_of(dtypes[d], (uint32_t)i);
                assert_true(isnan(v) ? isnan(x[i]) : x[i] == v &&
                            !signbit(x[i]) == !signbit(v));
                const uint32_t back = code_at(out, dtypes[d], i);
                if (isnan(v))
                    assert_true(isnan(value_of(dtypes[d], back)));
                else if (!isinf(v) || dtypes[d] != TSR_KV_E5M2)
                    assert_int_equal(back, i);
            }
        }
        free(in);
        free(out);
        free(x);
    }
}

static uint32_t one_code(tsr_kv_dtype dtype, float x)
{
    uint32_t code = 0, other = 0;
    float row[16];
    uint8_t out[64];

    tsri_kv_to_dtype(dtype, 0, &x, 1, &code);
    for (int i = 0; i < 16; i++)
        row[i] = x;
    tsri_kv_to_dtype(dtype, ~0u, row, 16, out);
    for (int i = 0; i < 16; i++) {
        other = code_at(out, dtype, (size_t)i);
        assert_int_equal(code, other);
    }
    return code;
}

static void both_signs(tsr_kv_dtype dtype, float x, uint32_t code)
{
    const uint32_t sign = 1u << (8 * tsri_kv_dtype_bytes(dtype) - 1);
    assert_int_equal(one_code(dtype, x), code);
    assert_int_equal(one_code(dtype, -x), code | sign);
}

/* Halfway between neighbours the even one, and the nearer one on either side of
 * it. */
static void halfway(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPES; d++) {
        const tsr_kv_dtype t = dtypes[d];
        if (t == TSR_KV_F32)
            continue;
        for (uint32_t c = 0; c + 1 < codes_of(t) / 2; c++) {
            const double low = value_of(t, c), high = value_of(t, c + 1);
            if (!isfinite(low) || !isfinite(high))
                continue;
            const float half = (float)((low + high) / 2);
            assert_true(half == (low + high) / 2);
            both_signs(t, half, c + (c & 1));
            both_signs(t, nextafterf(half, 0), c);
            both_signs(t, nextafterf(half, INFINITY), c + 1);
        }
    }
}

static void beyond(void **state)
{
    (void)state;
    both_signs(TSR_KV_F16, 65519.996f, 0x7bff);
    both_signs(TSR_KV_F16, 65520, 0x7c00);
    both_signs(TSR_KV_F16, 3e38f, 0x7c00);
    both_signs(TSR_KV_F16, INFINITY, 0x7c00);
    both_signs(TSR_KV_BF16, 3.3961775e38f, 0x7f80);
    both_signs(TSR_KV_BF16, 3.3895314e38f, 0x7f7f);
    both_signs(TSR_KV_BF16, INFINITY, 0x7f80);
    both_signs(TSR_KV_E4M3, 448, 0x7e);
    both_signs(TSR_KV_E4M3, 464, 0x7e);
    both_signs(TSR_KV_E4M3, 480, 0x7e);
    both_signs(TSR_KV_E4M3, 1e30f, 0x7e);
    both_signs(TSR_KV_E4M3, INFINITY, 0x7e);
    both_signs(TSR_KV_E5M2, 57344, 0x7b);
    both_signs(TSR_KV_E5M2, 61440, 0x7b);
    both_signs(TSR_KV_E5M2, 65536, 0x7b);
    both_signs(TSR_KV_E5M2, INFINITY, 0x7b);
    for (int d = 0; d < DTYPES; d++) {
        const uint32_t code = one_code(dtypes[d], NAN);
        assert_true(isnan(value_of(dtypes[d], code)));
        both_signs(dtypes[d], 0, 0);
        both_signs(dtypes[d], 1e-45f, dtypes[d] == TSR_KV_F32);
    }
}

/* Random bits, odd sizes, nothing beside them touched; both variants alike. */
static void both_alike(void **state)
{
    enum { MOST = 200 };
    check_rng r = { 7 };
    (void)state;
    for (int round = 0; round < 4000; round++) {
        const tsr_kv_dtype t = dtypes[round % DTYPES];
        const size_t n = check_below(&r, MOST), bytes = tsri_kv_dtype_bytes(t);
        uint32_t bits[MOST];
        float x[CPUS][MOST + 1];
        uint8_t out[CPUS][4 * MOST + 1];
        bool good[CPUS];

        for (int i = 0; i < MOST; i++)
            bits[i] = check_u32(&r) & (round % 3 ? ~0u : 0xbfffffff);
        memset(x, 0x55, sizeof x);
        memset(out, 0x55, sizeof out);
        for (int c = 0; c < CPUS; c++) {
            good[c] = tsri_kv_from_dtype(t, cpus[c], bits, n, x[c]);
            tsri_kv_to_dtype(t, cpus[c], (const float *)bits, n, out[c]);
        }
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        assert_int_equal(good[0], good[1]);
        assert_int_equal(tsri_float_bits(x[1][n]), 0x55555555);
        assert_int_equal(out[1][n * bytes], 0x55);
        bool all = true;
        for (size_t i = 0; i < n; i++)
            all &= isfinite(x[0][i]) != 0;
        assert_int_equal(all, good[0]);
    }
}

static void bytes_of_formats(void **state)
{
    (void)state;
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_F16), 2);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_BF16), 2);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_F32), 4);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_E4M3), 1);
    assert_int_equal(tsri_kv_dtype_bytes(TSR_KV_E5M2), 1);
    assert_int_equal(tsri_kv_dtype_bytes((tsr_kv_dtype)0), 0);
    assert_int_equal(tsri_kv_dtype_bytes((tsr_kv_dtype)6), 0);
}

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

static void says_whether_finite(void **state)
{
    check_rng r = { 13 };
    float x[3 * 64];
    cache c;

    (void)state;
    make_cache(&c, &r, HTD, TSR_KV_F16, 2, 32, 3, 0, 0);
    memset(c.base[0], 0x3c, c.bytes);
    for (int v = 0; v < CPUS; v++)
        assert_true(tsri_kv_gather(&c.view, &c.shape, cpus[v], 0, 0, 0, 3, x, 64));
    put_code(element_at(&c, 1, 1, 31), TSR_KV_F16, 0, 0x7c00);
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

/* Silent: what follows is meant to fail. */
static tsr_context *quiet_context(void)
{
    tsr_context_settings s;
    tsr_context *ctx;
    tsr_context_settings_init(&s);
    s.threads = 1;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

static void no_views(void **state)
{
    tsr_context *ctx = quiet_context();
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
    REFUSED(c.view.token_stride = PTRDIFF_MAX / 16 - 7);
    /* Strides that fit, behind a base that is too far up for them. */
    REFUSED(c.base[0] = (void *)(UINTPTR_MAX - 63));
    REFUSED(c.base[0] = (void *)(uintptr_t)64);
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
    tsr_context *ctx = quiet_context();
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
    tsr_context *ctx = quiet_context();
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
    assert_true(tsri_kv_gather(&view, &shape, ~0u, 1, 1, 1, 2, x, 8));
    for (int t = 0; t < 2; t++)
        for (int d = 0; d < 8; d++)
            assert_true(x[t * 8 + d] ==
                        value_of(TSR_KV_E5M2, memory[288 + 64 * (t + 1) + d]));
    tsr_context_close(&ctx);
}

/* ---- positions ---- */

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
    tsr_context *ctx = quiet_context();
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

/* ---- quantiser ---- */

static void quantiser(void **state)
{
    enum { MOST = 100 };
    check_rng r = { 29 };

    (void)state;
    for (int round = 0; round < 2000; round++) {
        const size_t n = check_below(&r, MOST);
        const float spread = ldexpf(1, (int)check_below(&r, 17));
        const float step = 0.01f + (float)check_below(&r, 100) / 64;
        const bool with_m = round & 1, with_sum = round & 2;
        float x[MOST], m[MOST], y[CPUS][MOST + 1];
        int16_t q[CPUS][MOST + 1];
        uint32_t sum[CPUS][MOST + 1];
        bool good[CPUS], fits = true;

        for (size_t i = 0; i < MOST; i++) {
            x[i] = check_float(&r) * spread * step;
            m[i] = with_m ? check_float(&r) * step * 8 : 0;
            sum[0][i] = sum[1][i] = check_u32(&r);
        }
        for (int v = 0; v < CPUS; v++) {
            sum[v][n] = 5;
            q[v][n] = 6;
            y[v][n] = 7;
            good[v] = tsri_kv_quantise(cpus[v], x, with_m ? m : NULL, 1 / step,
                                       n, q[v], with_sum ? sum[v] : NULL);
            tsri_kv_dequantise(cpus[v], q[v], with_m ? m : NULL, step, n, y[v]);
            assert_int_equal(sum[v][n], 5);
            assert_int_equal(q[v][n], 6);
            assert_true(y[v][n] == 7);
        }
        for (size_t i = 0; i < n; i++) {
            const float off = x[i] - m[i], scaled = off * (1 / step);
            const float nearest = nearbyintf(scaled);
            const float back = (float)q[0][i] * step;
            fits &= fabsf(nearest) <= 32767;
            if (fabsf(nearest) <= 32767)
                assert_true(q[0][i] == (int)nearest);
            else
                assert_int_equal(q[0][i], nearest < 0 ? -32767 : 32767);
            assert_true(y[0][i] == back + m[i]);
        }
        assert_int_equal(good[0], fits);
        assert_int_equal(good[1], fits);
        assert_memory_equal(q[0], q[1], n * 2);
        assert_memory_equal(y[0], y[1], n * 4);
        assert_memory_equal(sum[0], sum[1], n * 4);
    }
}

static void quantiser_sums(void **state)
{
    float x[19];
    uint32_t sum[19];
    int16_t q[19];

    (void)state;
    for (int i = 0; i < 19; i++)
        x[i] = (float)(i - 9) * 3000;
    for (int v = 0; v < CPUS; v++) {
        for (int i = 0; i < 19; i++)
            sum[i] = (uint32_t)i;
        assert_true(tsri_kv_quantise(cpus[v], x, NULL, 1, 19, q, sum));
        for (int i = 0; i < 19; i++)
            assert_int_equal(sum[i], i + abs(i - 9) * 3000);
    }
}

/* The edge of 16 bits, infinities and NaN; at every place of a vector. */
static void quantiser_limits(void **state)
{
    static const struct { float x; bool good; int q; } cases[] = {
        { 32767, true, 32767 }, { -32767, true, -32767 },
        { 32767.498f, true, 32767 }, { -32767.498f, true, -32767 },
        { 32767.5f, false, 32767 }, { -32767.5f, false, -32767 },
        { 1e30f, false, 32767 }, { -1e30f, false, -32767 },
        { INFINITY, false, 32767 }, { -INFINITY, false, -32767 },
        { 0.5f, true, 0 }, { 1.5f, true, 2 }, { -2.5f, true, -2 },
        { 3e9f, false, 32767 }, { -0.0f, true, 0 }, { 1e-45f, true, 0 }
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (size_t n = 1; n < 40; n++)
            for (int v = 0; v < CPUS; v++) {
                float x[40] = { 0 };
                int16_t q[40];
                x[n - 1] = cases[k].x;
                assert_int_equal(tsri_kv_quantise(cpus[v], x, NULL, 1, n, q,
                                                  NULL), cases[k].good);
                assert_int_equal(q[n - 1], cases[k].q);
                x[n / 2] = NAN;
                assert_false(tsri_kv_quantise(cpus[v], x, NULL, 1, n, q, NULL));
            }
}

static void coarsen_all(void **state)
{
    enum { N = 65535 };
    int16_t *q = malloc(N * sizeof *q);
    int8_t *r = malloc(N + 1);

    (void)state;
    for (int v = 0; v < CPUS; v++) {
        for (int i = 0; i < N; i++)
            q[i] = (int16_t)(i - 32767);
        memset(r, 0x55, N + 1);
        tsri_kv_coarsen(cpus[v], q, N, r);
        for (int i = 0; i < N; i++) {
            const int fine = i - 32767;
            assert_int_equal(q[i], lround(fine / 3.0));
            assert_int_equal(fine, 3 * q[i] + r[i]);
        }
        assert_int_equal(r[N], 0x55);
    }
    for (size_t n = 0; n < 40; n++) {
        q[n] = 1000;
        for (size_t i = 0; i < n; i++)
            q[i] = 5;
        r[n] = 9;
        tsri_kv_coarsen(~0u, q, n, r);
        assert_true(q[n] == 1000 && r[n] == 9);
        assert_true(!n || (q[n - 1] == 2 && r[n - 1] == -1));
    }
    free(q);
    free(r);
}

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void centres(void **state)
{
    enum { TOKENS = 300, MOST = 45 };
    static const size_t counts[] = { 1, 2, 31, 32, 33, 100, 256, 300 };
    check_rng r = { 31 };
    float *x = calloc(TOKENS * MOST, sizeof *x);

    (void)state;
    for (int round = 0; round < 200; round++) {
        const size_t count = counts[round % 8], n = check_below(&r, MOST);
        const float step = 0.05f + (float)check_below(&r, 50) / 16;
        /* Some with many equal values. */
        const float grain = round % 3 ? 1e-6f : 2;
        int16_t c[CPUS][MOST + 1];
        for (size_t i = 0; i < TOKENS * MOST; i++)
            x[i] = nearbyintf(check_float(&r) * 9 / grain) * grain;
        for (int v = 0; v < CPUS; v++) {
            c[v][n] = 99;
            tsri_kv_centres(cpus[v], x, MOST, count, n, step, c[v]);
            assert_int_equal(c[v][n], 99);
        }
        for (size_t i = 0; i < n; i++) {
            float v[32];
            for (size_t t = 0; t < 32; t++)
                v[t] = x[t * count / 32 * MOST + i];
            qsort(v, 32, sizeof *v, rising);
            const float scaled = v[15] * (4 / step);
            assert_int_equal(c[0][i], (int)nearbyintf(scaled));
            assert_int_equal(c[1][i], c[0][i]);
        }
    }
    for (size_t i = 0; i < TOKENS * MOST; i++)
        x[i] = i % 2 ? 1e9f : -1e9f;
    for (int v = 0; v < CPUS; v++) {
        int16_t c[18];
        tsri_kv_centres(cpus[v], x, 18, 32, 18, 1, c);
        for (int i = 0; i < 18; i++)
            assert_int_equal(c[i], i % 2 ? 32767 : -32768);
        tsri_kv_centres(cpus[v], NULL, 18, 0, 18, 1, c);
        for (int i = 0; i < 18; i++)
            assert_int_equal(c[i], 0);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_formats),
        cmocka_unit_test(every_code),
        cmocka_unit_test(halfway),
        cmocka_unit_test(beyond),
        cmocka_unit_test(both_alike),
        cmocka_unit_test(views),
        cmocka_unit_test(says_whether_finite),
        cmocka_unit_test(no_views),
        cmocka_unit_test(views_at_the_edge),
        cmocka_unit_test(two_planes),
        cmocka_unit_test(angles),
        cmocka_unit_test(no_ropes),
        cmocka_unit_test(turns),
        cmocka_unit_test(quantiser),
        cmocka_unit_test(quantiser_sums),
        cmocka_unit_test(quantiser_limits),
        cmocka_unit_test(coarsen_all),
        cmocka_unit_test(centres)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
