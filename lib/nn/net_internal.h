/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the graph runner share: net_build.c (nodes, then steps),
 * net_plan.c (rectangles, buffers), net_rows.c (loops over samples), net_run.c
 * (blocks, threads), net_norm.c (statistics), net_attention.c, net_tile.c (tiles
 * and passes). */
#ifndef TSR_LIB_NN_NET_INTERNAL_H
#define TSR_LIB_NN_NET_INTERNAL_H
#include "lib/nn/backend.h"

typedef enum tsri_kind {
    TSRI_INPUT, TSRI_CONV, TSRI_ACT, TSRI_GDN, TSRI_SHUFFLE, TSRI_UNSHUFFLE,
    TSRI_ADD, TSRI_GATE, TSRI_UPSAMPLE, TSRI_STATISTICS, TSRI_NORM,
    TSRI_ATTENTION
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
    int groups;             /* statistics */
    float eps;
    /* Statistics: gamma, then beta, [lanes of channels] each, then for every
     * channel block mean[8], scale[8], shift[8] of the last plane. */
    float *weights;
} tsri_node;

typedef enum tsri_pre {
    TSRI_PRE_COPY, TSRI_PRE_SILU, TSRI_PRE_RELU, TSRI_PRE_SQUARE
} tsri_pre;

typedef void (*tsri_row_normer)(tsri_pre pre, float *dst, const float *src,
                                int n, const float *coefficients);

typedef enum tsri_post {
    TSRI_POST_STORE, TSRI_POST_ADD, TSRI_POST_GATE, TSRI_POST_GDN,
    TSRI_POST_IGDN, TSRI_POST_SHUFFLE
} tsri_post;

/* A norm is two nodes: its statistics, which read x, and the norm itself, which
 * reads x and the statistics. */
typedef enum tsri_work {
    TSRI_WORK_CONV, TSRI_WORK_STATISTICS, TSRI_WORK_ATTENTION
} tsri_work;

/* What nodes become: gather `src` through unshuffle and `pre` into a block
 * with its padding, convolve, combine with `arg` by `post` and write `dst`.
 * Numbers are those of nodes. */
