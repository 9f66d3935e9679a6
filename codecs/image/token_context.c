/* SPDX-License-Identifier: BSD-2-Clause */
/* What the classes of neighbours say about a token's: fitted to pictures, and
 * what it is worth. */
#include <math.h>
#include <string.h>
#include "codecs/image/image_codec.h"
#include "codecs/image/token_book_impl.h"
#include "codecs/image/token_nest.h"
#include "codecs/image/token_units.h"
#include "lib/nn/exp.h"

enum { PASSES = 12, AROUND = TSRI_TOKEN_NEIGHBOURS, OFTEN = 4096 };

/* In natural units; a score of the format is 32 times a binary logarithm. */
static const double SCORES = 32 / 0.69314718055994531;
static const double MOST = 127 / (32 / 0.69314718055994531);
static const double SHRINK = 4, START = 0.35, PRIOR = 2;
/* Five numbers make a score, so the loss is up to five times as curved as along
 * each alone: steps of 2/5 and more go ever farther astray. */
static const double STEP = 0.3;

/* A token's class, and those of its neighbours. */
typedef struct sample {
    uint16_t own, at[AROUND];
} sample;

typedef struct fit {
    tsri_nest *nest;
    int classes;
    sample *samples;
    size_t n;
    size_t weights;             /* 4 * (classes + 1) * classes */
    float *bias, *weight;
    double *seen, *expected;    /* [weights], and [classes] behind it */
} fit;

size_t tsri_nest_tokens(const tsri_nest_grid *grids, size_t n)
{
    size_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (size_t)grids[i].height * (size_t)grids[i].width;
    return sum;
}

/* ---- samples ---- */

/* The cluster that holds a place. */
static int cluster_of(const tsri_nest *nest, int level, int32_t place)
{
    const int32_t *start = nest->start[level];
    int at = 0, n = nest->size[level];

    if (!level)
        return place;
    while (n > 1) {
        const int half = n / 2;
        at = start[at + half] <= place ? at + half : at;
        n -= half;
    }
    return at;
}

static uint16_t class_at(const tsri_nest *nest, const tsri_nest_grid *g, int y,
                         int x)
{
    const int32_t id = g->id[(size_t)y * (size_t)g->width + (size_t)x];

    return (uint16_t)cluster_of(nest, nest->levels - 1, nest->place[id]);
}

static sample sample_at(const tsri_nest *nest, const tsri_nest_grid *g, int y,
                        int x)
{
    const uint16_t none = (uint16_t)nest->size[nest->levels - 1];
    const bool left = x % TSRI_TOKEN_REGION, up = y % TSRI_TOKEN_REGION;
    const bool right = x + 1 < g->width && (x + 1) % TSRI_TOKEN_REGION;

    return (sample){ class_at(nest, g, y, x), {
        left ? class_at(nest, g, y, x - 1) : none,
        up ? class_at(nest, g, y - 1, x) : none,
        up && right ? class_at(nest, g, y - 1, x + 1) : none,
        up && left ? class_at(nest, g, y - 1, x - 1) : none } };
}

static tsr_error take_samples(fit *f, const tsri_nest_grid *grids, size_t n)
{
    size_t at = 0;

    f->n = tsri_nest_tokens(grids, n);
    f->samples = tsri_alloc(f->nest->ctx, f->n, sizeof *f->samples);
    if (!f->samples)
        return tsri_nomem(f->nest->ctx);
    for (size_t i = 0; i < n; i++)
        for (int y = 0; y < grids[i].height; y++)
            for (int x = 0; x < grids[i].width; x++)
                f->samples[at++] = sample_at(f->nest, &grids[i], y, x);
    return TSR_OK;
}

/* ---- fitting ---- */

/* Where the weights of a class of neighbour i begin. */
static size_t row_of(const fit *f, int i, int class)
{
    const size_t c = (size_t)f->classes;

    return ((size_t)i * (c + 1) + (size_t)class) * c;
}

static void count_seen(fit *f)
{
    for (size_t t = 0; t < f->n; t++) {
        const sample *s = &f->samples[t];
        for (int i = 0; i < AROUND; i++)
            f->seen[row_of(f, i, s->at[i]) + s->own]++;
        f->seen[f->weights + s->own]++;
    }
}

/* Shares of the classes, and pointwise mutual information with their
 * neighbours', drawn to 0 where little was seen. */
