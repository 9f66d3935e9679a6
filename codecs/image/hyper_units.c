/* SPDX-License-Identifier: BSD-2-Clause */
/* Coding one unit of "hyper".  The same sequence of integer predictions runs
 * in the encoder and in the decoder: features from z, then for each channel
 * group its anchors and its other positions, each predicted from all that is
 * known so far.
 *
 * Cost of the predictions, for the shipped model: about 5 kMAC of 16-bit
 * integers a pixel, in both directions. */
#include <math.h>
#include <string.h>
#include "codecs/image/cuda/hyper_gpu.h"
#include "codecs/image/hyper.h"
#include "lib/pool.h"

enum {
    BATCH = TSRI_ICONV_BATCH,
    LIMIT = TSRI_ICONV_LIMIT,
    SYMBOL_MAX = 239,           /* |128 * 239 + mean| fits int16 */
    ESCAPE_LENGTH_BITS = 3,
    CLASS_SLOPE = 4, CLASS_ZERO = 20
};
/* A channel-last map with a border of one zero position. */
typedef struct grid {
    int16_t *data;
    int height, width;
    size_t stride;              /* int16 from one position to the next */
} grid;

/* What one worker needs for a batch of positions. */
typedef struct scratch {
    int32_t *sums;              /* [BATCH][widest layer] */
    int16_t *hidden[2];         /* [BATCH][widest layer] */
} scratch;

struct tsri_hyper_work {
    tsr_context *ctx;
    grid hs[3];                 /* inputs of the feature layers */
    grid map;                   /* plane "known", spare, features, y */
    scratch *workers;
    int16_t *mean;              /* of a pass: [channel][position] */
    uint8_t *class;
    uint16_t *coded_class, *symbol; /* of what is coded of it */
};

static size_t row_of(const grid *g)
{
    return (size_t)(g->width + 2) * g->stride;
}

/* Position (y, x); -1 and height or width are the border. */
static int16_t *at(const grid *g, int y, int x)
{
    return g->data + (size_t)(y + 1) * row_of(g) + (size_t)(x + 1) * g->stride;
}

static void clear(const grid *g)
{
    memset(g->data, 0, (size_t)(g->height + 2) * row_of(g) * sizeof *g->data);
}

/* ---- memory ---- */

static int widest(const tsri_hyper_model *m)
{
    int width = 0;
    for (int i = 0; i < 3; i++)
        width = tsri_max(width, m->hs[i].padded);
    for (int g = 0; g < m->groups; g++)
        for (int i = 0; i < 3; i++)
            width = tsri_max(width, m->group[g].layer[i].padded);
    return width;
}

static bool alloc_workers(tsri_hyper_work *w, const tsri_hyper_model *m)
{
    const size_t batch = BATCH * (size_t)widest(m);
    const int threads = tsri_pool_threads(w->ctx->pool);

    w->workers = tsri_calloc(w->ctx, (size_t)threads, sizeof *w->workers);
    for (int i = 0; w->workers && i < threads; i++) {
        scratch *s = &w->workers[i];
        s->sums = tsri_alloc(w->ctx, batch, sizeof *s->sums);
        for (int k = 0; k < 2; k++)
            s->hidden[k] = tsri_calloc(w->ctx, batch, sizeof *s->hidden[k]);
        if (!s->sums || !s->hidden[0] || !s->hidden[1])
            return false;
    }
    return w->workers;
}

static bool alloc_grid(tsri_hyper_work *w, grid *g, int height, int width,
                       int stride)
{
    *g = (grid){ .height = height, .width = width, .stride = (size_t)stride };
    g->data = tsri_alloc(w->ctx, (size_t)(height + 2) * (size_t)(width + 2),
                         (size_t)stride * sizeof *g->data);
    return g->data;
}

