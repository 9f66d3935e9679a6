/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "lib/pool.h"
#include "vq/kmeans.h"

enum { CHUNK = 16, MAX_ITERATIONS = 1000000 };

/* Squares of larger values could overflow in the search. */
static const float max_value = 1e15f;

void tsr_kmeans_settings_init(tsr_kmeans_settings *settings)
{
    *settings = (tsr_kmeans_settings){
        .size = sizeof *settings,
        .seed = 1,
        .iterations = 50,
        .tolerance = 1e-4,
    };
}

static tsr_error check_settings(tsr_context *ctx, const tsr_kmeans_settings *s)
{
    if (s->start < TSR_KMEANS_PLUSPLUS || s->start > TSR_KMEANS_GIVEN)
        return tsri_fail(ctx, TSR_E_ARG, "k-means: unknown start");
    if (s->iterations < 0 || s->iterations > MAX_ITERATIONS)
        return tsri_fail(ctx, TSR_E_ARG, "k-means: %d iterations; 0 to %d",
                         s->iterations, MAX_ITERATIONS);
    if (!(s->tolerance >= 0 && s->tolerance <= 1))
        return tsri_fail(ctx, TSR_E_ARG, "k-means: tolerance outside 0..1");
    if (s->batch < 0 || s->batch > TSR_VQ_MAX_VECTORS)
        return tsri_fail(ctx, TSR_E_ARG, "k-means: mini-batch of %d; 0 to %d",
                         s->batch, TSR_VQ_MAX_VECTORS);
    return TSR_OK;
}

/* As in tsr_context_open(): an older, shorter struct keeps the defaults. */
static tsr_error take_settings(tsr_context *ctx, tsr_kmeans_settings *own,
                               const tsr_kmeans_settings *theirs)
{
    tsr_kmeans_settings_init(own);
    if (!theirs)
        return TSR_OK;
    if (theirs->size < offsetof(tsr_kmeans_settings, weights))
        return tsri_fail(ctx, TSR_E_ARG, "k-means: settings of no known size");
    memcpy(own, theirs,
           theirs->size < sizeof *own ? theirs->size : sizeof *own);
    return check_settings(ctx, own);
}

static tsr_error check_values(tsr_context *ctx, const char *what,
                              const float *x, size_t rows, int dim)
{
    for (size_t i = 0; i < rows * (size_t)dim; i++)
        if (!(fabsf(x[i]) <= max_value))
            return tsri_fail(ctx, TSR_E_ARG, "k-means: %s %zu has a value that "
                             "is not finite or over 1e15", what,
                             i / (size_t)dim);
    return TSR_OK;
}

static tsr_error check_weights(tsr_context *ctx, const float *weight, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(weight[i] >= 0 && weight[i] <= max_value))
            return tsri_fail(ctx, TSR_E_ARG, "k-means: weight %zu is not in "
                             "0..1e15", i);
        sum += (double)weight[i];
    }
    if (!(sum > 0))
        return tsri_fail(ctx, TSR_E_ARG, "k-means: all weights are 0");
    return TSR_OK;
}

static tsr_error check_all(const tsri_kmeans *km)
{
    TSR_TRY(tsri_rows_check(km->ctx, km->n, km->dim, km->k));
    if (km->n < (size_t)km->k)
        return tsri_fail(km->ctx, TSR_E_ARG, "k-means: %d codewords from %zu "
                         "vectors", km->k, km->n);
    TSR_TRY(check_values(km->ctx, "vector", km->x, km->n, km->dim));
    if (km->set.start == TSR_KMEANS_GIVEN)
        TSR_TRY(check_values(km->ctx, "codeword", km->words, (size_t)km->k,
                             km->dim));
    return km->set.weights ? check_weights(km->ctx, km->set.weights, km->n)
                           : TSR_OK;
}

static void release(tsri_kmeans *km, const int32_t *theirs)
{
    tsri_free(km->ctx, km->next);
    if (km->codes != theirs)
        tsri_free(km->ctx, km->codes);
    tsri_free(km->ctx, km->order);
    tsri_free(km->ctx, km->dist);
    tsri_free(km->ctx, km->first);
    tsri_free(km->ctx, km->weight);
    tsri_free(km->ctx, km->error);
    tsri_free(km->ctx, km->sum);
}

