/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <tessera/find.h>
#include "codecs/audio/audio.h"

/* The best way to each code of the example at one code of the stream. */
typedef struct column {
    float *cost;            /* [n] D */
    uint64_t *first;        /* [n] where it began */
    float *local;           /* [n] c */
} column;

struct tsr_finder {
    tsr_context *ctx;
    size_t n;
    int codewords;
    float *table;           /* [n][codewords] c of each code */
    column column[3];       /* of code j in number j % 3 */
    uint64_t at;            /* codes so far */
    uint64_t free;          /* the first code behind the last place given out */
    tsr_found best;         /* score below 0: none */
};

/* ---- costs ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The unit of distances: the middle one of the codewords' from their mean.  (Not
 * the mean one: a few codes, as those of silence, are far from all others.)
 * room: [k + dim]. */
static double middle(const float *z, size_t k, size_t dim, double *room)
{
    double *mean = room + k;

    for (size_t d = 0; d < dim; d++) {
        mean[d] = 0;
        for (size_t i = 0; i < k; i++)
            mean[d] += (double)z[i * dim + d];
        mean[d] /= (double)k;
    }
    for (size_t i = 0; i < k; i++) {
        room[i] = 0;
        for (size_t d = 0; d < dim; d++) {
            const double v = (double)z[i * dim + d] - mean[d];
            room[i] += v * v;
        }
    }
    qsort(room, k, sizeof *room, by_size);
    return room[k / 2];
}

static float distance(const float *a, const float *b, size_t dim, double unit)
{
    double sum = 0;

    for (size_t d = 0; d < dim; d++) {
        const double v = (double)a[d] - (double)b[d];
        sum += v * v;
    }
    return sum < unit ? (float)(sum / unit) : sum > 0;
}

static void fill(tsr_finder *f, const float *z, size_t dim,
                 const uint16_t *example, double *room)
{
    const size_t k = (size_t)f->codewords;
    const double unit = middle(z, k, dim, room);

    for (size_t i = 0; i < f->n; i++)
        for (size_t c = 0; c < k; c++)
            f->table[i * k + c] = distance(z + example[i] * dim, z + c * dim,
                                           dim, unit);
}

/* ---- opening ---- */

static tsr_error grow(tsr_finder *f)
{
    f->table = tsri_alloc(f->ctx, f->n * (size_t)f->codewords,
                          sizeof *f->table);
    bool good = f->table != NULL;
    for (int i = 0; i < 3; i++) {
        column *c = &f->column[i];
        c->cost = tsri_alloc(f->ctx, f->n, sizeof *c->cost);
        c->first = tsri_alloc(f->ctx, f->n, sizeof *c->first);
        c->local = tsri_alloc(f->ctx, f->n, sizeof *c->local);
        good = good && c->cost && c->first && c->local;
    }
    return good ? TSR_OK : tsri_nomem(f->ctx);
}

static tsr_error check_example(tsr_context *ctx, const tsri_audio_model *m,
                               const uint16_t *example, size_t n)
{
    if (n < 2 || n > TSR_FIND_MAX_EXAMPLE)
        return tsri_fail(ctx, TSR_E_ARG, "an example of %zu codes: 2 to %d", n,
                         TSR_FIND_MAX_EXAMPLE);
    for (size_t i = 0; i < n; i++)
        if (example[i] >= m->shape.codewords)
            return tsri_fail(ctx, TSR_E_ARG, "the example's code %zu is not in "
                             "the book", i);
    if (!m->codec->words)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "%s: codec %s has no codewords "
                         "to compare", tsr_model_path(m->model), m->codec->id);
    return TSR_OK;
}

static tsr_error prepare(tsr_finder *f, const tsri_audio_model *m,
                         const uint16_t *example)
{
    int dim;

    TSR_TRY(m->codec->words(m->self, NULL, &dim));
    TSR_TRY(grow(f));
    float *z = tsri_alloc(f->ctx, (size_t)f->codewords * (size_t)dim,
                          sizeof *z);
    double *room = tsri_alloc(f->ctx, (size_t)(f->codewords + dim),
                              sizeof *room);
    const tsr_error error = z && room ? m->codec->words(m->self, z, &dim)
                                      : tsri_nomem(f->ctx);
    if (!error)
        fill(f, z, (size_t)dim, example, room);
    tsri_free(f->ctx, room);
    tsri_free(f->ctx, z);
    return error;
}

