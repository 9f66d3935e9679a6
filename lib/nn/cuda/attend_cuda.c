/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/attend_cuda.h"
#include <math.h>

/* GROUP: queries of a square of this side see the same window of at most WINDOW,
 * see tsri_attention_window(). */
enum { PAIRS = 1 << 26, GROUP = 32, WINDOW = 128, ALIGN = 256 };

/* What is held at a time: queries of a part of high x wide, keys that they see
 * (filled up to eights, since cuDNN's tensor cores want 16 bytes). */
typedef struct sizes {
    int height, width;          /* of the plane */
    int group_high, group_wide; /* queries of one window */
    int high, wide;             /* of a part of them */
    int keys;
    size_t element, lanes;
} sizes;

/* Memory, in order. */
typedef struct rooms {
    float *scores, *zeros;
    uint8_t *weights, *keys, *values, *out;
    size_t bytes;
} rooms;

typedef struct job {
    tsri_cuda *gpu;
    tsri_dnn *dnn;
    nnk_type type;
    const tsri_dev_attention *a;
    sizes s;
    rooms r;
    const void *keys;           /* [padded][lanes] */
    int seen, padded;           /* keys of the present window */
} job;

static int eights(int n)
{
    return (n + 7) / 8 * 8;
}

static sizes sizes_of(nnk_type type, const tsri_dev_attention *a)
{
    const int h = tsri_rows(a->q.rect), w = tsri_cols(a->q.rect);
    const int most = a->windowed ? GROUP : tsri_max(h, w);
    const int sight = a->windowed ? WINDOW : tsri_max(h, w);
    sizes s = { .height = h, .width = w, .group_high = tsri_min(h, most),
                .group_wide = tsri_min(w, most),
                .keys = eights(tsri_min(h, sight) * tsri_min(w, sight)),
                .element = type == NNK_F32 ? 4 : 2,
                .lanes = (size_t)a->q.lanes };
    const int queries = tsri_max(PAIRS / s.keys, 1);

    s.wide = tsri_min(s.group_wide, queries);
    s.high = s.wide < s.group_wide ? 1 : tsri_clamp(queries / s.wide, 1,
                                                    s.group_high);
    return s;
}

