/* SPDX-License-Identifier: BSD-2-Clause */
/* Units on a CUDA device. */
#include <string.h>
#include "codecs/image/cuda/hyper_cuda.h"
#include "lib/nn/cuda/iconv.h"

static cudaStream_t stream_of(const tsri_hyper_gpu *g)
{
    return tsri_cuda_stream(g->cuda);
}

static tsr_error launched(tsri_hyper_gpu *g, cudaError_t status)
{
    return tsri_cuda_check(g->cuda, status, "entropy model");
}

static size_t z_count(const tsri_hyper_gpu *g)
{
    return (size_t)g->m->hyper_latents * (size_t)tsri_hyper_z_side(g->height) *
           (size_t)tsri_hyper_z_side(g->width);
}

static size_t y_count(const tsri_hyper_gpu *g)
{
    return (size_t)g->m->latents * (size_t)g->height * (size_t)g->width;
}

/* ---- both directions ---- */

/* From z's symbols, or from its map, to the features in the map. */
static tsr_error make_features(tsri_hyper_gpu *g, const float *z)
{
    const tsri_hyper_model *m = g->m;
    const int zh = tsri_hyper_z_side(g->height), zw = tsri_hyper_z_side(g->width);

    TSR_TRY(tsri_cuda_fill(g->cuda, g->device.base, 0, g->maps_size));
    TSR_TRY(launched(g, hyk_enter(&g->grid[0], g->z_symbol, z, m->hyper_latents, zh,
                                  zw, stream_of(g))));
    for (int i = 0; i < 3; i++) {
        const hyk_features f = {
            .layer = g->hs[i], .in = g->grid[i],
            .out = i == 2 ? g->map : g->grid[i + 1],
            .height = i == 2 ? g->height : zh << i,
            .width = i == 2 ? g->width : zw << i,
            .shuffle = i == 2 ? 1 : 2, .channel = i == 2 ? 2 : 0 };
        TSR_TRY(launched(g, hyk_features_run(&f, stream_of(g))));
    }
    return TSR_OK;
}

/* Passes are counted: two of each group. */
static int passes_of(const tsri_hyper_gpu *g)
{
    return 2 * g->m->groups;
}

static hyk_pass pass_of(const tsri_hyper_gpu *g, int pass)
{
    const int area = g->height * g->width, odd = pass % 2;
    const tsri_hyper_group *group = &g->m->group[pass / 2];
    return (hyk_pass){ .height = g->height, .width = g->width, .odd = odd,
        .positions = odd ? area / 2 : (area + 1) / 2,
        .first = group->first, .channels = group->channels,
        .skip = g->m->skip, .map = g->map, .map_channel = 2 + g->m->features,
        .fixed = g->fixed, .class_of = g->class_of, .mean = g->mean };
}

/* A pass without positions: only the anchors' mark goes. */
static tsr_error unmark(tsri_hyper_gpu *g, hyk_pass p)
{
    p.channels = 0;
    return launched(g, hyk_publish(&p, NULL, NULL, NULL, stream_of(g)));
}

typedef cudaError_t last_layer(const hyk_layer *, const uint8_t *, uint32_t,
                               const hyk_pass *, cudaStream_t);

/* The three layers of a pass. */
static tsr_error predict(tsri_hyper_gpu *g, int pass, const hyk_pass *p,
                         last_layer *last)
{
    const hyk_layer *layer = g->group[pass / 2].layer;
    const uint32_t first = (uint32_t)tsri_iconv_stride(layer[0].out);
    const uint32_t second = (uint32_t)tsri_iconv_stride(layer[1].out);

    if (!g->m->group[pass / 2].constant) {
        TSR_TRY(launched(g, hyk_hidden(&layer[0], p, g->hidden[0], first,
                                       stream_of(g))));
        TSR_TRY(launched(g, hyk_hidden_next(&layer[1], g->hidden[0], first,
                                            p->positions, g->hidden[1], second,
                                            stream_of(g))));
    }
    return launched(g, last(&layer[2], g->hidden[1], second, p, stream_of(g)));
}

/* The values of the unit, once all that is queued is done. */
static tsr_error fetch_fixed(tsri_hyper_gpu *g, int16_t *fixed)
{
    const size_t size = y_count(g) * sizeof *fixed;

    TSR_TRY(tsri_cuda_download(g->cuda, g->host_fixed, g->fixed, size));
    TSR_TRY(tsri_cuda_sync(g->cuda));
    memcpy(fixed, g->host_fixed, size);
    return TSR_OK;
}

const int16_t *tsri_hyper_gpu_fixed(const tsri_hyper_gpu *g)
{
    return g->fixed;
}

/* Nothing of a unit that failed may be at work when the next one begins. */
static tsr_error settle(tsri_hyper_gpu *g, tsr_error error)
{
    if (error)
        tsri_cuda_sync(g->cuda);
    return error;
}

