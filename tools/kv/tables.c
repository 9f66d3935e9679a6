/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/kv/tables.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/vq.h>
#include "tools/say.h"

enum { WINDOW = 256, MAX_SAMPLES = 1 << 17 };

/* Of a vector's values kvquant keeps one in a hundred out of the levels. */
static const double outliers = 0.01;

/* One plane of one layer: all tokens of all caches but the sinks. */
typedef struct plane {
    const calibration *c;
    int layer, number;
    size_t channels;
    float *x;               /* c->rows x channels, the rotation taken off */
} plane;

/* What follows the method's name. */
typedef struct method {
    int dims, entries, stages, bits;
} method;

static int no_memory(void)
{
    return say_error(RC_MACHINE, NULL, "out of memory");
}

static int load(plane *p)
{
    const calibration *c = p->c;
    size_t row = 0;

    for (int i = 0; i < c->count; i++) {
        const cache *in = &c->in[i];
        const size_t n = in->view.tokens, sinks = (size_t)c->sinks;
        float *all = malloc(n * p->channels * sizeof *all + 1);
        if (!all)
            return no_memory();
        const tsr_error error = tsr_kv_values(c->ctx, &in->shape, &in->rope,
                                              &in->view, p->layer, p->number,
                                              in->pos0, all);
        if (!error && n > sinks) {
            memcpy(p->x + row * p->channels, all + sinks * p->channels,
                   (n - sinks) * p->channels * sizeof *all);
            row += n - sinks;
        }
        free(all);
        if (error)
            return say_failure_as(RC_INPUT, in->name, error);
    }
    return RC_OK;
}

/* ---- codebooks of groups of channels ---- */

/* x: rows x dims; becomes what is left of it. */
static int learn_stage(const plane *p, const method *m, float *x, int32_t *codes,
                       float *book)
{
    tsr_kmeans_settings s;
    tsr_kmeans_settings_init(&s);
    const tsr_error error = tsr_kmeans(p->c->ctx, &s, x, p->c->rows, m->dims,
                                       m->entries, book, codes, NULL);
    if (error)
        return say_failure_as(RC_INPUT, NULL, error);
    for (size_t i = 0; i < p->c->rows; i++)
        for (int d = 0; d < m->dims; d++)
            x[i * (size_t)m->dims + (size_t)d] -=
                book[codes[i] * m->dims + d];
    return RC_OK;
}

static int learn_books(const plane *p, const method *m, store *out)
{
    const size_t dims = (size_t)m->dims, groups = p->channels / dims;
    const size_t book = (size_t)m->entries * dims;
    float *x = malloc(p->c->rows * dims * sizeof *x);
    int32_t *codes = malloc(p->c->rows * sizeof *codes);
    float *books = malloc((size_t)m->stages * groups * book * sizeof *books);
    const size_t shape[4] = { (size_t)m->stages, groups, (size_t)m->entries,
                              dims };
    char name[64];
    int rc = x && codes && books ? RC_OK : no_memory();

    for (size_t g = 0; !rc && g < groups; g++) {
        for (size_t i = 0; i < p->c->rows; i++)
            memcpy(x + i * dims, p->x + i * p->channels + g * dims,
                   dims * sizeof *x);
        for (int s = 0; !rc && s < m->stages; s++)
            rc = learn_stage(p, m, x, codes,
                             books + ((size_t)s * groups + g) * book);
    }
    snprintf(name, sizeof name, "vq.%d.%d", p->layer, p->number);
    if (!rc)
        store_array(out, name, "F32", 4, 4, shape, books);
    free(x);
    free(codes);
    free(books);
    return rc;
}

/* ---- levels of scalars ---- */

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The values of one vector, of n, in units of half their range without the
 * outliers, as the codec has them; returns how many. */
static size_t normalise(float *v, size_t n)
{
    const size_t few = (size_t)((double)n * outliers / 2 + 0.5);

    qsort(v, n, sizeof *v, by_value);
    if (n <= 2 * few || !(v[n - 1 - few] > v[few]))
        return 0;
    const float middle = (v[few] + v[n - 1 - few]) / 2;
    const float half = (v[n - 1 - few] - v[few]) / 2;
    for (size_t i = few; i < n - few; i++)
        v[i - few] = (v[i] - middle) / half;
    return n - 2 * few;
}

/* Vectors of keys are a channel of a window of tokens, of values a token: an even
 * choice of them that is as large as k-means needs. */
