/* SPDX-License-Identifier: BSD-2-Clause */
/* How long each step of a UNet takes on a GPU: its operations, each done some times
 * more and timed. */
#ifndef TSR_TESTS_CUDA_SEMANTICODEC_STEPS_H
#define TSR_TESTS_CUDA_SEMANTICODEC_STEPS_H
#include <time.h>
#include "lib/nn/cuda/seq_cuda.h"
#include "lib/nn/plane_device.h"
#include "tests/check.h"

enum { TIMED_REPEATS = 10 };

static const tsri_seq_ops *timed_real;
static tsri_seq_ops timed_ops;
static tsri_plane_ops timed_plane;

static inline double timed_now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* Microseconds of a step. */
#define TIMED(step, dev, took)                                               \
    do {                                                                     \
        TSR_TRY(step);                                                       \
        TSR_TRY(timed_real->wait(dev));                                      \
        const double start_ = timed_now();                                   \
        for (int i_ = 0; i_ < TIMED_REPEATS; i_++)                           \
            TSR_TRY(step);                                                   \
        TSR_TRY(timed_real->wait(dev));                                      \
        took = (timed_now() - start_) / TIMED_REPEATS;                       \
    } while (0)

static inline tsr_error timed_conv(tsri_seq_dev *dev, const tsri_seq_dev_conv *c)
{
    double us;

    TIMED(timed_real->conv(dev, c), dev, us);
    print_message("product %d x %d to %d: %.1f us, %.2f TFLOP/s\n", c->rows,
                  c->conv->in * c->conv->taps, c->conv->out, us,
                  2e-6 * c->rows * c->conv->in * c->conv->taps * c->conv->out / us);
    return TSR_OK;
}

static inline tsr_error timed_gather(tsri_seq_dev *dev, const tsri_plane_gather *g)
{
    double us;

    TIMED(timed_real->plane->gather(dev, g), dev, us);
    print_message("gather %d x %d: %.1f us\n", g->items * g->rows * g->columns,
                  9 * g->channels, us);
    return TSR_OK;
}

static inline tsr_error timed_norm(tsri_seq_dev *dev, const tsri_plane_norm_step *n)
{
    double us;

    TIMED(timed_real->plane->norm(dev, n), dev, us);
    print_message("norm %d x %d x %d: %.1f us\n", n->items, n->positions,
                  n->channels, us);
    return TSR_OK;
}

static inline tsr_error timed_rows(tsri_seq_dev *dev,
                                   const tsri_plane_layer_norm *n)
{
    double us;

    TIMED(timed_real->plane->layer_norm(dev, n), dev, us);
    print_message("rows %d x %d: %.1f us\n", n->rows, n->channels, us);
    return TSR_OK;
}

static inline tsr_error timed_attend(tsri_seq_dev *dev,
                                     const tsri_plane_attention *a)
{
    double us;

    TIMED(timed_real->plane->attend(dev, a), dev, us);
    print_message("attention %d x %d to %d x %d: %.1f us\n", a->items, a->n, a->m,
                  a->channels, us);
    return TSR_OK;
}

static inline tsr_error timed_gate(tsri_seq_dev *dev, const tsri_plane_gate *g)
{
    double us;

    TIMED(timed_real->plane->gate(dev, g), dev, us);
    print_message("gate %d x %d: %.1f us\n", g->rows, g->channels, us);
    return TSR_OK;
}

static inline tsr_error timed_join(tsri_seq_dev *dev, const tsri_plane_join *j)
{
    double us;

    TIMED(timed_real->plane->join(dev, j), dev, us);
    print_message("join %d x %d: %.1f us\n", j->rows,
                  j->a_channels + j->b_channels, us);
    return TSR_OK;
}

static inline bool timed_record(tsri_seq_dev *dev)
{
    (void)dev;
    return false;
}

/** Operations that say how long they take. */
static inline const tsri_seq_ops *timed_device(int precision)
{
    timed_real = tsri_seq_cuda(precision);
    timed_ops = *timed_real;
    timed_plane = *timed_real->plane;
    timed_ops.conv = timed_conv;
    timed_ops.plane = &timed_plane;
    timed_plane.gather = timed_gather;
    timed_plane.norm = timed_norm;
    timed_plane.layer_norm = timed_rows;
    timed_plane.attend = timed_attend;
    timed_plane.gate = timed_gate;
    timed_plane.join = timed_join;
    timed_plane.record = timed_record;
    return &timed_ops;
}
#endif
