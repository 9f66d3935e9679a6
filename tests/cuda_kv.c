/* SPDX-License-Identifier: BSD-2-Clause */
/* KV objects on a CUDA device against those of the CPU: the same bytes, the same
 * caches, the same verdict on damaged objects.  Skipped where there is no
 * device.  `cuda_kv bench` prints speeds instead, and needs 8 GiB of device
 * memory; `cuda_kv small` runs only the small cases, `cuda_kv N`
 * case N. */
#include "config.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/kv_cuda.h>
#include "codecs/kv/move.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/cuda/device.h"

/* ---- failures, numbers ---- */

static int test_number;

static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("Bail out! ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    exit(1);
}

static void must(tsr_error error, const char *what)
{
    if (error)
        die("%s: %s", what, tsr_error_string(error));
}

static void verdict(bool good, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("%sok %d - ", good ? "" : "not ", ++test_number);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

static uint64_t rng = 88172645463325252u;
static uint32_t below(uint32_t n)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (uint32_t)((uint64_t)((rng * 2685821657736338717u) >> 32) * n >> 32);
}

static float normal(void)
{
    const float r = sqrtf(-2 * logf(((float)below(1 << 24) + 1) / (1 << 24)));
    return r * cosf(6.2831853f * (float)below(1 << 24) / (1 << 24));
}

static void *room(size_t size)
{
    void *p = aligned_alloc(64, (size + 64) / 64 * 64);
    if (!p)
        die("out of memory");
    return p;
}

/* ---- a case ---- */

typedef enum placing { THD, HTD, NHD, HND } placing;
static const char *const placing_name[] = { "THD", "HTD", "paged NHD",
                                            "paged HND" };

typedef struct test_case {
    tsr_kv_shape shape;
    int layout, offset, dims;   /* of the rotation */
    tsr_kv_dtype dtype;
    placing how;
    int objects, tokens, tile, sinks, recent, boost;
    uint64_t pos0;
    double step;
} test_case;

enum { BLOCK = 16 };            /* tokens of a block */

typedef struct problem {
    const test_case *t;
    tsr_context *ctx;
    tsri_cuda *gpu;
    tsr_kv *kv;
    tsr_kv_cuda *coder;
    int planes, channels[2], blocks;
    size_t element, all;        /* bytes; tokens of all objects */
    uint8_t **cache;            /* planes: [token][channel] */
    int32_t *block;             /* of the cache */
    uint8_t **object;           /* made on the CPU */
    size_t *size, bound;
    /* on the device: */
    size_t plane_bytes[2];
    void **base;
    int32_t *device_block;
    uint8_t *data;              /* bound each */
    uint64_t *bytes;
    int32_t *status;
    void *scratch;
    size_t scratch_size;
    tsr_kv_cuda_item *item;
} problem;

static void fill_plane(const problem *p, int plane, uint8_t *out)
{
    const int n = p->channels[plane % p->t->shape.planes];
    float *x = room((size_t)n * 12), *scale = x + n, *mean = x + 2 * n;

    for (int c = 0; c < n; c++) {
        scale[c] = expf(.6f * normal()) * (below(40) ? 1 : 12);
        mean[c] = (plane & 1 ? .3f : 2) * scale[c] * normal();
    }
    for (size_t t = 0; t < p->all; t++) {
        for (int c = 0; c < n; c++)
            x[c] = mean[c] + scale[c] * normal();
        tsri_kv_to_dtype(p->t->dtype, 0, x, (size_t)n,
                         out + t * (size_t)n * p->element);
    }
    free(x);
}

/* Offset of an element in the plane's memory on the device. */
static size_t place(const problem *p, int plane, size_t t, int channel)
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
static tsr_kv_view device_view(const problem *p)
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
static tsr_kv_view host_view(const problem *p, uint8_t *const *cache, void **base,
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

static void open_coder(problem *p)
{
    const test_case *t = p->t;
    tsr_kv_settings s;

    tsr_kv_settings_init(&s);
    s.shape = t->shape;
    s.rope = (tsr_kv_rope){ .layout = t->layout, .offset = t->offset,
                            .dims = t->dims, .theta = t->layout ? 5e5 : 0 };
    s.step = t->step;
    s.value_ratio = 1.25;
    s.sinks = t->sinks;
    s.recent = t->recent;
    s.recent_boost = t->boost;
    s.tile = t->tile;
    must(tsr_kv_open(&p->kv, p->ctx, &s), "coder");
    must(tsr_kv_cuda_open(&p->coder, p->kv, 0), "coder on the device");
    must(tsr_kv_encode_bound(p->kv, (size_t)t->tokens, &p->bound), "bound");
    p->bound = (p->bound + 15) / 16 * 16;
}

static void make_cache(problem *p)
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
    for (int i = 0; i < p->planes; i++) {
        p->cache[i] = room(p->plane_bytes[0]);
        fill_plane(p, i, p->cache[i]);
    }
}