/* ---- encoder ---- */

static hyk_list list_of(const tsri_hyper_gpu *g)
{
    hyk_list list = { .passes = passes_of(g), .skip = g->m->skip,
                      .class_of = g->class_of, .symbol = g->symbol,
                      .radius = g->radius, .first = g->first, .coded = g->coded,
                      .escape = g->value, .portion = g->portion,
                      .coded_start = g->start };

    for (int i = 0; i < list.passes; i++) {
        const hyk_pass p = pass_of(g, i);
        list.start[i] = list.n;
        list.n += p.channels * p.positions;
    }
    return list;
}

/* Queues all passes and the list of what is to be coded.  cookie: whether y and z
 * came from the host. */
static tsr_error queue_put(tsri_hyper_gpu *g, const void *cookie)
{
    const bool planar = *(const bool *)cookie;
    const hyk_list list = list_of(g);

    TSR_TRY(make_features(g, planar ? NULL : g->z));
    for (int i = 0; i < list.passes; i++) {
        hyk_pass p = pass_of(g, i);
        p.class_of += list.start[i];
        p.symbol = g->symbol + list.start[i];
        p.y = g->y;
        p.y_channel = planar ? (size_t)g->height * (size_t)g->width : 1;
        p.y_place = planar ? 1 : (size_t)g->m->latents;
        TSR_TRY(p.positions ? predict(g, i, &p, hyk_quantise) : unmark(g, p));
    }
    return launched(g, hyk_compact(&list, stream_of(g)));
}

static tsr_error put_escapes(tsri_hyper_gpu *g, tsri_rans_enc *enc, int from, int to)
{
    for (int i = from; i < to; i++) {
        const uint8_t class = g->escape_class[g->coded[i]];
        if (class < TSRI_HYPER_CLASSES)
            TSR_TRY(tsri_hyper_put_escape(enc, g->value[i], g->m->radius[class]));
    }
    return TSR_OK;
}

static tsr_error put_lists(tsri_hyper_gpu *g, tsri_rans_enc *enc)
{
    const int passes = passes_of(g);
    const int portions = tsri_ceil_div((int)y_count(g), HYK_PORTION);

    for (int p = passes; p-- > 0;) /* without elements, at the end */
        if (g->start[p] < 0)
            g->start[p] = g->start[p + 1];
    for (int p = 0; p < passes; p++)
        TSR_TRY(tsri_rans_put_places(enc, g->m->y_bank, g->coded + g->start[p],
                                     (size_t)(g->start[p + 1] - g->start[p])));
    for (int k = 0; k < portions; k++)
        if (g->portion[k] & 1)
            TSR_TRY(put_escapes(g, enc, g->portion[k] >> 1,
                                k + 1 < portions ? g->portion[k + 1] >> 1
                                                 : g->start[passes]));
    return TSR_OK;
}

static tsr_error put_unit(tsri_hyper_gpu *g, tsri_rans_enc *enc, bool planar)
{
    for (int p = 0; p < HYK_PASSES_MAX; p++)
        g->start[p] = -1;
    if (g->put.planar != planar)
        tsri_hyper_tape_forget(g, &g->put);
    g->put.planar = planar;
    TSR_TRY(tsri_hyper_tape_play(g, &g->put, 0, queue_put, &planar));
    TSR_TRY(tsri_cuda_sync(g->cuda));
    g->put.warm = true;
    tsri_rans_enc_reset(enc);
    TSR_TRY(tsri_rans_put(enc, g->m->z_bank, g->z_class, 0, g->z_symbol,
                          z_count(g)));
    return put_lists(g, enc);
}

tsr_error tsri_hyper_gpu_put(tsri_hyper_gpu *g, tsri_rans_enc *enc, int height,
                             int width, const int8_t *z, const float *y,
                             int16_t *fixed, uint32_t crc, const uint8_t **data,
                             size_t *size)
{
    TSR_TRY(tsri_hyper_gpu_reserve(g, height, width));
    for (size_t i = 0; i < z_count(g); i++)
        g->z_symbol[i] = (uint16_t)(z[i] + TSRI_HYPER_Z_LIMIT);
    memcpy(g->host_y, y, y_count(g) * sizeof *y);
    TSR_TRY(tsri_cuda_upload(g->cuda, g->y, g->host_y, y_count(g) * sizeof *y));
    TSR_TRY(settle(g, put_unit(g, enc, true)));
    if (fixed)
        TSR_TRY(fetch_fixed(g, fixed));
    return tsri_rans_finish(enc, crc, 0, data, size);
}

tsr_error tsri_hyper_gpu_maps(tsri_hyper_gpu *g, int height, int width, float **y,
                              float **z)
{
    TSR_TRY(tsri_hyper_gpu_reserve(g, height, width));
    *y = g->y;
    *z = g->z;
    return TSR_OK;
}

