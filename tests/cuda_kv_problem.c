/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/kv/kv_internal.h"
#include "tests/cuda_kv.h"

/* ---- failures, numbers ---- */

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("Bail out! ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    exit(1);
}

void must(tsr_error error, const char *what)
{
    if (error)
        die("%s: %s", what, tsr_error_string(error));
}

static uint64_t rng = 88172645463325252u;
void restart(uint64_t seed)
{
    rng = 88172645463325252u + seed;
}

uint32_t below(uint32_t n)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (uint32_t)((uint64_t)((rng * 2685821657736338717u) >> 32) * n >> 32);
}

float normal(void)
{
    const float r = sqrtf(-2 * logf(((float)below(1 << 24) + 1) / (1 << 24)));
    return r * cosf(6.2831853f * (float)below(1 << 24) / (1 << 24));
}

void *room(size_t size)
{
    void *p = aligned_alloc(64, (size + 64) / 64 * 64);
    if (!p)
        die("out of memory");
    return p;
}

/* ---- a problem ---- */

/* Means and spreads of all channels; one in `wide` has `factor` times the
 * spread. */
void choose_spreads(problem *p, float spread_of, int wide, float factor)
{
    const int n = p->channels[0];

    p->mean = room((size_t)p->planes * sizeof *p->mean);
    p->spread = room((size_t)p->planes * sizeof *p->spread);
    for (int i = 0; i < p->planes; i++) {
        p->mean[i] = room((size_t)n * sizeof **p->mean);
        p->spread[i] = room((size_t)n * sizeof **p->spread);
        for (int c = 0; c < n; c++) {
            p->spread[i][c] = expf(spread_of * normal()) *
                (below((uint32_t)wide) ? 1 : factor);
            p->mean[i][c] = (i & 1 ? .3f : 2) * p->spread[i][c] * normal();
        }
    }
}

static void fill_plane(const problem *p, int plane, uint8_t *out)
{
    const int n = p->channels[plane % p->t->shape.planes];
    float *x = room((size_t)n * sizeof *x);

    for (size_t t = 0; t < p->all; t++) {
        for (int c = 0; c < n; c++)
            x[c] = p->mean[plane][c] + p->spread[plane][c] * normal();
        tsri_kv_to_dtype(p->t->dtype, 0, x, (size_t)n,
                         out + t * (size_t)n * p->element);
    }
    free(x);
}

/* Offset of an element in the plane's memory on the device. */
size_t place(const problem *p, int plane, size_t t, int channel)
{
    const tsr_kv_shape *s = &p->t->shape;
    const size_t heads = (size_t)s->heads[plane], dim = (size_t)s->dim[plane];
    const size_t h = (size_t)channel / dim, d = (size_t)channel % dim;
    const size_t in = t % BLOCK, b = (size_t)p->block[t / BLOCK];

    return p->element *
        (p->t->how == THD ? (t * heads + h) * dim + d :
         p->t->how == HTD ? (h * p->all + t) * dim + d :
         p->t->how == NHD ? ((b * BLOCK + in) * heads + h) * dim + d
                          : ((b * heads + h) * BLOCK + in) * dim + d);
}

/* The view on the device; both planes must have the same shape. */
tsr_kv_view device_view(const problem *p)
{
    const size_t heads = (size_t)p->t->shape.heads[0];
    const size_t dim = (size_t)p->t->shape.dim[0] * p->element;
    const bool paged = p->t->how == NHD || p->t->how == HND;
    const bool across = p->t->how == THD || p->t->how == NHD;

    return (tsr_kv_view){
        .dtype = p->t->dtype, .base = p->base, .tokens = p->all,
        .token_stride = (ptrdiff_t)(across ? heads * dim : dim),
        .head_stride = (ptrdiff_t)(across ? dim :
                                   (paged ? BLOCK : p->all) * dim),
        .blocks = paged ? p->device_block : NULL, .block_tokens = BLOCK,
        .block_stride = (ptrdiff_t)(BLOCK * heads * dim) };
}

/* An object's tokens in the host's cache. */
tsr_kv_view host_view(const problem *p, uint8_t *const *cache, void **base,
                      int object)
{
    const size_t dim = (size_t)p->t->shape.dim[0] * p->element;
    const size_t row = dim * (size_t)p->t->shape.heads[0];

    for (int i = 0; i < p->planes; i++)
        base[i] = cache[i] + (size_t)object * (size_t)p->t->tokens * row;
    return (tsr_kv_view){ .dtype = p->t->dtype, .base = base,
                          .token_stride = (ptrdiff_t)row,
                          .head_stride = (ptrdiff_t)dim,
                          .tokens = (size_t)p->t->tokens };
}

