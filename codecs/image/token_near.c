/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/token_near.h"
#include "lib/pool.h"

enum {
    REACH = 3,                  /* tokens: no further do neighbours count */
    ENOUGH = 3,                 /* known neighbours end the search */
    LEVELS = 32                 /* of a plane whose sides are ints */
};

static size_t place(const tsri_near_grid *g, int y, int x)
{
    return (size_t)y * (size_t)g->width + (size_t)x;
}

static const float *word(const tsri_near_grid *g, size_t at)
{
    return g->words + (size_t)g->id[at] * (size_t)g->dim;
}

static void put(tsri_fmap *z, int y, int x, const float *vector)
{
    float *to = z->data + (size_t)y * z->row + (size_t)x;
    for (int c = 0; c < z->channels; c++)
        to[(size_t)c * z->plane] = vector[c];
}

/* Moves `from` towards `to`; of equals nothing is rounded away. */
static void blend(float *from, const float *to, float part, int dim)
{
    for (int c = 0; c < dim; c++)
        from[c] += part * (to[c] - from[c]);
}

/* ---- near holes: the mean of the neighbours ---- */

typedef struct near {
    float *mean;                /* [dim] */
    float weight;
    int n;
} near;

static void add(near *sum, const float *vector, float weight, int dim)
{
    sum->weight += weight;
    if (sum->n++)
        blend(sum->mean, vector, weight / sum->weight, dim);
    else
        memcpy(sum->mean, vector, (size_t)dim * sizeof *vector);
}

/* Adds the known tokens at distance `ring` (of the larger coordinate). */
static void add_ring(const tsri_near_grid *g, int y, int x, int ring, near *sum)
{
    for (int dy = -ring; dy <= ring; dy++) {
        const int step = dy == -ring || dy == ring ? 1 : 2 * ring;
        if (y + dy < 0 || y + dy >= g->height)
            continue;
        for (int dx = -ring; dx <= ring; dx += step) {
            if (x + dx < 0 || x + dx >= g->width)
                continue;
            const size_t at = place(g, y + dy, x + dx);
            if (!g->lost[at])
                add(sum, word(g, at), 1 / (float)(dy * dy + dx * dx), g->dim);
        }
    }
}

/* The mean around a hole; false: too few are known. */
static bool find_near(const tsri_near_grid *g, int y, int x, float *mean)
{
    near sum = { .mean = mean };
    for (int ring = 1; ring <= REACH && sum.n < ENOUGH; ring++)
        add_ring(g, y, x, ring, &sum);
    return sum.n >= ENOUGH;
}

typedef struct task {
    const tsri_near_grid *grid;
    tsri_fmap *z;
    float *mean;                /* [threads][dim] */
    bool *far;                  /* [height * width] */
} task;

static tsr_error near_row(void *cookie, int y, int worker)
{
    const task *t = cookie;
    float *mean = t->mean + (size_t)worker * (size_t)t->grid->dim;

    for (int x = 0; x < t->grid->width; x++) {
        const size_t at = place(t->grid, y, x);
        t->far[at] = false;
        if (!t->grid->lost[at])
            continue;
        if (find_near(t->grid, y, x, mean))
            put(t->z, y, x, mean);
        else
            t->far[at] = true;
    }
    return TSR_OK;
}

/* ---- far holes: pull and push ---- */

/* Level 0 is the grid itself; a cell of level l + 1 covers 2 x 2 of level l. */
typedef struct pyramid {
    const tsri_near_grid *grid;
    int levels;
    int height[LEVELS], width[LEVELS];
    float *vector[LEVELS];      /* [height * width][dim] */
    float *weight[LEVELS];      /* 0: nothing known, else 1 */
    float *memory;
} pyramid;

static tsr_error pyramid_open(pyramid *p, tsr_context *ctx,
                              const tsri_near_grid *g)
{
    size_t cells = 0, size;
    float *at;

    *p = (pyramid){ .grid = g, .levels = 1, .height = { g->height },
                    .width = { g->width } };
    do {
        const int l = p->levels++;
        p->height[l] = tsri_ceil_div(p->height[l - 1], 2);
        p->width[l] = tsri_ceil_div(p->width[l - 1], 2);
        cells += (size_t)p->height[l] * (size_t)p->width[l];
    } while (p->height[p->levels - 1] > 1 || p->width[p->levels - 1] > 1);
    p->memory = at = tsri_mul(cells, (size_t)g->dim + 1, &size) ?
                     tsri_calloc(ctx, size, sizeof *at) : NULL;
    if (!at)
        return tsri_nomem(ctx);
    for (int l = 1; l < p->levels; l++) {
        cells = (size_t)p->height[l] * (size_t)p->width[l];
        p->weight[l] = at;
        p->vector[l] = at + cells;
        at += cells * ((size_t)g->dim + 1);
    }
    return TSR_OK;
}

