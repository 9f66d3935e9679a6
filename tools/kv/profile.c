/* SPDX-License-Identifier: BSD-2-Clause */
/* profile: a profile of a model from caches of its own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/engine.h"
#include "tools/kv/calibrate.h"
#include "tools/kv/store.h"
#include "tools/kv/tables.h"
#include "tools/kv/verbs.h"
#include "tools/progress.h"
#include "tools/say.h"

/* Steps by metric that leave about a thousandth of a nat of divergence on the
 * model this was tried with; -step is a multiple of them. */
static const double steps[] = {
    [CAL_NONE] = 1.0, [CAL_QUERY] = 0.12, [CAL_FISHER] = 0.009
};

/* Without a transform: of the root mean square of keys about their means, and how
 * much larger a part of theirs values bear. */
static const double key_step = 0.5, value_step = 1.75;

/* The finest multiple of the step that a profile is kept whole for. */
static const double finest = 0.0625;
/* Coefficients whose mean magnitude is a smaller part of a step are dead. */
static const double dead = 0.16;

typedef struct job {
    const args *a;
    calibration c;
    store out;
} job;

static int open_inputs(job *j)
{
    const args *a = j->a;
    int rc = RC_OK;

    j->c.in = calloc((size_t)a->files, sizeof *j->c.in);
    if (!j->c.in)
        return say_error(RC_MACHINE, NULL, "out of memory");
    for (int i = 0; !rc && i < a->files; i++) {
        cache *c = &j->c.in[j->c.count++];
        rc = cache_open(c, j->c.ctx, a, a->file[i]);
        if (!rc && (memcmp(&c->shape, &j->c.in[0].shape, sizeof c->shape) ||
                    !kv_same_rope(&c->rope, &j->c.in[0].rope)))
            rc = say_error(RC_INPUT, c->name, "is a cache of another model than"
                           " %s", j->c.in[0].name);
    }
    return rc;
}

static int choose_metric(job *j)
{
    const char *name = j->a->metric;
    const int fisher = j->c.stats && tsr_model_tensor(j->c.stats, "fisher.0");
    const int query = j->c.stats && tsr_model_tensor(j->c.stats, "query.0");

    j->c.metric = fisher ? CAL_FISHER : query ? CAL_QUERY : CAL_NONE;
    if (!name)
        return RC_OK;
    if (!strcmp(name, "none"))
        j->c.metric = CAL_NONE;
    else if (!strcmp(name, "query") && query)
        j->c.metric = CAL_QUERY;
    else if (strcmp(name, "fisher") || !fisher)
        return say_error(RC_USAGE, NULL, "-metric %s: none, or query or fisher"
                         " if -statistics has them", name);
    return RC_OK;
}

static int open_stats(job *j)
{
    const tsr_tensor *t = NULL;
    int rc = RC_OK;

    if (j->a->stats_file)
        rc = engine_open_model(&j->c.stats, j->c.ctx, j->a->stats_file);
    rc = rc ? rc : choose_metric(j);
    j->c.predictors = j->a->predict;
    if (rc || !j->c.predictors)
        return rc;
    if (j->c.stats)
        t = tsr_model_tensor(j->c.stats, "embedding");
    if (!t || t->dtype != TSR_F16 || t->rank != 2 || t->dims[0] > 1 << 24 ||
        t->dims[1] < 1 || t->dims[1] > 1 << 16)
        return say_error(RC_USAGE, NULL, "-predict wants -statistics with an"
                         " embedding");
    j->c.vocabulary = (int)t->dims[0];
    j->c.hidden = (int)t->dims[1];
    j->c.embedding = t->data;
    return RC_OK;
}

static void put_group(job *j, int number, const cal_group *g)
{
    char name[64];
    const size_t r = (size_t)g->r, n = (size_t)g->n;
    const size_t matches = (size_t)cal_matches(&j->c);

    snprintf(name, sizeof name, "g.%d.mean", number);
    store_tensor(&j->out, name, "F32", 4, n, 0, g->mean);
    snprintf(name, sizeof name, "g.%d.forward", number);
    store_halves(&j->out, name, r, n, g->forward);
    snprintf(name, sizeof name, "g.%d.inverse", number);
    store_halves(&j->out, name, r, n, g->inverse);
    snprintf(name, sizeof name, "g.%d.class", number);
    store_tensor(&j->out, name, "U8", 1, matches, r, g->cls);
    snprintf(name, sizeof name, "g.%d.rho", number);
    if (g->rho)
        store_tensor(&j->out, name, "I8", 1, matches, r, g->rho);
    snprintf(name, sizeof name, "g.%d.words", number);
    if (g->predict)
        store_halves(&j->out, name, (size_t)cal_features(&j->c), n, g->predict);
}

