/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "vq/scalar.h"

enum { MAX_LEVELS = TSRI_LEVELS_MAX, ROUNDS = 200, MAX_SAMPLES = 1 << 30 };

static const float max_value = 1e15f;

typedef struct sample { float x, weight; uint32_t number; } sample;

/* Different values in rising order, with sums of what lies before: the weight
 * and moments of values a..b-1 are differences. */
typedef struct run {
    float *x;                           /* [n] */
    double *weight, *first, *second;    /* [n + 1] */
    size_t n;
} run;

static int by_value(const void *a, const void *b)
{
    const sample *p = a, *q = b;
    if (p->x != q->x)
        return p->x < q->x ? -1 : 1;
    return p->number < q->number ? -1 : p->number > q->number;
}

static tsr_error take_samples(tsr_context *ctx, sample *s, const float *x,
                              const float *weights, size_t n, size_t *kept)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const float w = weights ? weights[i] : 1;
        /* Written so that a NaN fails. */
        if (!(fabsf(x[i]) <= max_value) || !(w >= 0 && w <= max_value))
            return tsri_fail(ctx, TSR_E_ARG, "levels: sample %zu or its weight "
                             "is out of range", i);
        if (w > 0)      /* + 0 makes -0 a 0 */
            s[k++] = (sample){ x[i] + 0, w, (uint32_t)i };
    }
    if (!k)
        return tsri_fail(ctx, TSR_E_ARG, "levels: all weights are 0");
    qsort(s, k, sizeof *s, by_value);
    *kept = k;
    return TSR_OK;
}

static void fill(run *r, const sample *s, size_t n)
{
    r->n = 0;
    r->weight[0] = r->first[0] = r->second[0] = 0;
    for (size_t i = 0; i < n; r->n++) {
        double weight = 0;
        const double x = (double)s[i].x;
        r->x[r->n] = s[i].x;
        for (; i < n && s[i].x == r->x[r->n]; i++)
            weight += (double)s[i].weight;
        r->weight[r->n + 1] = r->weight[r->n] + weight;
        r->first[r->n + 1] = r->first[r->n] + weight * x;
        r->second[r->n + 1] = r->second[r->n] + weight * x * x;
    }
}

/* The first value that is over `limit`. */
static size_t first_over(const run *r, float limit)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (r->x[mid] > limit)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* The value at which the weight passes (i + 1/2) / count of the whole. */
static size_t quantile(const run *r, int i, int count)
{
    const double at = r->weight[r->n] * (i + 0.5) / count;
    size_t low = 0, high = r->n - 1;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (r->weight[mid + 1] > at)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* The quantiles, each once; returns how many they are. */
static int start(const run *r, int count, float *level)
{
    int made = 0;
    for (int i = 0; i < count; i++) {
        const float x = r->x[quantile(r, i, count)];
        if (!made || x > level[made - 1])
            level[made++] = x;
    }
    return made;
}

/* Means of the cells; returns how many levels there are now, as cells without
 * values and levels that have met are dropped. */
static int move(const run *r, const tsri_levels *now, float *level)
{
    int count = 0;
    size_t from = 0;
    for (int i = 0; i < now->count; i++) {
        const size_t to = first_over(r, now->above[i]);
        if (to > from) {
            const double mean = (r->first[to] - r->first[from]) /
                                (r->weight[to] - r->weight[from]);
            /* Differences of sums may leave the cell by a rounding error. */
            const float within =
                fminf(fmaxf((float)mean, r->x[from]), r->x[to - 1]);
            if (!count || within > level[count - 1])
                level[count++] = within;
        }
        from = to;
    }
    return count;
}

/* One more level, at the far end of the cell of the largest error;
 * false if no cell has two values. */
static bool split(const run *r, const tsri_levels *now, float *level)
{
    double most = -1;
    int which = -1;
    size_t begin = 0, from = 0;

    for (int i = 0; i < now->count; i++) {
        const size_t to = first_over(r, now->above[i]);
        if (to > from + 1) {
            const double w = r->weight[to] - r->weight[from];
            const double sum = r->first[to] - r->first[from];
            const double error =
                r->second[to] - r->second[from] - sum * sum / w;
            if (error > most || which < 0) {
                most = error;
                which = i;
                begin = from;
            }
        }
        from = to;
    }
    if (which < 0)
        return false;
    /* The ends lie on both sides of the level, or one is on it. */
    const size_t end = first_over(r, now->above[which]);
    const bool up = (double)r->x[end - 1] - (double)now->level[which] >
                    (double)now->level[which] - (double)r->x[begin];
    memcpy(level, now->level, (size_t)now->count * sizeof *level);
    memmove(level + which + 1 + up, level + which + up,
            (size_t)(now->count - which - up) * sizeof *level);
    level[which + up] = up ? r->x[end - 1] : r->x[begin];
    return true;
}

static void train(const run *r, int count, tsri_levels *levels)
{
    float level[MAX_LEVELS];

    tsri_levels_set(levels, level, start(r, count, level));
    for (int round = 0; round < ROUNDS; round++) {
        const int now = move(r, levels, level);
        const bool same = now == levels->count &&
                          !memcmp(level, levels->level,
                                  (size_t)now * sizeof *level);
        tsri_levels_set(levels, level, now);
        while (levels->count < count && split(r, levels, level))
            tsri_levels_set(levels, level, levels->count + 1);
        if (same)
            break;
    }
}

tsr_error tsri_levels_train(tsri_levels *levels, tsr_context *ctx,
                            const float *x, const float *weights, size_t n,
                            int count)
{
    run r = { 0 };
    size_t kept = 0;
    tsr_error error = TSR_OK;

    if (n < 1 || n > MAX_SAMPLES || count < 1 || count > MAX_LEVELS)
        return tsri_fail(ctx, TSR_E_ARG, "levels: %d of %zu samples", count, n);
    sample *s = tsri_alloc(ctx, n, sizeof *s);
    r.x = tsri_alloc(ctx, n, sizeof *r.x);
    r.weight = tsri_alloc(ctx, n + 1, sizeof *r.weight);
    r.first = tsri_alloc(ctx, n + 1, sizeof *r.first);
    r.second = tsri_alloc(ctx, n + 1, sizeof *r.second);
    if (s && r.x && r.weight && r.first && r.second)
        error = take_samples(ctx, s, x, weights, n, &kept);
    else
        error = tsri_nomem(ctx);
    if (!error) {
        fill(&r, s, kept);
        train(&r, count, levels);
    }
    tsri_free(ctx, s);
    tsri_free(ctx, r.x);
    tsri_free(ctx, r.weight);
    tsri_free(ctx, r.first);
    tsri_free(ctx, r.second);
    return error;
}
