/* SPDX-License-Identifier: BSD-2-Clause */
#include <float.h>
#include <string.h>
#include "lib/pool.h"
#include "vq/kmeans.h"

enum { BLOCK = 1024, LANES = 8 };

/* One round of k-means++. */
typedef struct draw {
    tsri_kmeans *km;
    const float *word;  /* drawn last; NULL before the first */
    double *total;      /* [blocks]: sums of weight times dist */
} draw;

/* The lanes fix the order of the additions, and a compiler can use them. */
static float distance(const float *a, const float *b, int dim)
{
    float sum[LANES] = { 0 }, total = 0;
    int j = 0;
    for (; j + LANES <= dim; j += LANES)
        for (int l = 0; l < LANES; l++) {
            const float diff = a[j + l] - b[j + l];
            sum[l] += diff * diff;
        }
    for (; j < dim; j++)
        total += (a[j] - b[j]) * (a[j] - b[j]);
    for (int l = 0; l < LANES; l++)
        total += sum[l];
    return total;
}

/* Distances to the nearest word so far, and their sum in this block. */
static tsr_error update_block(void *cookie, int block, int worker)
{
    const draw *d = cookie;
    const tsri_kmeans *km = d->km;
    const size_t from = (size_t)block * BLOCK;
    const size_t to = from + BLOCK < km->n ? from + BLOCK : km->n;
    double total = 0;

    (void)worker;
    for (size_t i = from; i < to; i++) {
        if (d->word) {
            const float now =
                distance(km->x + i * (size_t)km->dim, d->word, km->dim);
            if (now < km->dist[i])
                km->dist[i] = now;
        }
        total += (double)tsri_kmeans_weight(km, i) *
                 (d->word ? (double)km->dist[i] : 1);
    }
    d->total[block] = total;
    return TSR_OK;
}

/* The vector at which the running sum passes `at`; the last one that counts
 * if rounding lets it pass none. */
static size_t find(const draw *d, int blocks, double at)
{
    const tsri_kmeans *km = d->km;
    int block = 0;
    size_t found = 0;

    for (; block < blocks - 1 && at >= d->total[block]; block++)
        at -= d->total[block];
    /* The blocks at the end may hold nothing but zeros. */
    while (block > 0 && d->total[block] <= 0)
        block--;
    for (size_t i = (size_t)block * BLOCK;
         i < km->n && i < ((size_t)block + 1) * BLOCK && at >= 0; i++) {
        const double part = (double)tsri_kmeans_weight(km, i) *
                            (d->word ? (double)km->dist[i] : 1);
        if (part > 0) {
            found = i;
            at -= part;
            if (at < 0)
                break;
        }
    }
    return found;
}

static tsr_error draw_word(draw *d, int c)
{
    tsri_kmeans *km = d->km;
    const int blocks = tsri_ceil_div((int)km->n, BLOCK);
    const double uniform = (double)(tsri_random_u64(&km->random) >> 11) *
                           0x1p-53;
    double total = 0;
    size_t i = (size_t)c;

    TSR_TRY(tsri_pool_for(km->ctx->pool, blocks, update_block, d));
    for (int b = 0; b < blocks; b++)
        total += d->total[b];
    /* No distance left: the rest are copies, whichever vectors they are. */
    if (total > 0)
        i = find(d, blocks, uniform * total);
    d->word = km->words + (size_t)c * (size_t)km->dim;
    memcpy(km->words + (size_t)c * (size_t)km->dim,
           km->x + i * (size_t)km->dim, (size_t)km->dim * sizeof *km->words);
    return TSR_OK;
}

static tsr_error plusplus(tsri_kmeans *km)
{
    draw d = { .km = km };
    tsr_error error = TSR_OK;
    const int blocks = tsri_ceil_div((int)km->n, BLOCK);

    d.total = tsri_alloc(km->ctx, (size_t)blocks, sizeof *d.total);
    if (!d.total)
        return tsri_nomem(km->ctx);
    for (size_t i = 0; i < km->n; i++)
        km->dist[i] = FLT_MAX;
    for (int c = 0; c < km->k && !error; c++) {
        error = draw_word(&d, c);
        if (!error && km->set.progress.report &&
            km->set.progress.report(km->set.progress.cookie, 0))
            error = TSR_E_CANCELED;
    }
    tsri_free(km->ctx, d.total);
    return error;
}

/* The first k of a shuffle (Fisher and Yates). */
static void uniform(tsri_kmeans *km)
{
    for (size_t i = 0; i < km->n; i++)
        km->codes[i] = (int32_t)i;
    for (size_t c = 0; c < (size_t)km->k; c++) {
        const size_t at = c + tsri_random_below(&km->random, km->n - c);
        const int32_t taken = km->codes[at];
        km->codes[at] = km->codes[c];
        km->codes[c] = taken;
        memcpy(km->words + c * (size_t)km->dim,
               km->x + (size_t)taken * (size_t)km->dim,
               (size_t)km->dim * sizeof *km->words);
    }
}

tsr_error tsri_kmeans_seed(tsri_kmeans *km)
{
    if (km->set.start == TSR_KMEANS_PLUSPLUS)
        return plusplus(km);
    if (km->set.start == TSR_KMEANS_RANDOM)
        uniform(km);
    return TSR_OK;
}
