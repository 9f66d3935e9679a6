/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/nn/exp.h"
#include "lib/nn/former.h"

enum { LANES = TSRI_FORMER_LANES, PANEL = TSRI_CONV1D_PANEL };
static const float usual_eps = 1e-5f;

typedef struct block {
    float *norm;                /* [4][width]: weight and bias of both */
    float *near;
    tsri_conv1d qkv, out, up, down;
} block;

struct tsri_former {
    tsr_context *ctx;
    tsri_former_sizes size;
    bool row;
    float eps;
    float *zero;                /* the bias of products of two signals */
    block *blocks;
};

static int round_up(int n, int step)
{
    return (n + step - 1) / step * step;
}

static bool sizes_fit(const tsri_former_sizes *s, int most)
{
    return s->width >= 1 && s->width <= TSRI_FORMER_WIDTH && s->heads >= 1 &&
           s->width % s->heads == 0 && s->width / s->heads % LANES == 0 &&
           s->hidden >= 1 && s->hidden <= 4 * TSRI_FORMER_WIDTH &&
           s->blocks >= 1 && s->blocks <= TSRI_FORMER_WIDTH && s->side >= 1 &&
           s->side <= most;
}

static int largest(const tsri_former *f)
{
    return f->row ? f->size.side : f->size.side * f->size.side;
}

static tsr_error open_former(tsri_former **former, tsr_context *ctx,
                             const tsri_former_sizes *sizes, bool row,
                             float eps)
{
    *former = NULL;
    if (!sizes_fit(sizes, row ? TSRI_FORMER_ROW : TSRI_FORMER_SIDE))
        return tsri_fail(ctx, TSR_E_ARG,
                         "a transformer of width %d, %d heads, %d hidden, %d "
                         "blocks and windows of %d is not possible",
                         sizes->width, sizes->heads, sizes->hidden,
                         sizes->blocks, sizes->side);
    tsri_former *f = tsri_calloc(ctx, 1, sizeof *f);
    if (!f)
        return tsri_nomem(ctx);
    f->ctx = ctx;
    f->size = *sizes;
    f->row = row;
    f->eps = eps;
    f->blocks = tsri_calloc(ctx, (size_t)sizes->blocks, sizeof *f->blocks);
    f->zero = tsri_calloc(ctx, (size_t)tsri_max(largest(f), sizes->width) + PANEL,
                          sizeof *f->zero);
    if (f->blocks && f->zero) {
        *former = f;
        return TSR_OK;
    }
    tsri_former_close(&f);
    return tsri_nomem(ctx);
}

tsr_error tsri_former_open(tsri_former **former, tsr_context *ctx,
                           const tsri_former_sizes *sizes)
{
    return open_former(former, ctx, sizes, false, usual_eps);
}

tsr_error tsri_former_open_row(tsri_former **former, tsr_context *ctx,
                               const tsri_former_sizes *sizes, float eps)
{
    return open_former(former, ctx, sizes, true, eps);
}

static float *copied(tsr_context *ctx, const float *from, size_t count)
{
    float *to = tsri_alloc(ctx, count, sizeof *to);
    return to ? memcpy(to, from, count * sizeof *to) : NULL;
}

static tsr_error set_norms(tsri_former *f, block *b, const tsri_former_weights *w)
{
    const float *const parts[] = { w->norm1_weight, w->norm1_bias,
                                   w->norm2_weight, w->norm2_bias };
    const size_t width = (size_t)f->size.width;
    const size_t span = 2 * (size_t)f->size.side - 1;

    b->norm = tsri_alloc(f->ctx, 4 * width, sizeof *b->norm);
    if (!f->row)
        b->near = copied(f->ctx, w->near, (size_t)f->size.heads * span * span);
    if (!b->norm || (!f->row && !b->near))
        return tsri_nomem(f->ctx);
    for (int i = 0; i < 4; i++)
        memcpy(b->norm + (size_t)i * width, parts[i], width * sizeof *b->norm);
    return TSR_OK;
}

/* Queries come out divided by sqrt(width / heads). */
static tsr_error set_qkv(tsri_former *f, block *b, const tsri_former_weights *w)
{
    const size_t width = (size_t)f->size.width;
    const float scale = 1 / sqrtf((float)(f->size.width / f->size.heads));
    float *weight = copied(f->ctx, w->qkv_weight, 3 * width * width);
    float *bias = copied(f->ctx, w->qkv_bias, 3 * width);
    tsr_error error = weight && bias ? TSR_OK : tsri_nomem(f->ctx);

    if (!error) {
        for (size_t i = 0; i < width * width; i++)
            weight[i] *= scale;
        for (size_t i = 0; i < width; i++)
            bias[i] *= scale;
        error = tsri_conv1d_open(&b->qkv, f->ctx, (int)width, (int)(3 * width),
                                 1, 1, 1, weight, bias);
    }
    tsri_free(f->ctx, bias);
    tsri_free(f->ctx, weight);
    return error;
}

