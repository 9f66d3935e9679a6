/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/image/cuda/hyper_gpu.h"
#include <string.h>
#include "codecs/image/cuda/hyper_kernels.h"
#include "lib/cuda/device_cuda.h"
#include "lib/nn/cuda/iconv.h"

enum { ALIGN = 256, ROWS_MAX = 4096 };

typedef struct group_layers {
    hyk_layer layer[3];
    bool silent;                /* constant, and nothing of it is coded */
} group_layers;

/* Memory of one kind, handed out piece by piece; base is NULL while the pieces
 * are only counted. */
typedef struct arena {
    uint8_t *base;
    size_t used, size;
} arena;

struct tsri_hyper_gpu {
    tsr_context *ctx;
    tsri_cuda *cuda;
    const tsri_hyper_model *m;
    arena weights, device, host;
    hyk_layer hs[3];
    group_layers group[TSRI_HYPER_GROUPS_MAX];
    uint8_t *radius;            /* [TSRI_HYPER_CLASSES] */
    /* Device memory of a unit. */
    hyk_map grid[3], map;
    size_t maps_size;           /* they come first and are cleared together */
    uint8_t *hidden[2];
    uint8_t *class_of;
    int16_t *mean, *symbol, *fixed;
    int32_t *rank;
    float *y;
    /* Host memory that the device reads and writes. */
    int8_t *z;
    uint16_t *coded_class, *coded_symbol;
    int16_t *escape;            /* decoder: symbols */
    int32_t *start;
    int16_t *host_fixed;
    float *host_y;
};

static cudaStream_t stream_of(const tsri_hyper_gpu *g)
{
    return tsri_cuda_stream(g->cuda);
}

static tsr_error launched(tsri_hyper_gpu *g, cudaError_t status)
{
    return tsri_cuda_check(g->cuda, status, "entropy model");
}

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

    for (int i = 0; i < 3; i++)
        place_layer(g, image, &m->hs[i], false, false, &g->hs[i]);
    for (int k = 0; k < m->groups; k++)
        for (int i = 0; i < 3; i++)
            place_layer(g, image, &m->group[k].layer[i], i == 2,
                        m->group[k].constant, &g->group[k].layer[i]);
    const size_t at = image->used;
    radius = take(image, TSRI_HYPER_CLASSES, 1);
    if (!image->base)
        return;
    g->radius = g->weights.base + at;
    for (int i = 0; i < TSRI_HYPER_CLASSES; i++)
        radius[i] = (uint8_t)m->radius[i];
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
    free_device(g);
    free_host(g);
    tsri_cuda_free(g->cuda, g->weights.base);
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
}

static void lay_out_host(tsri_hyper_gpu *g, int height, int width)
{
    const tsri_hyper_model *m = g->m;
    const size_t area = (size_t)height * (size_t)width;
    const size_t z = (size_t)m->hyper_latents * (size_t)tsri_hyper_z_side(height) *
                     (size_t)tsri_hyper_z_side(width);
    const size_t n = area * (size_t)m->latents, most = n > z ? n : z;
    arena *a = &g->host;

    a->used = 0;
    g->z = take(a, z, 1);
    g->coded_class = take(a, most, sizeof *g->coded_class);
    g->coded_symbol = take(a, most, sizeof *g->coded_symbol);
    g->escape = take(a, n, sizeof *g->escape);
    g->start = take(a, HYK_PASSES_MAX + 1, sizeof *g->start);
    g->host_fixed = take(a, n, sizeof *g->host_fixed);
    g->host_y = take(a, n, sizeof *g->host_y);
}

/* Room for a unit; nothing is queued that uses the old one. */
static tsr_error reserve(tsri_hyper_gpu *g, int height, int width)
{
    lay_out_device(g, height, width);
    if (g->device.used > g->device.size) {
        const size_t size = g->device.used;
        free_device(g);
        TSR_TRY(tsri_cuda_alloc(g->cuda, &g->device.base, size, 1));
        g->device.size = size;
        lay_out_device(g, height, width);
    }
    lay_out_host(g, height, width);
    if (g->host.used > g->host.size) {
        const size_t size = g->host.used;
        free_host(g);
        TSR_TRY(tsri_cuda_use(g->cuda));
        TSR_TRY(tsri_cuda_check(g->cuda, cudaMallocHost((void **)&g->host.base,
                                                        size), "host memory"));
        g->host.size = size;
        lay_out_host(g, height, width);
    }
    return TSR_OK;
}

