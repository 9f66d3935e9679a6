/* SPDX-License-Identifier: BSD-2-Clause */
#include <float.h>
#include <math.h>
#include <string.h>
#include "vq/coarse.h"

enum {
    LANES = TSRI_NEAREST_LANES, BLOCK = TSRI_NEAREST_BLOCK,
    ROWS = TSRI_COARSE_ROWS, LIST = TSRI_COARSE_LIST,
    LIMIT = 32000,          /* norm of xq and cq; see quantise_six() */
    TILE_VALUES = 8192,     /* of a tile: 16 KiB, half of a first-level cache */
    MAX_TILE = 32,
    BLOCK_VALUES = 98304,   /* of the vectors of a call: 192 KiB */
    MAX_BLOCK = 768,
    TRIED = 4,              /* sixes that show whether the pass helps */
    MIN_WORDS = 128         /* below, one float search costs no more */
};

/* Norms between these keep every product far from the limits of float. */
static const double min_norm = 1e-9, max_norm = 1e15;

static bool measure(tsri_coarse_book *b, int k, const float *words, double *sum)
{
    memset(sum, 0, (size_t)b->d * sizeof *sum);
    for (int c = 0; c < k; c++)
        for (int j = 0; j < b->d; j++)
            sum[j] += (double)words[(size_t)c * (size_t)b->d + (size_t)j];
    for (int j = 0; j < b->d; j++)
        b->mean[j] = (float)(sum[j] / k);
    for (int c = 0; c < k; c++, words += b->d) {
        double own = 0, norm = 0, magnitudes = 0;
        for (int j = 0; j < b->d; j++) {
            const double v = (double)words[j] - (double)b->mean[j];
            own += (double)words[j] * (double)words[j];
            norm += v * v;
            magnitudes += fabs(v);
        }
        /* Written so that a NaN fails. */
        if (!(own <= max_norm * max_norm && norm <= max_norm * max_norm))
            return false;
        b->norm[c] = (float)norm;
        b->radius = fmax(b->radius, sqrt(norm));
        b->reach = fmax(b->reach, sqrt(own));
        b->sum = fmax(b->sum, magnitudes);
    }
    return b->radius >= min_norm;
}

static void pack(tsri_coarse_book *b, int k, const float *words)
{
    const double inverse = LIMIT / b->radius;

    b->scale = 1 / inverse;
    for (int c = 0; c < b->panels * LANES; c++, words += b->d) {
        int16_t *to = b->code + (size_t)(c / LANES) * (size_t)b->pairs *
                      LANES * 2 + c % LANES * 2;
        double error = 0;
        for (int j = 0; j < 2 * b->pairs; j++) {
            const bool real = c < k && j < b->d;
            const double v =
                real ? (double)words[j] - (double)b->mean[j] : 0;
            const int q = (int)lrint(v * inverse);
            const double left = v - q * b->scale;
            to[j / 2 * LANES * 2 + j % 2] = (int16_t)q;
            error += left * left;
        }
        b->error = fmax(b->error, sqrt(error));
        if (c >= k)
            b->norm[c] = INFINITY;
    }
    /* Room for the rounding of the norms themselves. */
    b->error = b->error * (1 + 1e-9) + b->radius * 1e-12;
    b->radius *= 1 + 1e-9;
    b->reach *= 1 + 1e-9;
    b->sum *= 1 + 1e-9;
}

/* A look at a tile costs about as much as half a channel of one panel, and one
 * tile is searched again in float: that balance, but within the cache. */
static int tile_panels(int panels, int d)
{
    const int most = tsri_clamp(TILE_VALUES / (LANES * d), 1, MAX_TILE);
    return tsri_clamp((int)sqrt(2.0 * panels / d), 4, most < 4 ? 4 : most);
}

tsr_error tsri_coarse_new(tsri_coarse_book **out, tsr_context *ctx, int k,
                          int d, const float *codewords)
{
    const int panels = tsri_ceil_div(k, LANES), pairs = tsri_ceil_div(d, 2);
    const size_t words = (size_t)panels * LANES;

    *out = NULL;
    if (k < MIN_WORDS)
        return TSR_OK;
    tsri_coarse_book *b = tsri_calloc(ctx, 1, sizeof *b);
    double *sum = tsri_alloc(ctx, (size_t)d, sizeof *sum);
    if (b) {
        *b = (tsri_coarse_book){ .panels = panels, .d = d, .pairs = pairs };
        b->tile = tile_panels(panels, d);
        b->code = tsri_alloc(ctx, words * (size_t)pairs, 2 * sizeof *b->code);
        b->norm = tsri_alloc(ctx, words, sizeof *b->norm);
        b->mean = tsri_alloc(ctx, (size_t)d, sizeof *b->mean);
    }
    const bool got = b && sum && b->code && b->norm && b->mean;
    if (got && measure(b, k, codewords, sum))
        pack(b, k, codewords);
    else
        tsri_coarse_free(&b, ctx);
    tsri_free(ctx, sum);
    *out = b;
    return got ? TSR_OK : tsri_nomem(ctx);
}