/* The weight of a cell, and where its vector is. */
static float cell(const pyramid *p, int level, int y, int x, const float **vector)
{
    const size_t at = (size_t)y * (size_t)p->width[level] + (size_t)x;
    if (level > 0) {
        *vector = p->vector[level] + at * (size_t)p->grid->dim;
        return p->weight[level][at];
    }
    if (p->grid->lost[at])
        return 0;
    *vector = word(p->grid, at);
    return 1;
}

/* Means of what is known in each 2 x 2. */
static void pull(pyramid *p, int to)
{
    const int dim = p->grid->dim;
    float *vector = p->vector[to], *weight = p->weight[to];

    for (int y = 0; y < p->height[to]; y++)
        for (int x = 0; x < p->width[to]; x++, weight++, vector += dim) {
            for (int i = 0; i < 4; i++) {
                const int cy = 2 * y + i / 2, cx = 2 * x + i % 2;
                const float *from;
                if (cy >= p->height[to - 1] || cx >= p->width[to - 1])
                    continue;
                const float w = cell(p, to - 1, cy, cx, &from);
                if (w <= 0)
                    continue;
                *weight += w;
                if (*weight > w)
                    blend(vector, from, w / *weight, dim);
                else
                    memcpy(vector, from, (size_t)dim * sizeof *vector);
            }
            *weight = *weight > 1 ? 1 : *weight;
        }
}

/* What the level above says of cell (y, x): bilinear, borders repeated.  temp:
 * [2][dim], the result is in its first half. */
static void above(const pyramid *p, int level, int y, int x, float *temp)
{
    const int h = p->height[level + 1], w = p->width[level + 1];
    const int dim = p->grid->dim;
    const int ys[2] = { y / 2, tsri_clamp(y / 2 + (y % 2 ? 1 : -1), 0, h - 1) };
    const int xs[2] = { x / 2, tsri_clamp(x / 2 + (x % 2 ? 1 : -1), 0, w - 1) };

    for (int i = 0; i < 2; i++) {
        const float *near_one, *next;
        cell(p, level + 1, ys[i], xs[0], &near_one);
        cell(p, level + 1, ys[i], xs[1], &next);
        memcpy(temp + i * dim, near_one, (size_t)dim * sizeof *temp);
        blend(temp + i * dim, next, 0.25f, dim);
    }
    blend(temp, temp + dim, 0.25f, dim);
}

/* Completes the cells of a level whose level above is complete. */
static void push(pyramid *p, int level, float *temp)
{
    const int dim = p->grid->dim;
    float *vector = p->vector[level];
    const float *weight = p->weight[level];

    for (int y = 0; y < p->height[level]; y++)
        for (int x = 0; x < p->width[level]; x++, weight++, vector += dim) {
            if (*weight > 0)
                continue;
            above(p, level, y, x, temp);
            memcpy(vector, temp, (size_t)dim * sizeof *vector);
        }
}

static tsr_error fill_far(tsr_context *ctx, const task *t)
{
    const tsri_near_grid *g = t->grid;
    pyramid p;

    float *temp = tsri_alloc(ctx, 2 * (size_t)g->dim, sizeof *temp);
    const tsr_error error = temp ? pyramid_open(&p, ctx, g) : tsri_nomem(ctx);
    if (!error) {
        const int top = p.levels - 1;
        for (int l = 1; l <= top; l++)
            pull(&p, l);
        if (p.weight[top][0] <= 0)
            memcpy(p.vector[top], g->common, (size_t)g->dim * sizeof *temp);
        for (int l = top - 1; l > 0; l--)
            push(&p, l, temp);
        for (int y = 0; y < g->height; y++)
            for (int x = 0; x < g->width; x++)
                if (t->far[place(g, y, x)]) {
                    above(&p, 0, y, x, temp);
                    put(t->z, y, x, temp);
                }
        tsri_free(ctx, p.memory);
    }
    tsri_free(ctx, temp);
    return error;
}

tsr_error tsri_near_fill(tsr_context *ctx, const tsri_near_grid *grid,
                         tsri_fmap *z)
{
    const size_t count = (size_t)grid->height * (size_t)grid->width;
    const size_t threads = (size_t)tsri_pool_threads(ctx->pool);
    task t = { grid, z, NULL, NULL };
    bool far = false;

    t.mean = tsri_alloc(ctx, threads * (size_t)grid->dim, sizeof *t.mean);
    t.far = tsri_alloc(ctx, count, sizeof *t.far);
    tsr_error error = t.mean && t.far ? TSR_OK : tsri_nomem(ctx);
    if (!error)
        error = tsri_pool_for(ctx->pool, grid->height, near_row, &t);
    for (size_t i = 0; !error && !far && i < count; i++)
        far = t.far[i];
    if (!error && far)
        error = fill_far(ctx, &t);
    tsri_free(ctx, t.far);
    tsri_free(ctx, t.mean);
    return error;
}