static bool alloc_pass(tsri_hyper_work *w, const tsri_hyper_model *m, int height,
                       int width)
{
    int channels = 0;
    size_t n;

    for (int g = 0; g < m->groups; g++)
        channels = tsri_max(channels, m->group[g].channels);
    n = (size_t)channels * (((size_t)height * (size_t)width + 1) / 2);
    if (n < (size_t)m->hyper_latents * (size_t)tsri_hyper_z_side(height) *
                (size_t)tsri_hyper_z_side(width))
        n = (size_t)m->hyper_latents * (size_t)tsri_hyper_z_side(height) *
            (size_t)tsri_hyper_z_side(width);
    w->mean = tsri_alloc(w->ctx, n, sizeof *w->mean);
    w->class = tsri_alloc(w->ctx, n, sizeof *w->class);
    w->coded_class = tsri_alloc(w->ctx, n, sizeof *w->coded_class);
    w->symbol = tsri_alloc(w->ctx, n, sizeof *w->symbol);
    return w->mean && w->class && w->coded_class && w->symbol;
}

tsr_error tsri_hyper_work_open(tsri_hyper_work **out, tsr_context *ctx,
                               const tsri_hyper_model *m, int height, int width)
{
    const int zh = tsri_hyper_z_side(height), zw = tsri_hyper_z_side(width);
    tsri_hyper_work *w = tsri_calloc(ctx, 1, sizeof *w);

    *out = w;
    if (!w)
        return tsri_nomem(ctx);
    w->ctx = ctx;
    if (m->gpu) /* which has its own memory */
        return TSR_OK;
    if (alloc_workers(w, m) && alloc_pass(w, m, height, width) &&
        alloc_grid(w, &w->hs[0], zh, zw, m->hs[0].in) &&
        alloc_grid(w, &w->hs[1], 2 * zh, 2 * zw, m->hs[1].in) &&
        alloc_grid(w, &w->hs[2], 4 * zh, 4 * zw, m->hs[2].in) &&
        alloc_grid(w, &w->map, height, width, 2 + m->features + m->latents))
        return TSR_OK;
    tsri_hyper_work_close(out);
    return tsri_nomem(ctx);
}

void tsri_hyper_work_close(tsri_hyper_work **work)
{
    tsri_hyper_work *w = *work;
    if (!w)
        return;
    for (int i = 0; w->workers && i < tsri_pool_threads(w->ctx->pool); i++) {
        tsri_free(w->ctx, w->workers[i].sums);
        tsri_free(w->ctx, w->workers[i].hidden[0]);
        tsri_free(w->ctx, w->workers[i].hidden[1]);
    }
    for (int i = 0; i < 3; i++)
        tsri_free(w->ctx, w->hs[i].data);
    tsri_free(w->ctx, w->map.data);
    tsri_free(w->ctx, w->workers);
    tsri_free(w->ctx, w->mean);
    tsri_free(w->ctx, w->class);
    tsri_free(w->ctx, w->coded_class);
    tsri_free(w->ctx, w->symbol);
    tsri_free(w->ctx, w);
    *work = NULL;
}

/* A unit smaller than the work was made for. */
static void resize(tsri_hyper_work *w, int height, int width)
{
    const int zh = tsri_hyper_z_side(height), zw = tsri_hyper_z_side(width);
    for (int i = 0; i < 3; i++) {
        w->hs[i].height = zh << i;
        w->hs[i].width = zw << i;
        clear(&w->hs[i]);
    }
    w->map.height = height;
    w->map.width = width;
    clear(&w->map);
}

/* ---- features ---- */

typedef struct feature_job {
    tsri_hyper_work *work;
    const tsri_hyper_model *m;
    int layer;
} feature_job;

static int16_t relu(int32_t v)
{
    return (int16_t)tsri_clamp(v, 0, LIMIT);
}

