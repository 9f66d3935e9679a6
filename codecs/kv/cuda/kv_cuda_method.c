/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device needs of published methods: constants of tables, levels and
 * codebooks of the profile. */
#include <stdio.h>
#include <string.h>
#include "codecs/kv/cuda/kv_device.h"
#include "entropy/packing.h"
#include "entropy/shapes_table.h"
#include "lib/bytes.h"
#include "vq/scalar.h"

enum {
    CACHEGEN = 1, KIVI = 2, KVQUANT = 3, GEAR = 4, ZIPCACHE = 5, MIKV = 6,
    TURBOQUANT = 7, FP8 = 8, VQ = 10, METHODS, MOST_LEVELS = 16, MOST_CODES = 256
};

static tsr_error put_shapes(tsr_kv_cuda *g)
{
    tsri_kv_gpu_shapes shapes;

    _Static_assert(sizeof gauss_tail == sizeof shapes.gauss, "tails");
    memcpy(shapes.gauss, gauss_tail, sizeof shapes.gauss);
    memcpy(shapes.inverse, inverse, sizeof shapes.inverse);
    memcpy(shapes.decay, laplace_decay, sizeof shapes.decay);
    TSR_TRY(tsri_kv_gpu_put(g, &shapes, 1, sizeof shapes, &g->encoder.shapes));
    return tsri_cuda_sync(g->gpu);
}

static const tsr_tensor *tensor_of(const tsr_kv *kv, const char *what, int plane)
{
    const int planes = kv->settings.shape.planes;
    char name[64];

    if (!kv->model)
        return NULL;
    snprintf(name, sizeof name, "%s.%d.%d", what, plane / planes, plane % planes);
    return tsr_model_tensor(kv->model, name);
}

/* Are no indices of vq codes? */
static bool has_large_books(const tsr_kv *kv)
{
    const tsr_kv_shape *s = &kv->settings.shape;

    for (int i = 0; i < s->layers * s->planes; i++) {
        const tsr_tensor *t = tensor_of(kv, "vq", i);
        if (t->dims[t->rank - 2] <= MOST_CODES)
            return false;
    }
    return true;
}

static bool is_packed(const tsr_kv *kv)
{
    static const uint8_t plain[METHODS] = {     /* 1 + where params say so */
        [CACHEGEN] = 3, [KIVI] = 4, [KVQUANT] = 4, [GEAR] = 5, [ZIPCACHE] = 3,
        [MIKV] = 3, [TURBOQUANT] = 4, [FP8] = 2, [VQ] = 1
    };
    const int number = kv->method->number, at = plain[number];

    return (at && tsri_get16(kv->params + 2 * (at - 1))) ||
        (number == VQ && has_large_books(kv));
}

size_t tsri_kv_gpu_plain_bytes(const tsr_kv *kv, int tile, int tokens, int dtype)
{
    const tsr_kv_shape *shape = &kv->settings.shape;
    tsri_kv_head head = { .shape = *shape, .tokens = (uint32_t)tokens, .tile = tile,
                          .dtype = (uint8_t)dtype };
    size_t most = 0;

    memcpy(head.params, kv->params, sizeof head.params);
    for (int i = 0; tokens && i < shape->layers * shape->planes; i++) {
        const tsri_kv_tile t = tsri_kv_method_tile(kv, &head, i, 0);
        const size_t bytes = kv->method->bound(&t);
        most = bytes > most ? bytes : most;
    }
    return (most + 15) / 16 * 16;
}

/* ---- kvquant ---- */

/* The levels of a plane, where the profile has such that can be used. */
static bool read_levels(const tsr_kv *kv, int plane, float *level)
{
    const int n = 1 << tsri_get16(kv->params);
    const tsr_tensor *t = tensor_of(kv, "kvquant.lut", plane);
    tsri_levels levels;

    if (!t || t->dtype != TSR_F32 || t->rank != 1 || t->dims[0] != (uint64_t)n)
        return false;
    for (int i = 0; i < n; i++)
        level[i] = tsri_getf32((const uint8_t *)t->data + 4 * i);
    return tsri_levels_set(&levels, level, n);
}

static tsr_error put_levels(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;
    const size_t planes = (size_t)(kv->settings.shape.layers *
                                   kv->settings.shape.planes);
    float *level = tsri_calloc(kv->ctx, planes, MOST_LEVELS * sizeof *level);
    uint8_t *has = tsri_calloc(kv->ctx, planes, 1);
    tsr_error error = level && has ? TSR_OK : tsri_nomem(kv->ctx), waited;

    for (size_t i = 0; !error && i < planes; i++)
        has[i] = read_levels(kv, (int)i, level + i * MOST_LEVELS);
    if (!error)
        error = tsri_kv_gpu_put(g, level, planes, MOST_LEVELS * sizeof *level,
                                &g->encoder.level);
    if (!error)
        error = tsri_kv_gpu_put(g, has, planes, 1, &g->encoder.has_level);
    waited = tsri_cuda_sync(g->gpu);
    tsri_free(kv->ctx, level);
    tsri_free(kv->ctx, has);
    return error ? error : waited;
}

