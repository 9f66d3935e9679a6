/* SPDX-License-Identifier: BSD-2-Clause */
/* The metric of errors, from the statistics of a model: Fisher's information
 * of the loss, or the energies of queries and of the output projection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/calibrate.h"
#include "tools/say.h"

/* What is added to the diagonal: a part of its mean, and of that over all
 * layers. */
static const double ridge = 0.02, ridge_all = 0.02;
/* Weight of values against keys where nothing but energies is known. */
static const double value_weight = 0.01;

typedef struct block {
    const tsr_tensor *tensor;
    size_t width, first;    /* of a plane; where it begins in the tensor */
} block;

static float number(const tsr_tensor *t, size_t i)
{
    float f;
    memcpy(&f, (const uint8_t *)t->data + 4 * i, sizeof f);
    return f;
}

static double diagonal(const block *b)
{
    double sum = 0;
    const size_t n = (size_t)b->tensor->dims[1];
    for (size_t i = 0; i < b->width; i++)
        sum += number(b->tensor, (b->first + i) * n + b->first + i);
    return sum / (double)b->width;
}

static int find(const calibration *c, const char *what, int layer, size_t width,
                const tsr_tensor **t)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%d", what, layer);
    *t = tsr_model_tensor(c->stats, name);
    if (!*t || (*t)->dtype != TSR_F32 || (*t)->rank != 2 ||
        (*t)->dims[0] != width || (*t)->dims[1] != width)
        return say_error(RC_INPUT, tsr_model_path(c->stats), "tensor %s is"
                         " missing or not %zu x %zu floats", name, width, width);
    return RC_OK;
}

/* Plane p of a layer in the statistics. */
static int find_block(const calibration *c, int layer, int p, block *b)
{
    const tsr_kv_shape *s = &c->in[0].shape;
    size_t width[2] = { 0 };
    for (int i = 0; i < s->planes; i++)
        width[i] = (size_t)s->heads[i] * (size_t)s->dim[i];
    b->width = width[p];
    b->first = c->metric == CAL_FISHER && p ? width[0] : 0;
    return c->metric == CAL_FISHER
        ? find(c, "fisher", layer, width[0] + width[1], &b->tensor)
        : find(c, p ? "output" : "query", layer, width[p], &b->tensor);
}

static int mean_diagonal(const calibration *c, int p, double *mean)
{
    const int layers = c->in[0].shape.layers;
    *mean = 0;
    for (int l = 0; l < layers; l++) {
        block b;
        const int rc = find_block(c, l, p, &b);
        if (rc)
            return rc;
        *mean += diagonal(&b) / layers;
    }
    return RC_OK;
}

/* Adds the block of rows of plane p to m at `at`: with its columns of all
 * planes of the layer where the statistics know how they go together. */
static int add(const calibration *c, int layer, int p, size_t at, size_t start,
               size_t n, double *m)
{
    block b;
    double all;
    int rc = find_block(c, layer, p, &b);

    rc = rc ? rc : mean_diagonal(c, p, &all);
    if (rc)
        return rc;
    const double own = diagonal(&b), extra = ridge * (own + ridge_all * all);
    const double scale = c->metric == CAL_QUERY && p && own > 0
        ? value_weight / own : 1;
    const size_t columns = (size_t)b.tensor->dims[1];
    const size_t to = c->metric == CAL_FISHER ? start : at;
    for (size_t i = 0; i < b.width; i++) {
        for (size_t j = 0; j < columns; j++)
            m[(at + i) * n + to + j] = scale *
                (double)number(b.tensor, (b.first + i) * columns + j);
        m[(at + i) * n + at + i] += scale * extra;
    }
    return RC_OK;
}

int cal_metric_open(const calibration *c, int first_layer, int layers, int n,
                    double **metric)
{
    const tsr_kv_shape *s = &c->in[0].shape;
    size_t at = 0;

    *metric = NULL;
    if (c->metric == CAL_NONE)
        return RC_OK;
    *metric = calloc((size_t)n * (size_t)n, sizeof **metric);
    if (!*metric)
        return say_error(RC_MACHINE, NULL, "out of memory");
    for (int l = 0; l < layers; l++) {
        const size_t start = at;
        for (int p = 0; p < s->planes; p++) {
            const int rc = add(c, first_layer + l, p, at, start, (size_t)n,
                               *metric);
            if (rc)
                return rc;
            at += (size_t)s->heads[p] * (size_t)s->dim[p];
        }
    }
    return RC_OK;
}