/* One output position of a feature layer, to where it is read next. */
static void store_features(const feature_job *job, int y, int x, const int32_t *sum)
{
    const int out = job->m->hs[job->layer].out;
    if (job->layer == 2) {
        int16_t *to = at(&job->work->map, y, x) + 2;
        for (int c = 0; c < out; c++)
            to[c] = relu(sum[c]);
        return;
    }
    const grid *next = &job->work->hs[job->layer + 1];
    for (int k = 0; k < 4; k++) { /* pixel shuffle by 2 */
        int16_t *to = at(next, 2 * y + k / 2, 2 * x + k % 2);
        for (int c = 0; c < out / 4; c++)
            to[c] = relu(sum[4 * c + k]);
    }
}

static tsr_error feature_row(void *cookie, int y, int worker)
{
    const feature_job *job = cookie;
    const tsri_iconv *layer = &job->m->hs[job->layer];
    const grid *in = &job->work->hs[job->layer];
    const int width = job->layer == 2 ? job->work->map.width : in->width;
    int32_t *sums = job->work->workers[worker].sums;
    const int16_t *from[BATCH];

    for (int x = 0; x < width; x += BATCH) {
        const int n = tsri_min(BATCH, width - x);
        for (int i = 0; i < n; i++)
            from[i] = at(in, y - 1, x + i - 1);
        job->m->conv(layer, from, n, in->stride, row_of(in), sums);
        for (int i = 0; i < n; i++)
            store_features(job, y, x + i, sums + (size_t)i * (size_t)layer->padded);
    }
    return TSR_OK;
}

static tsr_error make_features(tsri_hyper_work *w, const tsri_hyper_model *m,
                               const int8_t *z)
{
    const grid *g = &w->hs[0];
    const size_t plane = (size_t)g->height * (size_t)g->width;

    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++)
            for (int c = 0; c < m->hyper_latents; c++)
                at(g, y, x)[c] = (int16_t)(TSRI_HYPER_ONE *
                    z[(size_t)c * plane + (size_t)y * (size_t)g->width + (size_t)x]);
    for (int i = 0; i < 3; i++) {
        feature_job job = { w, m, i };
        const int rows = i == 2 ? w->map.height : w->hs[i].height;
        TSR_TRY(tsri_pool_for(w->ctx->pool, rows, feature_row, &job));
    }
    return TSR_OK;
}

/* ---- prediction of a pass ---- */

typedef struct pass {
    tsri_hyper_work *work;
    const tsri_hyper_model *m;
    const tsri_hyper_group *group;
    int odd;                    /* 0: anchors, y + x even; 1: the others */
    int positions;              /* of the whole unit */
} pass;

/* The first column of row y in the pass, and how many it has. */
static int first_column(const pass *p, int y)
{
    return (y + p->odd) & 1;
}

static int row_count(const pass *p, int y)
{
    return (p->work->map.width - first_column(p, y) + 1) / 2;
}

/* Positions in the rows above y. */
static int row_start(const pass *p, int y)
{
    const int even = row_count(p, 0);
    const int odd = row_count(p, 1);
    return (y + 1) / 2 * even + y / 2 * odd;
}

/* What the last layer says of every position, its inputs unseen. */
static void predict_constant(const tsri_iconv *last, int32_t *sums, int n)
{
    for (int i = 0; i < n; i++)
        for (int c = 0; c < last->padded; c++)
            *sums++ = last->bias[c] >> last->shift;
}

/* The two hidden layers and the last one for n positions. */
static void predict_batch(const pass *p, scratch *s, const int16_t **from, int n)
{
    const tsri_iconv *layer = p->group->layer;
    const grid *g = &p->work->map;

    if (p->group->constant) {
        predict_constant(&layer[2], s->sums, n);
        return;
    }
    p->m->conv(&layer[0], from, n, g->stride, row_of(g), s->sums);
    for (int k = 0; k < 2; k++) {
        const size_t width = (size_t)layer[k].out, padded = (size_t)layer[k].padded;
        for (int i = 0; i < n; i++) {
            for (size_t c = 0; c < width; c++)
                s->hidden[k][(size_t)i * width + c] =
                    relu(s->sums[(size_t)i * padded + c]);
            from[i] = s->hidden[k] + (size_t)i * width;
        }
        p->m->conv(&layer[k + 1], from, n, width, 0, s->sums);
    }
}