/* Runs f with the CPU's scratch for a call. */
static tsr_kv_call host_call(const problem *p, int object)
{
    tsr_kv_call call = { .pos0 = position(p->t, object) };

    must(tsr_kv_scratch_size(p->kv, (size_t)p->t->tokens, &call.scratch_size),
         "scratch");
    call.scratch = room(call.scratch_size);
    return call;
}

static void encode_on_cpu(problem *p)
{
    void **base = room((size_t)p->planes * sizeof *base);

    p->object = room((size_t)p->t->objects * sizeof *p->object);
    p->size = room((size_t)p->t->objects * sizeof *p->size);
    for (int i = 0; i < p->t->objects; i++) {
        const tsr_kv_view view = host_view(p, p->cache, base, i);
        const tsr_kv_call call = host_call(p, i);
        p->object[i] = room(p->bound);
        must(tsr_kv_encode(p->kv, &view, &call, p->object[i], p->bound,
                           &p->size[i]), "encode on the CPU");
        free(call.scratch);
    }
    free(base);
}

static void open_device(problem *p)
{
    const size_t n = (size_t)p->t->objects;

    p->base = room((size_t)p->planes * sizeof *p->base);
    for (int i = 0; i < p->planes; i++)
        must(tsri_cuda_alloc(p->gpu, &p->base[i], p->plane_bytes[0], 1), "alloc");
    must(tsri_cuda_alloc(p->gpu, &p->device_block, (size_t)p->blocks,
                         sizeof *p->block), "alloc");
    must(tsri_cuda_upload(p->gpu, p->device_block, p->block,
                          (size_t)p->blocks * sizeof *p->block), "upload");
    must(tsri_cuda_alloc(p->gpu, &p->data, n, p->bound), "alloc");
    must(tsri_cuda_alloc(p->gpu, &p->bytes, n, sizeof *p->bytes), "alloc");
    must(tsri_cuda_alloc(p->gpu, &p->status, n, sizeof *p->status), "alloc");
    must(tsr_kv_cuda_scratch_size(p->coder, (size_t)p->t->tokens, n,
                                  &p->scratch_size), "scratch");
    must(tsri_cuda_alloc(p->gpu, &p->scratch, p->scratch_size, 1), "alloc");
    p->item = room(n * sizeof *p->item);
    for (int i = 0; i < p->t->objects; i++)
        p->item[i] = (tsr_kv_cuda_item){
            .view = device_view(p),
            .first_token = (size_t)i * (size_t)p->t->tokens,
            .pos0 = position(p->t, i), .data = p->data + (size_t)i * p->bound,
            .size = p->bound, .bytes = p->bytes + i, .status = p->status + i };
}

static void close_problem(problem *p)
{
    for (int i = 0; i < p->planes; i++) {
        tsri_cuda_free(p->gpu, p->base[i]);
        free(p->cache[i]);
    }
    for (int i = 0; i < p->t->objects; i++)
        free(p->object[i]);
    tsri_cuda_free(p->gpu, p->device_block);
    tsri_cuda_free(p->gpu, p->data);
    tsri_cuda_free(p->gpu, p->bytes);
    tsri_cuda_free(p->gpu, p->status);
    tsri_cuda_free(p->gpu, p->scratch);
    tsr_kv_cuda_close(&p->coder);
    tsr_kv_close(&p->kv);
    free(p->item);
    free(p->base);
    free(p->cache);
    free(p->block);
    free(p->object);
    free(p->size);
}

/* ---- the device ---- */