void tsri_coarse_free(tsri_coarse_book **book, tsr_context *ctx)
{
    tsri_coarse_book *b = *book;
    if (!b)
        return;
    tsri_free(ctx, b->code);
    tsri_free(ctx, b->norm);
    tsri_free(ctx, b->mean);
    tsri_free(ctx, b);
    *book = NULL;
}

struct tsri_coarse_work {
    int16_t *x;                 /* [blocks of 6][pairs][6][2] */
    tsri_coarse_list *list;     /* [blocks of 6][6] */
    float *factor;              /* [blocks of 6] */
    float *full;                /* [d][64] */
};

int tsri_coarse_block(int d)
{
    return tsri_clamp(BLOCK_VALUES / d, ROWS, MAX_BLOCK) / ROWS * ROWS;
}

tsri_coarse_work *tsri_coarse_work_new(tsr_context *ctx, int n, int d)
{
    const size_t sixes = (size_t)tsri_ceil_div(n, ROWS);
    tsri_coarse_work *w = tsri_calloc(ctx, 1, sizeof *w);

    if (!w)
        return NULL;
    w->x = tsri_calloc(ctx, sixes * (size_t)tsri_ceil_div(d, 2),
                       2 * ROWS * sizeof *w->x);
    w->list = tsri_alloc(ctx, sixes * ROWS, sizeof *w->list);
    w->factor = tsri_alloc(ctx, sixes, sizeof *w->factor);
    w->full = tsri_alloc(ctx, (size_t)d, BLOCK * sizeof *w->full);
    if (w->x && w->list && w->factor && w->full)
        return w;
    tsri_coarse_work_free(w, ctx);
    return NULL;
}

void tsri_coarse_work_free(tsri_coarse_work *w, tsr_context *ctx)
{
    if (!w)
        return;
    tsri_free(ctx, w->x);
    tsri_free(ctx, w->list);
    tsri_free(ctx, w->factor);
    tsri_free(ctx, w->full);
    tsri_free(ctx, w);
}

/* a > limit is what counts, so one less than best - margin. */
static int32_t limit_of(const tsri_coarse_list *l)
{
    const int64_t limit = (int64_t)l->best - l->margin - 1;
    return limit < INT32_MIN ? INT32_MIN : (int32_t)limit;
}

/* Drops the tiles that a better one has ruled out since. */
static void compact(tsri_coarse_list *l)
{
    int kept = 0;
    for (int i = 0; i < l->count; i++)
        if (l->at[i].best > l->limit)
            l->at[kept++] = l->at[i];
    l->count = kept;
}

void tsri_coarse_add(tsri_coarse_list *l, int tile, int32_t best)
{
    if (best > l->best) {
        l->best = best;
        l->limit = limit_of(l);
    }
    if (l->count == LIST)
        compact(l);
    if (l->count == LIST) {
        l->count = -1;
        l->limit = INT32_MAX;
        return;
    }
    l->at[l->count].tile = tile;
    l->at[l->count++].best = best;
}

/* 2 (A + P) / (sx sc), rounded up, for vectors whose norms (see the kernels)
 * are these at most; INT32_MAX when there is no telling. */
static int32_t margin_of(const tsri_coarse_book *b, double scale,
                         const float norm[3])
{
    const double unit = FLT_EPSILON / 2, d = b->d;
    /* The norms are sums of floats: d roundings, plus those of x'. */
    const double room = 1 + (d + 4) * 2 * unit;
    const double own = sqrt((double)norm[0]) * room;
    const double reach = sqrt((double)norm[1]) * room;
    const double most = scale * 0.51 + own * 2 * unit;      /* of an ex */
    const double error = scale * 0.51 * sqrt(d) + own * 2 * unit;
    const double of_x = fmin(error * b->radius, most * b->sum);
    const double of_c = fmin((own + error) * b->error,
                             ((double)norm[2] * room + d * most) *
                                 b->scale * 0.51);
    /* The last term: norm, factor and product are floats below LIMIT^2. */
    const double last = scale * b->scale * (4 * unit * LIMIT * LIMIT + 1);
    const double plain = (d + 3) * unit * 1.01 *
                         (b->reach * b->reach / 2 + b->reach * reach) +
                         (d + 3) * 1e-44;
    const double margin =
        2 * (of_x + of_c + last + plain) / (scale * b->scale) + 2;
    return margin < 1 << 30 ? (int32_t)margin : INT32_MAX;
}

/* Up to six vectors, which share scale and margin.  |xq| <= LIMIT and a little
 * (rounding), |cq| likewise, and sx >= sc / 2 keeps the norms' term below
 * LIMIT^2: a fits in 32 bits. */