static tsr_error acquire(tsri_kmeans *km, int32_t *theirs)
{
    tsr_context *ctx = km->ctx;
    const size_t k = (size_t)km->k, dim = (size_t)km->dim;

    km->next = tsri_alloc(ctx, k * dim, sizeof *km->next);
    km->codes = theirs ? theirs : tsri_alloc(ctx, km->n, sizeof *km->codes);
    km->order = tsri_alloc(ctx, km->n, sizeof *km->order);
    km->dist = tsri_alloc(ctx, km->n, sizeof *km->dist);
    km->first = tsri_alloc(ctx, k + 1, sizeof *km->first);
    km->weight = tsri_alloc(ctx, k, sizeof *km->weight);
    km->error = tsri_alloc(ctx, k, sizeof *km->error);
    km->sum = tsri_alloc(ctx, (size_t)tsri_pool_threads(ctx->pool) * dim,
                         sizeof *km->sum);
    if (km->next && km->codes && km->order && km->dist && km->first &&
        km->weight && km->error && km->sum)
        return TSR_OK;
    return tsri_nomem(ctx);
}

/* Vectors by code (a counting sort, stable), so that each codeword's sums have
 * one order whatever thread makes them. */
static void group(tsri_kmeans *km, const int32_t *codes, size_t n)
{
    size_t *first = km->first, at = 0;
    memset(first, 0, ((size_t)km->k + 1) * sizeof *first);
    for (size_t i = 0; i < n; i++)
        first[codes[i]]++;
    for (int c = 0; c <= km->k; c++) {
        const size_t count = first[c];
        first[c] = at;
        at += count;
    }
    for (size_t i = 0; i < n; i++)
        km->order[first[codes[i]]++] = (int32_t)i;
    memmove(first + 1, first, (size_t)km->k * sizeof *first);
    first[0] = 0;
}

/* Weight, error and mean of the vectors of codeword c. */
static void measure(tsri_kmeans *km, int c, double *sum)
{
    const size_t dim = (size_t)km->dim;
    const float *word = km->words + (size_t)c * dim;
    double weight = 0, error = 0;

    memset(sum, 0, dim * sizeof *sum);
    for (size_t o = km->first[c]; o < km->first[c + 1]; o++) {
        const size_t i = (size_t)km->order[o];
        const float *x = km->x + i * dim;
        const double w = (double)tsri_kmeans_weight(km, i);
        double dist = 0;
        for (size_t j = 0; j < dim; j++) {
            const double diff = (double)x[j] - (double)word[j];
            dist += diff * diff;
            sum[j] += w * (double)x[j];
        }
        km->dist[i] = (float)(w * dist);
        weight += w;
        error += w * dist;
    }
    km->weight[c] = weight;
    km->error[c] = error;
    for (size_t j = 0; j < dim; j++)
        km->next[(size_t)c * dim + j] =
            weight > 0 ? (float)(sum[j] / weight) : word[j];
}

static tsr_error measure_chunk(void *cookie, int chunk, int worker)
{
    tsri_kmeans *km = cookie;
    const int end = tsri_min(km->k, (chunk + 1) * CHUNK);
    for (int c = chunk * CHUNK; c < end; c++)
        measure(km, c, km->sum + (size_t)worker * (size_t)km->dim);
    return TSR_OK;
}

/* Codes of all vectors, and what follows from them. */
static tsr_error assign(tsri_kmeans *km, double *inertia)
{
    TSR_TRY(tsr_codebook_nearest(km->ctx, km->words, km->k, km->dim, km->x,
                                 km->n, km->codes));
    group(km, km->codes, km->n);
    TSR_TRY(tsri_pool_for(km->ctx->pool, tsri_ceil_div(km->k, CHUNK),
                          measure_chunk, km));
    *inertia = 0;
    for (int c = 0; c < km->k; c++)
        *inertia += km->error[c];
    return TSR_OK;
}