/* ---- both directions ---- */

/* From g->z to the features in the map. */
static tsr_error make_features(tsri_hyper_gpu *g, int height, int width)
{
    const tsri_hyper_model *m = g->m;
    const int zh = tsri_hyper_z_side(height), zw = tsri_hyper_z_side(width);

    TSR_TRY(tsri_cuda_fill(g->cuda, g->device.base, 0, g->maps_size));
    TSR_TRY(launched(g, hyk_enter(&g->grid[0], g->z, m->hyper_latents, zh, zw,
                                  stream_of(g))));
    for (int i = 0; i < 3; i++) {
        const hyk_features f = {
            .layer = g->hs[i], .in = g->grid[i],
            .out = i == 2 ? g->map : g->grid[i + 1],
            .height = i == 2 ? height : zh << i, .width = i == 2 ? width : zw << i,
            .shuffle = i == 2 ? 1 : 2, .channel = i == 2 ? 2 : 0 };
        TSR_TRY(launched(g, hyk_features_run(&f, stream_of(g))));
    }
    return TSR_OK;
}

static hyk_pass pass_of(const tsri_hyper_gpu *g, int height, int width, int group,
                        int odd)
{
    const int area = height * width;
    return (hyk_pass){ .height = height, .width = width, .odd = odd,
        .positions = odd ? area / 2 : (area + 1) / 2,
        .first = g->m->group[group].first, .channels = g->m->group[group].channels,
        .skip = g->m->skip, .map = g->map, .map_channel = 2 + g->m->features,
        .fixed = g->fixed, .class_of = g->class_of, .mean = g->mean };
}

/* A pass without positions: only the anchors' mark goes. */
static tsr_error unmark(tsri_hyper_gpu *g, hyk_pass p)
{
    p.channels = 0;
    return launched(g, hyk_publish(&p, NULL, NULL, stream_of(g)));
}

typedef cudaError_t last_layer(const hyk_layer *, const uint8_t *, uint32_t,
                               const hyk_pass *, cudaStream_t);

/* The three layers of a pass. */
static tsr_error predict(tsri_hyper_gpu *g, int group, const hyk_pass *p,
                         last_layer *last)
{
    const hyk_layer *layer = g->group[group].layer;
    const uint32_t first = (uint32_t)tsri_iconv_stride(layer[0].out);
    const uint32_t second = (uint32_t)tsri_iconv_stride(layer[1].out);

    if (!g->m->group[group].constant) {
        TSR_TRY(launched(g, hyk_hidden(&layer[0], p, g->hidden[0], first,
                                       stream_of(g))));
        TSR_TRY(launched(g, hyk_hidden_next(&layer[1], g->hidden[0], first,
                                            p->positions, g->hidden[1], second,
                                            stream_of(g))));
    }
    return launched(g, last(&layer[2], g->hidden[1], second, p, stream_of(g)));
}

/* The values of the unit, once all that is queued is done. */
static tsr_error fetch_fixed(tsri_hyper_gpu *g, size_t n, int16_t *fixed)
{
    const size_t size = n * sizeof *fixed;

    TSR_TRY(tsri_cuda_download(g->cuda, g->host_fixed, g->fixed, size));
    TSR_TRY(tsri_cuda_sync(g->cuda));
    memcpy(fixed, g->host_fixed, size);
    return TSR_OK;
}

/* The tables of z's symbols. */
static size_t z_classes(tsri_hyper_gpu *g, int height, int width)
{
    const size_t plane = (size_t)tsri_hyper_z_side(height) *
                         (size_t)tsri_hyper_z_side(width);
    for (int c = 0; c < g->m->hyper_latents; c++)
        for (size_t i = 0; i < plane; i++)
            g->coded_class[(size_t)c * plane + i] = (uint16_t)c;
    return (size_t)g->m->hyper_latents * plane;
}

