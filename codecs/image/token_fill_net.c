/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "codecs/image/token_fill_net.h"
#include "lib/nn/exp.h"
#include "lib/nn/former.h"
#include "lib/pool.h"
#include "lib/weights.h"

enum {
    CHUNK = 16,                 /* holes whose logits are computed together */
    PART_NAME = 64              /* bytes of a tensor's name */
};

struct tsri_fill_net {
    tsri_former_sizes size;
    int dim, level;             /* of a codeword; whose codes it chooses among */
    tsri_former *former;
    tsri_conv1d in, head;
    float *mask;                /* [width] what a lost token looks like */
    float *norm_weight, *norm_bias;     /* [width] before the head */
    const tsri_seq_kernels *kernels;
};

/* ---- reading ---- */

typedef struct reader {
    tsr_context *ctx;
    const tsr_model *model;
} reader;

/* Floats of tensor "tessera.fill.NAME", all of them finite. */
static tsr_error read_part(const reader *r, float **out, int rank,
                           const uint64_t *dims, const char *name)
{
    const tsr_tensor *t;

    TSR_TRY(tsri_want(r->ctx, r->model, &t, rank, dims, "tessera.fill.%s", name));
    TSR_TRY(tsri_tensor_floats(r->ctx, t, out));
    for (size_t i = 0; i < tsri_tensor_count(t); i++)
        if (!isfinite((*out)[i])) {
            tsri_free(r->ctx, *out);
            *out = NULL;
            return tsri_fail(r->ctx, TSR_E_SHAPE,
                             "%s: tensor '%s' holds a number that is not finite",
                             tsr_model_path(r->model), t->name);
        }
    return TSR_OK;
}

static tsr_error read_layer(const reader *r, tsri_conv1d *layer, int in, int out,
                            const char *name)
{
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in };
    float *weight = NULL, *bias = NULL;
    char part[PART_NAME];

    snprintf(part, sizeof part, "%s.weight", name);
    tsr_error error = read_part(r, &weight, 2, dims, part);
    snprintf(part, sizeof part, "%s.bias", name);
    if (!error)
        error = read_part(r, &bias, 1, dims, part);
    if (!error)
        error = tsri_conv1d_open(layer, r->ctx, in, out, 1, 1, 1, weight, bias);
    tsri_free(r->ctx, bias);
    tsri_free(r->ctx, weight);
    return error;
}

static bool has_block(const tsr_model *model, int i)
{
    char name[PART_NAME];
    snprintf(name, sizeof name, "tessera.fill.block.%d.near", i);
    return tsr_model_tensor(model, name);
}

/* The sizes that the shapes of the tensors tell; those of the transformer are
 * checked where it is made, all others where they are used. */
static tsr_error read_sizes(const reader *r, const tsri_token_book *book,
                            tsri_fill_net *net)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, TSRI_ANY };
    const tsr_tensor *in, *near, *up, *head;

    TSR_TRY(tsri_want(r->ctx, r->model, &in, 2, any, "tessera.fill.in.weight"));
    TSR_TRY(tsri_want(r->ctx, r->model, &near, 3, any,
                      "tessera.fill.block.0.near"));
    TSR_TRY(tsri_want(r->ctx, r->model, &up, 2, any,
                      "tessera.fill.block.0.up.weight"));
    TSR_TRY(tsri_want(r->ctx, r->model, &head, 2, any,
                      "tessera.fill.head.weight"));
    if (in->dims[0] > TSRI_FORMER_WIDTH || near->dims[0] > TSRI_FORMER_WIDTH ||
        near->dims[1] > 2 * TSRI_FORMER_SIDE || up->dims[0] > INT32_MAX)
        return tsri_fail(r->ctx, TSR_E_SHAPE,
                         "%s: the net for lost tokens is too large",
                         tsr_model_path(r->model));
    net->size = (tsri_former_sizes){
        .width = (int)in->dims[0], .heads = (int)near->dims[0],
        .hidden = (int)up->dims[0], .side = (int)near->dims[1] / 2 + 1
    };
    while (has_block(r->model, net->size.blocks))
        net->size.blocks++;
    net->dim = tsri_token_book_dim(book);
    for (int l = 0; l < tsri_token_book_levels(book); l++)
        if (head->dims[0] == (uint64_t)tsri_token_book_size(book, l)) {
            net->level = l;
            return TSR_OK;
        }
    return tsri_fail(r->ctx, TSR_E_SHAPE,
                     "%s: tensor '%s' has as many rows as no level has codes",
                     tsr_model_path(r->model), head->name);
}

