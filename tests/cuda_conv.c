/* SPDX-License-Identifier: BSD-2-Clause */
/* Our own convolutions on a CUDA device, with every tile, beside sums in double
 * precision.  In 16 bits inputs are such that all sums are exact, and so is what is
 * wanted.  Results are the same bits whatever the tile, which the number of items
 * decides, too.  Memory is full of NaN
 * before.  Skipped where there is no device. */
#include "config.h"
#include <math.h>
#include <string.h>
#include "lib/cuda/device_cuda.h"
#include "lib/nn/cuda/steps_kernels.h"
#include "tests/check.h"

typedef struct conv_case {
    int height, width, in, out, kernel, stride, act, add, wide;
} conv_case;

/* As they are and COPIES times over, they take every tile between them. */
static const conv_case cases[] = {
    { 66, 65, 16, 72, 3, 1, 0, 0, 0 }, { 66, 65, 8, 136, 1, 1, 2, 1, 0 },
    { 131, 130, 24, 128, 5, 2, 0, 1, 1 }, { 66, 65, 8, 40, 3, 1, 2, 0, 1 },
    { 50, 50, 16, 64, 3, 1, 0, 1, 0 }, { 50, 51, 40, 44, 3, 1, 1, 0, 0 },
    { 66, 65, 24, 20, 3, 1, 0, 0, 0 }, { 9, 7, 72, 100, 3, 2, 2, 1, 0 },
    { 1, 1, 8, 4, 3, 1, 0, 0, 1 }, { 5, 33, 64, 32, 1, 1, 0, 1, 1 },
    { 150, 140, 32, 96, 3, 1, 0, 0, 0 }
};
enum { ITEMS = 2, COPIES = 8, GAP = 8, CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    conv_case s;
    nnk_type type;
    nnk_conv c;
    size_t x_count, w_count, y_count;
    float *x, *weight, *bias, *add;
    double *want, *size;    /* sums, and of magnitudes */
} problem;

/* ---- numbers ---- */

static float number(check_rng *rng, nnk_type type)
{
    return type == NNK_F32 ? check_float(rng) :
           ((float)check_below(rng, 9) - 4) / 4;
}

static float *numbers(check_rng *rng, nnk_type type, size_t n)
{
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = number(rng, type);
    return v;
}

/* A NaN of all bits, as memory is filled with them. */
static void spoil(float *v)
{
    memset(v, 0xff, sizeof *v);
}

static double activated(int act, double v)
{
    return act == 1 ? v / (1 + exp(-v)) : act == 2 && v < 0 ? 0 : v;
}

static void eval_at(problem *p, int item, int row, int col, int o)
{
    const nnk_conv *c = &p->c;
    double sum = 0, size = 0;

    for (int dy = 0; dy < c->kernel; dy++)
        for (int dx = 0; dx < c->kernel; dx++) {
            const int y = row * c->stride - c->top + dy;
            const int x = col * c->stride - c->left + dx;
            if (y < 0 || y >= c->height || x < 0 || x >= c->width)
                continue;
            const float *from = p->x + item * c->plane + y * c->row + x * c->in;
            const float *w = p->weight +
                ((size_t)(o * c->kernel + dy) * (size_t)c->kernel + (size_t)dx) *
                (size_t)c->in;
            for (int i = 0; i < c->in; i++) {
                sum += (double)from[i] * (double)w[i];
                size += fabs((double)from[i] * (double)w[i]);
            }
        }
    const size_t at = (((size_t)item * (size_t)c->rows + (size_t)row) *
                       (size_t)c->cols + (size_t)col) * (size_t)c->out + (size_t)o;
    p->want[at] = activated(c->act, sum + (double)p->bias[o]) +
                  (p->add ? (double)p->add[at] : 0);
    p->size[at] = size + 2;
}