int tsri_hyper_class(int32_t t)
{
    const int32_t wide = tsri_clamp(t, INT16_MIN, INT16_MAX);
    const int32_t v = (wide * CLASS_SLOPE + CLASS_ZERO * TSRI_HYPER_ONE +
                       TSRI_HYPER_ONE / 2) >> 7;
    return tsri_clamp(v, 0, TSRI_HYPER_CLASSES - 1);
}

bool tsri_hyper_silent(const tsri_hyper_model *m, const tsri_hyper_group *group)
{
    const tsri_iconv *last = &group->layer[2];
    bool silent = group->constant;
    for (int c = group->channels; c < 2 * group->channels; c++)
        silent = silent && tsri_hyper_class(last->bias[c] >> last->shift) < m->skip;
    return silent;
}

static void store_batch(const pass *p, const int32_t *sums, int start, int n)
{
    const size_t channels = (size_t)p->group->channels;
    const size_t padded = (size_t)p->group->layer[2].padded;

    for (size_t c = 0; c < channels; c++)
        for (int i = 0; i < n; i++) {
            const int32_t *sum = sums + (size_t)i * padded;
            const size_t to = c * (size_t)p->positions + (size_t)(start + i);
            p->work->mean[to] = (int16_t)tsri_clamp(sum[c], -LIMIT, LIMIT);
            p->work->class[to] = (uint8_t)tsri_hyper_class(sum[channels + c]);
        }
}

static tsr_error predict_row(void *cookie, int y, int worker)
{
    const pass *p = cookie;
    scratch *s = &p->work->workers[worker];
    const int count = row_count(p, y);
    const int16_t *from[BATCH];

    for (int k = 0; k < count; k += BATCH) {
        const int n = tsri_min(BATCH, count - k);
        for (int i = 0; i < n; i++)
            from[i] = at(&p->work->map, y - 1, first_column(p, y) + 2 * (k + i) - 1);
        predict_batch(p, s, from, n);
        store_batch(p, s->sums, row_start(p, y) + k, n);
    }
    return TSR_OK;
}

/* Sets the plane "known" at the anchors: 1.0 before their second pass. */
static void mark_known(const grid *g, int16_t value)
{
    for (int y = 0; y < g->height; y++)
        for (int x = y & 1; x < g->width; x += 2)
            *at(g, y, x) = value;
}

/* Puts the values of a pass where the next prediction reads them. */
static void publish(const pass *p, const int16_t *fixed)
{
    const grid *g = &p->work->map;
    const int base = 2 + p->m->features + p->group->first;
    const size_t plane = (size_t)g->height * (size_t)g->width;

    for (int y = 0; y < g->height; y++)
        for (int x = first_column(p, y); x < g->width; x += 2) {
            int16_t *to = at(g, y, x) + base;
            const int16_t *v = fixed + (size_t)p->group->first * plane +
                               (size_t)y * (size_t)g->width + (size_t)x;
            for (int c = 0; c < p->group->channels; c++)
                to[c] = (int16_t)tsri_clamp(v[(size_t)c * plane], -LIMIT, LIMIT);
        }
}

/* Runs `code` for every pass of the unit, after its prediction. */
static tsr_error each_pass(tsri_hyper_work *w, const tsri_hyper_model *m,
                           tsr_error (*code)(const pass *p, void *cookie),
                           void *cookie, const int16_t *fixed)
{
    for (int g = 0; g < m->groups; g++)
        for (int odd = 0; odd < 2; odd++) {
            pass p = { w, m, &m->group[g], odd, 0 };
            p.positions = row_start(&p, w->map.height);
            mark_known(&w->map, odd ? TSRI_HYPER_ONE : 0);
            TSR_TRY(tsri_pool_for(w->ctx->pool, w->map.height, predict_row, &p));
            TSR_TRY(code(&p, cookie));
            publish(&p, fixed);
        }
    return TSR_OK;
}