/* Nothing of a unit that failed may be at work when the next one begins. */
static tsr_error settle(tsri_hyper_gpu *g, tsr_error error)
{
    if (error)
        tsri_cuda_sync(g->cuda);
    return error;
}

/* ---- encoder ---- */

/* Queues all passes and the list of what is to be coded. */
static tsr_error queue_put(tsri_hyper_gpu *g, int height, int width,
                           const hyk_pass *source, hyk_list *list)
{
    TSR_TRY(make_features(g, height, width));
    for (int k = 0; k < g->m->groups; k++)
        for (int odd = 0; odd < 2; odd++) {
            hyk_pass p = pass_of(g, height, width, k, odd);
            p.class_of += list->n;
            p.symbol = g->symbol + list->n;
            p.y = source->y;
            p.y_channel = source->y_channel;
            p.y_place = source->y_place;
            p.gain = source->gain;
            list->start[list->passes++] = list->n;
            list->n += p.channels * p.positions;
            TSR_TRY(p.positions ? predict(g, k, &p, hyk_quantise) : unmark(g, p));
        }
    return launched(g, hyk_compact(list, stream_of(g)));
}

static tsr_error put_z(tsri_hyper_gpu *g, tsri_rans_enc *enc, int height, int width)
{
    uint16_t *symbol = g->coded_symbol;
    const size_t n = z_classes(g, height, width);

    for (size_t i = 0; i < n; i++)
        symbol[i] = (uint16_t)(g->z[i] + TSRI_HYPER_Z_LIMIT);
    return tsri_rans_put(enc, g->m->z_bank, g->coded_class, 0, symbol, n);
}

static tsr_error put_escapes(tsri_hyper_gpu *g, tsri_rans_enc *enc, size_t from,
                             size_t to)
{
    for (size_t i = from; i < to; i++)
        if (g->escape[i])
            TSR_TRY(tsri_hyper_put_escape(enc, g->escape[i],
                                          g->m->radius[g->coded_class[i]]));
    return TSR_OK;
}

static tsr_error put_lists(tsri_hyper_gpu *g, tsri_rans_enc *enc, int passes)
{
    for (int p = passes; p-- > 0;) /* without elements, at the end */
        if (g->start[p] < 0)
            g->start[p] = g->start[p + 1];
    for (int p = 0; p < passes; p++) {
        const size_t from = (size_t)g->start[p], to = (size_t)g->start[p + 1];
        TSR_TRY(tsri_rans_put(enc, g->m->y_bank, g->coded_class + from, 0,
                              g->coded_symbol + from, to - from));
        TSR_TRY(put_escapes(g, enc, from, to));
    }
    return TSR_OK;
}

static tsr_error put_unit(tsri_hyper_gpu *g, tsri_rans_enc *enc, int height,
                          int width, const hyk_pass *source)
{
    hyk_list list = { .skip = g->m->skip, .class_of = g->class_of,
                      .symbol = g->symbol, .radius = g->radius,
                      .coded_class = g->coded_class, .escape = g->escape,
                      .coded_symbol = g->coded_symbol, .coded_start = g->start };

    tsri_rans_enc_reset(enc);
    TSR_TRY(put_z(g, enc, height, width)); /* copied: the lists' memory is free */
    for (int p = 0; p < HYK_PASSES_MAX; p++)
        g->start[p] = -1;
    TSR_TRY(queue_put(g, height, width, source, &list));
    TSR_TRY(tsri_cuda_sync(g->cuda));
    return put_lists(g, enc, list.passes);
}