static void problem_open(problem *p, const conv_case *s, nnk_type type, uint64_t seed)
{
    check_rng rng = { seed };
    const int top = s->kernel / 2;
    const int64_t row = (int64_t)s->width * s->in + GAP;
    nnk_conv *c = &p->c;

    *p = (problem){ .s = *s, .type = type };
    *c = (nnk_conv){ .row = row, .plane = row * s->height + GAP, .items = ITEMS,
                     .height = s->height, .width = s->width, .in = s->in,
                     .out = s->out, .kernel = s->kernel, .stride = s->stride,
                     .top = top, .left = top,
                     .rows = (s->height + s->stride - 1) / s->stride,
                     .cols = (s->width + s->stride - 1) / s->stride,
                     .act = s->act, .wide = s->wide || type == NNK_F32 };
    p->x_count = (size_t)(c->plane * ITEMS);
    p->w_count = (size_t)(c->out * c->kernel * c->kernel * c->in);
    p->y_count = (size_t)(ITEMS * c->rows * c->cols * c->out);
    p->x = numbers(&rng, type, p->x_count);
    p->weight = numbers(&rng, type, p->w_count);
    p->bias = numbers(&rng, type, (size_t)c->out);
    p->add = s->add ? numbers(&rng, type, p->y_count) : NULL;
    for (size_t i = 0; i < p->x_count; i++)     /* what must not be read */
        if ((int64_t)i % c->plane >= row * s->height ||
            (int64_t)i % c->plane % row >= (int64_t)s->width * s->in)
            spoil(&p->x[i]);
    p->want = malloc(p->y_count * sizeof *p->want);
    p->size = malloc(p->y_count * sizeof *p->size);
    assert_true(p->want && p->size);
    for (int item = 0; item < ITEMS; item++)
        for (int y = 0; y < c->rows; y++)
            for (int x = 0; x < c->cols; x++)
                for (int o = 0; o < c->out; o++)
                    eval_at(p, item, y, x, o);
}

static void problem_close(problem *p)
{
    free(p->x);
    free(p->weight);
    free(p->bias);
    free(p->add);
    free(p->want);
    free(p->size);
}

/* ---- the device ---- */

static size_t bytes_of(nnk_type type, int wide, size_t n)
{
    return n * (type == NNK_F32 || wide ? 4 : 2);
}

/* n floats as numbers of the type, on the device, `copies` times. */
static void *put(tsri_cuda *gpu, nnk_type type, const float *v, size_t n, int copies)
{
    const size_t bytes = bytes_of(type, 0, n);
    uint8_t *out;
    void *floats;

    assert_int_equal(tsri_cuda_alloc(gpu, &floats, n, 4), TSR_OK);
    assert_int_equal(tsri_cuda_upload(gpu, floats, v, n * 4), TSR_OK);
    assert_int_equal(tsri_cuda_alloc(gpu, &out, (size_t)copies, bytes), TSR_OK);
    for (int i = 0; i < copies; i++)
        assert_int_equal(nnk_convert_run(type, out + (size_t)i * bytes, floats, n,
                                         tsri_cuda_stream(gpu)), 0);
    tsri_cuda_free(gpu, floats);
    return out;
}

static void *take_back(tsri_cuda *gpu, const void *from, size_t bytes)
{
    void *v = malloc(bytes);

    assert_non_null(v);
    assert_int_equal(tsri_cuda_download(gpu, v, from, bytes), TSR_OK);
    assert_int_equal(tsri_cuda_sync(gpu), TSR_OK);
    return v;
}

/* The outputs of so many copies of the problem; to be freed. */
static uint8_t *run(tsri_cuda *gpu, const problem *p, int copies)
{
    const size_t bytes = bytes_of(p->type, p->c.wide, p->y_count) * (size_t)copies;
    nnk_conv c = p->c;
    void *x = put(gpu, p->type, p->x, p->x_count, copies);
    void *weight = put(gpu, p->type, p->weight, p->w_count, 1);
    void *bias = put(gpu, NNK_F32, p->bias, (size_t)c.out, 1), *y;
    void *add = !p->add ? NULL :
                put(gpu, c.wide ? NNK_F32 : p->type, p->add, p->y_count, copies);

    assert_int_equal(tsri_cuda_alloc(gpu, &y, bytes, 1), TSR_OK);
    assert_int_equal(tsri_cuda_fill(gpu, y, 0xff, bytes), TSR_OK);
    c.x = x;
    c.weight = weight;
    c.bias = bias;
    c.add = add;
    c.y = y;
    c.items *= copies;
    assert_int_equal(nnk_conv_run(p->type, &c, tsri_cuda_stream(gpu)), 0);
    uint8_t *v = take_back(gpu, y, bytes);
    tsri_cuda_free(gpu, x);
    tsri_cuda_free(gpu, weight);
    tsri_cuda_free(gpu, bias);
    tsri_cuda_free(gpu, add);
    tsri_cuda_free(gpu, y);
    return v;
}