/* All positions of channel c of a pass in coding order: `index` counts them in
 * the pass's arrays, `place` is where they are in y. */
#define FOR_POSITIONS(p, c, index, place)                                        \
    for (int row_ = 0, index = (c) * (p)->positions; row_ < (p)->work->map.height; \
         row_++)                                                                 \
        for (size_t place = ((size_t)((p)->group->first + (c)) *                 \
                                 (size_t)(p)->work->map.height + (size_t)row_) * \
                                (size_t)(p)->work->map.width +                   \
                            (size_t)first_column(p, row_),                       \
                    end_ = place - (size_t)first_column(p, row_) +               \
                           (size_t)(p)->work->map.width;                         \
             place < end_; place += 2, index++)

/* ---- encoder ---- */

typedef struct putting {
    tsri_rans_enc *enc;
    const float *y;
    int16_t *fixed;
} putting;

/* The symbol for what is left of a value after its mean. */
static int nearest(float d)
{
    return d >= SYMBOL_MAX    ? SYMBOL_MAX
           : d > -SYMBOL_MAX  ? (int)rintf(d)
           : d <= -SYMBOL_MAX ? -SYMBOL_MAX
                              : 0; /* NaN */
}

/* |s| - radius >= 1 as length, rest and sign. */
tsr_error tsri_hyper_put_escape(tsri_rans_enc *enc, int s, int radius)
{
    const uint32_t rest = (uint32_t)((s < 0 ? -s : s) - radius);
    const int length = 31 - __builtin_clz(rest);

    TSR_TRY(tsri_rans_put_bits(enc, (uint32_t)length, ESCAPE_LENGTH_BITS));
    TSR_TRY(tsri_rans_put_bits(enc, rest - (1u << length), length));
    return tsri_rans_put_bits(enc, s < 0, 1);
}

static tsr_error put_pass(const pass *p, void *cookie)
{
    const putting *job = cookie;
    tsri_hyper_work *w = p->work;
    size_t coded = 0;

    for (int c = 0; c < p->group->channels; c++)
        FOR_POSITIONS(p, c, i, place) {
            const int class = w->class[i], mean = w->mean[i];
            int s = 0;
            if (class >= p->m->skip) {
                const int radius = p->m->radius[class];
                s = nearest(job->y[place] - (float)mean / TSRI_HYPER_ONE);
                w->coded_class[coded] = (uint16_t)class;
                w->symbol[coded++] = (uint16_t)(s < -radius || s > radius
                                                    ? 2 * radius + 1 : s + radius);
            }
            job->fixed[place] = (int16_t)(TSRI_HYPER_ONE * s + mean);
        }
    TSR_TRY(tsri_rans_put(job->enc, p->m->y_bank, w->coded_class, 0, w->symbol,
                          coded));
    for (int c = 0; c < p->group->channels; c++)
        FOR_POSITIONS(p, c, i, place) {
            const int radius = p->m->radius[w->class[i]];
            const int s = (job->fixed[place] - w->mean[i]) / TSRI_HYPER_ONE;
            if (s < -radius || s > radius)
                TSR_TRY(tsri_hyper_put_escape(job->enc, s, radius));
        }
    return TSR_OK;
}

/* The z symbols and their tables, channel by channel. */
static size_t z_classes(tsri_hyper_work *w, const tsri_hyper_model *m)
{
    const size_t plane = (size_t)w->hs[0].height * (size_t)w->hs[0].width;
    for (int c = 0; c < m->hyper_latents; c++)
        for (size_t i = 0; i < plane; i++)
            w->coded_class[(size_t)c * plane + i] = (uint16_t)c;
    return (size_t)m->hyper_latents * plane;
}

