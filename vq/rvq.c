/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/pool.h"
#include "vq/rows.h"
#include "vq/rvq.h"

enum {
    SLAB = 8192,    /* vectors whose residuals are held at a time */
    BLOCK = 16      /* vectors of one call of the beam search */
};

static tsr_error check_shape(tsr_context *ctx, const tsr_rvq_shape *s,
                             size_t *floats)
{
    if (s->groups < 1 || s->dim < 1 || s->groups > TSR_VQ_MAX_DIM / s->dim)
        return tsri_fail(ctx, TSR_E_ARG, "residual quantiser of %d groups of "
                         "%d channels", s->groups, s->dim);
    if (s->stages < 1 || s->stages > TSR_RVQ_MAX_STAGES)
        return tsri_fail(ctx, TSR_E_ARG, "residual quantiser of %d stages; "
                         "1 to %d", s->stages, TSR_RVQ_MAX_STAGES);
    TSR_TRY(tsri_rows_check(ctx, 0, s->dim, s->k));
    *floats = (size_t)s->groups * (size_t)s->dim;
    if (!tsri_mul(*floats, (size_t)s->k, floats) ||
        !tsri_mul(*floats, (size_t)s->stages, floats))
        return tsri_fail(ctx, TSR_E_ARG, "residual quantiser is too large");
    return TSR_OK;
}

/* From group after group to stage after stage, as the search wants it. */
static void transpose(tsr_rvq *q, const float *codewords)
{
    const size_t floats = (size_t)q->s.k * (size_t)q->s.dim;
    for (int g = 0; g < q->s.groups; g++)
        for (int s = 0; s < q->s.stages; s++, codewords += floats)
            memcpy(q->words + ((size_t)s * (size_t)q->s.groups + (size_t)g) *
                   floats, codewords, floats * sizeof *codewords);
}

tsr_error tsr_rvq_open(tsr_rvq **out, tsr_context *ctx,
                       const tsr_rvq_shape *shape, const float *codewords)
{
    tsr_error error = TSR_OK;
    size_t floats = 0;
    tsr_rvq *q;

    *out = NULL;
    TSR_TRY(check_shape(ctx, shape, &floats));
    q = tsri_calloc(ctx, 1, sizeof *q);
    if (!q)
        return tsri_nomem(ctx);
    q->ctx = ctx;
    q->s = *shape;
    q->words = tsri_alloc(ctx, floats, sizeof *q->words);
    if (q->words)
        transpose(q, codewords);
    else
        error = tsri_nomem(ctx);
    for (int s = 0; s < shape->stages && !error; s++)
        error = tsri_codebook_new(&q->book[s], ctx, shape->groups, shape->k,
                                  shape->dim, tsri_rvq_word(q, s, 0, 0));
    if (error)
        tsr_rvq_close(&q);
    *out = q;
    return error;
}

void tsr_rvq_close(tsr_rvq **rvq)
{
    tsr_rvq *q = rvq ? *rvq : NULL;
    if (!q)
        return;
    for (int s = 0; s < q->s.stages; s++)
        tsri_codebook_free(&q->book[s], q->ctx);
    tsri_free(q->ctx, q->words);
    tsri_free(q->ctx, q);
    *rvq = NULL;
}

static void subtract(float *x, const float *y, int d)
{
    for (int j = 0; j < d; j++)
        x[j] -= y[j];
}

static double energy(const float *x, int d)
{
    double sum = 0;
    for (int j = 0; j < d; j++)
        sum += (double)x[j] * (double)x[j];
    return sum;
}

/* n <= SLAB vectors; the residuals are in `left`. */
static tsr_error greedy_slab(const tsr_rvq *q, tsr_context *ctx, float *left,
                             size_t n, int stages, int32_t *codes)
{
    const int groups = q->s.groups, d = q->s.dim;
    const tsri_fmap map = tsri_rows_map(left, n, groups * d);

    for (int s = 0; s < stages; s++) {
        const tsri_codes out = tsri_rows_codes(codes + s, n, groups, stages);
        TSR_TRY(tsri_codebook_encode(q->book[s], ctx, &map, &out));
        for (size_t i = 0; i < n * (size_t)groups; i++)
            subtract(left + i * (size_t)d,
                     tsri_rvq_word(q, s, (int)(i % (size_t)groups),
                          codes[i * (size_t)stages + (size_t)s]), d);
    }
    return TSR_OK;
}