tsr_error tsri_former_set(tsri_former *former, int i,
                          const tsri_former_weights *w)
{
    block *b = former->blocks + i;
    const int width = former->size.width, hidden = former->size.hidden;
    tsr_context *ctx = former->ctx;

    TSR_TRY(set_norms(former, b, w));
    TSR_TRY(set_qkv(former, b, w));
    TSR_TRY(tsri_conv1d_open(&b->out, ctx, width, width, 1, 1, 1,
                             w->out_weight, w->out_bias));
    TSR_TRY(tsri_conv1d_open(&b->up, ctx, width, hidden, 1, 1, 1,
                             w->up_weight, w->up_bias));
    return tsri_conv1d_open(&b->down, ctx, hidden, width, 1, 1, 1,
                            w->down_weight, w->down_bias);
}

void tsri_former_close(tsri_former **former)
{
    tsri_former *f = *former;

    *former = NULL;
    if (!f)
        return;
    for (int i = 0; f->blocks && i < f->size.blocks; i++) {
        block *b = f->blocks + i;
        tsri_free(f->ctx, b->norm);
        tsri_free(f->ctx, b->near);
        tsri_conv1d_close(&b->qkv, f->ctx);
        tsri_conv1d_close(&b->out, f->ctx);
        tsri_conv1d_close(&b->up, f->ctx);
        tsri_conv1d_close(&b->down, f->ctx);
    }
    tsri_free(f->ctx, f->blocks);
    tsri_free(f->ctx, f->zero);
    tsri_free(f->ctx, f);
}

/* In LANES chains: what compilers vectorise, and one order. */
static float sum_of(const float *x, int n)
{
    float part[LANES] = { 0 }, sum = 0;

    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += x[i + l];
    for (int l = 0; l < LANES; l++)
        sum += part[l];
    return sum;
}

void tsri_layer_norm(const float *x, int n, int width, const float *weight,
                     const float *bias, float *y)
{
    tsri_layer_norm_eps(x, n, width, usual_eps, weight, bias, y);
}

void tsri_layer_norm_eps(const float *x, int n, int width, float eps,
                         const float *weight, const float *bias, float *y)
{
    for (int i = 0; i < n; i++, x += width, y += width) {
        const float mean = sum_of(x, width) / (float)width;
        float part[LANES] = { 0 };
        for (int k = 0; k < width; k += LANES)
            for (int l = 0; l < LANES; l++)
                part[l] += (x[k + l] - mean) * (x[k + l] - mean);
        const float variance = sum_of(part, LANES) / (float)width;
        const float scale = 1 / sqrtf(variance + eps);
        for (int k = 0; k < width; k += LANES)
            for (int l = 0; l < LANES; l++)
                y[k + l] = (x[k + l] - mean) * scale * weight[k + l] + bias[k + l];
    }
}

static inline float gelu(float x)
{
    /* x (1 + tanh u) / 2 = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + ...) */
    return x / (1 + tsri_exp(-1.59576912f * (x + 0.044715f * x * x * x)));
}

static void gelu_all(float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            x[i + (size_t)l] = gelu(x[i + (size_t)l]);
    for (; i < n; i++)
        x[i] = gelu(x[i]);
}

static void gelu_erf(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= 0.5f + 0.5f * erff(x[i] * 0.70710678f);
}

/* The memory of a run. */
typedef struct space {
    float *a;                   /* [n][width]: normed; what attention gives */
    float *b;                   /* [n][3 width]: q, k, v; hidden */
    float *score;               /* [n][n rounded up] */
    float *key, *value;         /* packed, of a head */
} space;

static size_t space_floats(const tsri_former *f, float *at, space *s)
{
    const size_t n = (size_t)largest(f), width = (size_t)f->size.width;
    const size_t wide = (size_t)round_up(largest(f), PANEL);
    const size_t head = (size_t)round_up(f->size.width / f->size.heads, PANEL);
    const size_t b = (size_t)tsri_max(3 * f->size.width, f->size.hidden);
    const size_t sizes[] = { n * width, n * b, n * wide, wide * head,
                             wide * head };
    float **const parts[] = { &s->a, &s->b, &s->score, &s->key, &s->value };
    size_t all = 0;

    for (int i = 0; i < 5; i++) {
        if (at)
            *parts[i] = at + all;
        all += (sizes[i] + PANEL - 1) / PANEL * PANEL;
    }
    return all;
}

size_t tsri_former_scratch(const tsri_former *former)
{
    space none;
    return space_floats(former, NULL, &none);
}

/* Keys as the weights of a layer with an output for each position; values as
 * those of one with an input for each. */