static uint64_t position(const test_case *t, int object)
{
    return t->pos0 + (uint64_t)object * (uint64_t)t->tokens;
}

void open_coder(problem *p)
{
    const test_case *t = p->t;
    tsr_kv_settings s;

    tsr_kv_settings_init(&s);
    s.shape = t->shape;
    s.rope = (tsr_kv_rope){ .layout = t->layout, .offset = t->offset,
                            .dims = t->dims, .theta = t->layout ? 5e5 : 0 };
    s.step = t->step;
    s.value_ratio = 1.25;
    s.levels = t->levels;
    if (t->profile) {       /* half its step, to have a class shift */
        p->profile = s.profile = make_profile(p, (float)(2 * t->step));
        s.step = .5;
    }
    if (t->method) {
        s.method = t->method;
        s.step = s.value_ratio = 0;
    }
    s.sinks = t->sinks;
    s.recent = t->recent;
    s.recent_boost = t->boost;
    s.tile = t->tile;
    s.store_tokens = t->ids == KEPT_IDS;
    must(tsr_kv_open(&p->kv, p->ctx, &s), "coder");
    if (t->span)
        p->kv->span = t->span;
    must(tsr_kv_cuda_open(&p->coder, p->kv, 0), "coder on the device");
    must(tsr_kv_encode_bound(p->kv, (size_t)t->tokens, &p->bound), "bound");
    p->bound = (p->bound + 15) / 16 * 16;
}

/* A text that repeats itself; some words are in no vocabulary. */
void make_text(problem *p)
{
    const size_t n = (size_t)p->t->tokens;

    p->ids = p->t->ids ? room(p->all * sizeof *p->ids) : NULL;
    for (size_t t = 0; p->ids && t < p->all; ) {
        const size_t in = t % n, left = n - in;
        size_t run = 1 + below(20), from = in ? below((uint32_t)in) : 0;
        run = run < left ? run : left;
        for (size_t i = 0; i < run; i++, t++)
            p->ids[t] = !in || below(4) == 0
                ? (int32_t)below(VOCABULARY + VOCABULARY / 8)
                : p->ids[t - in - i + from + i];
    }
}

/* One object in three has none; in others one token in four. */
static void make_boosts(problem *p)
{
    const size_t n = (size_t)p->t->tokens;

    p->boost = p->t->boosts ? room(p->all) : NULL;
    for (size_t t = 0; p->boost && t < p->all; t++)
        p->boost[t] = t / n % 3 == 1 || below(4) ? 0 : (uint8_t)below(8);
}

void make_cache(problem *p)
{
    p->element = tsri_kv_dtype_bytes(p->t->dtype);
    p->all = (size_t)p->t->objects * (size_t)p->t->tokens;
    p->planes = p->t->shape.layers * p->t->shape.planes;
    p->blocks = (int)(p->all / BLOCK) + 3;
    p->block = room((size_t)p->blocks * sizeof *p->block);
    for (int i = 0; i < p->blocks; i++) {
        const int k = (int)below((uint32_t)i + 1);
        p->block[i] = p->block[k];
        p->block[k] = i;
    }
    p->cache = room((size_t)p->planes * sizeof *p->cache);
    for (int i = 0; i < 2; i++) {
        p->channels[i] = p->t->shape.heads[0] * p->t->shape.dim[0];
        p->plane_bytes[i] = (size_t)p->blocks * BLOCK * (size_t)p->channels[i] *
                            p->element;
    }
    choose_spreads(p, .6f, 40, 12);
    for (int i = 0; i < p->planes; i++) {
        p->cache[i] = room(p->plane_bytes[0]);
        fill_plane(p, i, p->cache[i]);
    }
    make_text(p);
    make_boosts(p);
}

/* Runs f with the CPU's scratch for a call. */
tsr_kv_call host_call(const problem *p, int object, bool encoding)
{
    tsr_kv_call call = { .pos0 = position(p->t, object) };

    if (p->ids && (encoding || p->t->ids == GIVEN_IDS))
        call.token_ids = p->ids + object * p->t->tokens;
    if (p->boost && encoding)
        call.boost = p->boost + object * p->t->tokens;
    must(tsr_kv_scratch_size(p->kv, (size_t)p->t->tokens, &call.scratch_size),
         "scratch");
    call.scratch = room(call.scratch_size);
    return call;
}

