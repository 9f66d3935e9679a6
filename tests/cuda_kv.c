/* SPDX-License-Identifier: BSD-2-Clause */
/* KV objects on a CUDA device against those of the CPU: the same bytes, the same
 * caches, the same verdict on damaged objects.  Skipped where there is no
 * device.  `cuda_kv bench [NAME]` prints speeds instead, and needs 16 GiB of
 * device memory; `cuda_kv small` runs only the small cases, `cuda_kv N`
 * case N. */
#include "config.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/kv/move.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "tests/cuda_kv.h"

static int test_number;

static void verdict(bool good, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("%sok %d - ", good ? "" : "not ", ++test_number);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

static const char *const placing_name[] = { "THD", "HTD", "paged NHD",
                                            "paged HND" };

/* ---- what is tested ---- */

enum { MOST_SHOWN = 40 };

static bool same_bytes(const problem *p)
{
    outcome o = encode_on_gpu(p);
    bool same = true;

    for (int i = 0; i < p->t->objects; i++) {
        const uint8_t *data = o.data + (size_t)i * p->bound;
        bool good = o.status[i] == TSR_OK && o.bytes[i] == p->size[i];
        size_t wrong = 0;
        for (size_t k = 0; good && k < p->size[i]; k++)
            if (data[k] != p->object[i][k] && wrong++ < MOST_SHOWN)
                printf("# object %d at %zu of %zu: %02x, not %02x\n", i, k, p->size[i],
                       data[k], p->object[i][k]);
        good &= !wrong;
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

/* An object on the CPU into cache, its first levels or all (0); its error. */
static tsr_error decode_on_cpu(const problem *p, int i, const uint8_t *data,
                               size_t size, int level, uint8_t *const *cache)
{
    const tsr_kv_part part = { .level = level, .first_token = p->range[i].first,
                               .tokens = p->range[i].n };
    void **base = room((size_t)p->planes * sizeof *base);
    const tsr_kv_view view = host_view(p, cache, base, i);
    const tsr_kv_call call = host_call(p, i, false);
    const tsr_error error = tsr_kv_decode(p->kv, data, size, &part, &view, &call);

    free(call.scratch);
    free(base);
    return error;
}

/* Is what the device has in a plane what the host has, and nothing else?  Only
 * objects that are good count; a plane left out has nothing. */
static bool same_plane(const problem *p, uint8_t *const *cache, int plane,
                       uint8_t poison, const bool *good, bool all)
{
    const int n = p->channels[0];
    uint8_t *image = room(p->plane_bytes[0]), *got = room(p->plane_bytes[0]);
    bool same = true;

    must(tsri_cuda_download(p->gpu, got, plane_of(p, plane), p->plane_bytes[0]),
         "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    spread(p, cache, plane, poison, image);
    if (!p->base[plane])
        memset(image, poison, p->plane_bytes[0]);
    if (all || !p->base[plane])
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

static bool same_caches(const problem *p, uint8_t *const *object,
                        const size_t *size, int level, uint8_t poison)
{
    uint8_t **cache = make_planes(p);
    int32_t *status = room((size_t)p->t->objects * 4);
    bool *good = room((size_t)p->t->objects), same = true;

    for (int i = 0; i < p->t->objects; i++)
        must(decode_on_cpu(p, i, object[i], size[i], level, cache),
             "decode on the CPU");
    decode_on_gpu(p, object, size, level, poison, status);
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

/* The first levels of objects that have more, and of objects that have lost the
 * others. */
static bool same_levels(const problem *p)
{
    const size_t n = (size_t)p->t->objects;
    const int levels = p->t->levels;
    uint8_t **object = room(n * sizeof *object);
    size_t *size = room(n * sizeof *size);
    bool same = same_caches(p, p->object, p->size, 0, 0x5A);

    for (int level = 1; same && level < levels; level++) {
        same = same_caches(p, p->object, p->size, level, 0xA5);
        for (size_t i = 0; i < n; i++) {
            object[i] = room(p->size[i]);
            must(tsr_kv_reduce(p->ctx, p->object[i], p->size[i], level, object[i],
                               p->size[i], &size[i]), "reduce");
        }
        same = same && same_caches(p, object, size, 0, 0xA5) &&
            same_caches(p, object, size, 1, 0x5A);
        for (size_t i = 0; i < n; i++)
            free(object[i]);
    }
    free(object);
    free(size);
    return same;
}

/* Planes without a base stay as they are. */
static bool same_without(const problem *p)
{
    const int out = (int)below((uint32_t)p->planes);
    void *was = p->base[out];
    bool same;

    p->base[out] = NULL;
    same = same_caches(p, p->object, p->size, 0, 0xA5);
    p->base[out] = was;
    return same;
}

/* Bytes of the directories. */
static size_t directory_of(const problem *p)
{
    const test_case *t = p->t;
    const size_t tiles = ((size_t)t->tokens + (size_t)t->tile - 1) /
                         (size_t)t->tile;
    const size_t groups = (size_t)(t->joined ? t->shape.layers / t->joined
                                             : p->planes);
    return 8 * groups * (1 + tiles * (size_t)t->levels);
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

/* Sinks of the smallest exponents, which no writer uses. */
static bool same_sinks(const problem *p)
{
    static const int8_t exponents[] = { -128, -127, -126, 100 };
    const size_t entries = directory_of(p), each = 1 + (size_t)p->t->shape.dim[0];
    const size_t front = 160 + tsri_get32(p->object[0] + 152) + entries + 4;
    const size_t heads = p->object[0][41] * (size_t)p->t->shape.heads[0];
    uint8_t *const was = p->object[0], *object = room(p->bound);
    bool same;

    memcpy(object, was, p->size[0]);
    for (size_t i = 0; i < heads; i++)
        object[front + i * each] = (uint8_t)exponents[i % 4];
    reseal(object, p->size[0], front, entries);
    p->object[0] = object;
    same = same_caches(p, p->object, p->size, 0, 0x5A);
    p->object[0] = was;
    free(object);
    return same;
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

/* Positions far out, of which the device has no angles, and forms of published
 * methods without kernels; tiles, spans, live shifts and parameters that its coder is
 * not for. */
static bool is_beyond(const uint8_t *was, const uint8_t *object, int32_t status)
{
    return status == TSR_E_UNSUPPORTED ||
        (status == TSR_E_MODEL &&
         (memcmp(was + 28, object + 28, 4) || was[43] != object[43] ||
          memcmp(was + 112, object + 112, 40)));
}

/* Of a part the CPU needs the tiles alone, the device the whole object; of a tile in a
 * published method the CPU looks at all values, the device at those that are wanted. */
static bool may_differ_in_part(const problem *p, size_t i, int32_t status,
                               tsr_error error)
{
    const bool part = p->range[i].first || p->range[i].n;

    return part && (status == TSR_E_TRUNCATED ||
                    (p->t->method && !status && error == TSR_E_CORRUPT));
}

/* Sound and damaged objects in `trials` calls; adds those that are refused. */
static bool same_damaged(const problem *p, int trials, int *refused)
{
    const size_t n = (size_t)p->t->objects;
    uint8_t **cache = make_planes(p), **object = room(n * sizeof *object);
    size_t *size = room(n * sizeof *size);
    int32_t *status = room(n * 4);
    bool *good = room(n), same = true;

    for (size_t i = 0; i < n; i++)
        object[i] = room(p->bound);
    for (int trial = 0; trial < trials && same; trial++) {
        for (size_t i = 0; i < n; i++) {
            memcpy(object[i], p->object[i], p->size[i]);
            size[i] = p->size[i];
            if (below(4))
                damage(p, object[i], &size[i]);
        }
        decode_on_gpu(p, object, size, 0, 0x5A, status);
        for (size_t i = 0; i < n; i++) {
            const tsr_error error = decode_on_cpu(p, (int)i, object[i], size[i],
                                                  0, cache);
            good[i] = status[i] == TSR_OK;
            *refused += !good[i];
            if (good[i] != (error == TSR_OK) &&
                !may_differ_in_part(p, i, status[i], error) &&
                !is_beyond(p->object[i], object[i], status[i])) {
                printf("# status %d, %d on the CPU\n", (int)status[i], error);
                same = false;
            }
            good[i] = good[i] && !error;
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
    return same;
}

static bool same_verdicts(const problem *p)
{
    int refused = 0;

    return same_damaged(p, 16, &refused) && refused;
}

/* Parts of objects, some of which are damaged: tiles that are not needed may be. */
static bool same_parts(const problem *p)
{
    const size_t n = (size_t)p->t->objects;
    bool same = true;
    int refused = 0;

    for (int trial = 0; trial < 4 && same && p->t->tokens; trial++) {
        for (size_t i = 0; i < n; i++) {
            token_range *r = &p->range[i];
            r->first = below((uint32_t)p->t->tokens);
            r->n = below((uint32_t)(p->t->tokens - (int)r->first) + 1);
        }
        same = same_caches(p, p->object, p->size, 0, 0xA5) && same_damaged(p, 4, &refused);
    }
    memset(p->range, 0, n * sizeof *p->range);
    return same;
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
    const tsr_kv_call call = host_call(p, victim, true);
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

/* An id that is none likewise. */
static bool refuses_ids(const problem *p)
{
    const int victim = (int)below((uint32_t)p->t->objects);
    const size_t at = (size_t)victim * (size_t)p->t->tokens +
                      below((uint32_t)p->t->tokens);
    const int32_t none = -1;
    bool same = true;

    if (!p->ids)
        return true;
    must(tsri_cuda_upload(p->gpu, p->device_ids + at, &none, sizeof none),
         "upload");
    must(tsri_cuda_sync(p->gpu), "sync");
    outcome o = encode_on_gpu(p);
    for (int i = 0; i < p->t->objects; i++)
        same &= o.status[i] == (i == victim ? TSR_E_ARG : TSR_OK);
    free_outcome(&o);
    must(tsri_cuda_upload(p->gpu, p->device_ids + at, &p->ids[at], sizeof none),
         "upload");
    must(tsri_cuda_sync(p->gpu), "sync");
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

static const test_case cases[] = {
    { SHAPE(1, 2, 1, 128), 1, 0, 128, TSR_KV_BF16, NHD, 1, 32, 32, 0, 0, 0, 0, .5,
      .levels = 1 },
    { SHAPE(2, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 3, 64, 64, 4, 0, 0, 0, .5,
      .levels = 1 },
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_F16, HND, 2, 33, 32, 4, 5, 2, 2, .2,
      .levels = 1 },
    { SHAPE(1, 2, 4, 64), 1, 0, 64, TSR_KV_BF16, THD, 2, 31, 256, 0, 0, 0, 70, .02,
      .levels = 1 },
    { SHAPE(1, 1, 3, 24), 2, 2, 16, TSR_KV_F32, HTD, 2, 40, 32, 3, 8, 1, 1, .3,
      .levels = 1 },
    { SHAPE(2, 2, 3, 40), 1, 8, 32, TSR_KV_F16, NHD, 2, 1, 32, 0, 0, 0, 9, .1,
      .levels = 1 },
    { SHAPE(1, 2, 1, 80), 0, 0, 0, TSR_KV_E4M3, HND, 2, 37, 32, 4, 0, 0, 0, .5,
      .levels = 1 },
    { SHAPE(1, 1, 1, 160), 0, 0, 0, TSR_KV_E5M2, THD, 1, 70, 64, 64, 0, 0, 0, 1,
      .levels = 1 },
    { SHAPE(1, 2, 1, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 3, 32, 4, 0, 0, 0, .5,
      .levels = 1 },
    { SHAPE(2, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 0, 32, 4, 0, 0, 0, .5,
      .levels = 1 },
    { SHAPE(1, 2, 12, 125), 1, 1, 124, TSR_KV_BF16, NHD, 1, 35, 32, 4, 5, 1, 0, .02,
      .levels = 2, .span = 4096 },
    /* levels */
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 70, 32, 4, 0, 0, 0, .4,
      .levels = 2 },
    { SHAPE(2, 2, 2, 64), 1, 0, 64, TSR_KV_F16, HND, 2, 33, 64, 3, 6, 2, 50, .02,
      .levels = 3 },
    { SHAPE(1, 1, 3, 24), 2, 2, 16, TSR_KV_F32, HTD, 2, 40, 32, 0, 0, 0, 1, .3,
      .levels = 3 },
    /* profiles without matrices */
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 65, 32, 4, 0, 0, 0, .4,
      .profile = PLAIN | MATCHES, .levels = 1 },
    { SHAPE(1, 2, 9, 64), 1, 0, 64, TSR_KV_F16, THD, 2, 31, 32, 2, 5, 3, 9, .1,
      .profile = PLAIN | SCALES, .bias = 5, .levels = 2 },
    { SHAPE(2, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, HTD, 2, 40, 32, 4, 0, 0, 0, .3,
      .profile = PLAIN | SCALES, .joined = 1, .dead = 9, .live = 60, .levels = 3 },
    { SHAPE(1, 2, 4, 32), 1, 0, 32, TSR_KV_BF16, NHD, 2, 34, 32, 4, 3, 1, 0, .5,
      .profile = PLAIN | SCALES | HADAMARD, .levels = 1 },
    { SHAPE(1, 2, 1, 512), 2, 8, 64, TSR_KV_F16, HND, 1, 20, 32, 1, 0, 0, 0, .2,
      .profile = PLAIN | HADAMARD, .levels = 2 },
    /* matrices */
    { SHAPE(1, 2, 2, 64), 1, 0, 64, TSR_KV_BF16, NHD, 3, 47, 32, 4, 0, 0, 0, .2,
      .profile = MATRICES, .levels = 1 },
    { SHAPE(2, 2, 3, 40), 1, 8, 32, TSR_KV_F32, THD, 2, 33, 32, 4, 4, 2, 0, .1,
      .profile = MATRICES | SCALES, .joined = 2, .columns = 70, .dead = 6,
      .live = 50, .levels = 3 },
    { SHAPE(2, 1, 1, 160), 1, 128, 32, TSR_KV_F16, HND, 2, 130, 64, 4, 0, 0, 3, .3,
      .profile = MATRICES, .levels = 2, .bias = 7, .dead = 8, .live = 30 },
    { SHAPE(1, 2, 4, 16), 1, 0, 16, TSR_KV_BF16, NHD, 2, 1, 32, 0, 0, 0, 0, .5,
      .profile = MATRICES | HADAMARD, .joined = 1, .levels = 1 },
    { SHAPE(1, 2, 4, 16), 1, 0, 16, TSR_KV_BF16, NHD, 2, 0, 32, 0, 0, 0, 0, .5,
      .profile = MATRICES, .levels = 2 },
    { SHAPE(1, 2, 2, 32), 1, 0, 32, TSR_KV_BF16, NHD, 1, 33, 32, 4, 0, 0, 0, 1e4,
      .profile = MATRICES, .dead = 30, .live = 0, .bias = 0, .levels = 1 },
    /* references */
    { SHAPE(1, 2, 2, 32), 1, 0, 32, TSR_KV_BF16, NHD, 2, 45, 32, 4, 0, 0, 0, .3,
      .profile = PLAIN | PREVIOUS | GAINS, .levels = 1 },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F32, THD, 2, 70, 32, 3, 9, 2, 5, .2,
      .profile = MATRICES | ANCHOR | GAINS, .levels = 3, .joined = 1,
      .columns = 80, .dead = 6, .live = 50 },
    { SHAPE(2, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 3, 96, 64, 4, 0, 0, 0, .4,
      .profile = PLAIN | MATCHES | GAINS, .levels = 1, .ids = KEPT_IDS },
    { SHAPE(1, 2, 9, 64), 1, 0, 64, TSR_KV_F16, HND, 2, 70, 32, 0, 20, 3, 9, .1,
      .profile = MATRICES | SCALES | MATCHES | GAINS, .levels = 2,
      .ids = GIVEN_IDS },
    { SHAPE(1, 2, 2, 64), 1, 0, 64, TSR_KV_BF16, HTD, 2, 64, 32, 4, 0, 0, 0, .3,
      .profile = MATRICES | MATCHES, .levels = 3, .ids = KEPT_IDS },
    /* token ids */
    { SHAPE(1, 2, 2, 64), 1, 0, 64, TSR_KV_BF16, NHD, 2, 40, 32, 4, 5, 1, 0, .4,
      .levels = 1, .ids = KEPT_IDS },
    { SHAPE(2, 2, 2, 64), 1, 0, 64, TSR_KV_BF16, NHD, 2, 40, 32, 4, 0, 0, 0, .3,
      .profile = PLAIN | WORDS, .levels = 1, .ids = KEPT_IDS },
    { SHAPE(1, 2, 3, 40), 2, 8, 32, TSR_KV_F32, THD, 2, 50, 32, 4, 4, 1, 7, .2,
      .profile = MATRICES | WORDS | MATCHES | GAINS, .levels = 2,
      .ids = GIVEN_IDS },
    { SHAPE(1, 2, 4, 32), 1, 0, 32, TSR_KV_F16, HND, 2, 34, 32, 2, 0, 0, 0, .5,
      .profile = PLAIN | HADAMARD | SCALES | WORDS | PREVIOUS | GAINS,
      .levels = 2, .ids = KEPT_IDS },
    { SHAPE(1, 2, 2, 64), 1, 0, 64, TSR_KV_BF16, NHD, 2, 40, 32, 4, 0, 0, 0, .3,
      .profile = MATRICES | WORDS | ANCHOR, .levels = 1 },
    /* boosts by token: steps become 128 times as fine, and the widest channels
       must fit 16 bits nevertheless */
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 3, 45, 32, 4, 0, 0, 0, 2,
      .levels = 1, .boosts = true },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F32, THD, 3, 70, 32, 0, 9, 2, 5, 6,
      .levels = 2, .boosts = true, .ids = KEPT_IDS },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F16, THD, 2, 70, 32, 3, 0, 0, 5, 2,
      .profile = MATRICES | ANCHOR | GAINS, .levels = 2, .boosts = true },
    { SHAPE(1, 2, 2, 64), 1, 0, 64, TSR_KV_BF16, HND, 2, 40, 32, 4, 0, 0, 0, .3,
      .profile = MATRICES, .levels = 1, .boosts = true },
    /* published methods */
    { SHAPE(2, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, NHD, 2, 100, 64, 0, 0, 0, 3,
      .levels = 1, .method = "kivi:bits=2,group=32,residual=64,plain=1" },
    { SHAPE(1, 2, 2, 32), 0, 0, 0, TSR_KV_F32, HND, 2, 70, 32, 0, 0, 0, 0,
      .levels = 1, .method = "kivi:bits=4,residual=0,plain=1" },
    { SHAPE(2, 2, 3, 24), 2, 2, 16, TSR_KV_F16, HTD, 2, 45, 32, 0, 0, 0, 0,
      .levels = 1, .method = "cachegen:plain=1", .ids = KEPT_IDS },
    { SHAPE(1, 1, 3, 80), 0, 0, 0, TSR_KV_F32, THD, 2, 45, 32, 0, 0, 0, 0,
      .levels = 1, .method = "cachegen:bins=100,plain=1" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F32, NHD, 3, 33, 32, 0, 0, 0, 0,
      .levels = 1, .method = "fp8:exponent=4,plain=1" },
    { SHAPE(1, 2, 1, 512), 1, 0, 64, TSR_KV_BF16, HND, 2, 40, 32, 0, 0, 0, 0,
      .levels = 1, .method = "fp8:exponent=5,plain=1" },
    { SHAPE(2, 2, 4, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 40, 32, 0, 0, 0, 0,
      .levels = 1, .method = "turboquant:keys=3,values=2,plain=1" },
    { SHAPE(1, 2, 3, 16), 1, 0, 16, TSR_KV_F16, HTD, 2, 40, 32, 0, 0, 0, 0,
      .levels = 1, .method = "turboquant:seed=7,plain=1" },
    { SHAPE(1, 2, 1, 1024), 1, 0, 16, TSR_KV_F16, THD, 1, 34, 32, 0, 0, 0, 0,
      .levels = 1, .method = "turboquant:plain=1" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, NHD, 2, 333, 320, 0, 30, 2, 0,
      .levels = 1, .method = "zipcache:plain=1" },
    { SHAPE(1, 2, 2, 40), 1, 8, 32, TSR_KV_F16, HND, 3, 50, 32, 0, 0, 0, 0,
      .levels = 1, .method = "zipcache:salient=3,plain=1", .boosts = true },
    { SHAPE(1, 2, 3, 41), 1, 8, 32, TSR_KV_BF16, THD, 2, 50, 32, 0, 21, 1, 0,
      .levels = 1, .method = "mikv:salient=5,others=1,plain=1", .boosts = true },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F16, NHD, 2, 140, 96, 0, 0, 0, 5,
      .levels = 1, .method = "kvquant:bits=3,plain=1" },
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, THD, 1, 150, 160, 0, 0, 0, 5,
      .levels = 1, .method = "kvquant:outliers=5,plain=1" },
    { SHAPE(1, 2, 2, 24), 0, 0, 0, TSR_KV_E4M3, HND, 2, 70, 32, 0, 0, 0, 0,
      .levels = 1, .method = "kvquant:first=40,outliers=10,plain=1" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, HTD, 2, 100, 96, 0, 0, 0, 5,
      .levels = 1, .method = "kvquant:bits=2,plain=1", .profile = TABLES,
      .bits = 2 },
    { SHAPE(1, 2, 2, 128), 1, 8, 32, TSR_KV_BF16, NHD, 2, 100, 96, 0, 0, 0, 0,
      .levels = 1, .method = "gear:plain=1" },
    { SHAPE(1, 2, 3, 40), 0, 0, 0, TSR_KV_E4M3, HND, 2, 50, 64, 0, 0, 0, 0,
      .levels = 1, .method = "gear:rank=9,group=7,sparse=20,plain=1" },
    { SHAPE(1, 2, 2, 16), 1, 0, 16, TSR_KV_F32, THD, 2, 40, 32, 0, 0, 0, 0,
      .levels = 1, .method = "gear:bits=4,rank=20,sparse=0,plain=1" },
    { SHAPE(1, 2, 1, 40), 0, 0, 0, TSR_KV_F16, HTD, 2, 33, 32, 0, 0, 0, 0,
      .levels = 1, .method = "gear:rank=0,plain=1" },
    { SHAPE(1, 2, 2, 36), 1, 8, 20, TSR_KV_BF16, NHD, 2, 300, 288, 0, 0, 0, 5,
      .levels = 1, .method = "vq:plain=1", .profile = TABLES, .entries = 11 },
    { SHAPE(1, 2, 1, 16), 1, 0, 16, TSR_KV_F16, HND, 1, 1100, 1088, 0, 0, 0, 5,
      .levels = 1, .method = "vq:plain=1", .profile = TABLES, .entries = 256 },
    /* the same, entropy-coded */
    { SHAPE(2, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, NHD, 2, 300, 256, 0, 0, 0, 3,
      .levels = 1, .method = "kivi:bits=2,group=32,residual=64" },
    { SHAPE(1, 2, 2, 32), 0, 0, 0, TSR_KV_F32, HND, 2, 270, 96, 0, 0, 0, 0,
      .levels = 1, .method = "kivi:bits=4,residual=0" },
    { SHAPE(2, 2, 3, 24), 2, 2, 16, TSR_KV_F16, HTD, 2, 333, 256, 0, 0, 0, 0,
      .levels = 1, .method = "cachegen", .ids = KEPT_IDS },
    { SHAPE(1, 1, 3, 80), 0, 0, 0, TSR_KV_F32, THD, 1, 1300, 1280, 0, 0, 0, 0,
      .levels = 1, .method = "cachegen:bins=100" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F32, NHD, 3, 133, 128, 0, 0, 0, 0,
      .levels = 1, .method = "fp8:exponent=4" },
    { SHAPE(1, 2, 1, 512), 1, 0, 64, TSR_KV_BF16, HND, 2, 240, 256, 0, 0, 0, 0,
      .levels = 1, .method = "fp8:exponent=5" },
    { SHAPE(2, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 140, 96, 0, 0, 0, 0,
      .levels = 1, .method = "turboquant:keys=3,values=2" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, NHD, 2, 333, 320, 0, 30, 2, 0,
      .levels = 1, .method = "zipcache" },
    { SHAPE(1, 2, 2, 40), 1, 8, 32, TSR_KV_BF16, THD, 2, 150, 128, 0, 21, 1, 0,
      .levels = 1, .method = "mikv:salient=5,others=1" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F16, NHD, 2, 140, 96, 0, 0, 0, 5,
      .levels = 1, .method = "kvquant:bits=3" },
    { SHAPE(1, 2, 2, 32), 2, 0, 32, TSR_KV_F32, HND, 2, 70, 64, 0, 0, 0, 0,
      .levels = 1, .method = "kvquant:bits=4,outliers=0,first=0,plain=1" },
    { SHAPE(1, 2, 2, 40), 1, 8, 32, TSR_KV_BF16, NHD, 2, 140, 96, 0, 0, 0, 0,
      .levels = 1, .method = "gear" },
    { SHAPE(1, 1, 2, 24), 1, 8, 16, TSR_KV_F16, THD, 2, 70, 64, 0, 0, 0, 0,
      .levels = 1, .method = "gear:bits=4,rank=2,sparse=10,plain=1" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_BF16, NHD, 2, 150, 128, 0, 0, 0, 0,
      .levels = 1, .method = "lossless" },
    { SHAPE(1, 2, 2, 32), 1, 0, 32, TSR_KV_F16, HND, 2, 150, 128, 0, 0, 0, 0,
      .levels = 1, .method = "lossless" },
    { SHAPE(1, 2, 2, 32), 1, 0, 32, TSR_KV_F32, HTD, 1, 150, 128, 0, 0, 0, 0,
      .levels = 1, .method = "lossless" },
    { SHAPE(1, 2, 2, 32), 1, 0, 32, TSR_KV_E4M3, THD, 2, 150, 128, 0, 0, 0, 0,
      .levels = 1, .method = "lossless" },
    { SHAPE(1, 2, 2, 32), 1, 0, 32, TSR_KV_E5M2, THD, 2, 33, 32, 0, 0, 0, 0,
      .levels = 1, .method = "lossless" },
    { SHAPE(1, 2, 3, 40), 1, 8, 32, TSR_KV_F16, NHD, 2, 140, 96, 0, 0, 0, 5,
      .levels = 1, .method = "kvquant:bits=2", .profile = TABLES, .bits = 2 },
    { SHAPE(2, 2, 2, 32), 1, 0, 32, TSR_KV_BF16, NHD, 2, 300, 256, 0, 0, 0, 5,
      .levels = 1, .method = "vq", .profile = TABLES, .entries = 16 },
    { SHAPE(1, 2, 2, 32), 2, 0, 32, TSR_KV_F32, HTD, 2, 70, 64, 0, 0, 0, 5,
      .levels = 1, .method = "vq", .profile = TABLES, .entries = 300 },
    /* larger ones */
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD, 4, 256, 256, 4, 0, 0, 0, .4,
      .levels = 1 },
    { SHAPE(1, 2, 4, 128), 1, 0, 128, TSR_KV_BF16, NHD, 1, 2048, 256, 4, 100, 3,
      0, .8, .levels = 1 },
    { SHAPE(2, 2, 4, 128), 1, 0, 128, TSR_KV_F16, THD, 2, 256, 256, 4, 0, 0, 1000,
      .01, .levels = 1 },
    { SHAPE(1, 2, 2, 128), 1, 0, 128, TSR_KV_BF16, HTD, 2, 300, 128, 0, 0, 0,
      100000, 5, .levels = 1 },
    { SHAPE(1, 2, 8, 64), 1, 0, 64, TSR_KV_F16, HND, 2, 256, 256, 4, 0, 0, 0, .1,
      .levels = 1 },
    { SHAPE(1, 2, 4, 64), 0, 0, 0, TSR_KV_BF16, NHD, 2, 512, 256, 4, 0, 0, 0, .01,
      .levels = 1 },
    { SHAPE(1, 2, 5, 96), 1, 0, 96, TSR_KV_BF16, NHD, 2, 256, 256, 4, 0, 0, 0, .5,
      .levels = 1 },
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD, 2, 256, 256, 4, 0, 0, 0, .1,
      .levels = 3 },
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD, 4, 256, 256, 4, 20, 2, 0, .3,
      .profile = PLAIN, .levels = 1 },
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_F16, HND, 2, 300, 256, 4, 0, 0, 0, .2,
      .profile = MATRICES, .joined = 1, .columns = 60, .dead = 5, .live = 80,
      .levels = 2 },
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD, 3, 520, 256, 4, 20, 2, 0,
      .3, .profile = MATRICES | WORDS | MATCHES | GAINS, .joined = 1,
      .columns = 60, .levels = 2, .ids = GIVEN_IDS },
    { SHAPE(2, 2, 8, 128), 1, 0, 128, TSR_KV_F16, HND, 2, 256, 256, 4, 0, 0, 0, .2,
      .profile = PLAIN | PREVIOUS | GAINS, .levels = 1 },
};
enum { SMALL = 82 };    /* of them are small */

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
    printf("# %d x %d x %d x %d, %d objects of %d tokens, %s, levels %d, "
           "profile %d, %.2f bits\n",
           t->shape.layers, t->shape.planes, t->shape.heads[0], t->shape.dim[0],
           t->objects, t->tokens, placing_name[t->how], t->levels,
           t->profile,
           8 * (double)bytes / ((double)p.all * p.planes * p.channels[0]));
    verdict(same_bytes(&p), "bytes");
    verdict(same_caches(&p, p.object, p.size, 0, 0xA5) && same_levels(&p) &&
            same_without(&p) && same_sinks(&p), "caches");
    upload_cache(&p, p.cache);
    verdict(refuses_values(&p) && refuses_ids(&p), "values that are none");
    verdict(keeps_to_room(&p), "room");
    verdict(same_parts(&p), "parts");
    upload_cache(&p, p.cache);
    verdict(same_bytes(&p), "bytes, with parts left in the items");
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
        result = bench(ctx, gpu, argc > 2 ? argv[2] : NULL);
    else
        result = argc == 1 ? check(ctx, gpu, 0, n)
            : !strcmp(argv[1], "small") ? check(ctx, gpu, 0, SMALL)
                                        : check(ctx, gpu, (size_t)atoi(argv[1]) % n, 1);
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return result;
}
