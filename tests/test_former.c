/* SPDX-License-Identifier: BSD-2-Clause */
/* The transformer against plain double loops, and against the same in PyTorch
 * (tests/vectors/fill, made by training/fill.py). */
#include <float.h>
#include <math.h>
#include "tests/check.h"
#include "tests/npy.h"
#include "tests/poor.h"
#include "lib/nn/former.h"
#include "lib/weights.h"

enum { PARTS = 13 };

/* A block's weights in the order of tsri_former_weights. */
typedef struct net {
    tsri_former_sizes size;
    float *part[8][PARTS];
} net;

static void part_sizes(const tsri_former_sizes *s, size_t *count)
{
    const size_t w = (size_t)s->width, h = (size_t)s->hidden;
    const size_t span = 2 * (size_t)s->side - 1;
    const size_t all[PARTS] = { w, w, 3 * w * w, 3 * w,
                                (size_t)s->heads * span * span, w * w, w, w, w,
                                h * w, h, w * h, w };
    memcpy(count, all, sizeof all);
}

static float *floats(check_rng *rng, size_t n, float scale, float add)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = check_float(rng) * scale + add;
    return p;
}

static net net_new(check_rng *rng, const tsri_former_sizes *size)
{
    net n = { .size = *size };
    size_t count[PARTS];

    part_sizes(size, count);
    for (int i = 0; i < size->blocks; i++)
        for (int k = 0; k < PARTS; k++) {
            const bool norm = k == 0 || k == 7;
            const float scale = count[k] > (size_t)size->width * 3 && k != 4 ?
                                2 / sqrtf((float)size->width) : 0.3f;
            n.part[i][k] = floats(rng, count[k], scale, norm);
        }
    return n;
}

static void net_free(net *n)
{
    for (int i = 0; i < n->size.blocks; i++)
        for (int k = 0; k < PARTS; k++)
            free(n->part[i][k]);
}

static tsri_former_weights weights(const net *n, int i)
{
    float *const *p = n->part[i];
    return (tsri_former_weights){ p[0], p[1], p[2], p[3], p[4], p[5], p[6],
                                  p[7], p[8], p[9], p[10], p[11], p[12] };
}

static tsri_former *built(tsr_context *ctx, const net *n)
{
    tsri_former *f;
    assert_int_equal(tsri_former_open(&f, ctx, &n->size), TSR_OK);
    for (int i = 0; i < n->size.blocks; i++) {
        const tsri_former_weights w = weights(n, i);
        assert_int_equal(tsri_former_set(f, i, &w), TSR_OK);
    }
    return f;
}

/* ---- the definition ---- */

static void slow_norm(const double *x, int n, int width, const float *weight,
                      const float *bias, double *y)
{
    for (int i = 0; i < n; i++, x += width, y += width) {
        double mean = 0, variance = 0;
        for (int k = 0; k < width; k++)
            mean += x[k] / width;
        for (int k = 0; k < width; k++)
            variance += (x[k] - mean) * (x[k] - mean) / width;
        for (int k = 0; k < width; k++)
            y[k] = (x[k] - mean) / sqrt(variance + 1e-5) * weight[k] + bias[k];
    }
}

static void slow_linear(const double *x, int n, int in, int out,
                        const float *weight, const float *bias, double *y)
{
    for (int i = 0; i < n; i++)
        for (int o = 0; o < out; o++) {
            double sum = bias[o];
            for (int k = 0; k < in; k++)
                sum += weight[o * in + k] * x[i * in + k];
            y[i * out + o] = sum;
        }
}

/* Row q of head h: probabilities in p. */
static void slow_row(const net *t, const float *near, const double *qkv,
                     int rows, int cols, int h, int q, double *p)
{
    const int width = t->size.width, head = width / t->size.heads;
    const int side = t->size.side, span = 2 * side - 1;
    double sum = 0;

    for (int j = 0; j < rows * cols; j++) {
        const int dy = j / cols - q / cols, dx = j % cols - q % cols;
        double s = 0;
        for (int c = 0; c < head; c++)
            s += qkv[q * 3 * width + h * head + c] *
                 qkv[j * 3 * width + width + h * head + c];
        p[j] = exp(s / sqrt(head) + near[(h * span + dy + side - 1) * span + dx +
                                         side - 1]);
        sum += p[j];
    }
    for (int j = 0; j < rows * cols; j++)
        p[j] /= sum;
}