static void pack_head(const float *qkv, size_t row, int width, int head, int n,
                      int at, const space *s)
{
    const size_t dim = (size_t)head;

    memset(s->key, 0, (size_t)round_up(n, PANEL) * dim * sizeof *s->key);
    if (head % PANEL)
        memset(s->value, 0, (size_t)n * (size_t)round_up(head, PANEL) *
               sizeof *s->value);
    for (int j = 0; j < n; j++) {
        const float *k = qkv + (size_t)j * row + width + at, *v = k + width;
        float *key = s->key + (size_t)(j / PANEL) * dim * PANEL + j % PANEL;
        for (int c = 0; c < head; c++) {
            key[c * PANEL] = k[c];
            s->value[((size_t)(c / PANEL) * (size_t)n + (size_t)j) * PANEL +
                     (size_t)(c % PANEL)] = v[c];
        }
    }
}

/* score[query][key] = near of their places. */
static void put_near(const float *near, int side, int rows, int cols,
                     float *score, size_t row)
{
    const int span = 2 * side - 1;

    for (int q = 0; q < rows * cols; q++, score += row)
        for (int y = 0; y < rows; y++)
            memcpy(score + y * cols,
                   near + (y - q / cols + side - 1) * span + side - 1 - q % cols,
                   (size_t)cols * sizeof *score);
}

/* Of n numbers; the row has room for a multiple of PANEL. */
static void softmax(float *x, int n)
{
    const int wide = round_up(n, PANEL);
    float part[LANES], top;

    for (int i = n; i < wide; i++)
        x[i] = -INFINITY;
    memcpy(part, x, sizeof part);
    for (int i = LANES; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] = x[i + l] > part[l] ? x[i + l] : part[l];
    top = part[0];
    for (int l = 1; l < LANES; l++)
        top = part[l] > top ? part[l] : top;
    for (int i = 0; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            x[i + l] = tsri_exp(x[i + l] - top);
    const float scale = 1 / sum_of(x, wide);
    for (int i = 0; i < wide; i += LANES)
        for (int l = 0; l < LANES; l++)
            x[i + l] *= scale;
}

/* s->a = attention of the q, k, v in s->b. */
static void attend(const tsri_former *f, const block *b,
                   const tsri_seq_kernels *kernels, int rows, int cols,
                   const space *s)
{
    const int n = rows * cols, wide = round_up(n, PANEL);
    const int width = f->size.width, head = width / f->size.heads;
    const int span = 2 * f->size.side - 1;
    const size_t row = 3 * (size_t)width;
    const tsri_conv1d key = { head, wide, 1, 1, 1, s->key, f->zero };
    const tsri_conv1d value = { n, head, 1, 1, 1, s->value, f->zero };

    for (int h = 0; h < f->size.heads; h++) {
        pack_head(s->b, row, width, head, n, h * head, s);
        memset(s->score, 0, (size_t)n * (size_t)wide * sizeof *s->score);
        if (!f->row)
            put_near(b->near + (size_t)h * (size_t)(span * span), f->size.side,
                     rows, cols, s->score, (size_t)wide);
        kernels->conv1d(&key, s->b + h * head, row, n, 0,
                        tsri_conv1d_panels(&key), s->score, s->score,
                        (size_t)wide);
        for (int q = 0; q < n; q++)
            softmax(s->score + (size_t)q * (size_t)wide, n);
        kernels->conv1d(&value, s->score, (size_t)wide, n, 0,
                        tsri_conv1d_panels(&value), NULL, s->a + h * head,
                        (size_t)width);
    }
}

/* y = layer(x) + add. */
static void linear(const tsri_seq_kernels *kernels, const tsri_conv1d *layer,
                   const float *x, int n, const float *add, float *y)
{
    kernels->conv1d(layer, x, (size_t)layer->in, n, 0, tsri_conv1d_panels(layer),
                    add, y, (size_t)layer->out);
}

void tsri_former_block(const tsri_former *f, const tsri_seq_kernels *kernels,
                       int i, int rows, int cols, float *x, float *scratch)
{
    const int n = rows * cols, width = f->size.width;
    const block *b = f->blocks + i;
    space s;

    space_floats(f, scratch, &s);
    tsri_layer_norm_eps(x, n, width, f->eps, b->norm, b->norm + width, s.a);
    linear(kernels, &b->qkv, s.a, n, NULL, s.b);
    attend(f, b, kernels, rows, cols, &s);
    linear(kernels, &b->out, s.a, n, x, x);
    tsri_layer_norm_eps(x, n, width, f->eps, b->norm + 2 * width,
                        b->norm + 3 * width, s.a);
    linear(kernels, &b->up, s.a, n, NULL, s.b);
    (f->row ? gelu_erf : gelu_all)(s.b, (size_t)n * (size_t)f->size.hidden);
    linear(kernels, &b->down, s.b, n, x, x);
}

void tsri_former_run(const tsri_former *f, const tsri_seq_kernels *kernels,
                     int rows, int cols, float *x, float *scratch)
{
    for (int i = 0; i < f->size.blocks; i++)
        tsri_former_block(f, kernels, i, rows, cols, x, scratch);
}