tsr_error tsri_hyper_gpu_put_maps(tsri_hyper_gpu *g, tsri_rans_enc *enc, int height,
                                  int width, uint32_t crc, const uint8_t **data,
                                  size_t *size)
{
    TSR_TRY(tsri_hyper_gpu_reserve(g, height, width));
    TSR_TRY(settle(g, put_unit(g, enc, false)));
    return tsri_rans_finish(enc, crc, 0, data, size);
}

/* ---- decoder ---- */

/* Passes first..end-1, of which the last alone may have a list; what came before
 * the first one is still to be published. */
typedef struct stretch { int first, end; } stretch;

static bool has_list(const tsri_hyper_gpu *g, int pass)
{
    return pass_of(g, pass).positions && !g->group[pass / 2].silent;
}

static tsr_error publish(tsri_hyper_gpu *g, const hyk_pass *p, const int32_t *rank)
{
    return launched(g, hyk_publish(p, rank, g->value, g->radius, stream_of(g)));
}

static tsr_error queue_get_pass(tsri_hyper_gpu *g, int pass)
{
    const hyk_pass p = pass_of(g, pass);
    const hyk_list list = { .n = p.channels * p.positions, .skip = p.skip,
                            .class_of = g->class_of, .rank = g->rank,
                            .coded = g->coded, .coded_start = g->start };

    if (!p.positions)
        return unmark(g, p);
    TSR_TRY(predict(g, pass, &p, hyk_predict));
    return has_list(g, pass) ? launched(g, hyk_compact(&list, stream_of(g)))
                             : publish(g, &p, NULL);
}

static tsr_error queue_get(tsri_hyper_gpu *g, const void *cookie)
{
    const stretch *s = cookie;

    if (s->first) {
        const hyk_pass p = pass_of(g, s->first - 1);
        TSR_TRY(publish(g, &p, g->rank));
    } else {
        TSR_TRY(make_features(g, NULL));
    }
    for (int i = s->first; i < s->end; i++)
        TSR_TRY(queue_get_pass(g, i));
    return TSR_OK;
}

static tsr_error get_z(tsri_hyper_gpu *g, tsri_rans_dec *dec, int8_t *z)
{
    const size_t n = z_count(g);

    TSR_TRY(tsri_rans_get(dec, g->m->z_bank, g->z_class, 0, g->z_symbol, n));
    for (size_t i = 0; i < n; i++)
        z[i] = (int8_t)(g->z_symbol[i] - TSRI_HYPER_Z_LIMIT);
    return TSR_OK;
}

/* Decodes the listed symbols for the device to read; escapes are put in their
 * places. */
static tsr_error get_list(tsri_hyper_gpu *g, tsri_rans_dec *dec)
{
    const size_t n = (size_t)g->start[0];
    uint16_t *symbol = (uint16_t *)(void *)g->value;

    TSR_TRY(tsri_rans_get(dec, g->m->y_bank, g->coded, 0, symbol, n));
    for (size_t i = 0; i < n; i++) {
        const int radius = g->m->radius[g->coded[i]];
        int s;
        if (symbol[i] <= 2 * radius)
            continue;
        TSR_TRY(tsri_hyper_get_escape(dec, radius, &s));
        g->value[i] = (int16_t)(s + radius);
    }
    return TSR_OK;
}

static tsr_error get_unit(tsri_hyper_gpu *g, tsri_rans_dec *dec, int8_t *z)
{
    const int passes = passes_of(g);
    int part = 0;

    TSR_TRY(tsri_cuda_sync(g->cuda)); /* the last unit's symbols were read */
    TSR_TRY(get_z(g, dec, z));
    for (stretch s = { 0, 0 };; s.first = s.end, part++) {
        while (s.end < passes && !has_list(g, s.end))
            s.end++;
        const bool list = s.end < passes;
        s.end += list;
        TSR_TRY(tsri_hyper_tape_play(g, &g->get, part, queue_get, &s));
        if (!list)
            break;
        TSR_TRY(tsri_cuda_sync(g->cuda));
        TSR_TRY(get_list(g, dec));
    }
    g->get.warm = true;
    return tsri_rans_dec_end(dec);
}

tsr_error tsri_hyper_gpu_get(tsri_hyper_gpu *g, int height, int width,
                             const uint8_t *data, size_t size, uint32_t crc,
                             int8_t *z, int16_t *fixed)
{
    tsri_rans_dec dec;

    TSR_TRY(tsri_rans_dec_open(&dec, g->ctx, data, size, crc));
    TSR_TRY(tsri_hyper_gpu_reserve(g, height, width));
    TSR_TRY(settle(g, get_unit(g, &dec, z)));
    return fixed ? fetch_fixed(g, fixed) : TSR_OK;
}