static void slow_attention(const net *t, const float *near, const double *qkv,
                           int rows, int cols, double *out)
{
    const int width = t->size.width, head = width / t->size.heads;
    double p[256];

    for (int q = 0; q < rows * cols; q++)
        for (int h = 0; h < t->size.heads; h++) {
            slow_row(t, near, qkv, rows, cols, h, q, p);
            for (int c = 0; c < head; c++) {
                double sum = 0;
                for (int j = 0; j < rows * cols; j++)
                    sum += p[j] * qkv[j * 3 * width + 2 * width + h * head + c];
                out[q * width + h * head + c] = sum;
            }
        }
}

static void slow_run(const net *t, int rows, int cols, double *x)
{
    const int width = t->size.width, hidden = t->size.hidden;
    const int n = rows * cols;
    double *a = malloc((size_t)(n * (width + hidden)) * sizeof *a);
    double *b = malloc((size_t)(n * (3 * width + hidden)) * sizeof *b);

    for (int i = 0; i < t->size.blocks; i++) {
        const tsri_former_weights w = weights(t, i);
        slow_norm(x, n, width, w.norm1_weight, w.norm1_bias, a);
        slow_linear(a, n, width, 3 * width, w.qkv_weight, w.qkv_bias, b);
        slow_attention(t, w.near, b, rows, cols, a);
        slow_linear(a, n, width, width, w.out_weight, w.out_bias, b);
        for (int k = 0; k < n * width; k++)
            x[k] += b[k];
        slow_norm(x, n, width, w.norm2_weight, w.norm2_bias, a);
        slow_linear(a, n, width, hidden, w.up_weight, w.up_bias, b);
        for (int k = 0; k < n * hidden; k++)
            b[k] *= 0.5 * (1 + tanh(sqrt(2 / acos(-1)) *
                                    (b[k] + 0.044715 * b[k] * b[k] * b[k])));
        slow_linear(b, n, hidden, width, w.down_weight, w.down_bias, a);
        for (int k = 0; k < n * width; k++)
            x[k] += a[k];
    }
    free(a);
    free(b);
}

/* ---- tests ---- */

static const tsri_former_sizes shapes[] = {
    { 8, 1, 3, 1, 1 }, { 16, 2, 40, 2, 5 }, { 48, 3, 96, 3, 16 },
    { 96, 4, 33, 1, 9 }, { 64, 2, 128, 2, 16 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static float *run(const tsri_former *f, const tsri_seq_kernels *k, int rows,
                  int cols, const float *x, size_t count)
{
    float *y = malloc(count * sizeof *y);
    float *scratch = aligned_alloc(64, (tsri_former_scratch(f) * 4 + 63) / 64 * 64);

    assert_true(y && scratch);
    memset(scratch, 0xa5, tsri_former_scratch(f) * 4);
    memcpy(y, x, count * sizeof *y);
    tsri_former_run(f, k, rows, cols, y, scratch);
    free(scratch);
    return y;
}

static void compare(check_rng *rng, const net *n, const tsri_former *f,
                    const tsri_seq_kernels *k)
{
    const int side = n->size.side;
    const int rows = 1 + (int)check_below(rng, (uint32_t)side);
    const int cols = 1 + (int)check_below(rng, (uint32_t)side);
    const size_t count = (size_t)(rows * cols * n->size.width);
    float *x = floats(rng, count, 2, 0), *y = run(f, k, rows, cols, x, count);
    double *right = malloc(count * sizeof *right), top = 0, worst = 0;

    for (size_t i = 0; i < count; i++)
        right[i] = (double)x[i];
    slow_run(n, rows, cols, right);
    for (size_t i = 0; i < count; i++) {
        top = fmax(top, fabs(right[i]));
        worst = fmax(worst, fabs(right[i] - (double)y[i]));
    }
    if (!(worst <= 2e-6 * top * n->size.blocks))
        fail_msg("%d x %d of width %d: off by %g of %g", rows, cols,
                 n->size.width, worst, top);
    free(x);
    free(y);
    free(right);
}

static void test_double(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 1 };

    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        net n = net_new(&rng, shapes + i);
        tsri_former *f = built(ctx, &n);
        for (int k = 0; k < 4; k++) {
            compare(&rng, &n, f, tsri_seq_kernels_plain());
            compare(&rng, &n, f, tsri_seq_kernels_pick(ctx->cpu));
        }
        tsri_former_close(&f);
        net_free(&n);
    }
    tsr_context_close(&ctx);
}

/* Only places relative to each other count: a window's rows of equal inputs
 * give equal outputs if all see the same. */
