/* SPDX-License-Identifier: BSD-2-Clause */
/* A model on a CUDA device: weights, memory, and recorded work. */
#include "codecs/image/cuda/hyper_cuda.h"
#include <string.h>
#include "lib/nn/cuda/iconv.h"

enum { ALIGN = 256, ROWS_MAX = 4096 };

typedef hyper_arena arena;

static void *take(arena *a, size_t count, size_t size)
{
    void *piece = a->base ? a->base + a->used : NULL;
    a->used += (count * size + ALIGN - 1) / ALIGN * ALIGN;
    return piece;
}

/* ---- weights ---- */

/* Rows of a layer: output r, or mean and class of a channel side by side. */
static int row_of(const tsri_iconv *layer, bool pairs, int r)
{
    return pairs ? r / 2 + r % 2 * (layer->out / 2) : r;
}

static void fill(const tsri_iconv_bytes *b, const tsri_iconv *layer, bool pairs)
{
    int rows[ROWS_MAX];
    for (int r = 0; r < b->out; r++)
        rows[r] = row_of(layer, pairs, r);
    tsri_iconv_bytes_fill(b, layer, rows);
}

/* Puts a layer into the image of the weights, and its place on the device. */
static void place_layer(tsri_hyper_gpu *g, arena *image, const tsri_iconv *layer,
                        bool pairs, bool constant, hyk_layer *out)
{
    tsri_iconv_bytes b = tsri_iconv_bytes_of(layer, layer->out);
    const size_t at_weight = image->used;

    b.weight = take(image, tsri_iconv_weight_size(&b), 1);
    const size_t at_bias = image->used;
    b.bias = take(image, tsri_iconv_bias_size(&b), 1);
    if (!image->base)
        return;
    fill(&b, layer, pairs);
    *out = (hyk_layer){ g->weights.base + at_weight,
                        (const int32_t *)(void *)(g->weights.base + at_bias),
                        b.tiles, b.taps, constant ? 0 : b.chunks, b.shift, b.out };
}

static void place_layers(tsri_hyper_gpu *g, arena *image)
{
    const tsri_hyper_model *m = g->m;
    uint8_t *radius;
    uint16_t *first;

    for (int i = 0; i < 3; i++)
        place_layer(g, image, &m->hs[i], false, false, &g->hs[i]);
    for (int k = 0; k < m->groups; k++)
        for (int i = 0; i < 3; i++)
            place_layer(g, image, &m->group[k].layer[i], i == 2,
                        m->group[k].constant, &g->group[k].layer[i]);
    const size_t at_radius = image->used;
    radius = take(image, TSRI_HYPER_CLASSES, 1);
    const size_t at_first = image->used;
    first = take(image, TSRI_HYPER_CLASSES, sizeof *first);
    if (!image->base)
        return;
    g->radius = g->weights.base + at_radius;
    g->first = (uint16_t *)(void *)(g->weights.base + at_first);
    for (int i = 0; i < TSRI_HYPER_CLASSES; i++) {
        radius[i] = (uint8_t)m->radius[i];
        first[i] = (uint16_t)tsri_bank_first(m->y_bank, i);
    }
    for (int k = 0; k < m->groups; k++)
        g->group[k].silent = tsri_hyper_silent(m, &m->group[k]);
}

static tsr_error load_weights(tsri_hyper_gpu *g)
{
    arena image = { 0 };
    tsr_error error;

    place_layers(g, &image);
    g->weights.size = image.used;
    TSR_TRY(tsri_cuda_alloc(g->cuda, &g->weights.base, image.used, 1));
    image.base = tsri_alloc(g->ctx, image.used, 1);
    if (!image.base)
        return tsri_nomem(g->ctx);
    image.used = 0;
    place_layers(g, &image);
    error = tsri_cuda_upload(g->cuda, g->weights.base, image.base, image.used);
    if (!error)
        error = tsri_cuda_sync(g->cuda);
    tsri_free(g->ctx, image.base);
    return error;
}

/* Which places of the bank are escapes; there are at most 64 x 130. */
static tsr_error mark_escapes(tsri_hyper_gpu *g)
{
    const size_t places = tsri_bank_first(g->m->y_bank, TSRI_HYPER_CLASSES);

    g->escape_class = tsri_alloc(g->ctx, places, 1);
    if (!g->escape_class)
        return tsri_nomem(g->ctx);
    memset(g->escape_class, 255, places);
    for (int i = 0; i < TSRI_HYPER_CLASSES; i++)
        g->escape_class[tsri_bank_first(g->m->y_bank, i + 1) - 1] = (uint8_t)i;
    return TSR_OK;
}