static uint8_t *take(uint8_t *base, size_t *used, size_t bytes)
{
    uint8_t *at = base ? base + *used : NULL;
    *used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

static rooms rooms_of(const sizes *s, uint8_t *base)
{
    const size_t queries = (size_t)s->high * (size_t)s->wide;
    const size_t keys = (size_t)s->keys;
    rooms r = { .bytes = 0 };

    r.scores = (float *)(void *)take(base, &r.bytes, queries * keys *
                                     sizeof(float));
    r.weights = take(base, &r.bytes, queries * keys * s->element);
    r.keys = take(base, &r.bytes, keys * s->lanes * s->element);
    r.values = take(base, &r.bytes, keys * s->lanes * s->element);
    r.out = take(base, &r.bytes, queries * s->lanes * s->element);
    r.zeros = (float *)(void *)take(base, &r.bytes, (keys + s->lanes) *
                                    sizeof(float));
    return r;
}

size_t tsri_attend_bytes(nnk_type type, const tsri_dev_attention *a)
{
    const sizes s = sizes_of(type, a);
    return rooms_of(&s, NULL).bytes;
}

static cudaStream_t stream_of(const job *j)
{
    return tsri_cuda_stream(j->gpu);
}

/* Rows of a part of a plane, from or to dense ones. */
static tsr_error copy_part(const job *j, void *to, size_t to_row,
                           const void *from, size_t from_row, size_t row,
                           int rows)
{
    return tsri_cuda_check(j->gpu, cudaMemcpy2DAsync(
        to, to_row, from, from_row, row, (size_t)rows, cudaMemcpyDeviceToDevice,
        stream_of(j)), "attention");
}

static uint8_t *sample(const job *j, const tsri_dev_map *m, int y, int x)
{
    return (uint8_t *)m->data + ((size_t)y * (size_t)j->s.width + (size_t)x) *
           j->s.lanes * j->s.element;
}

/* Keys and turned values of a window, zeros behind them. */
static tsr_error set_window(job *j, tsri_rect w)
{
    const size_t each = j->s.lanes * j->s.element;
    const size_t row = (size_t)tsri_cols(w) * each;
    const nnk_map v = { j->a->v.data, 0, 0, j->s.height, j->s.width,
                        j->a->v.lanes, 1 };

    j->seen = tsri_rows(w) * tsri_cols(w);
    j->padded = eights(j->seen);
    j->keys = sample(j, &j->a->k, w.y0, w.x0);
    if (tsri_cols(w) != j->s.width || j->padded != j->seen) {
        TSR_TRY(copy_part(j, j->r.keys, row, j->keys,
                          (size_t)j->s.width * each, row, tsri_rows(w)));
        TSR_TRY(tsri_cuda_fill(j->gpu, j->r.keys + (size_t)j->seen * each, 0,
                               (size_t)(j->padded - j->seen) * each));
        j->keys = j->r.keys;
    }
    return tsri_cuda_check(j->gpu, nnk_turn_run(
        j->type, &v, w.y0, w.x0, tsri_rows(w), tsri_cols(w), j->r.values,
        j->padded, stream_of(j)), "attention");
}

/* A product: high x wide rows of `in` numbers by [out][in]. */
static tsr_error multiply(const job *j, const void *x, size_t row, int high,
                          int wide, int in, const void *matrix, int out,
                          bool floats, void *y)
{
    const tsri_dnn_shape shape = {
        .row = (int64_t)row, .plane = (int64_t)row * high, .items = 1,
        .type = (int)j->type, .height = high, .width = wide,
        .in = in, .out = out, .kernel = 1, .stride = 1, .rows = high,
        .cols = wide, .wide = floats && j->type != NNK_F32
    };
    return tsri_dnn_conv(j->dnn, &shape, &(tsri_dnn_operands){
        x, matrix, j->r.zeros, NULL, y });
}

/* The queries of `q`, which see the present window. */
static tsr_error attend_part(const job *j, tsri_rect q)
{
    const int high = tsri_rows(q), wide = tsri_cols(q), lanes = (int)j->s.lanes;
    const size_t plane_row = (size_t)j->s.width * j->s.lanes;
    const bool dense = wide == j->s.width;
    uint8_t *to = sample(j, &j->a->dst, q.y0, q.x0);
    const size_t row = (size_t)wide * j->s.lanes * j->s.element;

    TSR_TRY(multiply(j, sample(j, &j->a->q, q.y0, q.x0), plane_row, high, wide,
                     lanes, j->keys, j->padded, true, j->r.scores));
    TSR_TRY(tsri_cuda_check(j->gpu, nnk_softmax_run(
        j->type, j->r.scores, j->r.weights, high * wide, j->seen, j->padded,
        1 / sqrtf((float)j->a->channels), stream_of(j)), "attention"));
    TSR_TRY(multiply(j, j->r.weights, (size_t)wide * (size_t)j->padded, high,
                     wide, j->padded, j->r.values, lanes, false,
                     dense ? to : j->r.out));
    return dense ? TSR_OK : copy_part(j, to, plane_row * j->s.element, j->r.out,
                                      row, row, high);
}

/* The queries of one window, part by part. */
static tsr_error attend_group(job *j, tsri_rect g)
{
    const tsri_rect whole = { 0, 0, j->s.height, j->s.width };

    TSR_TRY(set_window(j, j->a->windowed ? tsri_attention_window(
        g.y0, g.x0, j->s.height, j->s.width) : whole));
    for (int y = g.y0; y < g.y1; y += j->s.high)
        for (int x = g.x0; x < g.x1; x += j->s.wide) {
            const tsri_rect part = { y, x, tsri_min(y + j->s.high, g.y1),
                                     tsri_min(x + j->s.wide, g.x1) };
            TSR_TRY(attend_part(j, part));
        }
    return TSR_OK;
}

tsr_error tsri_attend(tsri_cuda *gpu, tsri_dnn *dnn, nnk_type type,
                      const tsri_dev_attention *a, void *memory)
{
    job j = { .gpu = gpu, .dnn = dnn, .type = type, .a = a,
              .s = sizes_of(type, a) };

    j.r = rooms_of(&j.s, memory);
    TSR_TRY(tsri_cuda_fill(gpu, j.r.zeros, 0, ((size_t)j.s.keys + j.s.lanes) *
                           sizeof(float)));
    for (int y = 0; y < j.s.height; y += j.s.group_high)
        for (int x = 0; x < j.s.width; x += j.s.group_wide) {
            const tsri_rect g = { y, x, tsri_min(y + j.s.group_high, j.s.height),
                                  tsri_min(x + j.s.group_wide, j.s.width) };
            TSR_TRY(attend_group(&j, g));
        }
    return TSR_OK;
}