static int count_empty(const tsri_kmeans *km)
{
    int empty = 0;
    for (int c = 0; c < km->k; c++)
        empty += !(km->weight[c] > 0);
    return empty;
}

typedef struct cluster { double error; int c; } cluster;

static int by_error(const void *a, const void *b)
{
    const cluster *x = a, *y = b;
    if (x->error != y->error)
        return x->error < y->error ? 1 : -1;
    return x->c < y->c ? -1 : x->c > y->c;
}

/* The vector of codeword c with the largest error, which is then taken; -1 if
 * none has any. */
static int64_t take_farthest(tsri_kmeans *km, int c)
{
    int64_t at = -1;
    float most = 0;
    for (size_t o = km->first[c]; o < km->first[c + 1]; o++)
        if (km->dist[km->order[o]] > most) {
            at = km->order[o];
            most = km->dist[at];
        }
    if (at >= 0)
        km->dist[at] = 0;
    return at;
}

/* Gives the empty codewords of `words` places; see tsr_kmeans(). */
static tsr_error repair(tsri_kmeans *km, float *words)
{
    const size_t dim = (size_t)km->dim;
    int full = 0, misses = 0, at = 0;
    cluster *list;

    if (count_empty(km) == 0)
        return TSR_OK;
    list = tsri_alloc(km->ctx, (size_t)km->k, sizeof *list);
    if (!list)
        return tsri_nomem(km->ctx);
    for (int c = 0; c < km->k; c++)
        if (km->error[c] > 0)
            list[full++] = (cluster){ km->error[c], c };
    qsort(list, (size_t)full, sizeof *list, by_error);
    for (int c = 0; c < km->k && misses < full; c++) {
        int64_t i = -1;
        if (km->weight[c] > 0)
            continue;
        for (misses = 0; i < 0 && misses < full; at = (at + 1) % full) {
            i = take_farthest(km, list[at].c);
            misses += i < 0;
        }
        if (i < 0)
            break;
        memcpy(words + (size_t)c * dim, km->x + (size_t)i * dim,
               dim * sizeof *words);
        km->repaired++;
    }
    tsri_free(km->ctx, list);
    return TSR_OK;
}

static tsr_error report(const tsri_kmeans *km, int done)
{
    const tsr_progress *p = &km->set.progress;
    if (p->report && p->report(p->cookie, (double)done / km->set.iterations))
        return TSR_E_CANCELED;
    return TSR_OK;
}

static tsr_error lloyd(tsri_kmeans *km, tsr_kmeans_result *r)
{
    const size_t bytes = (size_t)km->k * (size_t)km->dim * sizeof *km->words;
    float *before = tsri_alloc(km->ctx, 1, bytes);
    tsr_error error = before ? assign(km, &r->inertia) : tsri_nomem(km->ctx);

    while (!error && !r->converged && r->iterations < km->set.iterations) {
        const double was = r->inertia;
        error = repair(km, km->next);
        if (error)
            break;
        memcpy(before, km->words, bytes);
        memcpy(km->words, km->next, bytes);
        error = assign(km, &r->inertia);
        if (error)
            break;
        r->iterations++;
        r->converged = !(r->inertia < was - km->set.tolerance * was);
        if (r->inertia > was) {
            memcpy(km->words, before, bytes);
            error = assign(km, &r->inertia);
        }
        if (!error)
            error = report(km, r->iterations);
    }
    tsri_free(km->ctx, before);
    return error;
}

/* Moves codeword c to the mean of what it had, `count`, and the vectors of
 * the batch. */
static void move(tsri_kmeans *km, int c, const int32_t *pick, double *sum)
{
    const size_t dim = (size_t)km->dim;
    float *word = km->words + (size_t)c * dim;
    double added = 0;

    memset(sum, 0, dim * sizeof *sum);
    for (size_t o = km->first[c]; o < km->first[c + 1]; o++) {
        const size_t i = (size_t)pick[km->order[o]];
        const double w = (double)tsri_kmeans_weight(km, i);
        for (size_t j = 0; j < dim; j++)
            sum[j] += w * ((double)km->x[i * dim + j] - (double)word[j]);
        added += w;
    }
    if (!(added > 0))
        return;
    km->weight[c] += added;
    for (size_t j = 0; j < dim; j++)
        word[j] = (float)((double)word[j] + sum[j] / km->weight[c]);
}