static void put_common(job *j)
{
    const tsr_kv_shape *s = &j->c.in[0].shape;
    const tsr_kv_rope *rope = &j->c.in[0].rope;
    const int32_t shape[6] = { s->layers, s->planes, s->heads[0], s->dim[0],
                               s->heads[1], s->dim[1] };
    const double turn[9] = { rope->layout, rope->offset, rope->dims, rope->theta,
                             rope->scaling, rope->factor, rope->low_factor,
                             rope->high_factor, rope->original };
    const int32_t reference[2] = { j->c.reference,
                                   j->c.reference == 2 ? j->c.anchor : 0 };
    const int32_t below = CAL_DEAD, predictors = j->c.predictors;
    const int32_t bias = CAL_BIAS, hadamard = j->c.hadamard;
    const float one = 1;

    store_text(&j->out, "tessera.codec", "kv-profile");
    store_tensor(&j->out, "kv.shape", "I32", 4, 6, 0, shape);
    store_tensor(&j->out, "kv.rope", "F64", 8, 9, 0, turn);
    store_tensor(&j->out, "kv.step", "F32", 4, 1, 0, &one);
    store_tensor(&j->out, "kv.dead", "I32", 4, 1, 0, &below);
    store_tensor(&j->out, "kv.bias", "I32", 4, 1, 0, &bias);
    store_tensor(&j->out, "kv.hadamard", "I32", 4, 1, 0, &hadamard);
    store_tensor(&j->out, "kv.reference", "I32", 4, 2, 0, reference);
    store_tensor(&j->out, "kv.predictors", "I32", 4, 1, 0, &predictors);
    if (predictors)
        store_tensor(&j->out, "embedding", "F16", 2, (size_t)j->c.vocabulary,
                     (size_t)j->c.hidden, j->c.embedding);
}

/* Groups of `join` layers, or of single planes where it is 0. */
static void put_groups(job *j, int groups, int join)
{
    const int planes = j->c.in[0].shape.planes;
    int32_t *list = calloc(3 * (size_t)groups, sizeof *list);

    for (int g = 0; list && g < groups; g++) {
        list[3 * g] = join ? g * join : g / planes;
        list[3 * g + 1] = join ? join : 1;
        list[3 * g + 2] = join || planes == 1 ? -1 : g % planes;
    }
    j->out.failed |= !list;
    if (list)
        store_tensor(&j->out, "kv.groups", "I32", 4, (size_t)groups, 3, list);
    free(list);
}

static int learn(job *j, progress *p)
{
    const tsr_progress hook = progress_hook(p);
    const int layers = j->c.in[0].shape.layers;
    const int join = j->a->join ? j->a->join : 1;
    const int groups = layers / join;
    int rc;

    if (layers % join)
        return say_error(RC_USAGE, NULL, "-join %d: the cache has %d layers,"
                         " not a multiple", join, layers);
    rc = cal_open(&j->c);
    if (!rc) {
        put_common(j);
        put_groups(j, groups, join);
    }
    for (int i = 0; !rc && i < groups; i++) {
        cal_group g;
        const int from = i * join;
        rc = cal_group_learn(&j->c, from, join, dead * finest, &g);
        if (rc)
            break;
        put_group(j, i, &g);
        say_info("layers %d to %d: %d of %d coefficients, mean magnitude %.3f"
                 " steps", from, from + g.layers - 1, g.r, g.n, g.magnitude);
        cal_group_free(&g);
        hook.report(hook.cookie, (double)(i + 1) / groups);
    }
    return rc;
}

/* A plane without a transform; scale: of its values to steps. */
static void put_plane(job *j, int number, const cal_plane *p, double scale)
{
    char name[64];
    float *scales = malloc(p->n * sizeof *scales);
    uint8_t *cls = malloc(p->n);

    j->out.failed |= !scales || !cls;
    for (size_t i = 0; scales && cls && i < p->n; i++) {
        scales[i] = (float)scale;
        cls[i] = cal_class(p->magnitude[i] * scale);
    }
    if (scales && cls) {
        snprintf(name, sizeof name, "g.%d.mean", number);
        store_tensor(&j->out, name, "F32", 4, p->n, 0, p->mean);
        snprintf(name, sizeof name, "g.%d.scale", number);
        store_tensor(&j->out, name, "F32", 4, p->n, 0, scales);
        snprintf(name, sizeof name, "g.%d.class", number);
        store_tensor(&j->out, name, "U8", 1, 1, p->n, cls);
    }
    free(scales);
    free(cls);
}

