/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics of a GroupNorm.
 *
 * The plane is cut into square cells whose place and side depend on nothing but
 * the plane's size.  Every cell and group is summed by itself, as count, mean
 * and sum of squares about that mean; the cells are then put together row by
 * row (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
 * computing sample variances", 1979).  So tiles and threads change no bit, one
 * pass over the samples is enough, and a mean far greater than the deviation
 * costs no accuracy. */
#include <math.h>
#include <string.h>
#include "lib/nn/net_internal.h"
#include "lib/pool.h"

enum { LANE = TSRI_NN_LANE, LEAST_CELL = 8, MOST_CELLS = 8192 };

typedef struct tsri_moments { double count, mean, squares; } tsri_moments;

int tsri_norm_cell(int height, int width)
{
    int side = LEAST_CELL;
    while ((int64_t)tsri_ceil_div(height, side) * tsri_ceil_div(width, side) >
           MOST_CELLS)
        side *= 2;
    return side;
}

bool tsri_norm_floats(const tsri_net *net, const tsri_step *s, size_t *floats)
{
    const tsri_place *p = &net->place[s->dst];
    const int side = tsri_norm_cell(p->height, p->width);
    const size_t cells = (size_t)tsri_ceil_div(p->height, side) *
                         (size_t)tsri_ceil_div(p->width, side);
    size_t n;

    if (!tsri_mul(cells, (size_t)net->node[s->dst].groups, &n) ||
        n > SIZE_MAX / 8 / sizeof(tsri_moments))
        return false;
    *floats = (n * sizeof(tsri_moments) / sizeof(float) + 15) / 16 * 16;
    return true;
}

/* Adds samples with their own mean and squares. */
static void combine(tsri_moments *a, double count, double mean, double squares)
{
    const double total = a->count + count, off = mean - a->mean;
    a->mean += off * (count / total);
    a->squares += squares + off * off * (a->count * count / total);
    a->count = total;
}

typedef double pair __attribute__((vector_size(16)));
typedef float two __attribute__((vector_size(8)));

static pair load_pair(const float *p)
{
    two v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, pair);
}

/* Half a block's lanes of w x h samples: sums of the offsets from `shift` and
 * of their squares.  Half, so that all sums stay in registers. */
static void sum_half(const float *p, size_t row, int h, int w,
                     const pair shift[2], pair sum[2], pair squares[2])
{
    pair s0 = { 0, 0 }, s1 = s0, q0 = s0, q1 = s0;

    for (int y = 0; y < h; y++, p += row)
        for (int x = 0; x < w; x++) {
            const pair a = load_pair(p + x * LANE) - shift[0];
            const pair b = load_pair(p + x * LANE + 2) - shift[1];
            s0 += a;
            s1 += b;
            q0 += a * a;
            q1 += b * b;
        }
    sum[0] = s0;
    sum[1] = s1;
    squares[0] = q0;
    squares[1] = q1;
}

typedef struct tsri_sums {
    const tsri_step *step;
    const tsri_node *node;
    const tsri_view *x;
    tsri_rect rect;
    int cell, columns;          /* a cell's side; cells in a row of the plane */
    int span, spans;            /* channel blocks of one job; such jobs */
    tsri_moments *moments;      /* [rows of cells][columns][groups] */
} tsri_sums;

/* Channel block b of one cell, whose first sample is p. */
static void sum_block(const tsri_sums *t, const float *p, size_t row, int h,
                      int w, int b, tsri_moments *to)
{
    const int size = t->node->channels / t->node->groups;
    const int lanes = tsri_min(LANE, t->node->channels - b * LANE);
    const double count = (double)h * w;
    double shift[LANE], sum[LANE], squares[LANE];

    for (int l = 0; l < LANE; l++)
        shift[l] = p[l];
    for (int l = 0; l < LANE; l += LANE / 2) {
        pair v[3][2];
        memcpy(v[0], shift + l, sizeof v[0]);
        sum_half(p + l, row, h, w, v[0], v[1], v[2]);
        memcpy(sum + l, v[1], sizeof v[1]);
        memcpy(squares + l, v[2], sizeof v[2]);
    }
    for (int l = 0; l < lanes; l++) {
        const double off = sum[l] / count;
        combine(&to[(b * LANE + l) / size], count, shift[l] + off,
                squares[l] - sum[l] * off);
    }
}