/* ---- vq ---- */

/* Bits of the largest number of n digits. */
static int bits_of(uint64_t entries, int n)
{
    uint64_t most = 0;

    while (n--)
        most = most * entries + entries - 1;
    return most ? 64 - __builtin_clzll(most) : 0;
}

/* The method has looked at the tensors when the coder was opened. */
static tsr_error set_books(const tsr_tensor *t, tsri_kv_gpu_books *books)
{
    const uint64_t *dims = t->dims + t->rank - 3;
    tsri_packing packing;

    TSR_TRY(tsri_packing_radix(&packing, (size_t)dims[1]));
    *books = (tsri_kv_gpu_books){
        .stages = t->rank == 4 ? (int)t->dims[0] : 1, .groups = (int)dims[0],
        .entries = (int)dims[1], .dims = (int)dims[2],
        .digits = packing.digits, .bits = packing.bits };
    for (int i = 0; dims[1] > MOST_CODES && i < packing.digits; i++)
        books->rest_bits[i] = bits_of(dims[1], i);
    return TSR_OK;
}

static size_t entries_of(const tsri_kv_gpu_books *b)
{
    return (size_t)b->stages * (size_t)b->groups * (size_t)b->entries;
}

/* Sums of squares, in order as vq/codebook.c has them. */
static float *set_norms(const tsr_tensor *t, const tsri_kv_gpu_books *b, float *norm)
{
    const uint8_t *from = t->data;

    for (size_t n = entries_of(b); n; n--, norm++) {
        *norm = 0;
        for (int d = 0; d < b->dims; d++, from += 4)
            *norm += tsri_getf32(from) * tsri_getf32(from);
    }
    return norm;
}

/* To `at`: the entries of all planes, then their norms, floats. */
static tsr_error bring_books(tsr_kv_cuda *g, tsri_kv_gpu_books *books, int planes,
                             float *norm, uint8_t *at)
{
    const float *const norms = norm;
    size_t entries = 0;

    for (int i = 0; i < planes; i++) {
        const tsr_tensor *t = tensor_of(g->kv, "vq", i);
        const size_t size = entries_of(&books[i]) * (size_t)books[i].dims * sizeof(float);
        TSR_TRY(tsri_cuda_upload(g->gpu, at, t->data, size));
        books[i].at = (const float *)(const void *)at;
        at += size;
        norm = set_norms(t, &books[i], norm);
    }
    for (int i = 0; i < planes; i++) {
        books[i].norm = (const float *)(const void *)at + entries;
        entries += entries_of(&books[i]);
    }
    TSR_TRY(tsri_cuda_upload(g->gpu, at, norms, entries * sizeof *norms));
    return tsri_kv_gpu_put(g, books, (size_t)planes, sizeof *books,
                           &g->encoder.books);
}

static tsr_error put_books(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;
    const int planes = kv->settings.shape.layers * kv->settings.shape.planes;
    tsri_kv_gpu_books *books = tsri_calloc(kv->ctx, (size_t)planes, sizeof *books);
    tsr_error error = books ? TSR_OK : tsri_nomem(kv->ctx), waited;
    size_t floats = 0, entries = 0;
    float *norm = NULL;
    uint8_t *at;

    for (int i = 0; !error && i < planes; i++) {
        error = set_books(tensor_of(kv, "vq", i), &books[i]);
        const int indices = books[i].stages * books[i].groups;
        g->encoder.indices = tsri_max(g->encoder.indices, indices);
        entries += entries_of(&books[i]);
        floats += entries_of(&books[i]) * (size_t)(books[i].dims + 1);
    }
    if (!error)
        norm = tsri_alloc(kv->ctx, entries, sizeof *norm);
    if (!error && !norm)
        error = tsri_nomem(kv->ctx);
    if (!error)
        error = tsri_kv_gpu_room(g, floats, sizeof(float), &at);
    if (!error)
        error = bring_books(g, books, planes, norm, at);
    waited = tsri_cuda_sync(g->gpu);
    tsri_free(kv->ctx, books);
    tsri_free(kv->ctx, norm);
    return error ? error : waited;
}

tsr_error tsri_kv_gpu_put_method(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;

    if (!kv->method)
        return TSR_OK;
    g->encoder.coded = !is_packed(kv);
    TSR_TRY(put_shapes(g));
    if (kv->method->number == KVQUANT && kv->model)
        TSR_TRY(put_levels(g));
    return kv->method->number == VQ ? put_books(g) : TSR_OK;
}