enum { BLOCK_PARTS = 13 };

static tsr_error read_block(const reader *r, tsri_fill_net *net, int i)
{
    const uint64_t w = (uint64_t)net->size.width, h = (uint64_t)net->size.hidden;
    const uint64_t heads = (uint64_t)net->size.heads;
    const uint64_t span = 2 * (uint64_t)net->size.side - 1;
    float *p[BLOCK_PARTS] = { NULL };
    const struct { const char *name; int rank; uint64_t dims[3]; } parts[] = {
        { "norm1.weight", 1, { w } }, { "norm1.bias", 1, { w } },
        { "qkv.weight", 2, { 3 * w, w } }, { "qkv.bias", 1, { 3 * w } },
        { "near", 3, { heads, span, span } },
        { "out.weight", 2, { w, w } }, { "out.bias", 1, { w } },
        { "norm2.weight", 1, { w } }, { "norm2.bias", 1, { w } },
        { "up.weight", 2, { h, w } }, { "up.bias", 1, { h } },
        { "down.weight", 2, { w, h } }, { "down.bias", 1, { w } },
    };
    tsr_error error = TSR_OK;

    for (int k = 0; !error && k < BLOCK_PARTS; k++) {
        char name[PART_NAME];
        snprintf(name, sizeof name, "block.%d.%s", i, parts[k].name);
        error = read_part(r, p + k, parts[k].rank, parts[k].dims, name);
    }
    const tsri_former_weights weights = { p[0], p[1], p[2], p[3], p[4], p[5],
                                          p[6], p[7], p[8], p[9], p[10], p[11],
                                          p[12] };
    if (!error)
        error = tsri_former_set(net->former, i, &weights);
    for (int k = 0; k < BLOCK_PARTS; k++)
        tsri_free(r->ctx, p[k]);
    return error;
}

static tsr_error read_net(const reader *r, const tsri_token_book *book,
                          tsri_fill_net *net)
{
    TSR_TRY(read_sizes(r, book, net));
    const int width = net->size.width;
    const uint64_t dims[] = { (uint64_t)width };
    if (tsri_former_open(&net->former, r->ctx, &net->size) == TSR_E_NOMEM)
        return TSR_E_NOMEM;
    if (!net->former)           /* the message is out */
        return TSR_E_SHAPE;
    for (int i = 0; i < net->size.blocks; i++)
        TSR_TRY(read_block(r, net, i));
    TSR_TRY(read_layer(r, &net->in, net->dim, width, "in"));
    TSR_TRY(read_part(r, &net->mask, 1, dims, "mask"));
    TSR_TRY(read_part(r, &net->norm_weight, 1, dims, "norm.weight"));
    TSR_TRY(read_part(r, &net->norm_bias, 1, dims, "norm.bias"));
    return read_layer(r, &net->head, width,
                      tsri_token_book_size(book, net->level), "head");
}

tsr_error tsri_fill_net_open(tsri_fill_net **net, tsr_context *ctx,
                             const tsr_model *model,
                             const tsri_token_book *book)
{
    const reader r = { ctx, model };

    *net = NULL;
    if (!tsr_model_tensor(model, "tessera.fill.in.weight"))
        return TSR_OK;
    tsri_fill_net *n = tsri_calloc(ctx, 1, sizeof *n);
    if (!n)
        return tsri_nomem(ctx);
    n->kernels = tsri_seq_kernels_pick(ctx->cpu);
    const tsr_error error = read_net(&r, book, n);
    if (error)
        tsri_fill_net_close(&n, ctx);
    *net = n;
    return error;
}