void encode_on_cpu(problem *p)
{
    void **base = room((size_t)p->planes * sizeof *base);

    p->object = room((size_t)p->t->objects * sizeof *p->object);
    p->size = room((size_t)p->t->objects * sizeof *p->size);
    for (int i = 0; i < p->t->objects; i++) {
        const tsr_kv_view view = host_view(p, p->cache, base, i);
        const tsr_kv_call call = host_call(p, i, true);
        p->object[i] = room(p->bound);
        must(tsr_kv_encode(p->kv, &view, &call, p->object[i], p->bound,
                           &p->size[i]), "encode on the CPU");
        free(call.scratch);
    }
    free(base);
}

void open_device(problem *p)
{
    const size_t n = (size_t)p->t->objects;

    p->base = room((size_t)p->planes * sizeof *p->base);
    must(tsri_cuda_alloc(p->gpu, &p->pool, (size_t)p->planes, p->plane_bytes[0]),
         "alloc");
    for (int i = 0; i < p->planes; i++)
        p->base[i] = plane_of(p, i);
    must(tsri_cuda_alloc(p->gpu, &p->device_block, (size_t)p->blocks,
                         sizeof *p->block), "alloc");
    must(tsri_cuda_upload(p->gpu, p->device_block, p->block,
                          (size_t)p->blocks * sizeof *p->block), "upload");
    if (p->ids) {
        must(tsri_cuda_alloc(p->gpu, &p->device_ids, p->all, sizeof *p->ids),
             "alloc");
        must(tsri_cuda_upload(p->gpu, p->device_ids, p->ids,
                              p->all * sizeof *p->ids), "upload");
    }
    if (p->boost) {
        must(tsri_cuda_alloc(p->gpu, &p->device_boost, p->all, 1), "alloc");
        must(tsri_cuda_upload(p->gpu, p->device_boost, p->boost, p->all), "upload");
    }
    must(tsri_cuda_alloc(p->gpu, &p->data, n, p->bound), "alloc");
    must(tsri_cuda_alloc(p->gpu, &p->bytes, n, sizeof *p->bytes), "alloc");
    must(tsri_cuda_alloc(p->gpu, &p->status, n, sizeof *p->status), "alloc");
    must(tsr_kv_cuda_scratch_size(p->coder, (size_t)p->t->tokens, n,
                                  &p->scratch_size), "scratch");
    must(tsri_cuda_alloc(p->gpu, &p->scratch, p->scratch_size, 1), "alloc");
    p->item = room(n * sizeof *p->item);
    p->range = room(n * sizeof *p->range);
    memset(p->range, 0, n * sizeof *p->range);
    for (int i = 0; i < p->t->objects; i++)
        p->item[i] = (tsr_kv_cuda_item){
            .view = device_view(p),
            .first_token = (size_t)i * (size_t)p->t->tokens,
            .pos0 = position(p->t, i), .data = p->data + (size_t)i * p->bound,
            .size = p->bound, .bytes = p->bytes + i, .status = p->status + i,
            .boost = p->boost ? p->device_boost + i * p->t->tokens : NULL };
}

void close_problem(problem *p)
{
    for (int i = 0; i < p->planes; i++) {
        free(p->cache[i]);
        free(p->mean[i]);
        free(p->spread[i]);
    }
    tsri_cuda_free(p->gpu, p->pool);
    for (int i = 0; i < p->t->objects; i++)
        free(p->object[i]);
    tsri_cuda_free(p->gpu, p->device_block);
    tsri_cuda_free(p->gpu, p->device_ids);
    tsri_cuda_free(p->gpu, p->device_boost);
    tsri_cuda_free(p->gpu, p->data);
    tsri_cuda_free(p->gpu, p->bytes);
    tsri_cuda_free(p->gpu, p->status);
    tsri_cuda_free(p->gpu, p->scratch);
    tsr_kv_cuda_close(&p->coder);
    tsr_kv_close(&p->kv);
    tsr_model_unref(&p->profile);
    free(p->mean);
    free(p->spread);
    free(p->item);
    free(p->range);
    free(p->base);
    free(p->cache);
    free(p->block);
    free(p->ids);
    free(p->boost);
    free(p->object);
    free(p->size);
}

