/* SPDX-License-Identifier: BSD-2-Clause */
/* The plain C backend: the oracle of the others. */
#include <string.h>
#include "lib/nn/net_internal.h"

enum { LANE = TSRI_NN_LANE, KEPT = 2 * TSRI_NN_KERNELS, COLS = 4 };

struct tsri_nn_kernel {
    int height, width;
};

struct tsri_nn_state {
    tsr_context *ctx;
    tsri_nn_kernel kernel[KEPT];
    unsigned next;
};

/* Half a lane: what any CPU of today has registers for. */
typedef float vec __attribute__((vector_size(16)));

static vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static tsr_error plain_open(tsri_nn_state **state, tsr_context *ctx,
                            const tsri_nn_backend *self)
{
    (void)self;
    *state = tsri_calloc(ctx, 1, sizeof **state);
    if (!*state)
        return tsri_nomem(ctx);
    (*state)->ctx = ctx;
    return TSR_OK;
}

static void plain_close(tsri_nn_state **state)
{
    tsri_free((*state)->ctx, *state);
    *state = NULL;
}

/* [out / 8][in / 8][kernel][kernel][8 in][8 out] */
static tsr_error plain_pack(tsri_nn_state *state, tsri_nn_conv *c,
                            const float *weight)
{
    const int taps = c->kernel * c->kernel;
    float *to = tsri_alloc(state->ctx, (size_t)c->out * (size_t)c->in,
                           (size_t)taps * sizeof *to);

    c->packed = to;
    if (!to)
        return tsri_nomem(state->ctx);
    for (int ob = 0; ob < c->out; ob += LANE)
        for (int ib = 0; ib < c->in; ib += LANE)
            for (int t = 0; t < taps; t++)
                for (int i = ib; i < ib + LANE; i++)
                    for (int o = ob; o < ob + LANE; o++)
                        *to++ = weight[((size_t)o * (size_t)c->in + (size_t)i) *
                                       (size_t)taps + (size_t)t];
    return TSR_OK;
}

static void plain_unpack(tsri_nn_state *state, tsri_nn_conv *c)
{
    tsri_free(state->ctx, c->packed);
    c->packed = NULL;
}

static tsr_error plain_prepare(tsri_nn_state *state, const tsri_nn_conv *c,
                               int height, int width,
                               const tsri_nn_kernel **kernel)
{
    tsri_nn_kernel *k = &state->kernel[state->next++ % KEPT];
    (void)c;
    *k = (tsri_nn_kernel){ height, width };
    *kernel = k;
    return TSR_OK;
}

/* What one call of a column loop reads: a source position and its strides. */
typedef struct tsri_taps {
    const float *src, *weight, *bias;
    size_t plane, row;      /* floats of the source block */
    int blocks, kernel, stride;
} tsri_taps;

/* Unless the loops over columns are unrolled, the sums live in memory. */
#define UNROLL _Pragma("GCC unroll 4")

/* `cols` neighbouring columns of one output channel block; always inlined
 * with a constant, so that the sums stay in registers. */
static inline __attribute__((always_inline))
void columns(const tsri_taps *t, float *dst, const int cols)
{
    const size_t px = (size_t)t->stride * LANE;
    const float *w = t->weight;
    vec sum[COLS][2];

    UNROLL
    for (int c = 0; c < cols; c++) {
        sum[c][0] = load(t->bias);
        sum[c][1] = load(t->bias + LANE / 2);
    }
    for (int b = 0; b < t->blocks; b++)
        for (int ky = 0; ky < t->kernel; ky++)
            for (int kx = 0; kx < t->kernel; kx++) {
                const float *p = t->src + (size_t)b * t->plane +
                                 (size_t)ky * t->row + kx * LANE;
                for (int i = 0; i < LANE; i++, w += LANE) {
                    const vec w0 = load(w), w1 = load(w + LANE / 2);
                    UNROLL
                    for (int c = 0; c < cols; c++) {
                        const float x = p[(size_t)c * px + (size_t)i];
                        sum[c][0] += w0 * x;
                        sum[c][1] += w1 * x;
                    }
                }
            }
    UNROLL
    for (int c = 0; c < cols; c++)
        memcpy(dst + c * LANE, sum[c], sizeof sum[c]);
}

static void output_row(tsri_taps *t, float *dst, int width)
{
    const size_t px = (size_t)t->stride * LANE;
    int x = 0;

    for (; x + COLS <= width; x += COLS, t->src += COLS * px)
        columns(t, dst + x * LANE, COLS);
    for (; x < width; x++, t->src += px)
        columns(t, dst + x * LANE, 1);
}

static tsr_error plain_run(const tsri_nn_kernel *k, const tsri_nn_conv *c,
                           const float *src, float *dst)
{
    const int border = c->kernel - c->stride;
    const size_t row = (size_t)(c->stride * k->width + border) * LANE;
    const size_t rows = (size_t)(c->stride * k->height + border);
    const size_t taps = (size_t)(c->kernel * c->kernel) * LANE;
    const tsri_pre act = c->act == TSRI_ACT_SILU ? TSRI_PRE_SILU :
                         TSRI_PRE_RELU;

    for (int b = 0; b < c->out / LANE; b++)
        for (int y = 0; y < k->height; y++, dst += k->width * LANE) {
            tsri_taps t = { src + (size_t)(y * c->stride) * row,
                            (float *)c->packed +
                            (size_t)b * (size_t)c->in * taps,
                            c->bias + b * LANE, rows * row, row, c->in / LANE,
                            c->kernel, c->stride };
            output_row(&t, dst, k->width);
            if (c->act != TSRI_ACT_NONE)
                tsri_row_pre(act, dst, dst, k->width);
        }
    return TSR_OK;
}

const tsri_nn_backend *tsri_nn_plain(void)
{
    static const tsri_nn_backend backend = {
        .name = "c", .open = plain_open, .close = plain_close,
        .pack = plain_pack, .unpack = plain_unpack, .prepare = plain_prepare,
        .run = plain_run
    };
    return &backend;
}
