/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights from counts; codebooks nested in each other; tree order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/vq.h>
#include "codecs/image/token_nest.h"

enum { ITERATIONS = 20, LEAST_EXPONENT = -6, MOST_EXPONENT = 4 };

void tsri_nest_close(tsri_nest *nest)
{
    tsri_free(nest->ctx, nest->weight);
    tsri_free(nest->ctx, nest->place);
    for (int j = 0; j < TSRI_TOKEN_LEVELS; j++) {
        tsri_free(nest->ctx, nest->start[j]);
        tsri_free(nest->ctx, nest->centre[j]);
    }
    tsri_free(nest->ctx, nest->bias);
    tsri_free(nest->ctx, nest->context);
    *nest = (tsri_nest){ .ctx = nest->ctx };
}

/* ---- weights ---- */

/* The log likelihood of all tokens with `more` added to each count, each token
 * left out of its own. */
static double likelihood(const uint64_t *counts, int codes, double total,
                         double more)
{
    const double rest = total - 1 + more * codes;
    double sum = 0;

    for (int i = 0; i < codes; i++)
        if (counts[i])
            sum += (double)counts[i] *
                   log(((double)counts[i] - 1 + more) / rest);
    return sum;
}

static double likeliest(const uint64_t *counts, int codes, double total)
{
    double best = 1, most = -INFINITY;

    for (int e = LEAST_EXPONENT; e <= MOST_EXPONENT; e++) {
        const double more = ldexp(1, e);
        const double value = likelihood(counts, codes, total, more);
        best = value > most ? more : best;
        most = fmax(most, value);
    }
    return best;
}

/* weight = scale times count, at least 1; the sum. */
static uint64_t scaled(const uint64_t *counts, int codes, double more,
                       double scale, int32_t *weight)
{
    uint64_t sum = 0;

    for (int i = 0; i < codes; i++) {
        weight[i] = (int32_t)fmax(1, floor(scale * ((double)counts[i] + more) +
                                           0.5));
        sum += (uint64_t)weight[i];
    }
    return sum;
}

tsr_error tsri_nest_weigh(tsri_nest *nest, const uint64_t *counts)
{
    const uint64_t all = 1 << TSRI_TOKEN_BITS;
    const int codes = nest->codes;
    double total = 0, low = 0, high;

    nest->weight = tsri_alloc(nest->ctx, (size_t)codes, sizeof *nest->weight);
    if (!nest->weight)
        return tsri_nomem(nest->ctx);
    for (int i = 0; i < codes; i++)
        total += (double)counts[i];
    const double more = likeliest(counts, codes, total);
    high = (double)all / (total + more * codes);
    for (int i = 0; i < 50; i++) {  /* high is always enough */
        const double mid = (low + high) / 2;
        *(scaled(counts, codes, more, mid, nest->weight) <= all ? &low
                                                                : &high) = mid;
    }
    uint64_t left = all - scaled(counts, codes, more, low, nest->weight);
    for (int i = 0; left; i = (i + 1) % codes, left--)
        nest->weight[i]++;
    return TSR_OK;
}

/* ---- clusters ---- */

/* A level in the making: clusters in any order. */
typedef struct layer {
    int n;
    float *words;               /* [n][dim] */
    float *weight;              /* [n] */
    int32_t *parent;            /* [n]: cluster of the next level */
} layer;

/* The clusters of one level after another; layer 0 is the codes. */
typedef struct tree {
    tsri_nest *nest;
    layer layer[TSRI_TOKEN_LEVELS];
    const tsr_progress *progress;
    int wanted, done;
} tree;

static int hook(void *cookie, double done)
{
    const tree *t = cookie;
    return t->progress->report(t->progress->cookie,
                               (t->done + done) / t->wanted);
}

static tsr_error new_layer(tree *t, layer *l, int n)
{
    const size_t dim = (size_t)t->nest->dim;

    l->n = n;
    l->words = tsri_alloc(t->nest->ctx, (size_t)n * dim, sizeof *l->words);
    l->weight = tsri_calloc(t->nest->ctx, (size_t)n, sizeof *l->weight);
    l->parent = tsri_calloc(t->nest->ctx, (size_t)n, sizeof *l->parent);
    return l->words && l->weight && l->parent ? TSR_OK
                                              : tsri_nomem(t->nest->ctx);
}