void tsri_fill_net_close(tsri_fill_net **net, tsr_context *ctx)
{
    if (!net || !*net)
        return;
    tsri_fill_net *n = *net;
    tsri_former_close(&n->former);
    tsri_conv1d_close(&n->in, ctx);
    tsri_conv1d_close(&n->head, ctx);
    tsri_free(ctx, n->mask);
    tsri_free(ctx, n->norm_weight);
    tsri_free(ctx, n->norm_bias);
    tsri_free(ctx, n);
    *net = NULL;
}

/* ---- running ---- */

/* Windows begin at multiples of half a side; the last ends with the grid. */
static int windows(int length, int side)
{
    const int step = tsri_max(side / 2, 1);
    return length <= side ? 1 : tsri_ceil_div(length - side, step) + 1;
}

static int window_start(int i, int length, int side)
{
    return tsri_min(i * tsri_max(side / 2, 1), tsri_max(length - side, 0));
}

/* The positions first..last - 1 whose nearest middle is that of window i. */
static void window_owns(int i, int length, int side, int *first, int *last)
{
    const int at = window_start(i, length, side);
    const int before = window_start(i - 1, length, side);
    const int after = window_start(i + 1, length, side);

    *first = i == 0 ? 0 : (before + at + side + 1) / 2;
    *last = i + 1 == windows(length, side) ? length : (at + after + side + 1) / 2;
}

typedef struct task {
    const tsri_fill_net *net;
    const tsri_near_grid *grid;
    const float *words;         /* of the net's level */
    tsri_fmap *z;
    int columns;                /* of windows */
    float *scratch;             /* of all workers */
    size_t each;
} task;

/* A window, and the memory to run it. */
typedef struct window {
    int y, x, rows, cols;       /* its place and its sides */
    int y0, x0, y1, x1;         /* the holes it decides */
    float *state, *temp, *former;       /* [n][width], [n][dim] */
    float *hole, *logit;        /* [CHUNK][width], [CHUNK][choices] */
} window;

static size_t space(const tsri_fill_net *net, float *at, window *w)
{
    const size_t width = (size_t)net->size.width;
    const size_t n = (size_t)net->size.side * (size_t)net->size.side;
    const size_t sizes[] = { n * width, n * (size_t)net->dim,
                             tsri_former_scratch(net->former), CHUNK * width,
                             CHUNK * (size_t)net->head.out };
    float **const parts[] = { &w->state, &w->temp, &w->former, &w->hole,
                              &w->logit };
    size_t all = 0;

    for (int i = 0; i < 5; i++) {
        if (at)
            *parts[i] = at + all;
        all += (sizes[i] + 15) / 16 * 16;
    }
    return all;
}

static void place(const task *t, int i, window *w)
{
    const int side = t->net->size.side;
    const int h = t->grid->height, x = i % t->columns, y = i / t->columns;

    w->rows = tsri_min(side, h);
    w->cols = tsri_min(side, t->grid->width);
    w->y = window_start(y, h, side);
    w->x = window_start(x, t->grid->width, side);
    window_owns(y, h, side, &w->y0, &w->y1);
    window_owns(x, t->grid->width, side, &w->x0, &w->x1);
}

static size_t token(const task *t, int y, int x)
{
    return (size_t)y * (size_t)t->grid->width + (size_t)x;
}

/* Is there a hole to fill and a token to go by? */
static bool of_use(const task *t, const window *w)
{
    bool hole = false, known = false;

    for (int y = w->y0; y < w->y1 && !hole; y++)
        for (int x = w->x0; x < w->x1 && !hole; x++)
            hole = t->grid->lost[token(t, y, x)];
    for (int y = w->y; hole && y < w->y + w->rows && !known; y++)
        for (int x = w->x; x < w->x + w->cols && !known; x++)
            known = !t->grid->lost[token(t, y, x)];
    return known;
}

/* The window's tokens as the transformer's input. */
static void embed(const task *t, const window *w)
{
    const tsri_fill_net *net = t->net;
    const size_t dim = (size_t)net->dim, width = (size_t)net->size.width;
    const int n = w->rows * w->cols;

    for (int i = 0; i < n; i++) {
        const size_t at = token(t, w->y + i / w->cols, w->x + i % w->cols);
        float *to = w->temp + (size_t)i * dim;
        if (t->grid->lost[at])
            memset(to, 0, dim * sizeof *to);
        else
            memcpy(to, t->grid->words + (size_t)t->grid->id[at] * dim,
                   dim * sizeof *to);
    }
    net->kernels->conv1d(&net->in, w->temp, dim, n, 0,
                         tsri_conv1d_panels(&net->in), NULL, w->state, width);
    for (int i = 0; i < n; i++)
        if (t->grid->lost[token(t, w->y + i / w->cols, w->x + i % w->cols)])
            memcpy(w->state + (size_t)i * width, net->mask,
                   width * sizeof *net->mask);
}