tsr_error tsri_hyper_put(tsri_hyper_work *w, const tsri_hyper_model *m,
                         tsri_rans_enc *enc, int height, int width, const int8_t *z,
                         const float *y, int16_t *fixed, uint32_t crc,
                         const uint8_t **data, size_t *size)
{
    putting job = { enc, y, fixed };
    size_t n;

    if (m->gpu)
        return tsri_hyper_gpu_put(m->gpu, enc, height, width, z, y, fixed, crc, data,
                                  size);
    resize(w, height, width);
    tsri_rans_enc_reset(enc);
    n = z_classes(w, m);
    for (size_t i = 0; i < n; i++)
        w->symbol[i] = (uint16_t)(z[i] + TSRI_HYPER_Z_LIMIT);
    TSR_TRY(tsri_rans_put(enc, m->z_bank, w->coded_class, 0, w->symbol, n));
    TSR_TRY(make_features(w, m, z));
    TSR_TRY(each_pass(w, m, put_pass, &job, fixed));
    return tsri_rans_finish(enc, crc, 0, data, size);
}

/* ---- decoder ---- */

typedef struct getting {
    tsri_rans_dec *dec;
    int16_t *fixed;
} getting;

tsr_error tsri_hyper_get_escape(tsri_rans_dec *dec, int radius, int *s)
{
    const int length = (int)tsri_rans_get_bits(dec, ESCAPE_LENGTH_BITS);
    const int rest = (int)(tsri_rans_get_bits(dec, length) | 1u << length);
    const int size = radius + rest;

    *s = tsri_rans_get_bits(dec, 1) ? -size : size;
    return size > SYMBOL_MAX || tsri_rans_cut(dec) ? TSR_E_CORRUPT : TSR_OK;
}

static tsr_error get_pass(const pass *p, void *cookie)
{
    const getting *job = cookie;
    tsri_hyper_work *w = p->work;
    const size_t all = (size_t)p->group->channels * (size_t)p->positions;
    size_t coded = 0;

    for (size_t i = 0; i < all; i++)
        if (w->class[i] >= p->m->skip)
            w->coded_class[coded++] = w->class[i];
    TSR_TRY(tsri_rans_get(job->dec, p->m->y_bank, w->coded_class, 0, w->symbol,
                          coded));
    coded = 0;
    for (int c = 0; c < p->group->channels; c++)
        FOR_POSITIONS(p, c, i, place) {
            int s = 0;
            if (w->class[i] >= p->m->skip) {
                const int radius = p->m->radius[w->class[i]];
                s = w->symbol[coded++] - radius;
                if (s > radius)
                    TSR_TRY(tsri_hyper_get_escape(job->dec, radius, &s));
            }
            job->fixed[place] = (int16_t)(TSRI_HYPER_ONE * s + w->mean[i]);
        }
    return TSR_OK;
}

tsr_error tsri_hyper_get(tsri_hyper_work *w, const tsri_hyper_model *m, int height,
                         int width, const uint8_t *data, size_t size, uint32_t crc,
                         int8_t *z, int16_t *fixed)
{
    tsri_rans_dec dec;
    getting job = { &dec, fixed };
    size_t n;

    if (m->gpu)
        return tsri_hyper_gpu_get(m->gpu, height, width, data, size, crc, z, fixed);
    resize(w, height, width);
    TSR_TRY(tsri_rans_dec_open(&dec, w->ctx, data, size, crc));
    n = z_classes(w, m);
    TSR_TRY(tsri_rans_get(&dec, m->z_bank, w->coded_class, 0, w->symbol, n));
    for (size_t i = 0; i < n; i++)
        z[i] = (int8_t)(w->symbol[i] - TSRI_HYPER_Z_LIMIT);
    TSR_TRY(make_features(w, m, z));
    TSR_TRY(each_pass(w, m, get_pass, &job, fixed));
    return tsri_rans_dec_end(&dec);
}
