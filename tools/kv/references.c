/* SPDX-License-Identifier: BSD-2-Clause */
/* How much of a token's coefficients its reference says, and how large what is
 * left: gains and classes, fitted with the coder's own closed loop. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/calibrate.h"
#include "tools/say.h"

enum { ROUNDS = 3, UNIT = 64 };
/* Samples that the group's average counts for in each coefficient's. */
static const double trust = 30;

typedef struct fit {
    const calibration *c;
    const float *z;
    cal_group *g;
    int32_t *decoded;       /* tokens of a cache x r, in 1/64 step */
    double *product, *energy, *left, *count;    /* CAL_MATCHES x r; count:
                                                   CAL_MATCHES */
} fit;

uint8_t cal_class(double magnitude)
{
    const double b = magnitude > 1e-12 ? round(4 * log2(magnitude)) : -99;
    const double cls = b + CAL_CLASS_ONE + CAL_BIAS;
    return (uint8_t)(cls < 0 ? 0 : cls >= CAL_CLASSES ? CAL_CLASSES - 1 : cls);
}

/* Codes one token as the encoder would, and counts. */
static void token(fit *f, const float *z, int m, const int32_t *ref,
                  int32_t *out)
{
    const size_t r = (size_t)f->g->r;
    const int8_t *rho = f->g->rho + (size_t)m * r;

    f->count[m]++;
    for (size_t i = 0; i < r; i++) {
        const int32_t from = ref ? ref[i] : 0;
        const int32_t said = (int32_t)(((int64_t)rho[i] * from + 32) >> 6);
        const double rest = (double)z[i] * UNIT - said;
        out[i] = UNIT * (int32_t)rint(rest / UNIT) + said;
        f->left[(size_t)m * r + i] += fabs(rest) / UNIT;
        f->product[(size_t)m * r + i] += (double)z[i] * UNIT * from;
        f->energy[(size_t)m * r + i] += (double)from * from;
    }
}

static void run(fit *f)
{
    const calibration *c = f->c;
    const size_t r = (size_t)f->g->r, sinks = (size_t)c->sinks;
    const float *z = f->z;

    memset(f->product, 0, CAL_MATCHES * r * sizeof *f->product);
    memset(f->energy, 0, CAL_MATCHES * r * sizeof *f->energy);
    memset(f->left, 0, CAL_MATCHES * r * sizeof *f->left);
    memset(f->count, 0, CAL_MATCHES * sizeof *f->count);
    for (int i = 0; i < c->count; i++)
        for (size_t t = sinks; t < c->in[i].view.tokens; t++, z += r) {
            const int32_t ref = c->ref[i][t];
            token(f, z, c->cls[i][t],
                  ref < 0 ? NULL : f->decoded + (size_t)ref * r,
                  f->decoded + t * r);
        }
}

static void set_gains(fit *f)
{
    const size_t r = (size_t)f->g->r;
    for (size_t m = 1; m < CAL_MATCHES; m++) {
        double product = 0, energy = 0;
        for (size_t i = 0; i < r; i++) {
            product += f->product[m * r + i];
            energy += f->energy[m * r + i];
        }
        const double pooled = energy > 0 ? product / energy : 0;
        for (size_t i = 0; i < r; i++) {
            const double each = f->count[m] > 0
                ? trust * f->energy[m * r + i] / f->count[m] + 1e-9 : 1e-9;
            const double gain = (f->product[m * r + i] + pooled * each) /
                (f->energy[m * r + i] + each);
            const double q = rint(64 * gain);
            f->g->rho[m * r + i] = (int8_t)(q < 0 ? 0 : q > 64 ? 64 : q);
        }
    }
}

static void set_classes(fit *f)
{
    const size_t r = (size_t)f->g->r;
    for (size_t m = 0; m < CAL_MATCHES; m++) {
        double own = 0, none = 0;
        for (size_t i = 0; i < r; i++) {
            own += f->left[m * r + i];
            none += f->left[i];
        }
        own /= f->count[m] > 0 ? f->count[m] : 1;
        none /= f->count[0] > 0 ? f->count[0] : 1;
        const double ratio = f->count[m] > 0 && none > 0 ? own / none : 1;
        for (size_t i = 0; i < r; i++) {
            const double base = f->left[i] / (f->count[0] > 0 ? f->count[0] : 1);
            f->g->cls[m * r + i] = cal_class(
                (f->left[m * r + i] + trust * ratio * base) /
                (f->count[m] + trust));
        }
    }
}

static void plain_classes(const fit *f)
{
    const size_t r = (size_t)f->g->r;
    for (size_t i = 0; i < r; i++) {
        double sum = 0;
        for (size_t t = 0; t < f->c->rows; t++)
            sum += fabsf(f->z[t * r + i]);
        f->g->cls[i] = cal_class(sum / (double)f->c->rows);
    }
}

static size_t most_tokens(const calibration *c)
{
    size_t most = 0;
    for (int i = 0; i < c->count; i++)
        if (c->in[i].view.tokens > most)
            most = c->in[i].view.tokens;
    return most;
}

static int fit_matches(fit *f)
{
    const size_t size = CAL_MATCHES * (size_t)f->g->r;
    int rc = RC_OK;

    f->g->rho = calloc(size, 1);
    f->decoded = malloc(most_tokens(f->c) * (size_t)f->g->r *
                        sizeof *f->decoded);
    f->product = malloc(3 * size * sizeof *f->product);
    f->count = malloc(CAL_MATCHES * sizeof *f->count);
    if (!f->g->rho || !f->decoded || !f->product || !f->count) {
        rc = say_error(RC_MACHINE, NULL, "out of memory");
    } else {
        f->energy = f->product + size;
        f->left = f->energy + size;
        for (int i = 0; i < ROUNDS; i++) {
            run(f);
            set_gains(f);
        }
        run(f);
        set_classes(f);
    }
    free(f->decoded);
    free(f->product);
    free(f->count);
    return rc;
}

int cal_references(const calibration *c, const float *z, cal_group *g)
{
    fit f = { .c = c, .z = z, .g = g };

    g->cls = malloc((size_t)cal_matches(c) * (size_t)g->r);
    if (!g->cls)
        return say_error(RC_MACHINE, NULL, "out of memory");
    if (c->reference)
        return fit_matches(&f);
    plain_classes(&f);
    return RC_OK;
}
