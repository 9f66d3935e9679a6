/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of the numbers of one unit of "hyper" before they are: the same
 * sequence of integer predictions runs in the encoder and in the decoder.  Features
 * from z, then for each channel group its anchors and its other positions, each
 * predicted from all that is known so far.
 *
 * Cost, for the shipped model: about 5 kMAC of 16-bit integers a pixel, in both
 * directions. */
#include <string.h>
#include "codecs/image/hyper_units.h"
#include "lib/pool.h"

enum {
    BATCH = TSRI_ICONV_BATCH,
    LIMIT = TSRI_ICONV_LIMIT,
    CLASS_SLOPE = 4, CLASS_ZERO = 20
};

typedef tsri_hyper_grid grid;
typedef tsri_hyper_scratch scratch;
typedef tsri_hyper_pass pass;

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

void tsri_hyper_resize(tsri_hyper_work *w, int height, int width)
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

tsr_error tsri_hyper_features(tsri_hyper_work *w, const tsri_hyper_model *m,
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

/* How many columns row y has of the pass. */
static int row_count(const pass *p, int y)
{
    return (p->work->map.width - tsri_hyper_column(p, y) + 1) / 2;
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
            from[i] = at(&p->work->map, y - 1, tsri_hyper_column(p, y) + 2 * (k + i) - 1);
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
        for (int x = tsri_hyper_column(p, y); x < g->width; x += 2) {
            int16_t *to = at(g, y, x) + base;
            const int16_t *v = fixed + (size_t)p->group->first * plane +
                               (size_t)y * (size_t)g->width + (size_t)x;
            for (int c = 0; c < p->group->channels; c++)
                to[c] = (int16_t)tsri_clamp(v[(size_t)c * plane], -LIMIT, LIMIT);
        }
}

tsr_error tsri_hyper_each_pass(tsri_hyper_work *w, const tsri_hyper_model *m,
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