typedef struct tsri_step {
    tsri_work work;         /* statistics read src; attention reads q from src,
                             * k and v from arg */
    int src, dst;
    int arg[2], args;       /* read at dst's own samples */
    bool cut;               /* all that later steps read from here on is dst */
    int unshuffle;          /* 1: none */
    int upsample;           /* 1: none; 2 */
    int norm;               /* node of the statistics to apply before `pre`;
                             * 0: none */
    tsri_pre pre;
    bool has_conv;
    tsri_pad pad;
    tsri_side side;
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

/* A node that outlives the run of one tile: its whole plane, blocked.
 * Statistics have no data of their own here. */
typedef struct tsri_held {
    float *data;
    size_t size;            /* floats */
    bool ready;             /* computed: nothing before it is needed */
} tsri_held;

struct tsri_net {
    tsr_context *ctx;
    const tsri_nn_backend *backend;
    tsri_nn_state *state;
    tsri_row_normer row_norm;
    tsr_error error;        /* first fault while building */
    tsri_node *node;
    int nodes, capacity;
    tsri_step *step;
    int steps;
    int output;             /* node, -1 before tsri_net_finish() */
    tsri_place *place;      /* [nodes], scratch of the last plan */
    tsri_held *held;        /* [nodes] */
    size_t arena, scratch;  /* floats of the last plan; scratch: per thread */
    size_t extra;           /* floats that one step of it needs besides */
    size_t packed;          /* floats that its backend allocates meanwhile */
    int exact;              /* TSRI_ATTENTION_EXACT; smaller in tests */
};

static inline int tsri_lanes(int channels)
{
    return tsri_ceil_div(channels, TSRI_NN_LANE) * TSRI_NN_LANE;
}
static inline int tsri_rows(tsri_rect r) { return r.y1 - r.y0; }
static inline int tsri_cols(tsri_rect r) { return r.x1 - r.x0; }

static inline bool tsri_empty(tsri_rect r)
{
    return r.y0 >= r.y1 || r.x0 >= r.x1;
}

/** Fills net->place, arena, scratch, extra and packed for `out` of an input plane of height x
 *  width.  TSR_E_ARG where a plane does not fit its neighbours or `out` is
 *  not a part of the output; TSR_E_NOMEM where a size overflows. */
tsr_error tsri_plan(tsri_net *net, int height, int width, tsri_rect out);

/** Sizes of all planes, which tsri_plan() sets, too. */
tsr_error tsri_plan_planes(tsri_net *net, int height, int width);

/** The same as tsri_plan() for the part `rect` (not empty, inside their planes)
 *  of other nodes, of the same scale, after tsri_plan_planes(); false where a
 *  size overflows.  Nodes that are held and ready are not computed. */
bool tsri_plan_nodes(tsri_net *net, const int *node, int nodes, tsri_rect rect);

/** Bytes of the last plan. */
uint64_t tsri_plan_bytes(const tsri_net *net);

/** Floats of node x, blocked, for its rectangle `r`; false on overflow. */
bool tsri_floats_of(const tsri_net *net, int x, tsri_rect r, size_t *out);

/** Whether the last plan computes the step. */
static inline bool tsri_planned(const tsri_net *net, const tsri_step *s)
{
    return !tsri_empty(net->place[s->dst].rect) && !net->held[s->dst].ready;
}

/** How `step` is cut for `threads` threads, after tsri_plan(). */
tsri_grid tsri_step_grid(const tsri_net *net, const tsri_step *step);

/** The part of the gathered plane (unshuffled or upsampled, before padding is cut
 *  off)
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
/** The same after a norm: coefficients mean[8], scale[8], shift[8]. */
void tsri_row_norm(tsri_pre pre, float *dst, const float *src, int n,
                   const float *coefficients);
/** That, or one that gives the same bits sooner. */
tsri_row_normer tsri_row_norm_pick(unsigned cpu);
/** dst = what `post` makes of row and the rows of its arguments; dst may be
 *  any of them. */
void tsri_row_post(tsri_post post, float *dst, const float *row,
                   const float *a0, const float *a1, int n);

/** Writes a block [channels / 8][h][w][8] whose first sample is (y, x) of the
 *  unshuffled plane to dst, shuffled by r; samples outside dst->rect are left
 *  out. */
void tsri_shuffle_put(const tsri_view *dst, int r, bool permuted,
                      const float *block, int y, int x, int h, int w);

/* ---- running (net_run.c) ---- */

typedef struct tsri_buffers {
    float *arena, *scratch, *extra;
    tsri_fmap *dst;             /* of the output node */
    tsri_net_source source;
    void *cookie;
} tsri_buffers;

tsri_view tsri_view_of(const tsri_net *net, const tsri_buffers *m, int x);

/** Allocates for the last plan and runs it; on TSR_OK the memory is kept, so
 *  that results can be read from it, until tsri_buffers_free(). */
tsr_error tsri_run_plan(const tsri_net *net, tsri_buffers *m);
void tsri_buffers_free(const tsri_net *net, tsri_buffers *m);

/* ---- statistics (net_norm.c) ---- */

/** Side of the square cells, aligned to the plane, that are summed apart. */
int tsri_norm_cell(int height, int width);
/** Floats of the cells of a plane. */
bool tsri_norm_floats(const tsri_net *net, const tsri_step *s, size_t *floats);
/** Sums the cells of `r`, a part of the plane that consists of whole cells. */
tsr_error tsri_norm_sum(const tsri_net *net, const tsri_step *s,
                        const tsri_view *x, tsri_rect r, float *cells);
/** From the sums of all cells to coefficients. */
void tsri_norm_finish(const tsri_net *net, const tsri_step *s,
                      const float *cells);
/** The coefficients of channel block b. */
static inline const float *tsri_norm_of(const tsri_node *statistics, int b)
{
    return statistics->weights + 2 * (size_t)tsri_lanes(statistics->channels) +
           3 * (size_t)b * TSRI_NN_LANE;
}

/* ---- attention (net_attention.c) ---- */

bool tsri_attention_windowed(const tsri_net *net, int node);
/** The keys that the queries of `r` see together. */
tsri_rect tsri_attention_keys(const tsri_net *net, const tsri_step *s,
                              tsri_rect r);
/** The keys that the query at (y, x) of a windowed attention sees. */
tsri_rect tsri_attention_window(int y, int x, int height, int width);
/** Memory for the part of the last plan; scratch: per thread. */
bool tsri_attention_floats(const tsri_net *net, const tsri_step *s,
                           size_t *scratch, size_t *extra, size_t *packed);
double tsri_attention_macs(const tsri_net *net, const tsri_step *s);
tsr_error tsri_attention_run(const tsri_net *net, const tsri_step *s,
                             const tsri_buffers *m);
#endif