tsr_error tsr_finder_open(tsr_finder **finder, tsr_context *context,
                          tsr_model *model, const uint16_t *example, size_t n)
{
    tsri_audio_model m;
    tsr_error error = tsri_audio_model_open(&m, context, model);

    *finder = NULL;
    if (!error)
        error = check_example(context, &m, example, n);
    if (!error && !(*finder = tsri_calloc(context, 1, sizeof **finder)))
        error = tsri_nomem(context);
    if (!error) {
        **finder = (tsr_finder){ .ctx = context, .n = n,
                                 .codewords = m.shape.codewords };
        error = prepare(*finder, &m, example);
        tsr_finder_reset(*finder);
    }
    tsri_audio_model_close(&m);
    if (error)
        tsr_finder_close(finder);
    return error;
}

void tsr_finder_close(tsr_finder **finder)
{
    if (!finder || !*finder)
        return;
    tsr_finder *f = *finder;
    for (int i = 0; i < 3; i++) {
        tsri_free(f->ctx, f->column[i].cost);
        tsri_free(f->ctx, f->column[i].first);
        tsri_free(f->ctx, f->column[i].local);
    }
    tsri_free(f->ctx, f->table);
    tsri_free(f->ctx, f);
    *finder = NULL;
}

void tsr_finder_reset(tsr_finder *f)
{
    f->at = f->free = 0;
    f->best.score = -1;
}

/* ---- the stream ---- */

/* Takes the way (cost, first) to code i if it is cheaper. */
static void offer(column *to, size_t i, float cost, uint64_t first)
{
    if (cost < to->cost[i]) {
        to->cost[i] = cost;
        to->first[i] = first;
    }
}

/* The ways to codes 0 and 1, which can begin here. */
static void begin(column *now, uint64_t at)
{
    now->cost[0] = now->local[0];
    now->first[0] = at;
    now->cost[1] = now->local[0] + now->local[1];
    now->first[1] = at;
}

static void step(tsr_finder *f, column *now, const column *one,
                 const column *two)
{
    begin(now, f->at);
    for (size_t i = 1; i < f->n; i++) {
        if (i > 1)
            now->cost[i] = INFINITY;
        if (f->at > 0)
            offer(now, i, one->cost[i - 1] + now->local[i], one->first[i - 1]);
        if (f->at > 0 && i > 1)
            offer(now, i, one->cost[i - 2] + now->local[i - 1] + now->local[i],
                  one->first[i - 2]);
        if (f->at > 1)
            offer(now, i, two->cost[i - 1] + (one->local[i] + now->local[i]) / 2,
                  two->first[i - 1]);
        if (now->cost[i] == INFINITY)   /* not reached: never taken */
            now->first[i] = f->at;
    }
}

int tsr_finder_push(tsr_finder *f, uint16_t code, float threshold,
                    tsr_found *found)
{
    column *now = &f->column[f->at % 3];
    const size_t k = (size_t)f->codewords;

    for (size_t i = 0; i < f->n; i++)
        now->local[i] = code < k ? f->table[i * k + code] : 1;
    step(f, now, &f->column[(f->at + 2) % 3], &f->column[(f->at + 1) % 3]);
    const float score = 1 - now->cost[f->n - 1] / (float)f->n;
    const uint64_t first = now->first[f->n - 1];
    const int known = f->best.score >= 0 && first > f->best.last;
    if (known) {
        *found = f->best;
        f->free = f->best.last + 1;
        f->best.score = -1;
    }
    if (score >= threshold && score > f->best.score && first >= f->free)
        f->best = (tsr_found){ first, f->at, score };
    f->at++;
    return known;
}

int tsr_finder_finish(tsr_finder *f, tsr_found *found)
{
    const int known = f->best.score >= 0;

    *found = f->best;
    tsr_finder_reset(f);
    return known;
}
