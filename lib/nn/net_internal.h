/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the graph runner share: net_build.c (nodes, then steps),
 * net_plan.c (rectangles, buffers), net_rows.c (loops over samples), net_run.c
 * (blocks, threads, tiles). */
#ifndef TSR_LIB_NN_NET_INTERNAL_H
#define TSR_LIB_NN_NET_INTERNAL_H
#include "lib/nn/backend.h"

typedef enum tsri_kind {
    TSRI_INPUT, TSRI_CONV, TSRI_ACT, TSRI_GDN, TSRI_SHUFFLE, TSRI_UNSHUFFLE,
    TSRI_ADD, TSRI_GATE
} tsri_kind;

typedef struct tsri_node {
    tsri_kind kind;
    int in[3], inputs;
    int channels;
    int up, down;           /* samples per input sample, reduced */
    int uses;               /* by live nodes; the output has one more */
    int r;                  /* shuffle, unshuffle */
    bool inverse;           /* GDN */
    tsri_act act;
    tsri_conv conv;
    const float *beta, *gamma;
} tsri_node;

typedef enum tsri_pre {
    TSRI_PRE_COPY, TSRI_PRE_SILU, TSRI_PRE_RELU, TSRI_PRE_SQUARE
} tsri_pre;

typedef enum tsri_post {
    TSRI_POST_STORE, TSRI_POST_ADD, TSRI_POST_GATE, TSRI_POST_GDN,
    TSRI_POST_IGDN, TSRI_POST_SHUFFLE
} tsri_post;

/* What nodes become: gather `src` through unshuffle and `pre` into a block
 * with its padding, convolve, combine with `arg` by `post` and write `dst`.
 * Numbers are those of nodes. */
typedef struct tsri_step {
    int src, dst;
    int arg[2], args;       /* read at dst's own samples */
    int unshuffle;          /* 1: none */
    tsri_pre pre;
    bool has_conv;
    tsri_pad pad;
    tsri_nn_conv conv;      /* identity: in = out, kernel 1, stride 1 */
    double macs;            /* per sample of the convolution */
    tsri_post post;
    int shuffle;            /* 1: none */
    bool permuted;          /* shuffle: channel order is (i, j, c), not c, i, j */
} tsri_step;

/* Where a node's samples are during a run. */
typedef struct tsri_place {
    int height, width;      /* of the plane */
    tsri_rect rect;         /* that part of it is needed; empty: none */
    int last;               /* step that reads it last */
    size_t offset, size;    /* floats, in the arena */
    bool live;              /* has arena memory now (used while planning) */
} tsri_place;

/* Blocks a step is computed in: ny x nx of at most bh x bw. */
typedef struct tsri_grid {
    tsri_rect rect;         /* of the convolution's output */
    int bh, bw, ny, nx;
    size_t src, dst;        /* floats of a gathered and of a computed block */
} tsri_grid;

struct tsri_net {
    tsr_context *ctx;
    const tsri_nn_backend *backend;
    tsri_nn_state *state;
    tsr_error error;        /* first fault while building */
    tsri_node *node;
    int nodes, capacity;
    tsri_step *step;
    int steps;
    int output;             /* node, -1 before tsri_net_finish() */
    tsri_place *place;      /* [nodes], scratch of the last plan */
    size_t arena, scratch;  /* floats of the last plan; scratch: per thread */
};

static inline int tsri_lanes(int channels)
{
    return tsri_ceil_div(channels, TSRI_NN_LANE) * TSRI_NN_LANE;
}
static inline int tsri_rows(tsri_rect r) { return r.y1 - r.y0; }
static inline int tsri_cols(tsri_rect r) { return r.x1 - r.x0; }

/** Fills net->place, arena and scratch for `out` of an input plane of height x
 *  width.  TSR_E_ARG where a plane does not fit its neighbours or `out` is
 *  not a part of the output; TSR_E_NOMEM where a size overflows. */
tsr_error tsri_plan(tsri_net *net, int height, int width, tsri_rect out);

/** How `step` is cut for `threads` threads, after tsri_plan(). */
tsri_grid tsri_step_grid(const tsri_net *net, const tsri_step *step);

/** The part of the gathered plane (unshuffled, before padding is cut off)
 *  that the part `r` of the convolution's output reads. */
tsri_rect tsri_step_reads(const tsri_step *step, tsri_rect r);

/* Samples of a node: (channel 8 b + l, y, x) is at data[b * block + l * lane +
 * (y - rect.y0) * row + (x - rect.x0) * px].  Either blocked (lane 1, px 8) or
 * planar (px 1). */
typedef struct tsri_view {
    float *data;
    tsri_rect rect;
    int channels;
    size_t block, lane, row, px;
} tsri_view;

tsri_view tsri_view_blocked(float *data, tsri_rect rect, int channels);
tsri_view tsri_view_planar(const tsri_fmap *map, tsri_rect rect);

/* Rows of n samples of one channel block, n * 8 floats.  `temp` holds one row
 * and is used where the view's own memory is not in that order. */
const float *tsri_row_get(const tsri_view *v, int b, int y, int x, int n,
                          float *temp);
/** The same from the plane that unshuffling `v` by r gives. */
const float *tsri_row_unshuffled(const tsri_view *v, int r, int b, int y, int x,
                                 int n, float *temp);
/** Memory to write a row to; hand it to tsri_row_put() when it is written. */
float *tsri_row_out(const tsri_view *v, int b, int y, int x, float *temp);
void tsri_row_put(const tsri_view *v, int b, int y, int x, int n,
                  const float *row);

void tsri_row_pre(tsri_pre pre, float *dst, const float *src, int n);
/** dst = what `post` makes of row and the rows of its arguments; dst may be
 *  any of them. */
void tsri_row_post(tsri_post post, float *dst, const float *row,
                   const float *a0, const float *a1, int n);

/** Writes a block [channels / 8][h][w][8] whose first sample is (y, x) of the
 *  unshuffled plane to dst, shuffled by r; samples outside dst->rect are left
 *  out. */
void tsri_shuffle_put(const tsri_view *dst, int r, bool permuted,
                      const float *block, int y, int x, int h, int w);
#endif