tsr_error tsri_hyper_gpu_put(tsri_hyper_gpu *g, tsri_rans_enc *enc, int height,
                             int width, const int8_t *z, const float *y,
                             int16_t *fixed, uint32_t crc, const uint8_t **data,
                             size_t *size)
{
    const size_t area = (size_t)height * (size_t)width;
    const size_t n = (size_t)g->m->latents * area;
    hyk_pass source = { .y_channel = area, .y_place = 1 };

    TSR_TRY(reserve(g, height, width));
    source.y = g->y;
    memcpy(g->z, z, (size_t)g->m->hyper_latents * (size_t)tsri_hyper_z_side(height) *
                        (size_t)tsri_hyper_z_side(width));
    memcpy(g->host_y, y, n * sizeof *y);
    TSR_TRY(tsri_cuda_upload(g->cuda, g->y, g->host_y, n * sizeof *y));
    TSR_TRY(settle(g, put_unit(g, enc, height, width, &source)));
    if (fixed)
        TSR_TRY(fetch_fixed(g, n, fixed));
    return tsri_rans_finish(enc, crc, 0, data, size);
}

/* ---- decoder ---- */

static tsr_error get_z(tsri_hyper_gpu *g, tsri_rans_dec *dec, int height, int width,
                       int8_t *z)
{
    const size_t n = z_classes(g, height, width);

    TSR_TRY(tsri_rans_get(dec, g->m->z_bank, g->coded_class, 0, g->coded_symbol, n));
    for (size_t i = 0; i < n; i++)
        g->z[i] = (int8_t)(g->coded_symbol[i] - TSRI_HYPER_Z_LIMIT);
    memcpy(z, g->z, n);
    return TSR_OK;
}

/* Decodes the listed symbols, escapes included, for the device to read. */
static tsr_error get_list(tsri_hyper_gpu *g, tsri_rans_dec *dec)
{
    const size_t n = (size_t)g->start[0];

    TSR_TRY(tsri_rans_get(dec, g->m->y_bank, g->coded_class, 0, g->coded_symbol, n));
    for (size_t i = 0; i < n; i++) {
        const int radius = g->m->radius[g->coded_class[i]];
        int s = g->coded_symbol[i] - radius;
        if (s > radius)
            TSR_TRY(tsri_hyper_get_escape(dec, radius, &s));
        g->escape[i] = (int16_t)s;
    }
    return TSR_OK;
}

static tsr_error get_pass(tsri_hyper_gpu *g, tsri_rans_dec *dec, int group,
                          const hyk_pass *p)
{
    const bool silent = g->group[group].silent;
    const hyk_list list = { .n = p->channels * p->positions, .skip = p->skip,
                            .class_of = g->class_of, .rank = g->rank,
                            .coded_class = g->coded_class,
                            .coded_start = g->start };

    if (!p->positions)
        return unmark(g, *p);
    TSR_TRY(predict(g, group, p, hyk_predict));
    if (!silent) {
        TSR_TRY(launched(g, hyk_compact(&list, stream_of(g))));
        TSR_TRY(tsri_cuda_sync(g->cuda));
        TSR_TRY(get_list(g, dec));
    }
    return launched(g, hyk_publish(p, silent ? NULL : g->rank, g->escape,
                                   stream_of(g)));
}

static tsr_error get_unit(tsri_hyper_gpu *g, tsri_rans_dec *dec, int height,
                          int width, int8_t *z)
{
    TSR_TRY(get_z(g, dec, height, width, z));
    TSR_TRY(make_features(g, height, width));
    for (int k = 0; k < g->m->groups; k++)
        for (int odd = 0; odd < 2; odd++) {
            const hyk_pass p = pass_of(g, height, width, k, odd);
            TSR_TRY(get_pass(g, dec, k, &p));
        }
    return tsri_rans_dec_end(dec);
}

tsr_error tsri_hyper_gpu_get(tsri_hyper_gpu *g, int height, int width,
                             const uint8_t *data, size_t size, uint32_t crc,
                             int8_t *z, int16_t *fixed)
{
    tsri_rans_dec dec;

    TSR_TRY(tsri_rans_dec_open(&dec, g->ctx, data, size, crc));
    TSR_TRY(reserve(g, height, width));
    TSR_TRY(settle(g, get_unit(g, &dec, height, width, z)));
    return fixed ? fetch_fixed(g, (size_t)g->m->latents * (size_t)height *
                                      (size_t)width, fixed) : TSR_OK;
}