static tsr_error open_gains(tsri_hyper_gpu *g)
{
    const size_t n = (size_t)g->m->latents;

    for (int i = 0; i < TSRI_HYPER_GAINS; i++) {
        g->gains[i].host = tsri_alloc(g->ctx, n, sizeof(float));
        if (!g->gains[i].host)
            return tsri_nomem(g->ctx);
        TSR_TRY(tsri_cuda_alloc(g->cuda, &g->gains[i].device, n, sizeof(float)));
    }
    return TSR_OK;
}

tsr_error tsri_hyper_gpu_gain(tsri_hyper_gpu *g, int kind, const float *gain,
                              const float **on_device)
{
    const size_t size = (size_t)g->m->latents * sizeof *gain;
    hyper_gains *own = &g->gains[kind];

    *on_device = own->device;
    if (own->sent && !memcmp(own->host, gain, size))
        return TSR_OK;
    own->sent = false;
    TSR_TRY(tsri_cuda_send(g->cuda, own->device, gain, size));
    memcpy(own->host, gain, size);
    own->sent = true;
    return TSR_OK;
}

/* ---- memory ---- */

static void free_host(tsri_hyper_gpu *g)
{
    if (g->host.base && !tsri_cuda_use(g->cuda))
        tsri_cuda_check(g->cuda, cudaFreeHost(g->host.base), "free");
    g->host = (arena){ 0 };
}

static void free_device(tsri_hyper_gpu *g)
{
    tsri_cuda_free(g->cuda, g->device.base);
    g->device = (arena){ 0 };
}

void tsri_hyper_gpu_close(tsri_hyper_gpu **out)
{
    tsri_hyper_gpu *g = *out;
    if (!g)
        return;
    tsri_hyper_tape_forget(g, &g->put);
    tsri_hyper_tape_forget(g, &g->get);
    free_device(g);
    free_host(g);
    for (int i = 0; i < TSRI_HYPER_GAINS; i++) {
        tsri_cuda_free(g->cuda, g->gains[i].device);
        tsri_free(g->ctx, g->gains[i].host);
    }
    tsri_cuda_free(g->cuda, g->weights.base);
    tsri_free(g->ctx, g->escape_class);
    tsri_free(g->ctx, g->z_class);
    tsri_free(g->ctx, g);
    *out = NULL;
}

tsr_error tsri_hyper_gpu_open(tsri_hyper_gpu **out, tsri_cuda *cuda,
                              const tsri_hyper_model *m)
{
    tsri_hyper_gpu *g = tsri_calloc(cuda->ctx, 1, sizeof *g);
    tsr_error error;

    *out = g;
    if (!g)
        return tsri_nomem(cuda->ctx);
    g->ctx = cuda->ctx;
    g->cuda = cuda;
    g->m = m;
    error = load_weights(g);
    if (!error)
        error = mark_escapes(g);
    if (!error)
        error = open_gains(g);
    if (error)
        tsri_hyper_gpu_close(out);
    return error;
}

static hyk_map take_map(arena *a, int height, int width, int channels)
{
    const size_t stride = tsri_iconv_stride(channels);
    const size_t row = (size_t)(width + 2) * stride;
    return (hyk_map){ take(a, (size_t)(height + 2), row), (uint32_t)row,
                      (uint32_t)stride };
}

static size_t z_count(const tsri_hyper_model *m, int height, int width)
{
    return (size_t)m->hyper_latents * (size_t)tsri_hyper_z_side(height) *
           (size_t)tsri_hyper_z_side(width);
}

static void lay_out_device(tsri_hyper_gpu *g, int height, int width)
{
    const tsri_hyper_model *m = g->m;
    const int zh = tsri_hyper_z_side(height), zw = tsri_hyper_z_side(width);
    const size_t area = (size_t)height * (size_t)width, pass = (area + 1) / 2;
    const size_t n = area * (size_t)m->latents;
    arena *a = &g->device;
    int widest = 1;

    for (int k = 0; k < m->groups; k++)
        for (int i = 0; i < 2; i++)
            widest = tsri_max(widest, m->group[k].layer[i].out);
    a->used = 0;
    for (int i = 0; i < 3; i++)
        g->grid[i] = take_map(a, zh << i, zw << i, m->hs[i].in);
    g->map = take_map(a, height, width, 2 + m->features + m->latents);
    g->maps_size = a->used;
    for (int i = 0; i < 2; i++)
        g->hidden[i] = take(a, pass, tsri_iconv_stride(widest));
    g->class_of = take(a, n, 1);
    g->mean = take(a, n, sizeof *g->mean);
    g->symbol = take(a, n, sizeof *g->symbol);
    g->fixed = take(a, n, sizeof *g->fixed);
    g->rank = take(a, n, sizeof *g->rank);
    g->y = take(a, n, sizeof *g->y);
    g->z = take(a, z_count(m, height, width), sizeof *g->z);
}

