/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches to test the KV codec with: made up, in any layout, with guard bytes
 * around, and coders with their memory. */
#ifndef TSR_TESTS_KV_CASE_H
#define TSR_TESTS_KV_CASE_H
#include "tests/check.h"
#include <math.h>
#include <tessera/kv.h>
#include "codecs/kv/move.h"

/** A context that says nothing: thousands of errors are meant. */
static inline tsr_context *kv_quiet_context(int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.threads = threads;
    s.backend = "c";
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}
enum { KV_GUARD = 4096, KV_GUARD_BYTE = 0xa5 };

typedef enum kv_layout { KV_THD, KV_HTD, KV_NHD, KV_HND } kv_layout;

/** A cache in memory of its own. */
typedef struct kv_cache {
    tsr_kv_shape shape;
    tsr_kv_view view;
    void **base;
    int32_t *blocks;
    uint8_t *memory, *used; /* used: 1 where an element of the view is */
    size_t bytes;
} kv_cache;

static inline size_t kv_planes(const tsr_kv_shape *s)
{
    return (size_t)(s->layers * s->planes);
}

static inline uint8_t *kv_at(const kv_cache *c, int layer, int plane, size_t t,
                             int h, int d)
{
    const tsr_kv_view *v = &c->view;
    uint8_t *p = v->base[layer * c->shape.planes + plane];
    size_t in = t;

    if (v->blocks) {
        p += v->blocks[t / (size_t)v->block_tokens] * v->block_stride;
        in = t % (size_t)v->block_tokens;
    }
    return p + (ptrdiff_t)in * v->token_stride + h * v->head_stride +
        d * (ptrdiff_t)tsri_kv_dtype_bytes(v->dtype);
}

static inline void kv_mark(kv_cache *c, int l, int p)
{
    const size_t e = tsri_kv_dtype_bytes(c->view.dtype);

    for (size_t t = 0; t < c->view.tokens; t++)
        for (int h = 0; h < c->shape.heads[p]; h++)
            for (int d = 0; d < c->shape.dim[p]; d++)
                memset(c->used + (kv_at(c, l, p, t, h, d) - c->memory), 1, e);
}

/** Memory for `tokens` tokens; all bytes are KV_GUARD_BYTE.  Paged layouts have
 *  blocks of 16 in an order that is not theirs. */
static inline void kv_cache_open(kv_cache *c, const tsr_kv_shape *shape,
                                 tsr_kv_dtype dtype, kv_layout layout,
                                 size_t tokens)
{
    enum { BLOCK = 16 };
    const size_t e = tsri_kv_dtype_bytes(dtype), planes = kv_planes(shape);
    const bool paged = layout == KV_NHD || layout == KV_HND;
    const size_t blocks = (tokens + BLOCK - 1) / BLOCK;
    const size_t room = paged ? (blocks + 1) * BLOCK : tokens;
    size_t channels = 0, plane;
    int dim = 0, heads = 0;

    for (int p = 0; p < shape->planes; p++) {
        dim = shape->dim[p] > dim ? shape->dim[p] : dim;
        heads = shape->heads[p] > heads ? shape->heads[p] : heads;
    }
    channels = (size_t)(dim * heads);
    plane = room * channels * e + 64;
    *c = (kv_cache){ .shape = *shape, .bytes = planes * plane + 2 * KV_GUARD };
    c->memory = malloc(c->bytes);
    c->used = calloc(c->bytes, 1);
    c->base = calloc(planes, sizeof *c->base);
    c->blocks = calloc(blocks + 1, sizeof *c->blocks);
    memset(c->memory, KV_GUARD_BYTE, c->bytes);
    for (size_t i = 0; i < planes; i++)
        c->base[i] = c->memory + KV_GUARD + i * plane;
    for (size_t i = 0; i < blocks; i++) /* the first block stays free */
        c->blocks[i] = (int32_t)(blocks - i);
    c->view = (tsr_kv_view){ .dtype = dtype, .base = c->base, .tokens = tokens };
    if (layout == KV_THD || layout == KV_NHD) {
        c->view.token_stride = (ptrdiff_t)(channels * e);
        c->view.head_stride = dim * (ptrdiff_t)e;
    } else {
        c->view.token_stride = dim * (ptrdiff_t)e;
        c->view.head_stride = (ptrdiff_t)((paged ? BLOCK : tokens) *
                                          (size_t)dim * e);
    }
    if (paged) {
        c->view.blocks = c->blocks;
        c->view.block_tokens = BLOCK;
        c->view.block_stride = (ptrdiff_t)(BLOCK * channels * e);
    }
    for (size_t i = 0; i < planes; i++)
        kv_mark(c, (int)i / shape->planes, (int)i % shape->planes);
}

