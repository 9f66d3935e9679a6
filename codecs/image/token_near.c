/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/image/token_near.h"
#include "lib/pool.h"

enum {
    REACH = 3,                  /* tokens: no further do neighbours count */
    AROUND = (2 * REACH + 1) * (2 * REACH + 1) - 1,
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

/* ---- near holes: the vector median ---- */

typedef struct near {
    const float *vector[AROUND];
    float weight[AROUND];
    int n;
} near;

/* Adds the known tokens at distance `ring` (of the larger coordinate). */
static void add_ring(const tsri_near_grid *g, int y, int x, int ring, near *list)
{
    for (int dy = -ring; dy <= ring; dy++) {
        const int step = dy == -ring || dy == ring ? 1 : 2 * ring;
        if (y + dy < 0 || y + dy >= g->height)
            continue;
        for (int dx = -ring; dx <= ring; dx += step) {
            if (x + dx < 0 || x + dx >= g->width)
                continue;
            const size_t at = place(g, y + dy, x + dx);
            if (g->lost[at])
                continue;
            list->vector[list->n] = word(g, at);
            list->weight[list->n++] = 1 / (float)(dy * dy + dx * dx);
        }
    }
}

static bool find_near(const tsri_near_grid *g, int y, int x, near *list)
{
    list->n = 0;
    for (int ring = 1; ring <= REACH && list->n < ENOUGH; ring++)
        add_ring(g, y, x, ring, list);
    return list->n >= ENOUGH;
}

static float distance(const float *a, const float *b, int dim)
{
    float sum = 0;
    for (int c = 0; c < dim; c++)
        sum += (a[c] - b[c]) * (a[c] - b[c]);
    return sqrtf(sum);
}

/* The first of the best. */
static const float *median(const near *list, int dim)
{
    float cost[AROUND] = { 0 };
    int best = 0;

    for (int i = 0; i < list->n; i++)
        for (int j = 0; j < i; j++) {
            const float d = distance(list->vector[i], list->vector[j], dim);
            cost[i] += d * list->weight[j];
            cost[j] += d * list->weight[i];
        }
    for (int i = 1; i < list->n; i++)
        best = cost[i] < cost[best] ? i : best;
    return list->vector[best];
}

typedef struct task {
    const tsri_near_grid *grid;
    tsri_fmap *z;
    bool *far;                  /* [height]: the row has holes left */
} task;

static tsr_error near_row(void *cookie, int y, int worker)
{
    const task *t = cookie;
    near list;

    (void)worker;
    t->far[y] = false;
    for (int x = 0; x < t->grid->width; x++) {
        if (!t->grid->lost[place(t->grid, y, x)])
            continue;
        if (find_near(t->grid, y, x, &list))
            put(t->z, y, x, median(&list, t->grid->dim));
        else
            t->far[y] = true;
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

/* Moves `from` towards `to`; of equals nothing is rounded away. */
static void blend(float *from, const float *to, float part, int dim)
{
    for (int c = 0; c < dim; c++)
        from[c] += part * (to[c] - from[c]);
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
            *weight = fminf(*weight, 1);
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

static void far_row(const task *t, const pyramid *p, int y, float *temp)
{
    near list;

    for (int x = 0; x < t->grid->width; x++)
        if (t->grid->lost[place(t->grid, y, x)] &&
            !find_near(t->grid, y, x, &list)) {
            above(p, 0, y, x, temp);
            put(t->z, y, x, temp);
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
            if (t->far[y])
                far_row(t, &p, y, temp);
        tsri_free(ctx, p.memory);
    }
    tsri_free(ctx, temp);
    return error;
}

tsr_error tsri_near_fill(tsr_context *ctx, const tsri_near_grid *grid,
                         tsri_fmap *z)
{
    task t = { grid, z, tsri_alloc(ctx, (size_t)grid->height, sizeof(bool)) };
    bool far = false;

    if (!t.far)
        return tsri_nomem(ctx);
    tsr_error error = tsri_pool_for(ctx->pool, grid->height, near_row, &t);
    for (int y = 0; y < grid->height; y++)
        far = far || t.far[y];
    if (!error && far)
        error = fill_far(ctx, &t);
    tsri_free(ctx, t.far);
    return error;
}
