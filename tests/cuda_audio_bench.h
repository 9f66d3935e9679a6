/* SPDX-License-Identifier: BSD-2-Clause */
/* How long the nets of a model of EnCodec or HiFi-Codec take on a GPU, and each step
 * of them. */
#ifndef TSR_TESTS_CUDA_AUDIO_BENCH_H
#define TSR_TESTS_CUDA_AUDIO_BENCH_H
#include <time.h>
#include "codecs/audio/audio.h"
#include "codecs/audio/flow.h"
#include "lib/nn/cuda/seq_cuda.h"
#include "lib/nn/seq_internal.h"
#include "tests/cuda_audio_case.h"

enum { BENCH_SECONDS = 10, BENCH_ROUNDS = 30, BENCH_REPEATS = 20 };

/* The device's operations, and the same ones timed. */
static const tsri_seq_ops *bench_real;
static tsri_seq_ops bench_ops;
static bool bench_steps;
static double bench_sum;

static inline double bench_now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* Microseconds of a step, which is done some times more. */
#define BENCH_STEP(step, device, times, took)                     \
    do {                                                          \
        TSR_TRY(bench_real->step);                                \
        TSR_TRY(bench_real->wait(device));                        \
        const double start_ = bench_now();                        \
        for (int i_ = 0; i_ < (times); i_++)                      \
            TSR_TRY(bench_real->step);                            \
        TSR_TRY(bench_real->wait(device));                        \
        took = (bench_now() - start_) / (times);                  \
        bench_sum += took;                                        \
    } while (0)

static inline tsr_error bench_conv(tsri_seq_dev *d, const tsri_seq_dev_conv *c)
{
    const tsri_conv1d *l = c->conv;
    double took;

    if (!bench_steps)
        return bench_real->conv(d, c);
    BENCH_STEP(conv(d, c), d, BENCH_REPEATS, took);
    printf("  %8.1f us  convolution, %d x %d, %d taps, stride %d, to %d%s: %.1f "
           "TFLOP/s\n", took, c->rows, l->in, l->taps, l->stride, l->out,
           c->add ? ", sum" : "",
           2e-6 * c->rows * l->in * l->taps * l->out / took);
    return TSR_OK;
}

static inline tsr_error bench_lstm(tsri_seq_dev *d, const tsri_seq_dev_lstm *l)
{
    double took;

    if (!bench_steps)
        return bench_real->lstm(d, l);
    BENCH_STEP(lstm(d, l), d, 1, took);
    printf("  %8.1f us  LSTM of %d, %d steps\n", took, l->lstm->hidden, l->rows);
    return TSR_OK;
}

static inline tsr_error bench_rows(tsri_seq_dev *d, const tsri_seq_dev_rows *r)
{
    double took;

    if (!bench_steps)
        return bench_real->rows(d, r);
    BENCH_STEP(rows(d, r), d, BENCH_REPEATS, took);
    printf("  %8.1f us  rows, %zu x %d%s\n", took, r->rows, r->channels,
           r->add ? ", sum" : "");
    return TSR_OK;
}

static inline tsr_error bench_measure(tsri_seq_dev *d, const tsri_seq_dev_measure *m)
{
    double took;

    if (!bench_steps)
        return bench_real->measure(d, m);
    BENCH_STEP(measure(d, m), d, BENCH_REPEATS, took);
    printf("  %8.1f us  statistics, %zu x %d\n", took, m->length, m->channels);
    return TSR_OK;
}

/* Steps that are timed wait for each other. */
static inline tsr_error bench_aside(tsri_seq_dev *d)
{
    return bench_steps ? TSR_OK : bench_real->aside(d);
}

static inline void bench_back(tsri_seq_dev *d)
{
    if (!bench_steps)
        bench_real->back(d);
}

/* n samples or frames of x, to y, which has room. */
static inline void bench_net(tsr_context *ctx, const tsri_seq *seq, const float *x,
                             size_t n, float *y, const char *name)
{
    double best = 1e30;
    tsri_seq_stream *s;

    assert_int_equal(tsri_seq_open(&s, seq, ctx, false), TSR_OK);
    for (int r = 0; r <= BENCH_ROUNDS; r++) {
        bench_steps = r == BENCH_ROUNDS;
        bench_sum = 0;
        if (bench_steps)
            printf("%s, %d s: %.0f us; its steps one by one:\n", name,
                   BENCH_SECONDS, best);
        const double start = bench_now();
        assert_int_equal(tsri_seq_push(s, x, n, true, true), TSR_OK);
        best = fmin(best, bench_now() - start);
        tsri_seq_take(s, y, SIZE_MAX);
        tsri_seq_reset(s);
    }
    printf("  %8.1f us  all\n", bench_sum);
    bench_steps = false;
    tsri_seq_close(&s);
}

static inline void bench_model(tsr_model *m, int precision)
{
    tsr_context *ctx = on_device(precision, 1);
    tsri_audio_model opened;

    bench_real = tsri_seq_cuda(precision);
    bench_ops = *bench_real;
    bench_ops.conv = bench_conv;
    bench_ops.lstm = bench_lstm;
    bench_ops.rows = bench_rows;
    bench_ops.measure = bench_measure;
    bench_ops.aside = bench_aside;
    bench_ops.back = bench_back;
    ctx->seq = &bench_ops;
    printf("# %s\n", precision == TSR_PRECISION_F32 ? "f32" : "f16");
    assert_int_equal(tsri_audio_model_open(&opened, ctx, m), TSR_OK);
    const tsri_flow *flow = opened.self;
    const size_t n = (size_t)BENCH_SECONDS * (size_t)flow->shape.rate;
    const size_t frames = n / (size_t)flow->shape.hop;
    float *x = sound_tones(n, flow->shape.channels, 3);
    float *z = calloc(frames + 1, (size_t)tsri_seq_in_channels(flow->dec) *
                      sizeof *z);
    bench_net(ctx, flow->enc, x, n, z, "encoder");
    bench_net(ctx, flow->dec, z, frames, x, "decoder");
    free(x);
    free(z);
    tsri_audio_model_close(&opened);
    tsr_context_close(&ctx);
}

/* Nets alone: coding is left out.  NULL: of the shipped model. */
static inline void bench_nets(const char *path)
{
    tsr_model *file = NULL;

    if (path)
        assert_int_equal(tsr_model_open(&file, host, path), TSR_OK);
    for (int p = TSR_PRECISION_F32; p <= TSR_PRECISION_F16; p++)
        bench_model(file ? file : model[0], p);
    tsr_model_unref(&file);
}
#endif