static void start(fit *f)
{
    const int c = f->classes;

    for (int k = 0; k < c; k++)
        f->bias[k] = (float)log((f->seen[f->weights + (size_t)k] + 1) /
                                ((double)f->n + c));
    for (size_t row = 0; row < f->weights; row += (size_t)c) {
        double all = 0;
        for (int k = 0; k < c; k++)
            all += f->seen[row + (size_t)k];
        for (int k = 0; k < c; k++)
            f->weight[row + (size_t)k] = (float)(
                START * log((f->seen[row + (size_t)k] + SHRINK) /
                            (all * exp((double)f->bias[k]) + SHRINK)));
    }
}

/* The chances of all classes for a sample. */
static void predict(const fit *f, const sample *s, float *restrict p)
{
    const int c = f->classes;
    float best = -INFINITY, sum = 0;

    memcpy(p, f->bias, (size_t)c * sizeof *p);
    for (int i = 0; i < AROUND; i++) {
        const float *restrict w = f->weight + row_of(f, i, s->at[i]);
        for (int k = 0; k < c; k++)
            p[k] += w[k];
    }
    for (int k = 0; k < c; k++)
        best = p[k] > best ? p[k] : best;
    for (int k = 0; k < c; k++)
        p[k] = tsri_exp(p[k] - best);
    for (int k = 0; k < c; k++)
        sum += p[k];
    for (int k = 0; k < c; k++)
        p[k] /= sum;
}

static void expect(fit *f, const sample *s, const float *restrict p)
{
    const int c = f->classes;

    for (int i = 0; i <= AROUND; i++) {
        double *restrict to = f->expected +
                              (i < AROUND ? row_of(f, i, s->at[i]) : f->weights);
        for (int k = 0; k < c; k++)
            to[k] += (double)p[k];
    }
}

static void improve(fit *f)
{
    for (size_t i = 0; i < f->weights + (size_t)f->classes; i++) {
        const bool prior = i < f->weights;
        float *w = prior ? &f->weight[i] : &f->bias[i - f->weights];
        const double pull = prior ? PRIOR : 0;
        const double next = (double)*w +
            STEP * (f->seen[i] - f->expected[i] - pull * (double)*w) /
            (f->expected[i] + pull + 1);
        *w = (float)(prior ? fmin(fmax(next, -MOST), MOST) : next);
    }
}

static tsr_error run_pass(fit *f, int pass, const tsr_progress *progress)
{
    float p[TSRI_TOKEN_CLASSES];

    memset(f->expected, 0,
           (f->weights + (size_t)f->classes) * sizeof *f->expected);
    for (size_t t = 0; t < f->n; t++) {
        if (t % OFTEN == 0)
            TSR_TRY(tsri_report(progress, (pass + (double)t / (double)f->n) /
                                              PASSES));
        predict(f, &f->samples[t], p);
        expect(f, &f->samples[t], p);
    }
    improve(f);
    return TSR_OK;
}

/* To whole numbers; the likeliest class has the bias 0. */
static tsr_error settle(fit *f)
{
    tsri_nest *nest = f->nest;
    float best = -INFINITY;

    nest->bias = tsri_alloc(nest->ctx, (size_t)f->classes, sizeof *nest->bias);
    nest->context = tsri_alloc(nest->ctx, f->weights, sizeof *nest->context);
    if (!nest->bias || !nest->context)
        return tsri_nomem(nest->ctx);
    for (int k = 0; k < f->classes; k++)
        best = f->bias[k] > best ? f->bias[k] : best;
    for (int k = 0; k < f->classes; k++)
        nest->bias[k] = (int16_t)fmax(
            INT16_MIN, floor((double)(f->bias[k] - best) * SCORES + 0.5));
    for (size_t i = 0; i < f->weights; i++)
        nest->context[i] = (int8_t)floor((double)f->weight[i] * SCORES + 0.5);
    return TSR_OK;
}

static tsr_error run_fit(fit *f, const tsri_nest_grid *grids, size_t n,
                         const tsr_progress *progress)
{
    const size_t all = f->weights + (size_t)f->classes;
    tsr_context *ctx = f->nest->ctx;

    TSR_TRY(take_samples(f, grids, n));
    f->bias = tsri_alloc(ctx, (size_t)f->classes, sizeof *f->bias);
    f->weight = tsri_alloc(ctx, f->weights, sizeof *f->weight);
    f->seen = tsri_calloc(ctx, all, sizeof *f->seen);
    f->expected = tsri_alloc(ctx, all, sizeof *f->expected);
    if (!f->bias || !f->weight || !f->seen || !f->expected)
        return tsri_nomem(ctx);
    count_seen(f);
    start(f);
    for (int pass = 0; pass < PASSES; pass++)
        TSR_TRY(run_pass(f, pass, progress));
    return settle(f);
}