typedef struct batch {
    tsri_kmeans *km;
    int32_t *pick;      /* [batch]: numbers of vectors */
    int32_t *codes;     /* [batch] */
    float *x;           /* [batch][dim] */
} batch;

static tsr_error move_chunk(void *cookie, int chunk, int worker)
{
    const batch *b = cookie;
    tsri_kmeans *km = b->km;
    const int end = tsri_min(km->k, (chunk + 1) * CHUNK);
    for (int c = chunk * CHUNK; c < end; c++)
        move(km, c, b->pick, km->sum + (size_t)worker * (size_t)km->dim);
    return TSR_OK;
}

static tsr_error one_batch(const batch *b)
{
    tsri_kmeans *km = b->km;
    const size_t size = (size_t)km->set.batch, dim = (size_t)km->dim;

    for (size_t i = 0; i < size; i++) {
        b->pick[i] = (int32_t)tsri_random_below(&km->random, km->n);
        memcpy(b->x + i * dim, km->x + (size_t)b->pick[i] * dim,
               dim * sizeof *b->x);
    }
    TSR_TRY(tsr_codebook_nearest(km->ctx, km->words, km->k, km->dim, b->x, size,
                                 b->codes));
    group(km, b->codes, size);
    return tsri_pool_for(km->ctx->pool, tsri_ceil_div(km->k, CHUNK),
                         move_chunk, (void *)(uintptr_t)b);
}

static tsr_error run_batches(const batch *b, tsr_kmeans_result *r)
{
    tsri_kmeans *km = b->km;
    memset(km->weight, 0, (size_t)km->k * sizeof *km->weight);
    for (; r->iterations < km->set.iterations; r->iterations++) {
        TSR_TRY(one_batch(b));
        TSR_TRY(report(km, r->iterations + 1));
    }
    TSR_TRY(assign(km, &r->inertia));
    if (km->set.iterations == 0 || count_empty(km) == 0)
        return TSR_OK;
    TSR_TRY(repair(km, km->words));
    return assign(km, &r->inertia);
}

static tsr_error mini_batch(tsri_kmeans *km, tsr_kmeans_result *r)
{
    batch b = { .km = km };
    const size_t size = (size_t)km->set.batch;
    tsr_error error;

    b.pick = tsri_alloc(km->ctx, size, sizeof *b.pick);
    b.codes = tsri_alloc(km->ctx, size, sizeof *b.codes);
    b.x = tsri_alloc(km->ctx, size * (size_t)km->dim, sizeof *b.x);
    error = b.pick && b.codes && b.x ? run_batches(&b, r) : tsri_nomem(km->ctx);
    tsri_free(km->ctx, b.pick);
    tsri_free(km->ctx, b.codes);
    tsri_free(km->ctx, b.x);
    return error;
}

tsr_error tsr_kmeans(tsr_context *ctx, const tsr_kmeans_settings *settings,
                     const float *x, size_t n, int dim, int k, float *codewords,
                     int32_t *codes, tsr_kmeans_result *result)
{
    tsri_kmeans km = { .ctx = ctx, .x = x, .n = n, .dim = dim, .k = k,
                       .words = codewords };
    tsr_kmeans_result r = { 0 };
    tsr_error error;

    TSR_TRY(take_settings(ctx, &km.set, settings));
    TSR_TRY(check_all(&km));
    km.random.state = km.set.seed;
    if ((size_t)km.set.batch > n)
        km.set.batch = (int)n;
    error = acquire(&km, codes);
    if (!error)
        error = tsri_kmeans_seed(&km);
    if (!error)
        error = km.set.batch ? mini_batch(&km, &r) : lloyd(&km, &r);
    r.repaired = km.repaired;
    if (!error)
        r.empty = count_empty(&km);
    release(&km, codes);
    if (!error && result)
        *result = r;
    return error;
}