/* ---- tests ---- */

static void check_floats(const problem *p, const uint8_t *bytes)
{
    const float *got = (const float *)(const void *)bytes;
    const double part = p->type == NNK_F32 ? 3e-6 : p->c.act == 1 ? 1e-3 : 0;

    for (size_t i = 0; i < p->y_count; i++)
        if (!(fabs((double)got[i] - p->want[i]) <= part * p->size[i]))
            fail_msg("number %zu: %g, not %g", i, (double)got[i], p->want[i]);
}

/* 16 bits: what is wanted, rounded as the device does. */
static void check_halves(tsri_cuda *gpu, const problem *p, const uint8_t *bytes)
{
    const uint16_t *got = (const uint16_t *)(const void *)bytes;
    float *want = malloc(p->y_count * sizeof *want);

    assert_non_null(want);
    for (size_t i = 0; i < p->y_count; i++)
        want[i] = (float)p->want[i];
    void *there = put(gpu, p->type, want, p->y_count, 1);
    uint16_t *halves = take_back(gpu, there, 2 * p->y_count);
    for (size_t i = 0; i < p->y_count; i++)
        if (abs(got[i] - halves[i]) > (p->c.act == 1 ? 1 : 0))
            fail_msg("number %zu: bits %04x, not %04x", i, got[i], halves[i]);
    tsri_cuda_free(gpu, there);
    free(halves);
    free(want);
}

static void check_case(tsri_cuda *gpu, int number, nnk_type type)
{
    problem p;

    problem_open(&p, &cases[number], type, 7 + (uint64_t)number);
    const size_t bytes = bytes_of(type, p.c.wide, p.y_count);
    uint8_t *got = run(gpu, &p, 1), *more = run(gpu, &p, COPIES);
    for (size_t i = 0; i < COPIES; i++)
        assert_memory_equal(got, more + i * bytes, bytes);
    if (p.c.wide)
        check_floats(&p, got);
    else
        check_halves(gpu, &p, got);
    free(got);
    free(more);
    problem_close(&p);
}

/* A NaN in the first place's first channel is in all of that place's outputs, and
 * those of the last place have none. */
static void check_nan(tsri_cuda *gpu, nnk_type type)
{
    static const conv_case wide = { 9, 7, 16, 72, 3, 1, 0, 0, 1 };
    problem p;

    problem_open(&p, &wide, type, 5);
    spoil(&p.x[0]);
    uint8_t *bytes = run(gpu, &p, 1);
    const float *got = (const float *)(const void *)bytes;
    for (size_t o = 0; o < (size_t)wide.out; o++) {
        assert_true(isnan(got[o]));
        assert_false(isnan(got[p.y_count - 1 - o]));
    }
    free(bytes);
    problem_close(&p);
}

static void check_type(nnk_type type)
{
    tsr_context *ctx = check_context("auto", 1);
    tsri_cuda *gpu;

    assert_int_equal(tsri_cuda_open(&gpu, ctx, 0), TSR_OK);
    for (int i = 0; i < CASES; i++)
        check_case(gpu, i, type);
    check_nan(gpu, type);
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
}

static void test_f32(void **state)
{
    (void)state;
    check_type(NNK_F32);
}

static void test_f16(void **state)
{
    (void)state;
    check_type(NNK_F16);
}

static void test_bf16(void **state)
{
    (void)state;
    check_type(NNK_BF16);
}

static bool have_device(void)
{
    tsr_context *ctx = check_context("auto", 1);
    tsri_cuda *gpu;
    const tsr_error error = tsri_cuda_open(&gpu, ctx, 0);

    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return error != TSR_E_UNSUPPORTED;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16),
    };

    if (!have_device()) {
        printf("1..0 # SKIP no CUDA device\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