static void test_same(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 2 };
    net n = net_new(&rng, shapes + 1);
    const int width = n.size.width;
    float x[5 * 16], *y;

    (void)state;
    memset(n.part[0][4], 0, 2 * 81 * sizeof(float));
    memset(n.part[1][4], 0, 2 * 81 * sizeof(float));
    tsri_former *f = built(ctx, &n);
    for (int i = 0; i < 5 * width; i++)
        x[i] = (float)(i % width) / 16;
    y = run(f, tsri_seq_kernels_plain(), 1, 5, x, 5 * (size_t)width);
    for (int i = 1; i < 5; i++)
        assert_memory_equal(y, y + i * width, (size_t)width * sizeof *y);
    free(y);
    tsri_former_close(&f);
    net_free(&n);
    tsr_context_close(&ctx);
}

/* ---- PyTorch ---- */

static float *stored(tsr_context *ctx, const tsr_model *model, int i,
                     const char *name)
{
    char full[64];
    float *out;

    snprintf(full, sizeof full, "tessera.fill.block.%d.%s", i, name);
    const tsr_tensor *t = tsr_model_tensor(model, full);
    assert_non_null(t);
    assert_int_equal(tsri_tensor_floats(ctx, t, &out), TSR_OK);
    return out;
}

/* Two blocks in double precision there; a window of 4 x 5. */
static void test_golden(void **state)
{
    static const char *const names[PARTS] = {
        "norm1.weight", "norm1.bias", "qkv.weight", "qkv.bias", "near",
        "out.weight", "out.bias", "norm2.weight", "norm2.bias", "up.weight",
        "up.bias", "down.weight", "down.bias",
    };
    tsr_context *ctx = check_context("c", 1);
    net n = { .size = { 16, 2, 24, 2, 6 } };
    tsr_model *model;

    (void)state;
    assert_int_equal(tsr_model_open(&model, ctx, check_path(
        "tests/vectors/fill/model.safetensors")), TSR_OK);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < PARTS; k++)
            n.part[i][k] = stored(ctx, model, i, names[k]);
    tsri_former *f = built(ctx, &n);
    check_npy x = check_npy_read("tests/vectors/fill/x.npy");
    check_npy y = check_npy_read("tests/vectors/fill/y.npy");
    assert_int_equal(x.count, 20 * 16);
    assert_int_equal(y.count, 20 * 16);
    for (int k = 0; k < 2; k++) {
        float *got = run(f, k ? tsri_seq_kernels_pick(ctx->cpu) :
                         tsri_seq_kernels_plain(), 4, 5, x.data, x.count);
        for (size_t i = 0; i < x.count; i++)
            assert_true(fabsf(got[i] - ((float *)y.data)[i]) <= 1e-5f);
        free(got);
    }
    free(x.data);
    free(y.data);
    tsri_former_close(&f);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < PARTS; k++)
            tsri_free(ctx, n.part[i][k]);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

static void quiet(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie, (void)level, (void)text;
}

static void test_bad_sizes(void **state)
{
    static const tsri_former_sizes bad[] = {
        { 0, 1, 1, 1, 1 }, { 16, 0, 1, 1, 1 }, { 16, 3, 1, 1, 1 },
        { 12, 1, 1, 1, 1 }, { 16, 1, 0, 1, 1 }, { 16, 1, 1, 0, 1 },
        { 16, 1, 1, 1, 0 }, { 16, 1, 1, 1, 65 }, { 1 << 20, 1, 1, 1, 1 },
        { 16, 1, INT32_MAX, 1, 1 }, { 16, 1, 1, INT32_MAX, 1 },
    };
    tsr_context_settings s;
    tsri_former *f;
    tsr_context *ctx;

    (void)state;
    tsr_context_settings_init(&s);
    s.logger.log = quiet;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsri_former_open(&f, ctx, bad + i), TSR_E_ARG);
        assert_null(f);
    }
    tsr_context_close(&ctx);
}

static tsr_error build(tsr_context *ctx, const net *n)
{
    tsri_former *f;
    tsr_error error = tsri_former_open(&f, ctx, &n->size);

    for (int i = 0; !error && i < n->size.blocks; i++) {
        const tsri_former_weights w = weights(n, i);
        error = tsri_former_set(f, i, &w);
    }
    tsri_former_close(&f);
    return error;
}

static void test_nomem(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    check_rng rng = { 3 };
    net n = net_new(&rng, shapes + 1);
    tsr_error error = TSR_E_NOMEM;
    const int held = poor_held;

    (void)state;
    for (int left = 0; error; left++) {
        poor_left = left;
        error = build(ctx, &n);
        assert_true(!error || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
    }
    poor_left = POOR_MANY;
    net_free(&n);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double), cmocka_unit_test(test_same),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_bad_sizes), cmocka_unit_test(test_nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
