/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles without a transform: of each channel its mean and its class, so that
 * objects need not hold them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/calibrate.h"
#include "tools/say.h"

static int no_memory(void)
{
    return say_error(RC_MACHINE, NULL, "out of memory");
}

static size_t width_of(const calibration *c, int plane)
{
    const tsr_kv_shape *s = &c->in[0].shape;
    return (size_t)s->heads[plane] * (size_t)s->dim[plane];
}

/* A token's distance from the mean, each head turned by Hadamard's matrix if the
 * profile will have it so. */
static void turn(const calibration *c, int plane, const float *mean, float *x)
{
    const size_t width = width_of(c, plane);
    const size_t dim = (size_t)c->in[0].shape.dim[plane];
    const float unit = (float)(1 / sqrt((double)dim));

    for (size_t i = 0; i < width; i++)
        x[i] -= mean[i];
    for (size_t h = 1; c->hadamard && h < dim; h *= 2)
        for (size_t i = 0; i < width; i++)
            if (!(i % dim & h)) {
                const float a = x[i], b = x[i + h];
                x[i] = a + b;
                x[i + h] = a - b;
            }
    for (size_t i = 0; c->hadamard && i < width; i++)
        x[i] *= unit;
}

/* Adds up, of each channel: values and squares, or where `mean` is given
 * magnitudes about it, turned. */
static int add_cache(const calibration *c, const cache *in, int layer,
                     int plane, const float *mean, float *x, double *sum,
                     double *squares)
{
    const size_t width = width_of(c, plane);
    const tsr_error error = tsr_kv_values(c->ctx, &in->shape, &in->rope,
                                          &in->view, layer, plane, in->pos0, x);
    if (error)
        return say_failure_as(RC_INPUT, in->name, error);
    for (size_t t = (size_t)c->sinks; t < in->view.tokens; t++) {
        if (mean)
            turn(c, plane, mean, x + t * width);
        for (size_t i = 0; i < width; i++) {
            const double v = x[t * width + i];
            sum[i] += mean ? fabs(v) : v;
            if (!mean)
                squares[i] += v * v;
        }
    }
    return RC_OK;
}

static int add_all(const calibration *c, int layer, int plane,
                   const float *mean, float *x, double *sum, double *squares)
{
    int rc = RC_OK;
    memset(sum, 0, width_of(c, plane) * sizeof *sum);
    for (int i = 0; !rc && i < c->count; i++)
        rc = add_cache(c, &c->in[i], layer, plane, mean, x, sum, squares);
    return rc;
}

static size_t most_tokens(const calibration *c)
{
    size_t most = 0;
    for (int i = 0; i < c->count; i++)
        if (c->in[i].view.tokens > most)
            most = c->in[i].view.tokens;
    return most;
}

int cal_plane_learn(const calibration *c, int layer, int plane, cal_plane *p)
{
    const size_t n = width_of(c, plane);
    float *x = malloc(most_tokens(c) * n * sizeof *x + 1);
    double *sum = calloc(2 * n, sizeof *sum), *squares = sum + n;
    int rc = RC_OK;

    p->n = n;
    p->variance = 0;
    p->mean = malloc(n * sizeof *p->mean);
    p->magnitude = malloc(n * sizeof *p->magnitude);
    if (!x || !sum || !p->mean || !p->magnitude)
        rc = no_memory();
    if (!rc)
        rc = add_all(c, layer, plane, NULL, x, sum, squares);
    for (size_t i = 0; !rc && i < n; i++) {
        const double mean = sum[i] / (double)c->rows;
        p->mean[i] = (float)mean;
        p->variance += (squares[i] / (double)c->rows - mean * mean) / (double)n;
    }
    if (!rc)
        rc = add_all(c, layer, plane, p->mean, x, sum, NULL);
    for (size_t i = 0; !rc && i < n; i++)
        p->magnitude[i] = sum[i] / (double)c->rows;
    free(x);
    free(sum);
    return rc;
}

void cal_plane_free(cal_plane *p)
{
    free(p->mean);
    free(p->magnitude);
    memset(p, 0, sizeof *p);
}