static inline void kv_cache_close(kv_cache *c)
{
    free(c->memory);
    free(c->used);
    free(c->base);
    free(c->blocks);
}

/** Nothing outside of the view's elements has changed. */
static inline void kv_check_guards(const kv_cache *c)
{
    for (size_t i = 0; i < c->bytes; i++)
        if (!c->used[i] && c->memory[i] != KV_GUARD_BYTE)
            fail_msg("byte %zu outside of the view was written", i);
}

static inline float kv_get(const kv_cache *c, int l, int p, size_t t, int h,
                           int d)
{
    float x;
    (void)tsri_kv_from_dtype(c->view.dtype, 0, kv_at(c, l, p, t, h, d), 1, &x);
    return x;
}

static inline void kv_put(const kv_cache *c, int l, int p, size_t t, int h,
                          int d, float x)
{
    tsri_kv_to_dtype(c->view.dtype, 0, &x, 1, kv_at(c, l, p, t, h, d));
}

/** Calls for each element of the shape. */
#define KV_EACH(c, l, p, t, h, d)                                           \
    for (int l = 0; l < (c)->shape.layers; l++)                             \
        for (int p = 0; p < (c)->shape.planes; p++)                         \
            for (size_t t = 0; t < (c)->view.tokens; t++)                   \
                for (int h = 0; h < (c)->shape.heads[p]; h++)               \
                    for (int d = 0; d < (c)->shape.dim[p]; d++)

/** Values like a cache's: channels with means and spreads of their own, a few
 *  large ones; values half as large as keys. */
static inline void kv_fill(const kv_cache *c, uint64_t seed)
{
    check_rng rng = { seed };

    KV_EACH(c, l, p, t, h, d) {
        const int k = (l * 31 + p * 17 + h * 7 + d * 3) % 23;
        const float sum = check_float(&rng) + check_float(&rng) +
            check_float(&rng);
        const float mean = k == 5 ? 12.f : (float)(k - 11) / 8;
        kv_put(c, l, p, t, h, d,
               (mean + sum * (0.1f + (float)(k % 7) / 3)) / (float)(1 + p));
    }
}

/** Same bits in every element? */
static inline bool kv_same(const kv_cache *a, const kv_cache *b)
{
    KV_EACH(a, l, p, t, h, d)
        if (memcmp(kv_at(a, l, p, t, h, d), kv_at(b, l, p, t, h, d),
                   tsri_kv_dtype_bytes(a->view.dtype)))
            return false;
    return true;
}

/** A coder with its scratch and room. */
typedef struct kv_coder {
    tsr_kv *kv;
    tsr_kv_call call;
    uint8_t *object;
    size_t room, size;
} kv_coder;

static inline void kv_coder_room(kv_coder *k, size_t tokens)
{
    size_t bytes;

    assert_int_equal(tsr_kv_encode_bound(k->kv, tokens, &k->room), TSR_OK);
    k->object = malloc(k->room + 1);
    assert_int_equal(tsr_kv_scratch_size(k->kv, tokens, &bytes), TSR_OK);
    k->call = (tsr_kv_call){ .scratch = aligned_alloc(64, (bytes + 63) & ~63ull),
                             .scratch_size = bytes };
    memset(k->call.scratch, 0xee, bytes);
}

static inline void kv_coder_open(kv_coder *k, tsr_context *ctx,
                                 const tsr_kv_settings *s, size_t tokens)
{
    *k = (kv_coder){ 0 };
    assert_int_equal(tsr_kv_open(&k->kv, ctx, s), TSR_OK);
    kv_coder_room(k, tokens);
}

static inline void kv_coder_close(kv_coder *k)
{
    free(k->object);
    free(k->call.scratch);
    tsr_kv_close(&k->kv);
}

static inline tsr_error kv_encode(kv_coder *k, const kv_cache *c)
{
    return tsr_kv_encode(k->kv, &c->view, &k->call, k->object, k->room, &k->size);
}

static inline tsr_error kv_decode(kv_coder *k, const tsr_kv_part *part,
                                  const kv_cache *c)
{
    return tsr_kv_decode(k->kv, k->object, k->size, part, &c->view, &k->call);
}
#endif