static tsr_error greedy(const tsr_rvq *q, tsr_context *ctx, const float *x,
                        size_t n, int stages, int32_t *codes, double *error)
{
    const size_t channels = (size_t)q->s.groups * (size_t)q->s.dim;
    const size_t step = (size_t)q->s.groups * (size_t)stages;
    tsr_error rc = TSR_OK;
    float *left = tsri_alloc(ctx, (n < SLAB ? n : SLAB) * channels,
                             sizeof *left);
    if (!left)
        return tsri_nomem(ctx);
    for (size_t at = 0; at < n && !rc; at += SLAB) {
        const size_t m = n - at < SLAB ? n - at : SLAB;
        memcpy(left, x + at * channels, m * channels * sizeof *left);
        rc = greedy_slab(q, ctx, left, m, stages, codes + at * step);
        for (size_t i = 0; error && i < m; i++)
            error[at + i] = energy(left + i * channels, (int)channels);
    }
    tsri_free(ctx, left);
    return rc;
}

/* A partial code of one group. */
typedef struct path {
    double error;
    int parent, code;                       /* of the stage just searched */
    int32_t codes[TSR_RVQ_MAX_STAGES];
} path;

typedef struct beam_search {
    const tsr_rvq *q;
    const float *x;
    size_t n;
    int stages, beam;
    int32_t *codes;
    double *error;
    path *paths;            /* [threads][2][beam] */
    float *left;            /* [threads][2][beam][d]: residuals */
} beam_search;

/* Inserts a candidate behind those that are as good; returns the new count. */
static int keep(path *list, int count, int beam, double error, int parent,
                int code)
{
    int at = count < beam ? count : beam - 1;
    for (; at > 0 && error < list[at - 1].error; at--) {
        list[at].error = list[at - 1].error;
        list[at].parent = list[at - 1].parent;
        list[at].code = list[at - 1].code;
    }
    list[at].error = error;
    list[at].parent = parent;
    list[at].code = code;
    return count < beam ? count + 1 : beam;
}

static double distance(const float *a, const float *b, int d)
{
    double sum = 0;
    for (int j = 0; j < d; j++) {
        const double diff = (double)a[j] - (double)b[j];
        sum += diff * diff;
    }
    return sum;
}

/* The best continuations, by one stage, of `count` paths with the residuals
 * `left`; returns how many there are. */
static int extend(const beam_search *b, int stage, int group, int count,
                  const float *left, path *next)
{
    const tsr_rvq *q = b->q;
    int found = 0;
    for (int p = 0; p < count; p++)
        for (int c = 0; c < q->s.k; c++) {
            const double error =
                distance(left + p * q->s.dim,
                         tsri_rvq_word(q, stage, group, c), q->s.dim);
            /* A NaN counts as the worst, so that the list gets full. */
            if (found < b->beam || error < next[found - 1].error)
                found = keep(next, found, b->beam,
                             isnan(error) ? INFINITY : error, p, c);
        }
    return found;
}

/* Codes of one group of one vector; returns the error. */
static double search_group(const beam_search *b, const float *x, int group,
                           path *paths, float *left, int32_t *codes)
{
    const int d = b->q->s.dim;
    path *now = paths, *next = paths + b->beam;
    float *from = left, *to = left + b->beam * d;
    int count = 1;

    memcpy(from, x, (size_t)d * sizeof *from);
    for (int s = 0; s < b->stages; s++) {
        path *const done = now;
        float *const used = from;
        count = extend(b, s, group, count, from, next);
        for (int p = 0; p < count; p++) {
            const int parent = next[p].parent;
            memcpy(next[p].codes, now[parent].codes,
                   (size_t)s * sizeof *next[p].codes);
            next[p].codes[s] = next[p].code;
            memcpy(to + p * d, from + parent * d, (size_t)d * sizeof *to);
            subtract(to + p * d,
                     tsri_rvq_word(b->q, s, group, next[p].code), d);
        }
        now = next;
        next = done;
        from = to;
        to = used;
    }
    memcpy(codes, now[0].codes, (size_t)b->stages * sizeof *codes);
    return energy(from, d);
}

