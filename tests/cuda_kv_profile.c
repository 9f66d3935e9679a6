/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles for the caches of cuda_kv_problem.c. */
#include "config.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "codecs/kv/move.h"
#include "lib/bytes.h"
#include "tests/cuda_kv.h"

enum { PREDICTORS = 2, HIDDEN = 21 };

/* A safetensors file on its way: the members of its header, and data. */
typedef struct file {
    char *head;
    size_t head_size;
    FILE *data;
    size_t bytes;
} file;

static void say(file *f, const char *format, ...)
{
    va_list args;

    f->head = realloc(f->head, f->head_size + 256);
    if (!f->head)
        die("out of memory");
    va_start(args, format);
    f->head_size += (size_t)vsnprintf(f->head + f->head_size, 256, format, args);
    va_end(args);
}

/* A tensor of one dim or (columns not 0) two. */
static void put(file *f, const char *name, const char *type, size_t size,
                size_t rows, size_t columns, const void *data)
{
    const size_t n = rows * (columns ? columns : 1) * size;

    say(f, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu", name, type, rows);
    if (columns)
        say(f, ",%zu", columns);
    say(f, "],\"data_offsets\":[%zu,%zu]}", f->bytes, f->bytes + n);
    if (fwrite(data, size, n / size, f->data) != n / size)
        die("cannot write a profile");
    f->bytes += n;
}

static void put_named(file *f, int group, const char *what, const char *type,
                      size_t size, size_t rows, size_t columns, const void *data)
{
    char name[40];

    snprintf(name, sizeof name, "g.%d.%s", group, what);
    put(f, name, type, size, rows, columns, data);
}

static void put_numbers(file *f, const char *name, int n, const int32_t *v)
{
    put(f, name, "I32", 4, (size_t)n, 0, v);
}

/* ---- a group ---- */

typedef struct group {
    int first, planes;      /* of all */
    int n, r;
    float *mean, *spread;   /* of the values, scale taken off them */
} group;

static group find_group(const problem *p, int g)
{
    const test_case *t = p->t;
    const int planes = t->joined ? t->joined * t->shape.planes : 1;
    group s = { .first = g * planes, .planes = planes };

    for (int i = 0; i < planes; i++)
        s.n += p->channels[0];
    s.r = t->columns ? s.n * t->columns / 100 : s.n;
    s.mean = room((size_t)s.n * sizeof *s.mean);
    s.spread = room((size_t)s.n * sizeof *s.spread);
    for (int i = 0; i < s.n; i++) {
        const int plane = s.first + i / p->channels[0];
        const int c = i % p->channels[0];
        s.mean[i] = p->mean[plane][c];
        s.spread[i] = p->spread[plane][c];
    }
    return s;
}

/* Scales that bring spreads nearer to each other. */
static void put_scale(file *f, int g, group *s)
{
    float *scale = room((size_t)s->n * sizeof *scale);

    for (int i = 0; i < s->n; i++) {
        scale[i] = 1 / sqrtf(s->spread[i]) * (i % 7 ? 1 : -1);
        s->spread[i] *= fabsf(scale[i]);
    }
    put_named(f, g, "scale", "F32", 4, (size_t)s->n, 0, scale);
    free(scale);
}

/* Large ones as halves. */
static void put_matrix(file *f, int g, const char *name, size_t r, size_t n,
                       const float *m)
{
    uint16_t *half = room(n * r * sizeof *half);

    tsri_kv_to_dtype(TSR_KV_F16, 0, m, n * r, half);
    if (n > 500)
        put_named(f, g, name, "F16", 2, r, n, half);
    else
        put_named(f, g, name, "F32", 4, r, n, m);
    free(half);
}

/* A cosine transform, or for the inverse (since it is orthonormal) the same with a
 * little noise, so that one is not taken for the other.  The spreads become those
 * of the coefficients. */
static void put_matrices(file *f, int g, group *s)
{
    const size_t n = (size_t)s->n, r = (size_t)s->r;
    float *m = room(n * r * sizeof *m), *spread = room(n * sizeof *spread);
    float *cosine = room(4 * n * sizeof *cosine);

    for (size_t i = 0; i < 4 * n; i++)
        cosine[i] = (float)(cos(M_PI * (double)i / (2 * (double)n)) *
                            sqrt(2 / (double)n));
    for (size_t i = 0; i < r; i++) {
        float energy = 0;
        for (size_t c = 0; c < n; c++) {
            const float v = cosine[(2 * c + 1) * i % (4 * n)] * (i ? 1 : .7071f);
            m[i * n + c] = v;
            energy += v * v * s->spread[c] * s->spread[c];
        }
        spread[i] = sqrtf(energy);
    }
    put_matrix(f, g, "forward", r, n, m);
    for (size_t i = 0; i < n * r; i += 3)
        m[i] *= 1.001f;
    put_matrix(f, g, "inverse", r, n, m);
    free(s->spread);
    free(cosine);
    free(m);
    s->spread = spread;
}

static size_t class_rows(const problem *p)
{
    return p->t->profile & (MATCHES | PREVIOUS) ? 8 : 1;
}

static void put_gains(file *f, const problem *p, int g, const group *s)
{
    const size_t r = (size_t)s->r, rows = class_rows(p);
    int8_t *rho = room(rows * r);

    for (size_t i = 0; i < rows * r; i++)
        rho[i] = (int8_t)(below(9) ? (int)below(70) - 8 : (int)below(256) - 128);
    put_named(f, g, "rho", "I8", 1, rows, r, rho);
    free(rho);
}

/* What words say: little against the spreads. */
static void put_words(file *f, int g, const group *s)
{
    const size_t rows = PREDICTORS * HIDDEN + 1, n = (size_t)s->n;
    float *m = room(rows * n * sizeof *m);

    for (size_t i = 0; i < rows * n; i++)
        m[i] = .05f * normal() * s->spread[i % n];
    put_named(f, g, "words", "F32", 4, rows, n, m);
    free(m);
}

static void put_embedding(file *f)
{
    uint16_t half[VOCABULARY * HIDDEN];

    for (int i = 0; i < VOCABULARY * HIDDEN; i++) {
        const float v = normal();
        tsri_kv_to_dtype(TSR_KV_F16, 0, &v, 1, &half[i]);
    }
    put(f, "embedding", "F16", 2, VOCABULARY, HIDDEN, half);
    put_numbers(f, "kv.predictors", 1, &(int32_t){ PREDICTORS });
}

/* Classes; those of the last coefficients fall, so that they may be dead. */
static void put_classes(file *f, const problem *p, int g, const group *s, float step)
{
    const size_t r = (size_t)s->r, rows = class_rows(p);
    uint8_t *cls = room(rows * r);

    for (int i = 0; i < s->r; i++) {
        const float mean = s->spread[i] * .8f / step;
        int c = (int)lrintf(4 * log2f(mean)) + 14 + p->t->bias;
        if (p->t->dead && i > s->r * p->t->live / 100)
            c = p->t->dead - 5 + p->t->bias - (i & 7);     /* 4: half a step */
        cls[i] = (uint8_t)(c < 0 ? 0 : c > 63 ? 63 : c);
    }
    for (size_t i = r; i < rows * r; i++) {     /* those of matches */
        const int c = cls[i % r] + (int)below(7) - 1;
        cls[i] = (uint8_t)(c < 0 ? 0 : c > 63 ? 63 : c);
    }
    put_named(f, g, "class", "U8", 1, rows, r, cls);
    free(cls);
}

static void put_group(file *f, const problem *p, int g, float step)
{
    group s = find_group(p, g);

    put_named(f, g, "mean", "F32", 4, (size_t)s.n, 0, s.mean);
    if (p->t->profile & WORDS)
        put_words(f, g, &s);
    if (p->t->profile & SCALES)
        put_scale(f, g, &s);
    if (p->t->profile & MATRICES)
        put_matrices(f, g, &s);
    put_classes(f, p, g, &s, step);
    if (p->t->profile & GAINS)
        put_gains(f, p, g, &s);
    free(s.mean);
    free(s.spread);
}

/* ---- the file ---- */

static void put_rest(file *f, const problem *p, float step)
{
    const test_case *t = p->t;
    const tsr_kv_shape *s = &t->shape;
    const bool two = s->planes > 1;
    const int groups = p->planes / (t->joined ? t->joined * s->planes : 1);
    int32_t *of = room((size_t)groups * 12);

    for (int g = 0; g < groups; g++) {
        of[3 * g] = t->joined ? g * t->joined : g / s->planes;
        of[3 * g + 1] = t->joined ? t->joined : 1;
        of[3 * g + 2] = t->joined || !two ? -1 : g % s->planes;
        put_group(f, p, g, step);
    }
    put_numbers(f, "kv.shape", 6, (int32_t[]){
        s->layers, s->planes, s->heads[0], s->dim[0], two ? s->heads[1] : 0,
        two ? s->dim[1] : 0 });
    put(f, "kv.rope", "F64", 8, 9, 0, (double[]){
        t->layout, t->offset, t->dims, t->layout ? 5e5 : 0, 0, 0, 0, 0, 0 });
    put(f, "kv.groups", "I32", 4, (size_t)groups, 3, of);
    put(f, "kv.step", "F32", 4, 1, 0, &step);
    put_numbers(f, "kv.bias", 1, &t->bias);
    put_numbers(f, "kv.dead", 1, &t->dead);
    put_numbers(f, "kv.hadamard", 1, &(int32_t){ t->profile & HADAMARD ? 1 : 0 });
    put_numbers(f, "kv.reference", 2,
                (int32_t[]){ t->profile & MATCHES ? 3 : t->profile & ANCHOR ? 2
                             : t->profile & PREVIOUS ? 1 : 0,
                             t->profile & ANCHOR ? 7 : 0 });
    if (t->profile & WORDS)
        put_embedding(f);
    free(of);
}

/* Levels of kvquant or, with `entries`, codebooks of vq: two stages, groups of 4. */
static void put_table(file *f, const problem *p, int plane)
{
    const int entries = p->t->entries, planes = p->t->shape.planes;
    const size_t groups = (size_t)p->channels[0] / 4, n = entries
        ? 2 * groups * (size_t)entries * 4 : (size_t)1 << p->t->bits;
    float *x = room(n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = entries ? 2 * normal() : ((float)i + .5f) * 2 / (float)n - 1;
    if (entries)
        say(f, ",\"vq.%d.%d\":{\"dtype\":\"F32\",\"shape\":[2,%zu,%d,4]",
            plane / planes, plane % planes, groups, entries);
    else
        say(f, ",\"kvquant.lut.%d.%d\":{\"dtype\":\"F32\",\"shape\":[%zu]",
            plane / planes, plane % planes, n);
    say(f, ",\"data_offsets\":[%zu,%zu]}", f->bytes, f->bytes + 4 * n);
    if (fwrite(x, 4, n, f->data) != n)
        die("cannot write a profile");
    f->bytes += 4 * n;
    free(x);
}

tsr_model *make_profile(const problem *p, float step)
{
    char path[] = "./cuda_kv_XXXXXX.safetensors", part[4096];
    const int out = mkstemps(path, 12);
    file f = { .data = tmpfile() };
    FILE *to = out < 0 ? NULL : fdopen(out, "wb");
    uint8_t length[8];
    tsr_model *model;
    size_t n;

    if (!to || !f.data)
        die("no room for a profile");
    say(&f, "{\"__metadata__\":{\"tessera.codec\":\"kv-profile\"}");
    if (p->t->profile & TABLES)
        for (int i = 0; i < p->planes; i++)
            put_table(&f, p, i);
    else
        put_rest(&f, p, step);
    say(&f, "}");
    tsri_put64(length, f.head_size);
    fwrite(length, 1, 8, to);
    fwrite(f.head, 1, f.head_size, to);
    rewind(f.data);
    while ((n = fread(part, 1, sizeof part, f.data)) > 0)
        fwrite(part, 1, n, to);
    fclose(f.data);
    if (fclose(to))
        die("cannot write a profile");
    must(tsr_model_open(&model, p->ctx, path), "profile");
    remove(path);
    free(f.head);
    return model;
}