/* ---- the device ---- */

/* The cache's planes in the device's layout, over `poison`. */
void spread(const problem *p, uint8_t *const *cache, int plane, uint8_t poison,
            uint8_t *out)
{
    const int n = p->channels[0];

    memset(out, poison, p->plane_bytes[0]);
    for (size_t t = 0; t < p->all; t++)
        for (int c = 0; in_range(p, t) && c < n; c++)
            memcpy(out + place(p, 0, t, c),
                   cache[plane] + (t * (size_t)n + (size_t)c) * p->element,
                   p->element);
}

void upload_cache(const problem *p, uint8_t *const *cache)
{
    uint8_t *image = room(p->plane_bytes[0]);

    for (int i = 0; i < p->planes; i++) {
        spread(p, cache, i, 0xA5, image);
        must(tsri_cuda_upload(p->gpu, p->base[i], image, p->plane_bytes[0]),
             "upload");
        must(tsri_cuda_sync(p->gpu), "sync");
    }
    free(image);
}

outcome get_outcome(const problem *p)
{
    const size_t n = (size_t)p->t->objects;
    outcome o = { room(n * p->bound), room(n * 8), room(n * 4) };

    must(tsri_cuda_download(p->gpu, o.data, p->data, n * p->bound), "download");
    must(tsri_cuda_download(p->gpu, o.bytes, p->bytes, n * 8), "download");
    must(tsri_cuda_download(p->gpu, o.status, p->status, n * 4), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    return o;
}

void free_outcome(outcome *o)
{
    free(o->data);
    free(o->bytes);
    free(o->status);
}

void give_ids(const problem *p, bool given)
{
    for (int i = 0; i < p->t->objects; i++)
        p->item[i].token_ids = given ? p->device_ids + i * p->t->tokens : NULL;
}

outcome encode_on_gpu(const problem *p)
{
    const size_t n = (size_t)p->t->objects;

    must(tsri_cuda_fill(p->gpu, p->data, 0xA5, n * p->bound), "fill");
    must(tsri_cuda_fill(p->gpu, p->bytes, 0xA5, n * 8), "fill");
    must(tsri_cuda_fill(p->gpu, p->status, 0xA5, n * 4), "fill");
    must(tsri_cuda_fill(p->gpu, p->scratch, 0xEE, p->scratch_size), "fill");
    give_ids(p, p->ids);
    must(tsr_kv_cuda_encode(p->coder, p->item, n, (size_t)p->t->tokens,
                            p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "encode");
    return get_outcome(p);
}

/* Objects of the host to planes over `poison`; what became of them to status. */
void decode_on_gpu(const problem *p, uint8_t *const *object, const size_t *size,
                   int level, uint8_t poison, int32_t *status)
{
    const size_t n = (size_t)p->t->objects;

    for (int i = 0; i < p->planes; i++)
        must(tsri_cuda_fill(p->gpu, plane_of(p, i), poison, p->plane_bytes[0]),
             "fill");
    must(tsri_cuda_fill(p->gpu, p->data, 0xA5, n * p->bound), "fill");
    for (size_t i = 0; i < n; i++) {
        p->item[i].size = size[i];
        p->item[i].level = level;
        p->item[i].part_first = p->range[i].first;
        p->item[i].part_tokens = p->range[i].n;
        must(tsri_cuda_upload(p->gpu, p->item[i].data, object[i], size[i]),
             "upload");
    }
    must(tsri_cuda_fill(p->gpu, p->status, poison, n * 4), "fill");
    must(tsri_cuda_fill(p->gpu, p->scratch, 0xEE, p->scratch_size), "fill");
    give_ids(p, p->t->ids == GIVEN_IDS);
    must(tsr_kv_cuda_decode(p->coder, p->item, n, (size_t)p->t->tokens,
                            p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "decode");
    must(tsri_cuda_download(p->gpu, status, p->status, n * 4), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    for (size_t i = 0; i < n; i++)
        p->item[i].size = p->bound;
}

uint8_t **make_planes(const problem *p)
{
    uint8_t **cache = room((size_t)p->planes * sizeof *cache);

    for (int i = 0; i < p->planes; i++)
        cache[i] = room(p->plane_bytes[0]);
    return cache;
}

void free_planes(const problem *p, uint8_t **cache)
{
    for (int i = 0; i < p->planes; i++)
        free(cache[i]);
    free(cache);
}