/* Steps of keys and values as the coder chooses them without a profile. */
static int put_planes(job *j, const cal_plane *plane, int n)
{
    const int planes = j->c.in[0].shape.planes;
    double variance[2] = { 0 };

    for (int i = 0; i < n; i++)
        variance[i % planes] += plane[i].variance * planes / n;
    for (int p = 0; p < planes; p++)
        if (!(variance[p] > 0))
            return say_error(RC_INPUT, NULL, "the caches hold the same values for"
                             " all tokens");
    const double step = j->a->base_step > 0 ? j->a->base_step
                                            : key_step * sqrt(variance[0]);
    const double ratio = planes == 2 ? value_step *
        sqrt(variance[1] / variance[0]) : 1;
    for (int i = 0; i < n; i++)
        put_plane(j, i, &plane[i], 1 / (i % planes ? step * ratio : step));
    say_info("step of keys %g, of values %g", step, step * ratio);
    return RC_OK;
}

static int learn_plain(job *j, progress *p)
{
    const tsr_progress hook = progress_hook(p);
    const tsr_kv_shape *s = &j->c.in[0].shape;
    const int n = s->layers * s->planes;
    cal_plane *plane = calloc((size_t)n, sizeof *plane);
    int rc = plane ? cal_open(&j->c)
                   : say_error(RC_MACHINE, NULL, "out of memory");

    if (!rc) {
        put_common(j);
        put_groups(j, n, 0);
    }
    for (int i = 0; !rc && i < n; i++) {
        rc = cal_plane_learn(&j->c, i / s->planes, i % s->planes, &plane[i]);
        hook.report(hook.cookie, (double)(i + 1) / n);
    }
    if (!rc)
        rc = put_planes(j, plane, n);
    for (int i = 0; plane && i < n; i++)
        cal_plane_free(&plane[i]);
    free(plane);
    return rc;
}

static int make(void *cookie, output *out, progress *p)
{
    job *j = cookie;
    int rc;
    if (j->a->method) {
        store_text(&j->out, "tessera.codec", "kv-tables");
        rc = cal_open(&j->c);
        rc = rc ? rc : tables_learn(&j->c, j->a->method, &j->out, p);
    } else {
        rc = j->a->plain ? learn_plain(j, p) : learn(j, p);
    }
    return rc ? rc : store_write(&j->out, out);
}

int kv_profile(args *a)
{
    job j = { .a = a };
    int rc;

    if (a->in || !a->files || !a->out)
        return say_error(RC_USAGE, NULL, "profile wants caches, and -o FILE");
    if (a->plain && (a->stats_file || a->predict || a->match || a->anchor ||
                     a->join))
        return say_error(RC_USAGE, NULL, "-plain has no use for -statistics,"
                         " -predict, -match, -anchor or -join");
    if (a->method && (a->stats_file || a->predict || a->match || a->anchor ||
                      a->join || a->plain))
        return say_error(RC_USAGE, NULL, "-method: the tables of a published"
                         " method have no use for other options");
    if (a->match && a->anchor)
        return say_error(RC_USAGE, NULL, "-match or -anchor: a token has one"
                         " reference");
    if (a->hadamard && !a->plain)
        return say_error(RC_USAGE, NULL, "-hadamard goes with -plain: the"
                         " other transforms would take it off again");
    rc = engine_open(&j.c.ctx, a);
    if (!rc)
        rc = open_inputs(&j);
    for (int p = 0; !rc && a->hadamard && p < j.c.in[0].shape.planes; p++)
        if (j.c.in[0].shape.dim[p] & (j.c.in[0].shape.dim[p] - 1))
            rc = say_error(RC_USAGE, NULL, "-hadamard: heads of %d dims, not a"
                           " power of two", j.c.in[0].shape.dim[p]);
    if (!rc)
        rc = open_stats(&j);
    j.c.sinks = a->sinks >= 0 ? a->sinks : 4;
    j.c.reference = a->match ? 3 : a->anchor > 1 ? 2 : a->anchor;
    j.c.anchor = a->anchor;
    j.c.hadamard = a->hadamard;
    j.c.step = a->base_step > 0 ? a->base_step : steps[j.c.metric];
    if (!rc)
        rc = kv_write(a, NULL, make, &j, NULL);
    cal_close(&j.c);
    for (int i = 0; i < j.c.count; i++)
        cache_close(&j.c.in[i]);
    free(j.c.in);
    store_close(&j.out);
    tsr_model_unref(&j.c.stats);
    tsr_context_close(&j.c.ctx);
    return rc;
}