static void quantise_six(const tsri_coarse_kernels *kernels,
                         const tsri_coarse_book *b, tsri_coarse_work *w,
                         int six, const float *x, int n)
{
    tsri_coarse_list *list = w->list + six * ROWS;
    int16_t *to = w->x + (size_t)six * (size_t)b->pairs * ROWS * 2;
    float largest[3] = { 0 };
    bool fits[ROWS] = { false };

    for (int r = 0; r < n; r++) {
        float norm[3];
        kernels->norms(x + (size_t)r * (size_t)b->d, b->mean, b->d, norm);
        /* Written so that a NaN fails. */
        fits[r] = norm[0] <= max_norm * max_norm &&
                  norm[1] <= max_norm * max_norm;
        for (int i = 0; fits[r] && i < 3; i++)
            largest[i] = norm[i] > largest[i] ? norm[i] : largest[i];
    }
    const double scale = fmax(sqrt((double)largest[0]) * (1 + 1e-3) / LIMIT,
                              b->scale * 0.5);
    const int32_t margin = margin_of(b, scale, largest);
    w->factor[six] = (float)(0.5 / (scale * b->scale));
    for (int r = 0; r < ROWS; r++) {
        tsri_coarse_list *l = list + r;
        const bool use = fits[r] && margin < INT32_MAX;
        l->best = INT32_MIN;
        l->margin = margin;
        l->limit = use ? INT32_MIN : INT32_MAX;
        l->count = use ? 0 : -1;
        if (use)
            kernels->quantise(x + (size_t)r * (size_t)b->d, b->mean, b->d,
                              (float)(1 / scale), to + 2 * r);
    }
}

/* The float search in the tiles that are left. */
static int32_t finish(const tsri_coarse_kernels *kernels,
                      const tsri_coarse_book *b, const tsri_nearest_book *book,
                      tsri_coarse_list *l, const float *x)
{
    float score = INFINITY;
    int32_t code = 0;

    compact(l);
    for (int i = 0; i < l->count; i++) {
        const int first = l->at[i].tile * b->tile;
        kernels->panels(book, first, tsri_min(first + b->tile, b->panels), x,
                        &score, &code);
    }
    return code;
}

static void search_full(const tsri_nearest_book *book, tsri_nearest_fn full,
                        float *scratch, const float *x, const int *which,
                        int n, int32_t *code)
{
    int32_t found[BLOCK];

    memset(scratch, 0, (size_t)book->d * BLOCK * sizeof *scratch);
    for (int v = 0; v < n; v++)
        for (int j = 0; j < book->d; j++)
            scratch[j * BLOCK + v] =
                x[(size_t)which[v] * (size_t)book->d + (size_t)j];
    full(book, scratch, found);
    for (int v = 0; v < n; v++)
        code[which[v]] = found[v];
}

/* The pass of vectors in sixes first..last-1. */
static void pass(const tsri_coarse_kernels *kernels, const tsri_coarse_book *b,
                 tsri_coarse_work *w, int first, int last)
{
    const int tiles = tsri_ceil_div(b->panels, b->tile);
    for (int t = 0; t < tiles; t++)
        for (int s = first; s < last; s++)
            kernels->tile(b, t, w->x + (size_t)s * (size_t)b->pairs * ROWS * 2,
                          w->factor[s], w->list + s * ROWS);
}

/* Tries a few vectors; where the pass decides little, it is left out for the
 * others. */
static void pass_all(const tsri_coarse_kernels *kernels,
                     const tsri_coarse_book *b, tsri_coarse_work *w, int n)
{
    const int sixes = tsri_ceil_div(n, ROWS), few = tsri_min(sixes, TRIED);
    const int tried = tsri_min(n, few * ROWS);
    int failed = 0;

    pass(kernels, b, w, 0, few);
    for (int v = 0; v < tried; v++)
        failed += w->list[v].count < 0;
    if (2 * failed <= tried)
        pass(kernels, b, w, few, sixes);
    else
        for (int v = tried; v < n; v++)
            w->list[v].count = -1;
}

void tsri_coarse_search(const tsri_coarse_kernels *kernels,
                        const tsri_coarse_book *b,
                        const tsri_nearest_book *book, tsri_nearest_fn full,
                        tsri_coarse_work *w, const float *x, int n,
                        int32_t *code)
{
    const int sixes = tsri_ceil_div(n, ROWS);
    int which[BLOCK], waiting = 0;

    for (int s = 0; s < sixes; s++)
        quantise_six(kernels, b, w, s, x + (size_t)(s * ROWS) * (size_t)b->d,
                     tsri_min(ROWS, n - s * ROWS));
    pass_all(kernels, b, w, n);
    for (int v = 0; v < n; v++) {
        if (w->list[v].count >= 0)
            code[v] = finish(kernels, b, book, w->list + v,
                             x + (size_t)v * (size_t)b->d);
        else
            which[waiting++] = v;
        if (waiting == BLOCK || (waiting && v == n - 1)) {
            search_full(book, full, w->full, x, which, waiting, code);
            waiting = 0;
        }
    }
}