static void drop_tree(tree *t)
{
    for (int j = 0; j < TSRI_TOKEN_LEVELS; j++) {
        tsri_free(t->nest->ctx, t->layer[j].words);
        tsri_free(t->nest->ctx, t->layer[j].weight);
        tsri_free(t->nest->ctx, t->layer[j].parent);
    }
}

/* Numbers the clusters that have members, in the order they had.  number: [k]
 * scratch; returns how many. */
static int drop_empty(layer *l, int32_t *number, int k)
{
    int kept = 0;

    memset(number, 0, (size_t)k * sizeof *number);
    for (int i = 0; i < l->n; i++)
        number[l->parent[i]] = 1;
    for (int c = 0; c < k; c++)
        number[c] = number[c] ? kept++ : -1;
    for (int i = 0; i < l->n; i++)
        l->parent[i] = number[l->parent[i]];
    return kept;
}

/* The weighted means of the clusters of `finer`, summed in double. */
static tsr_error set_means(tree *t, const layer *finer, layer *l)
{
    const size_t dim = (size_t)t->nest->dim, n = (size_t)l->n;
    double *sum = tsri_calloc(t->nest->ctx, n * (dim + 1), sizeof *sum);

    if (!sum)
        return tsri_nomem(t->nest->ctx);
    for (int i = 0; i < finer->n; i++) {
        double *to = sum + (size_t)finer->parent[i] * (dim + 1);
        for (size_t d = 0; d < dim; d++)
            to[d] += (double)finer->weight[i] *
                     (double)finer->words[(size_t)i * dim + d];
        to[dim] += (double)finer->weight[i];
    }
    for (size_t c = 0; c < n; c++) {
        for (size_t d = 0; d < dim; d++)
            l->words[c * dim + d] =
                (float)(sum[c * (dim + 1) + d] / sum[c * (dim + 1) + dim]);
        l->weight[c] = (float)sum[c * (dim + 1) + dim];
    }
    tsri_free(t->nest->ctx, sum);
    return TSR_OK;
}

/* Clusters of the layer before; k-means++ where it is cheap. */
static tsr_error cluster(tree *t, layer *finer, int k, uint64_t seed,
                         float *words)
{
    const tsr_progress progress = { t, hook };
    const double work = (double)finer->n * k * t->nest->dim;
    tsr_kmeans_settings s;

    tsr_kmeans_settings_init(&s);
    s.seed = seed;
    s.start = work > 1e9 ? TSR_KMEANS_RANDOM : TSR_KMEANS_PLUSPLUS;
    s.iterations = ITERATIONS;
    s.weights = finer->weight;
    if (t->progress && t->progress->report)
        s.progress = progress;
    return tsr_kmeans(t->nest->ctx, &s, finer->words, (size_t)finer->n,
                      t->nest->dim, k, words, finer->parent, NULL);
}

static tsr_error add_layer(tree *t, int j, int k, uint64_t seed)
{
    layer *finer = &t->layer[j - 1], *l = &t->layer[j];
    tsr_context *ctx = t->nest->ctx;
    tsr_error error;

    k = tsri_min(k, finer->n);
    float *words = tsri_alloc(ctx, (size_t)k * (size_t)t->nest->dim,
                              sizeof *words);
    int32_t *number = tsri_alloc(ctx, (size_t)k, sizeof *number);
    error = words && number ? cluster(t, finer, k, seed, words)
                            : tsri_nomem(ctx);
    if (!error)
        error = new_layer(t, l, drop_empty(finer, number, k));
    if (!error)
        error = set_means(t, finer, l);
    tsri_free(ctx, words);
    tsri_free(ctx, number);
    return error;
}

static tsr_error first_layer(tree *t)
{
    const tsri_nest *nest = t->nest;

    TSR_TRY(new_layer(t, &t->layer[0], nest->codes));
    memcpy(t->layer[0].words, nest->words,
           (size_t)nest->codes * (size_t)nest->dim * sizeof *nest->words);
    for (int i = 0; i < nest->codes; i++)
        t->layer[0].weight[i] = (float)nest->weight[i];
    return TSR_OK;
}

/* ---- order ---- */