tsr_error tsri_nest_context(tsri_nest *nest, const tsri_nest_grid *grids,
                            size_t n, const tsr_progress *progress)
{
    const int classes = nest->size[nest->levels - 1];
    fit f = { .nest = nest, .classes = classes };
    tsr_error error;

    if (nest->levels < 2 || classes > TSRI_TOKEN_CLASSES ||
        !tsri_nest_tokens(grids, n))
        return TSR_OK;
    f.weights = AROUND * ((size_t)classes + 1) * (size_t)classes;
    error = run_fit(&f, grids, n, progress);
    tsri_free(nest->ctx, f.samples);
    tsri_free(nest->ctx, f.bias);
    tsri_free(nest->ctx, f.weight);
    tsri_free(nest->ctx, f.seen);
    tsri_free(nest->ctx, f.expected);
    return error;
}

/* ---- what it is worth ---- */

/* below: [codes + 1] sums of weights in tree order. */
typedef struct price {
    const tsri_nest *nest;
    uint32_t *below;
    uint16_t chance[TSRI_TOKEN_WEIGHTS + 1];
} price;

static uint32_t weight_of(const price *p, int level, int cluster)
{
    const tsri_nest *nest = p->nest;
    const int32_t *start = nest->start[level];

    if (!level)
        return p->below[cluster + 1] - p->below[cluster];
    return p->below[cluster + 1 < nest->size[level] ? start[cluster + 1]
                                                    : nest->codes] -
           p->below[start[cluster]];
}

/* Bits of the class by its neighbours'. */
static double class_bits(const price *p, const sample *s)
{
    const tsri_nest *nest = p->nest;
    const int c = nest->size[nest->levels - 1];
    int32_t score[TSRI_TOKEN_CLASSES], best = INT32_MIN;
    uint32_t sum = 0, own = 0;

    for (int k = 0; k < c; k++) {
        score[k] = nest->bias[k];
        for (int i = 0; i < AROUND; i++)
            score[k] += nest->context[(i * (c + 1) + s->at[i]) * c + k];
        best = tsri_max(best, score[k]);
    }
    for (int k = 0; k < c; k++) {
        const uint32_t g =
            p->chance[tsri_min(best - score[k], TSRI_TOKEN_WEIGHTS)];
        sum += g;
        own = k == s->own ? g : own;
    }
    return log2((double)sum / own);
}

/* Sums over a picture: by the weights of all levels, and of the classes by the
 * context. */
static void price_grid(const price *p, const tsri_nest_grid *g, double *bits,
                       double *classes)
{
    const tsri_nest *nest = p->nest;

    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++) {
            const size_t at = (size_t)y * (size_t)g->width + (size_t)x;
            const int32_t place = nest->place[g->id[at]];
            for (int j = 0; j < nest->levels; j++)
                bits[j] += TSRI_TOKEN_BITS -
                           log2(weight_of(p, j, cluster_of(nest, j, place)));
            if (nest->context) {
                const sample s = sample_at(nest, g, y, x);
                *classes += class_bits(p, &s);
            }
        }
}

static tsr_error open_price(price *p)
{
    const tsri_nest *nest = p->nest;
    uint32_t *below = tsri_calloc(nest->ctx, (size_t)nest->codes + 1,
                                  sizeof *below);

    p->below = below;
    if (!below)
        return tsri_nomem(nest->ctx);
    for (int i = 0; i < nest->codes; i++)
        below[nest->place[i] + 1] = (uint32_t)nest->weight[i];
    for (int i = 0; i < nest->codes; i++)
        below[i + 1] += below[i];
    tsri_token_chances(p->chance);
    return TSR_OK;
}

tsr_error tsri_nest_price(const tsri_nest *nest, const tsri_nest_grid *grids,
                          size_t n, double *by_weight, double *by_context)
{
    const double tokens = (double)tsri_nest_tokens(grids, n);
    const int top = nest->levels - 1;
    price p = { .nest = nest };
    double classes = 0;

    memset(by_weight, 0, (size_t)nest->levels * sizeof *by_weight);
    TSR_TRY(open_price(&p));
    for (size_t i = 0; i < n; i++)
        price_grid(&p, &grids[i], by_weight, &classes);
    tsri_free(nest->ctx, p.below);
    /* a class by its context, the rest by its weight among its class */
    for (int j = 0; j <= top; j++)
        by_context[j] = nest->context
            ? (by_weight[j] - by_weight[top] + classes) / tokens : 0;
    for (int j = 0; j <= top; j++)
        by_weight[j] /= tokens;
    return TSR_OK;
}