/* A row of cells that is not in blocked order, channel block b, from a copy. */
static void sum_copied(const tsri_sums *t, int b, int y0, int y1, int x0,
                       int x1, tsri_moments *to)
{
    float block[LANE * LEAST_CELL * LANE], temp[LEAST_CELL * LANE];

    for (int y = y0; y < y1; y += LEAST_CELL)
        for (int x = x0; x < x1; x += LEAST_CELL) {
            const int h = tsri_min(LEAST_CELL, y1 - y);
            const int w = tsri_min(LEAST_CELL, x1 - x);
            for (int i = 0; i < h; i++)
                memcpy(block + i * w * LANE,
                       tsri_row_get(t->x, b, y + i, x, w, temp),
                       (size_t)(w * LANE) * sizeof *block);
            sum_block(t, block, (size_t)(w * LANE), h, w, b, to);
        }
}

static tsr_error sum_row(void *cookie, int i, int worker)
{
    const tsri_sums *t = cookie;
    const tsri_view *v = t->x;
    const int y0 = t->rect.y0 + i / t->spans * t->cell;
    const int y1 = tsri_min(y0 + t->cell, t->rect.y1);
    const int b0 = i % t->spans * t->span;
    const int b1 = tsri_min(b0 + t->span,
                            tsri_ceil_div(t->node->channels, LANE));

    (void)worker;
    for (int b = b0; b < b1; b++)
        for (int x0 = t->rect.x0; x0 < t->rect.x1; x0 += t->cell) {
            const int x1 = tsri_min(x0 + t->cell, t->rect.x1);
            tsri_moments *to = t->moments + (size_t)t->node->groups *
                               ((size_t)(y0 / t->cell) * (size_t)t->columns +
                                (size_t)(x0 / t->cell));
            if (v->px == LANE)
                sum_block(t, tsri_row_get(v, b, y0, x0, 1, NULL), v->row,
                          y1 - y0, x1 - x0, b, to);
            else
                sum_copied(t, b, y0, y1, x0, x1, to);
        }
    return TSR_OK;
}

static void clear(const tsri_sums *t)
{
    for (int y = t->rect.y0 / t->cell; y * t->cell < t->rect.y1; y++)
        for (int x = t->rect.x0 / t->cell; x * t->cell < t->rect.x1; x++)
            memset(t->moments + (size_t)t->node->groups *
                   ((size_t)y * (size_t)t->columns + (size_t)x), 0,
                   (size_t)t->node->groups * sizeof *t->moments);
}

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

tsr_error tsri_norm_sum(const tsri_net *net, const tsri_step *s,
                        const tsri_view *x, tsri_rect r, float *cells)
{
    const tsri_place *p = &net->place[s->dst];
    const tsri_node *n = &net->node[s->dst];
    const int size = n->channels / n->groups;
    tsri_sums t = { .step = s, .node = n, .x = x, .rect = r,
                    .cell = tsri_norm_cell(p->height, p->width),
                    .moments = (tsri_moments *)(void *)cells };

    t.columns = tsri_ceil_div(p->width, t.cell);
    /* The fewest blocks that hold whole groups. */
    t.span = size / gcd(size, LANE);
    t.spans = tsri_ceil_div(tsri_ceil_div(n->channels, LANE), t.span);
    clear(&t);
    return tsri_pool_for(net->ctx->pool,
                         tsri_ceil_div(tsri_rows(r), t.cell) * t.spans, sum_row,
                         &t);
}

static void set_channel(const tsri_node *n, int c, double mean, double factor)
{
    const size_t lanes = (size_t)tsri_lanes(n->channels);
    float *to = n->weights + 2 * lanes + 3 * (c / LANE * LANE) + c % LANE;
    const float near = (float)mean, scale = (float)(factor * n->weights[c]);

    /* x - near is exact for every x close to it; the rest goes into shift. */
    to[0] = near;
    to[LANE] = scale;
    to[2 * LANE] = (float)(n->weights[lanes + (size_t)c] +
                           ((double)near - mean) * scale);
}

void tsri_norm_finish(const tsri_net *net, const tsri_step *s,
                      const float *cells)
{
    const tsri_place *p = &net->place[s->dst];
    const tsri_node *n = &net->node[s->dst];
    const int side = tsri_norm_cell(p->height, p->width);
    const int size = n->channels / n->groups;
    const size_t count = (size_t)tsri_ceil_div(p->height, side) *
                         (size_t)tsri_ceil_div(p->width, side);
    const tsri_moments *m = (const tsri_moments *)(const void *)cells;

    for (int g = 0; g < n->groups; g++) {
        tsri_moments all = { 0, 0, 0 };
        for (size_t i = 0; i < count; i++) {
            const tsri_moments *one = &m[i * (size_t)n->groups + (size_t)g];
            combine(&all, one->count, one->mean, one->squares);
        }
        for (int c = g * size; c < (g + 1) * size; c++)
            set_channel(n, c, all.mean,
                        1 / sqrt(all.squares / all.count + (double)n->eps));
    }
}