typedef struct member {
    int32_t parent, id;         /* the new number of the cluster; the old one */
    float weight;
} member;

static int by_place(const void *a, const void *b)
{
    const member *x = a, *y = b;

    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The new numbers of a layer's clusters, given those of the next one's (NULL:
 * there is none). */
static void number_layer(const layer *l, const int32_t *coarser, member *list,
                         int32_t *number)
{
    for (int i = 0; i < l->n; i++)
        list[i] = (member){ coarser ? coarser[l->parent[i]] : 0, i,
                            l->weight[i] };
    qsort(list, (size_t)l->n, sizeof *list, by_place);
    for (int i = 0; i < l->n; i++)
        number[list[i].id] = i;
}

/* Where clusters begin: the codes before them are those of the clusters
 * before. */
static tsr_error set_starts(tsri_nest *nest, const tree *t, int j,
                            int32_t *const number[])
{
    const int n = t->layer[j].n;
    int32_t *start = tsri_calloc(nest->ctx, (size_t)n, sizeof *start);
    int32_t before = 0;

    nest->start[j] = start;
    if (!start)
        return tsri_nomem(nest->ctx);
    for (int i = 0; i < nest->codes; i++) {
        int32_t c = i;
        for (int k = 0; k < j; k++)
            c = t->layer[k].parent[c];
        start[number[j][c]]++;
    }
    for (int c = 0; c < n; c++) {
        const int32_t own = start[c];
        start[c] = before;
        before += own;
    }
    return TSR_OK;
}

static tsr_error set_centres(tsri_nest *nest, const tree *t, int j,
                             const int32_t *number)
{
    const layer *l = &t->layer[j];
    const size_t dim = (size_t)nest->dim;

    nest->centre[j] = tsri_alloc(nest->ctx, (size_t)l->n * dim,
                                 sizeof *nest->centre[j]);
    if (!nest->centre[j])
        return tsri_nomem(nest->ctx);
    for (int c = 0; c < l->n; c++)
        memcpy(nest->centre[j] + (size_t)number[c] * dim,
               l->words + (size_t)c * dim, dim * sizeof *l->words);
    return TSR_OK;
}

/* Takes over what the tree has. */
static tsr_error set_order(tsri_nest *nest, const tree *t, member *list,
                           int32_t *number[])
{
    const int top = nest->levels - 1;

    for (int j = top; j >= 0; j--) {
        number[j] = tsri_alloc(nest->ctx, (size_t)t->layer[j].n,
                               sizeof *number[j]);
        if (!number[j])
            return tsri_nomem(nest->ctx);
        number_layer(&t->layer[j], j < top ? number[j + 1] : NULL, list,
                     number[j]);
        nest->size[j] = t->layer[j].n;
    }
    memcpy(nest->place, number[0], (size_t)nest->codes * sizeof *nest->place);
    for (int j = 1; j <= top; j++) {
        TSR_TRY(set_starts(nest, t, j, number));
        TSR_TRY(set_centres(nest, t, j, number[j]));
    }
    return TSR_OK;
}

static tsr_error finish_tree(tsri_nest *nest, const tree *t)
{
    int32_t *number[TSRI_TOKEN_LEVELS] = { NULL };
    member *list = tsri_alloc(nest->ctx, (size_t)nest->codes, sizeof *list);
    tsr_error error;

    nest->place = tsri_alloc(nest->ctx, (size_t)nest->codes,
                             sizeof *nest->place);
    error = list && nest->place ? set_order(nest, t, list, number)
                                : tsri_nomem(nest->ctx);
    tsri_free(nest->ctx, list);
    for (int j = 0; j < TSRI_TOKEN_LEVELS; j++)
        tsri_free(nest->ctx, number[j]);
    return error;
}

tsr_error tsri_nest_tree(tsri_nest *nest, const int *size, int n, uint64_t seed,
                         const tsr_progress *progress)
{
    tree t = { .nest = nest, .progress = progress, .wanted = n };
    tsr_error error = first_layer(&t);

    for (int j = 0; !error && j < n; j++, t.done++)
        error = add_layer(&t, j + 1, size[j], seed);
    nest->levels = n + 1;
    if (!error)
        error = finish_tree(nest, &t);
    drop_tree(&t);
    return error;
}