static size_t gather(const plane *p, float *v, float *samples)
{
    const int keys = p->number == 0;
    const size_t length = keys ? WINDOW : p->channels;
    const size_t windows = keys ? (p->c->rows + WINDOW - 1) / WINDOW
                                : p->c->rows;
    const size_t vectors = windows * (keys ? p->channels : 1);
    const size_t most = MAX_SAMPLES / length + 1;
    const size_t step = vectors > most ? vectors / most : 1;
    size_t n = 0;

    for (size_t i = 0; i < vectors; i += step) {
        size_t many = 0;
        if (!keys)
            memcpy(v, p->x + i * p->channels, (many = length) * sizeof *v);
        for (size_t t = i / p->channels * WINDOW;
             keys && t < p->c->rows && many < WINDOW; t++)
            v[many++] = p->x[t * p->channels + i % p->channels];
        many = normalise(v, many);
        if (n + many > MAX_SAMPLES)
            break;
        memcpy(samples + n, v, many * sizeof *v);
        n += many;
    }
    return n;
}

static int learn_levels(const plane *p, const method *m, store *out)
{
    const int levels = 1 << m->bits;
    float level[16];
    char name[64];
    float *v = malloc((p->channels > WINDOW ? p->channels : WINDOW) * sizeof *v);
    float *samples = malloc(MAX_SAMPLES * sizeof *samples);
    int rc = v && samples ? RC_OK : no_memory();

    if (!rc) {
        const size_t n = gather(p, v, samples);
        const tsr_error error = n < (size_t)levels ? TSR_E_ARG :
            tsr_kmeans(p->c->ctx, NULL, samples, n, 1, levels, level, NULL,
                       NULL);
        if (error)
            rc = say_error(RC_INPUT, NULL, "layer %d has no values to learn"
                           " levels from", p->layer);
    }
    if (!rc)
        qsort(level, (size_t)levels, sizeof *level, by_value);
    for (int i = 1; !rc && i < levels; i++)
        if (!(level[i] > level[i - 1]))
            rc = say_error(RC_INPUT, NULL, "layer %d has fewer than %d different"
                           " values", p->layer, levels);
    snprintf(name, sizeof name, "kvquant.lut.%d.%d", p->layer, p->number);
    if (!rc)
        store_tensor(out, name, "F32", 4, (size_t)levels, 0, level);
    free(v);
    free(samples);
    return rc;
}

/* ---- the method ---- */

static int read_option(const char *text, method *m)
{
    static const struct { const char *name; size_t at; long least, most; } known[] = {
        { "dims=", offsetof(method, dims), 1, 256 },
        { "entries=", offsetof(method, entries), 2, 65536 },
        { "stages=", offsetof(method, stages), 1, 8 },
        { "bits=", offsetof(method, bits), 2, 4 }
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i].name);
        if (!strncmp(text, known[i].name, n)) {
            char *end;
            const long value = strtol(text + n, &end, 10);
            if (end == text + n || (*end && *end != ',') ||
                value < known[i].least || value > known[i].most)
                return 0;
            *(int *)((char *)m + known[i].at) = (int)value;
            return 1;
        }
    }
    return 0;
}

static int read_method(const char *text, method *m)
{
    const char *at = strchr(text, ':');
    *m = (method){ 8, 256, 1, 3 };
    while (at) {
        if (!read_option(at + 1, m))
            return say_error(RC_USAGE, NULL, "-method %s: vq:dims=1..256,"
                             "entries=2..65536,stages=1..8 or kvquant:bits=2..4",
                             text);
        at = strchr(at + 1, ',');
    }
    return RC_OK;
}

static int learn_plane(plane *p, const method *m, int vq, store *out)
{
    const tsr_kv_shape *s = &p->c->in[0].shape;
    int rc = RC_OK;

    p->channels = (size_t)s->heads[p->number] * (size_t)s->dim[p->number];
    if (vq && p->channels % (size_t)m->dims)
        return say_error(RC_USAGE, NULL, "-method vq: %zu channels are no"
                         " multiple of dims=%d", p->channels, m->dims);
    p->x = malloc(p->c->rows * p->channels * sizeof *p->x);
    rc = p->x ? load(p) : no_memory();
    if (!rc)
        rc = vq ? learn_books(p, m, out) : learn_levels(p, m, out);
    free(p->x);
    return rc;
}

int tables_learn(const calibration *c, const char *name, store *out,
                 progress *p)
{
    const tsr_progress hook = progress_hook(p);
    const tsr_kv_shape *s = &c->in[0].shape;
    const int n = s->layers * s->planes;
    const int vq = !strncmp(name, "vq", 2) && strchr(":", name[2]);
    method m;

    if (!vq && (strncmp(name, "kvquant", 7) || !strchr(":", name[7])))
        return say_error(RC_USAGE, NULL, "-method %s: only vq and kvquant have"
                         " tables", name);
    int rc = read_method(name, &m);
    if (!rc && vq && (size_t)m.entries > c->rows)
        rc = say_error(RC_INPUT, NULL, "%zu tokens cannot fill %d entries",
                       c->rows, m.entries);
    for (int i = 0; !rc && i < n; i++) {
        plane one = { .c = c, .layer = i / s->planes, .number = i % s->planes };
        rc = learn_plane(&one, &m, vq, out);
        hook.report(hook.cookie, (double)(i + 1) / n);
    }
    return rc;
}