/* The mean of the words, by the probabilities that logits stand for; false: there
 * is no such thing, the weights went too far. */
static bool expectation(const float *logit, int choices, const float *words,
                        int dim, float *mean)
{
    float top = logit[0], sum = 0;

    for (int k = 1; k < choices; k++)
        top = logit[k] > top ? logit[k] : top;
    memset(mean, 0, (size_t)dim * sizeof *mean);
    for (int k = 0; k < choices; k++, words += dim) {
        const float part = tsri_exp(logit[k] - top);
        sum += part;
        for (int c = 0; c < dim; c++)
            mean[c] += part * words[c];
    }
    for (int c = 0; c < dim; c++)
        mean[c] /= sum;
    return isfinite(sum);
}

/* Decides `n` holes, whose states are in w->hole. */
static void decide(const task *t, const window *w, const size_t *place_of, int n)
{
    const tsri_fill_net *net = t->net;
    const int width = net->size.width, choices = net->head.out;

    tsri_layer_norm(w->hole, n, width, net->norm_weight, net->norm_bias, w->hole);
    net->kernels->conv1d(&net->head, w->hole, (size_t)width, n, 0,
                         tsri_conv1d_panels(&net->head), NULL, w->logit,
                         (size_t)choices);
    for (int i = 0; i < n; i++) {
        const size_t y = place_of[i] / (size_t)t->grid->width;
        const size_t x = place_of[i] % (size_t)t->grid->width;
        if (expectation(w->logit + (size_t)i * (size_t)choices, choices, t->words,
                        net->dim, w->temp))
            for (int c = 0; c < net->dim; c++)
                t->z->data[(size_t)c * t->z->plane + y * t->z->row + x] =
                    w->temp[c];
    }
}

static tsr_error one_window(void *cookie, int i, int worker)
{
    const task *t = cookie;
    const size_t width = (size_t)t->net->size.width;
    size_t where[CHUNK];
    window w;
    int n = 0;

    space(t->net, t->scratch + (size_t)worker * t->each, &w);
    place(t, i, &w);
    if (!of_use(t, &w))
        return TSR_OK;
    embed(t, &w);
    tsri_former_run(t->net->former, t->net->kernels, w.rows, w.cols, w.state,
                    w.former);
    for (int y = w.y0; y < w.y1; y++)
        for (int x = w.x0; x < w.x1; x++) {
            const int k = (y - w.y) * w.cols + x - w.x;
            if (!t->grid->lost[token(t, y, x)])
                continue;
            memcpy(w.hole + (size_t)n * width, w.state + (size_t)k * width,
                   width * sizeof *w.hole);
            where[n++] = token(t, y, x);
            if (n == CHUNK) {
                decide(t, &w, where, n);
                n = 0;
            }
        }
    if (n > 0)
        decide(t, &w, where, n);
    return TSR_OK;
}

tsr_error tsri_fill_net_run(const tsri_fill_net *net, tsr_context *ctx,
                            const tsri_token_book *book,
                            const tsri_near_grid *grid, tsri_fmap *z)
{
    task t = { .net = net, .grid = grid, .z = z,
               .words = tsri_token_book_words(book, net->level),
               .columns = windows(grid->width, net->size.side) };
    window none;

    t.each = space(net, NULL, &none);
    t.scratch = tsri_alloc(ctx, (size_t)tsri_pool_threads(ctx->pool),
                           t.each * sizeof *t.scratch);
    if (!t.scratch)
        return tsri_nomem(ctx);
    const tsr_error error = tsri_pool_for(
        ctx->pool, windows(grid->height, net->size.side) * t.columns, one_window,
        &t);
    tsri_free(ctx, t.scratch);
    return error;
}