static void lay_out_host(tsri_hyper_gpu *g, int height, int width)
{
    const tsri_hyper_model *m = g->m;
    const size_t n = (size_t)height * (size_t)width * (size_t)m->latents;
    arena *a = &g->host;

    a->used = 0;
    g->z_symbol = take(a, z_count(m, height, width), sizeof *g->z_symbol);
    g->coded = take(a, n, sizeof *g->coded);
    g->value = take(a, n, sizeof *g->value);
    g->start = take(a, HYK_PASSES_MAX + 1, sizeof *g->start);
    g->portion = take(a, n / HYK_PORTION + 1, sizeof *g->portion);
    g->host_fixed = take(a, n, sizeof *g->host_fixed);
    g->host_y = take(a, n, sizeof *g->host_y);
}

/* The tables of z's symbols. */
static tsr_error make_z_classes(tsri_hyper_gpu *g, int height, int width)
{
    const size_t n = z_count(g->m, height, width);
    const size_t plane = n / (size_t)g->m->hyper_latents;

    tsri_free(g->ctx, g->z_class);
    g->z_class = tsri_alloc(g->ctx, n, sizeof *g->z_class);
    if (!g->z_class)
        return tsri_nomem(g->ctx);
    for (size_t i = 0; i < n; i++)
        g->z_class[i] = (uint16_t)(i / plane);
    return TSR_OK;
}

static tsr_error grow_device(tsri_hyper_gpu *g, int height, int width)
{
    const size_t size = g->device.used;

    free_device(g);
    TSR_TRY(tsri_cuda_alloc(g->cuda, &g->device.base, size, 1));
    g->device.size = size;
    lay_out_device(g, height, width);
    return TSR_OK;
}

static tsr_error grow_host(tsri_hyper_gpu *g, int height, int width)
{
    const size_t size = g->host.used;

    free_host(g);
    TSR_TRY(tsri_cuda_use(g->cuda));
    TSR_TRY(tsri_cuda_check(g->cuda, cudaMallocHost((void **)&g->host.base, size),
                            "host memory"));
    g->host.size = size;
    lay_out_host(g, height, width);
    return TSR_OK;
}

tsr_error tsri_hyper_gpu_reserve(tsri_hyper_gpu *g, int height, int width)
{
    if (g->height == height && g->width == width)
        return TSR_OK;
    g->height = g->width = 0;
    TSR_TRY(tsri_cuda_sync(g->cuda));
    tsri_hyper_tape_forget(g, &g->put);
    tsri_hyper_tape_forget(g, &g->get);
    lay_out_device(g, height, width);
    if (g->device.used > g->device.size)
        TSR_TRY(grow_device(g, height, width));
    lay_out_host(g, height, width);
    if (g->host.used > g->host.size)
        TSR_TRY(grow_host(g, height, width));
    TSR_TRY(make_z_classes(g, height, width));
    g->height = height;
    g->width = width;
    return TSR_OK;
}

/* ---- recorded work ---- */

void tsri_hyper_tape_forget(tsri_hyper_gpu *g, hyper_tape *tape)
{
    for (int i = 0; i <= HYK_PASSES_MAX; i++)
        if (tape->part[i] && !tsri_cuda_sync(g->cuda))
            tsri_cuda_check(g->cuda, cudaGraphExecDestroy(tape->part[i]), "graph");
    *tape = (hyper_tape){ 0 };
}

tsr_error tsri_hyper_tape_play(tsri_hyper_gpu *g, hyper_tape *tape, int i,
                               tsr_error (*queue)(tsri_hyper_gpu *g,
                                                  const void *cookie),
                               const void *cookie)
{
    if (tape->warm && !tape->cannot && !tape->part[i]) {
        tape->cannot = !tsri_cuda_record(g->cuda);
        if (!tape->cannot) {
            const tsr_error error = queue(g, cookie);
            tape->part[i] = tsri_cuda_end_record(g->cuda);
            tape->cannot = !tape->part[i];
            TSR_TRY(error);
        }
    }
    return tape->part[i]
               ? tsri_cuda_check(g->cuda,
                                 cudaGraphLaunch(tape->part[i],
                                                 tsri_cuda_stream(g->cuda)),
                                 "entropy model")
               : queue(g, cookie);
}