/* The cache's planes in the device's layout, over `poison`. */
static void spread(const problem *p, uint8_t *const *cache, int plane,
                   uint8_t poison, uint8_t *out)
{
    const int n = p->channels[0];

    memset(out, poison, p->plane_bytes[0]);
    for (size_t t = 0; t < p->all; t++)
        for (int c = 0; c < n; c++)
            memcpy(out + place(p, 0, t, c),
                   cache[plane] + (t * (size_t)n + (size_t)c) * p->element,
                   p->element);
}

static void upload_cache(const problem *p, uint8_t *const *cache)
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

typedef struct outcome {
    uint8_t *data;
    uint64_t *bytes;
    int32_t *status;
} outcome;

static outcome get_outcome(const problem *p)
{
    const size_t n = (size_t)p->t->objects;
    outcome o = { room(n * p->bound), room(n * 8), room(n * 4) };

    must(tsri_cuda_download(p->gpu, o.data, p->data, n * p->bound), "download");
    must(tsri_cuda_download(p->gpu, o.bytes, p->bytes, n * 8), "download");
    must(tsri_cuda_download(p->gpu, o.status, p->status, n * 4), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    return o;
}

static void free_outcome(outcome *o)
{
    free(o->data);
    free(o->bytes);
    free(o->status);
}

static outcome encode_on_gpu(const problem *p)
{
    const size_t n = (size_t)p->t->objects;

    must(tsri_cuda_fill(p->gpu, p->data, 0xA5, n * p->bound), "fill");
    must(tsri_cuda_fill(p->gpu, p->bytes, 0xA5, n * 8), "fill");
    must(tsri_cuda_fill(p->gpu, p->status, 0xA5, n * 4), "fill");
    must(tsri_cuda_fill(p->gpu, p->scratch, 0xEE, p->scratch_size), "fill");
    must(tsr_kv_cuda_encode(p->coder, p->item, n, (size_t)p->t->tokens,
                            p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "encode");
    return get_outcome(p);
}

/* Objects of the host to planes over `poison`; what became of them to status. */
static void decode_on_gpu(const problem *p, uint8_t *const *object,
                          const size_t *size, uint8_t poison, int32_t *status)
{
    const size_t n = (size_t)p->t->objects;

    for (int i = 0; i < p->planes; i++)
        must(tsri_cuda_fill(p->gpu, p->base[i], poison, p->plane_bytes[0]),
             "fill");
    must(tsri_cuda_fill(p->gpu, p->data, 0xA5, n * p->bound), "fill");
    for (size_t i = 0; i < n; i++) {
        p->item[i].size = size[i];
        must(tsri_cuda_upload(p->gpu, p->item[i].data, object[i], size[i]),
             "upload");
    }
    must(tsri_cuda_fill(p->gpu, p->status, poison, n * 4), "fill");
    must(tsri_cuda_fill(p->gpu, p->scratch, 0xEE, p->scratch_size), "fill");
    must(tsr_kv_cuda_decode(p->coder, p->item, n, (size_t)p->t->tokens,
                            p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "decode");
    must(tsri_cuda_download(p->gpu, status, p->status, n * 4), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    for (size_t i = 0; i < n; i++)
        p->item[i].size = p->bound;
}

/* ---- what is tested ---- */

static bool same_bytes(const problem *p)
{
    outcome o = encode_on_gpu(p);
    bool same = true;

    for (int i = 0; i < p->t->objects; i++) {
        const uint8_t *data = o.data + (size_t)i * p->bound;
        bool good = o.status[i] == TSR_OK && o.bytes[i] == p->size[i];
        for (size_t k = 0; good && k < p->size[i]; k++)
            if (data[k] != p->object[i][k]) {
                printf("# object %d differs at %zu of %zu\n", i, k, p->size[i]);
                good = false;
            }
        for (size_t k = p->size[i]; good && k < p->bound; k++)
            good = data[k] == 0xA5;
        if (!good)
            printf("# object %d: status %d, %llu bytes for %zu\n", i,
                   (int)o.status[i], (unsigned long long)o.bytes[i], p->size[i]);
        same &= good;
    }
    free_outcome(&o);
    return same;
}

/* An object on the CPU into cache; its error. */
static tsr_error decode_on_cpu(const problem *p, int i, const uint8_t *data,
                               size_t size, uint8_t *const *cache)
{
    void **base = room((size_t)p->planes * sizeof *base);
    const tsr_kv_view view = host_view(p, cache, base, i);
    const tsr_kv_call call = host_call(p, i);
    const tsr_error error = tsr_kv_decode(p->kv, data, size, NULL, &view, &call);

    free(call.scratch);
    free(base);
    return error;
}

static uint8_t **make_planes(const problem *p)
{
    uint8_t **cache = room((size_t)p->planes * sizeof *cache);

    for (int i = 0; i < p->planes; i++)
        cache[i] = room(p->plane_bytes[0]);
    return cache;
}

static void free_planes(const problem *p, uint8_t **cache)
{
    for (int i = 0; i < p->planes; i++)
        free(cache[i]);
    free(cache);
}

/* Is what the device has in a plane what the host has, and nothing else?  Only
 * objects that are good count. */
static bool same_plane(const problem *p, uint8_t *const *cache, int plane,
                       uint8_t poison, const bool *good, bool all)
{
    const int n = p->channels[0];
    uint8_t *image = room(p->plane_bytes[0]), *got = room(p->plane_bytes[0]);
    bool same = true;

    must(tsri_cuda_download(p->gpu, got, p->base[plane], p->plane_bytes[0]),
         "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    spread(p, cache, plane, poison, image);
    if (all)
        same = !memcmp(image, got, p->plane_bytes[0]);
    for (size_t t = 0; same && t < p->all; t++)
        for (int c = 0; same && c < n && good[t / (size_t)p->t->tokens]; c++) {
            same = !memcmp(image + place(p, 0, t, c), got + place(p, 0, t, c),
                           p->element);
            if (!same)
                printf("# plane %d, token %zu, channel %d\n", plane, t, c);
        }
    free(image);
    free(got);
    return same;
}

static bool same_caches(const problem *p, uint8_t poison)
{
    uint8_t **cache = make_planes(p);
    int32_t *status = room((size_t)p->t->objects * 4);
    bool *good = room((size_t)p->t->objects), same = true;

    for (int i = 0; i < p->t->objects; i++)
        must(decode_on_cpu(p, i, p->object[i], p->size[i], cache),
             "decode on the CPU");
    decode_on_gpu(p, p->object, p->size, poison, status);
    for (int i = 0; i < p->t->objects; i++) {
        good[i] = true;
        if (status[i])
            printf("# object %d: status %d\n", i, (int)status[i]);
        same &= !status[i];
    }
    for (int i = 0; same && i < p->planes; i++)
        same = same_plane(p, cache, i, poison, good, true);
    free_planes(p, cache);
    free(status);
    free(good);
    return same;
}

/* Bytes of the directories. */
static size_t directory_of(const problem *p)
{
    const size_t tiles = ((size_t)p->t->tokens + (size_t)p->t->tile - 1) /
                         (size_t)p->t->tile;
    return 8 * (size_t)p->planes * (1 + tiles);
}

/* Makes the CRCs right again, so that the damage is seen by what comes behind
 * them. */
static void reseal(uint8_t *object, size_t size, size_t front, size_t entries)
{
    uint8_t *entry = object + front - 4 - entries;
    size_t at = front;

    for (; entry < object + front - 4; entry += 8) {
        const size_t n = tsri_get32(entry);
        if (n > size - at)
            break;
        tsri_put32(entry + 4, tsri_crc32c(0, object + at, n));
        at += n;
    }
    tsri_put32(object + front - 4, tsri_crc32c(0, object, front - 4));
}

static void damage(const problem *p, uint8_t *object, size_t *size)
{
    const size_t entries = directory_of(p), n = *size;
    const size_t front = 160 + tsri_get32(object + 152) + entries + 4;

    switch (below(6)) {
    case 0:     /* a bit anywhere */
        object[below((uint32_t)n)] ^= (uint8_t)(1u << below(8));
        break;
    case 1:     /* a bit of a head or a unit */
    case 2:
        object[front + below((uint32_t)(n - front))] ^= (uint8_t)(1u << below(8));
        reseal(object, n, front, entries);
        break;
    case 3:     /* noise in units */
        for (size_t i = front + below((uint32_t)(n - front)), k = 0;
             i < n && k < 200; i++, k++)
            object[i] = (uint8_t)below(256);
        reseal(object, n, front, entries);
        break;
    case 4:     /* cut */
        *size = below((uint32_t)n);
        break;
    default:    /* a field of the header or the directory */
        object[below((uint32_t)front)] = (uint8_t)below(256);
        reseal(object, n, front, entries);
    }
}

static bool same_verdicts(const problem *p)
{
    const size_t n = (size_t)p->t->objects;
    uint8_t **cache = make_planes(p), **object = room(n * sizeof *object);
    size_t *size = room(n * sizeof *size);
    int32_t *status = room(n * 4);
    bool *good = room(n), same = true;
    int refused = 0;

    for (size_t i = 0; i < n; i++)
        object[i] = room(p->bound);
    for (int trial = 0; trial < 16 && same; trial++) {
        for (size_t i = 0; i < n; i++) {
            memcpy(object[i], p->object[i], p->size[i]);
            size[i] = p->size[i];
            if (below(4))
                damage(p, object[i], &size[i]);
        }
        decode_on_gpu(p, object, size, 0x5A, status);
        for (size_t i = 0; i < n; i++) {
            const tsr_error error = decode_on_cpu(p, (int)i, object[i], size[i],
                                                  cache);
            good[i] = status[i] == TSR_OK;
            refused += !good[i];
            /* The device has no angles of positions far out. */
            if (good[i] != (error == TSR_OK) &&
                status[i] != TSR_E_UNSUPPORTED) {
                printf("# status %d, %d on the CPU\n", (int)status[i], error);
                same = false;
            }
        }
        for (int i = 0; same && i < p->planes; i++)
            same = same_plane(p, cache, i, 0x5A, good, false);
    }
    for (size_t i = 0; i < n; i++)
        free(object[i]);
    free_planes(p, cache);
    free(object);
    free(size);
    free(status);
    free(good);
    return same && refused;
}

/* A value that cannot be coded spoils its object and no other.  (Very large
 * ones can be in a sink.) */
static bool refuses_values(const problem *p)
{
    static const float bad[] = { INFINITY, -INFINITY, NAN, 3e38f };
    const int victim = (int)below((uint32_t)p->t->objects);
    const size_t token = (size_t)victim * (size_t)p->t->tokens +
                         below((uint32_t)p->t->tokens);
    const int plane = (int)below((uint32_t)p->planes);
    const size_t at = (token * (size_t)p->channels[0] +
                       below((uint32_t)p->channels[0])) * p->element;
    uint8_t was[4], *object = room(p->bound);
    void **base = room((size_t)p->planes * sizeof *base);
    bool same = true;
    size_t size;

    memcpy(was, p->cache[plane] + at, p->element);
    tsri_kv_to_dtype(p->t->dtype, 0, &bad[p->element == 1 ? 2 : below(4)], 1,
                     p->cache[plane] + at);
    const tsr_kv_view view = host_view(p, p->cache, base, victim);
    const tsr_kv_call call = host_call(p, victim);
    const tsr_error error = tsr_kv_encode(p->kv, &view, &call, object, p->bound,
                                          &size);
    upload_cache(p, p->cache);
    outcome o = encode_on_gpu(p);
    for (int i = 0; i < p->t->objects; i++)
        same &= o.status[i] == (i == victim ? error : TSR_OK) &&
                o.bytes[i] == (i == victim ? size : p->size[i]);
    free_outcome(&o);
    memcpy(p->cache[plane] + at, was, p->element);
    upload_cache(p, p->cache);
    free(call.scratch);
    free(object);
    free(base);
    return same;
}

/* An object that does not fit is named, and nothing is written beyond its
 * room. */
static bool keeps_to_room(const problem *p)
{
    bool same = true;

    for (int i = 0; i < p->t->objects; i++)
        p->item[i].size = below(3) ? below((uint32_t)p->size[i]) : p->size[i];
    outcome o = encode_on_gpu(p);
    for (int i = 0; i < p->t->objects; i++) {
        const size_t most = p->item[i].size;
        const uint8_t *data = o.data + (size_t)i * p->bound;
        same &= o.status[i] == (most < p->size[i] ? TSR_E_LIMIT : TSR_OK);
        for (size_t k = most; k < p->bound; k++)
            same &= data[k] == 0xA5;
        p->item[i].size = p->bound;
    }
    free_outcome(&o);
    return same;
}

#define SHAPE(l, p, h, d) { l, p, { h, h }, { d, d } }
static const test_case cases[] = {
    { SHAPE(1, 2, 1, 128), 1, 0, 128, TSR_KV_BF16, NHD, 1, 32, 32, 0, 0, 0, 0, .5 },
    { SHAPE(2, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 3, 64, 64, 4, 0, 0, 0, .5 },
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_F16, HND, 2, 33, 32, 4, 5, 2, 2, .2 },
    { SHAPE(1, 2, 4, 64), 1, 0, 64, TSR_KV_BF16, THD, 2, 31, 256, 0, 0, 0, 70, .02 },
    { SHAPE(1, 1, 3, 24), 2, 2, 16, TSR_KV_F32, HTD, 2, 40, 32, 3, 8, 1, 1, .3 },
    { SHAPE(2, 2, 3, 40), 1, 8, 32, TSR_KV_F16, NHD, 2, 1, 32, 0, 0, 0, 9, .1 },
    { SHAPE(1, 2, 1, 80), 0, 0, 0, TSR_KV_E4M3, HND, 2, 37, 32, 4, 0, 0, 0, .5 },
    { SHAPE(1, 1, 1, 160), 0, 0, 0, TSR_KV_E5M2, THD, 1, 70, 64, 64, 0, 0, 0, 1 },
    { SHAPE(1, 2, 1, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 3, 32, 4, 0, 0, 0, .5 },
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD, 4, 256, 256, 4, 0, 0, 0, .4 },
    { SHAPE(1, 2, 4, 128), 1, 0, 128, TSR_KV_BF16, NHD, 1, 2048, 256, 4, 100, 3,
      0, .8 },
    { SHAPE(2, 2, 4, 128), 1, 0, 128, TSR_KV_F16, THD, 2, 256, 256, 4, 0, 0, 1000,
      .01 },
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, HTD, 2, 300, 128, 0, 0, 0,
      100000, 5 },
    { SHAPE(1, 2, 8, 64), 1, 0, 64, TSR_KV_F16, HND, 2, 256, 256, 4, 0, 0, 0, .1 },
    { SHAPE(1, 2, 4, 64), 0, 0, 0, TSR_KV_BF16, NHD, 2, 512, 256, 4, 0, 0, 0, .01 },
    { SHAPE(1, 2, 5, 96), 1, 0, 96, TSR_KV_BF16, NHD, 2, 256, 256, 4, 0, 0, 0, .5 },
};
enum { SMALL = 9 };     /* of them are small */

static void run_case(tsr_context *ctx, tsri_cuda *gpu, const test_case *t)
{
    problem p = { .t = t, .ctx = ctx, .gpu = gpu };
    size_t bytes = 0;

    make_cache(&p);
    open_coder(&p);
    encode_on_cpu(&p);
    open_device(&p);
    upload_cache(&p, p.cache);
    for (int i = 0; i < t->objects; i++)
        bytes += p.size[i];
    printf("# %d x %d x %d x %d, %d objects of %d tokens, %s, %.2f bits\n",
           t->shape.layers, t->shape.planes, t->shape.heads[0], t->shape.dim[0],
           t->objects, t->tokens, placing_name[t->how],
           8 * (double)bytes / ((double)p.all * p.planes * p.channels[0]));
    verdict(same_bytes(&p), "bytes");
    verdict(same_caches(&p, 0xA5) && same_caches(&p, 0x5A), "caches");
    upload_cache(&p, p.cache);
    verdict(refuses_values(&p), "values that are none");
    verdict(keeps_to_room(&p), "room");
    verdict(same_verdicts(&p), "damage");
    close_problem(&p);
}

static int check(tsr_context *ctx, tsri_cuda *gpu, size_t first, size_t n)
{
    printf("1..%zu\n", 5 * n);
    for (size_t i = 0; i < n; i++)
        run_case(ctx, gpu, &cases[first + i]);
    return 0;
}

/* ---- speed ---- */

enum { PASSES = 15 };

typedef struct stopwatch {
    tsri_cuda *gpu;
    tsri_cuda_mark *begin, *end;
    float ms[PASSES];
} stopwatch;

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double gbs(stopwatch *w, double bytes)
{
    qsort(w->ms, PASSES, sizeof *w->ms, compare);
    return bytes / w->ms[PASSES / 2] * 1e-6;
}

typedef void (*work)(problem *p, void *copy);

static void do_encode(problem *p, void *copy)
{
    (void)copy;
    must(tsr_kv_cuda_encode(p->coder, p->item, (size_t)p->t->objects,
                            (size_t)p->t->tokens, p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "encode");
}

static void do_decode(problem *p, void *copy)
{
    (void)copy;
    must(tsr_kv_cuda_decode(p->coder, p->item, (size_t)p->t->objects,
                            (size_t)p->t->tokens, p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "decode");
}

static void do_copy(problem *p, void *copy)
{
    for (int i = 0; i < p->planes; i++)
        must(tsri_cuda_copy(p->gpu, (uint8_t *)copy + (size_t)i *
                            p->plane_bytes[0], p->base[i], p->plane_bytes[0]),
             "copy");
}

/* Median of PASSES, after two that do not count. */
static double measure(problem *p, stopwatch *w, work f, void *copy)
{
    for (int i = -2; i < PASSES; i++) {
        must(tsri_cuda_mark_set(w->gpu, w->begin), "mark");
        f(p, copy);
        must(tsri_cuda_mark_set(w->gpu, w->end), "mark");
        must(tsri_cuda_mark_between(w->gpu, w->begin, w->end,
                                    &w->ms[i < 0 ? 0 : i]), "time");
    }
    return gbs(w, (double)p->planes * (double)p->plane_bytes[0]);
}

/* Dims i and i + 64 of heads of 128 turned as a model does. */
static void turn_plane(const problem *p, float *x, uint64_t pos)
{
    for (int h = 0; h < p->t->shape.heads[0]; h++, x += 128)
        for (int i = 0; i < 64; i++) {
            const double a = (double)pos * pow(5e5, -i / 64.);
            const float c = (float)cos(a), s = (float)sin(a), y = x[i];
            x[i] = y * c - x[i + 64] * s;
            x[i + 64] = x[i + 64] * c + y * s;
        }
}

/* A plane of one object as models have them: channels with means and spreads of
 * their own, keys turned. */
static void model_plane(const problem *p, int plane, uint8_t *out)
{
    const int n = p->channels[0], tokens = p->t->tokens;
    float *x = room((size_t)n * 12), *scale = x + n, *mean = x + 2 * n;

    for (int c = 0; c < n; c++) {
        scale[c] = expf(.5f * normal()) * (below(50) ? 1 : 6);
        mean[c] = (plane & 1 ? .2f : 2) * scale[c] * normal();
    }
    for (int t = 0; t < tokens; t++) {
        for (int c = 0; c < n; c++)
            x[c] = mean[c] + scale[c] * normal();
        if (!(plane & 1))
            turn_plane(p, x, p->t->pos0 + (uint64_t)t);
        tsri_kv_to_dtype(p->t->dtype, 0, x, (size_t)n,
                         out + (size_t)t * (size_t)n * p->element);
    }
    free(x);
}

/* All objects have the same cache, each in blocks of its own. */
static void fill_device(problem *p)
{
    const size_t bytes = p->plane_bytes[0] / (size_t)p->t->objects;
    uint8_t *image = room(bytes);

    for (int i = 0; i < p->planes; i++) {
        model_plane(p, i, image);
        for (int k = 0; k < p->t->objects; k++)
            must(tsri_cuda_upload(p->gpu, (uint8_t *)p->base[i] +
                                  (size_t)k * bytes, image, bytes), "upload");
        must(tsri_cuda_sync(p->gpu), "sync");
    }
    free(image);
}

static void prepare(problem *p)
{
    p->element = 2;
    p->all = (size_t)p->t->objects * (size_t)p->t->tokens;
    p->planes = p->t->shape.layers * p->t->shape.planes;
    p->blocks = (int)(p->all / BLOCK);
    p->block = room((size_t)p->blocks * sizeof *p->block);
    for (int i = 0; i < p->blocks; i++)     /* not in order */
        p->block[i] = i / 16 * 16 + i * 7 % 16;
    p->channels[0] = p->t->shape.heads[0] * p->t->shape.dim[0];
    p->plane_bytes[0] = p->all * (size_t)p->channels[0] * p->element;
    p->cache = make_planes(&(problem){ .planes = p->planes });
    p->object = room((size_t)p->t->objects * sizeof *p->object);
    memset(p->object, 0, (size_t)p->t->objects * sizeof *p->object);
    p->size = room(1);
}

/* Greatest error of the first plane, in steps. */
static double worst_error(const problem *p, const uint8_t *before)
{
    const size_t n = p->plane_bytes[0] / 2;
    uint8_t *after = room(p->plane_bytes[0]);
    double worst = 0;

    must(tsri_cuda_download(p->gpu, after, p->base[1], 2 * n), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    for (size_t i = 0; i < n; i += 17) {
        float a, b;
        tsri_kv_from_dtype(p->t->dtype, 0, before + 2 * i, 1, &a);
        tsri_kv_from_dtype(p->t->dtype, 0, after + 2 * i, 1, &b);
        worst = fmax(worst, fabs((double)a - b) - fabs((double)a) / 256);
    }
    free(after);
    return worst / (p->t->step * 1.25);
}

static void time_case(tsr_context *ctx, tsri_cuda *gpu, int objects, double step)
{
    const test_case t = { SHAPE(32, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD,
                          objects, 256, 256, 4, 0, 0, 4096, step };
    problem p = { .t = &t, .ctx = ctx, .gpu = gpu };
    stopwatch w = { .gpu = gpu };
    double bytes = 0;
    bool good = true;

    prepare(&p);
    open_coder(&p);
    open_device(&p);
    for (int i = 0; i < objects; i++)
        p.item[i].pos0 = t.pos0;
    fill_device(&p);
    must(tsri_cuda_mark_open(gpu, &w.begin), "mark");
    must(tsri_cuda_mark_open(gpu, &w.end), "mark");
    uint8_t *before = room(p.plane_bytes[0]);
    must(tsri_cuda_download(gpu, before, p.base[1], p.plane_bytes[0]), "download");
    const double copy = measure(&p, &w, do_copy, p.scratch);
    const double enc = measure(&p, &w, do_encode, NULL);
    outcome o = get_outcome(&p);
    for (int i = 0; i < objects; i++) {
        bytes += (double)o.bytes[i];
        good &= !o.status[i];
        p.item[i].size = o.bytes[i];
    }
    const double dec = measure(&p, &w, do_decode, NULL);
    free_outcome(&o);
    o = get_outcome(&p);
    for (int i = 0; i < objects; i++)
        good &= !o.status[i];
    free_outcome(&o);
    printf("%6d %8.3f %7.3f %7.0f %7.0f %7.0f   %.3f%s\n", 256 * objects, step,
           16 * bytes / ((double)p.planes * (double)p.plane_bytes[0]), enc, dec,
           copy, worst_error(&p, before), good ? "" : "  FAILED");
    free(before);
    tsri_cuda_mark_close(gpu, &w.begin);
    tsri_cuda_mark_close(gpu, &w.end);
    close_problem(&p);
}

static int bench(tsr_context *ctx, tsri_cuda *gpu)
{
    static const double steps[] = { 4, 2, 1, .5, .25, .0625 };

    printf("%s: GB/s of bf16 cache, 32 x 2 x 8 x 128, objects of 256 tokens, "
           "paged, median of %d\n%6s %8s %7s %7s %7s %7s   %s\n",
           tsri_cuda_name(gpu), PASSES, "tokens", "step", "bits", "encode",
           "decode", "copy", "worst error in steps");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        time_case(ctx, gpu, 8, steps[i]);
    time_case(ctx, gpu, 32, 1);
    return 0;
}

int main(int argc, char **argv)
{
    const size_t n = sizeof cases / sizeof *cases;
    tsr_context *ctx;
    tsri_cuda *gpu;
    int result;

    setvbuf(stdout, NULL, _IOLBF, 0);
    must(tsr_context_open(&ctx, NULL), "context");
    const tsr_error error = tsri_cuda_open(&gpu, ctx, 0);
    if (error) {
        printf("1..0 # SKIP no CUDA device: %s\n", tsr_error_string(error));
        tsr_context_close(&ctx);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "bench"))
        result = bench(ctx, gpu);
    else
        result = argc == 1 ? check(ctx, gpu, 0, n)
            : !strcmp(argv[1], "small") ? check(ctx, gpu, 0, SMALL)
                                        : check(ctx, gpu, (size_t)atoi(argv[1]) % n, 1);
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return result;
}