static tsr_error search_block(void *cookie, int block, int worker)
{
    const beam_search *b = cookie;
    const int groups = b->q->s.groups, d = b->q->s.dim;
    const size_t from = (size_t)block * BLOCK;
    const size_t to = from + BLOCK < b->n ? from + BLOCK : b->n;
    path *paths = b->paths + 2 * (size_t)worker * (size_t)b->beam;
    float *left = b->left + 2 * (size_t)worker * (size_t)(b->beam * d);

    for (size_t i = from; i < to; i++) {
        double sum = 0;
        for (int g = 0; g < groups; g++) {
            const size_t at = i * (size_t)groups + (size_t)g;
            sum += search_group(b, b->x + at * (size_t)d, g, paths, left,
                                b->codes + at * (size_t)b->stages);
        }
        if (b->error)
            b->error[i] = sum;
    }
    return TSR_OK;
}

static tsr_error run_beam(beam_search *b, tsr_context *ctx)
{
    const size_t many = 2 * (size_t)tsri_pool_threads(ctx->pool) *
                        (size_t)b->beam;
    tsr_error error;
    b->paths = tsri_calloc(ctx, many, sizeof *b->paths);
    b->left = tsri_alloc(ctx, many * (size_t)b->q->s.dim, sizeof *b->left);
    error = b->paths && b->left
        ? tsri_pool_for(ctx->pool, tsri_ceil_div((int)b->n, BLOCK),
                        search_block, b)
        : tsri_nomem(ctx);
    tsri_free(ctx, b->paths);
    tsri_free(ctx, b->left);
    return error;
}

tsr_error tsr_rvq_encode(const tsr_rvq *q, const float *x, size_t n, int stages,
                         int beam, int32_t *codes, double *error)
{
    tsr_context *const ctx = q->ctx;
    beam_search b = { .q = q, .x = x, .n = n, .stages = stages, .beam = beam,
                      .codes = codes, .error = error };

    TSR_TRY(tsri_rows_check(ctx, n, q->s.dim, q->s.k));
    if (stages < 1 || stages > q->s.stages || beam < 1 ||
        beam > TSR_RVQ_MAX_BEAM)
        return tsri_fail(ctx, TSR_E_ARG, "residual quantiser: %d stages of %d, "
                         "beam of %d", stages, q->s.stages, beam);
    return beam == 1 ? greedy(q, ctx, x, n, stages, codes, error)
                     : run_beam(&b, ctx);
}

/* A fixed number at a time, which compilers turn into vectors. */
static void add_word(float *restrict x, const float *restrict word, int dim)
{
    enum { WIDE = 8 };
    int j = 0;

    for (; j + WIDE <= dim; j += WIDE)
        for (int k = j; k < j + WIDE; k++)
            x[k] += word[k];
    for (; j < dim; j++)
        x[j] += word[j];
}

bool tsri_rvq_decode_group(const tsr_rvq *q, const int32_t *codes, int group,
                           int use, float *x)
{
    for (int s = 0; s < use; s++) {
        const float *from;
        if (codes[s] < 0 || codes[s] >= q->s.k)
            return false;
        from = tsri_rvq_word(q, s, group, codes[s]);
        if (s)
            add_word(x, from, q->s.dim);
        else
            memcpy(x, from, (size_t)q->s.dim * sizeof *x);
    }
    return true;
}

tsr_error tsr_rvq_decode(const tsr_rvq *q, const int32_t *codes, size_t n,
                         int stages, int use, float *x)
{
    tsr_context *const ctx = q->ctx;
    const size_t groups = (size_t)q->s.groups;

    TSR_TRY(tsri_rows_check(ctx, n, q->s.dim, q->s.k));
    if (stages < 1 || stages > q->s.stages || use < 1 || use > stages)
        return tsri_fail(ctx, TSR_E_ARG, "residual quantiser: %d of %d stages "
                         "of %d", use, stages, q->s.stages);
    for (size_t i = 0; i < n * groups; i++)
        if (!tsri_rvq_decode_group(q, codes + i * (size_t)stages,
                                   (int)(i % groups), use,
                                   x + i * (size_t)q->s.dim))
            return tsri_fail(ctx, TSR_E_ARG, "residual quantiser: a code "
                             "outside its codebook of %d", q->s.k);
    return TSR_OK;
}
