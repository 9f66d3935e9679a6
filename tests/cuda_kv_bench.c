/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast objects are made and read on a CUDA device. */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/kv/move.h"
#include "tests/cuda_kv.h"

/* ---- speed ---- */

enum { PASSES = 15 };

typedef struct stopwatch {
    tsri_cuda *gpu;
    tsri_cuda_mark *begin, *end;
    float ms[PASSES];
} stopwatch;

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double gbs(stopwatch *w, double bytes)
{
    qsort(w->ms, PASSES, sizeof *w->ms, compare);
    return bytes / w->ms[PASSES / 2] * 1e-6;
}

typedef void (*work)(problem *p, void *copy);

static void do_encode(problem *p, void *copy)
{
    (void)copy;
    must(tsr_kv_cuda_encode(p->coder, p->item, (size_t)p->t->objects,
                            (size_t)p->t->tokens, p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "encode");
}

static void do_decode(problem *p, void *copy)
{
    (void)copy;
    must(tsr_kv_cuda_decode(p->coder, p->item, (size_t)p->t->objects,
                            (size_t)p->t->tokens, p->scratch, p->scratch_size,
                            tsri_cuda_stream(p->gpu)), "decode");
}

static void do_copy(problem *p, void *copy)
{
    must(tsri_cuda_copy(p->gpu, copy, p->pool,
                        (size_t)p->planes * p->plane_bytes[0]), "copy");
}

/* Median of PASSES, after two that do not count. */
static double measure(problem *p, stopwatch *w, work f, void *copy)
{
    for (int i = -2; i < PASSES; i++) {
        must(tsri_cuda_mark_set(w->gpu, w->begin), "mark");
        f(p, copy);
        must(tsri_cuda_mark_set(w->gpu, w->end), "mark");
        must(tsri_cuda_mark_between(w->gpu, w->begin, w->end,
                                    &w->ms[i < 0 ? 0 : i]), "time");
    }
    return gbs(w, (double)p->planes * (double)p->plane_bytes[0]);
}

/* Dims i and i + 64 of heads of 128 turned as a model does. */
static void turn_plane(const problem *p, float *x, uint64_t pos)
{
    for (int h = 0; h < p->t->shape.heads[0]; h++, x += 128)
        for (int i = 0; i < 64; i++) {
            const double a = (double)pos * pow(5e5, -i / 64.);
            const float c = (float)cos(a), s = (float)sin(a), y = x[i];
            x[i] = y * c - x[i + 64] * s;
            x[i + 64] = x[i + 64] * c + y * s;
        }
}

/* A plane of one object as models have them: channels with means and spreads of
 * their own, keys turned. */
static void model_plane(const problem *p, int plane, uint8_t *out)
{
    const int n = p->channels[0], tokens = p->t->tokens;
    const float *mean = p->mean[plane], *scale = p->spread[plane];
    float *x = room((size_t)n * sizeof *x);

    for (int t = 0; t < tokens; t++) {
        for (int c = 0; c < n; c++)
            x[c] = mean[c] + scale[c] * normal();
        if (!(plane & 1))
            turn_plane(p, x, p->t->pos0 + (uint64_t)t);
        tsri_kv_to_dtype(p->t->dtype, 0, x, (size_t)n,
                         out + (size_t)t * (size_t)n * p->element);
    }
    free(x);
}

/* All objects have the same cache, each in blocks of its own. */
static void fill_device(problem *p)
{
    const size_t block = p->plane_bytes[0] / (size_t)p->blocks;
    const int blocks = p->blocks / p->t->objects;
    uint8_t *image = room(block * (size_t)blocks);

    restart(1);
    for (int i = 0; i < p->planes; i++) {
        model_plane(p, i, image);
        for (int k = 0; k < p->blocks; k++)
            must(tsri_cuda_upload(p->gpu, (uint8_t *)p->base[i] +
                                  (size_t)p->block[k] * block,
                                  image + (size_t)(k % blocks) * block, block),
                 "upload");
        must(tsri_cuda_sync(p->gpu), "sync");
    }
    free(image);
}

static void prepare(problem *p)
{
    p->element = 2;
    p->all = (size_t)p->t->objects * (size_t)p->t->tokens;
    p->planes = p->t->shape.layers * p->t->shape.planes;
    p->blocks = (int)(p->all / BLOCK);
    p->block = room((size_t)p->blocks * sizeof *p->block);
    for (int i = 0; i < p->blocks; i++)     /* not in order */
        p->block[i] = i / 16 * 16 + i * 7 % 16;
    p->channels[0] = p->t->shape.heads[0] * p->t->shape.dim[0];
    p->plane_bytes[0] = p->all * (size_t)p->channels[0] * p->element;
    p->cache = make_planes(&(problem){ .planes = p->planes });
    p->object = room((size_t)p->t->objects * sizeof *p->object);
    memset(p->object, 0, (size_t)p->t->objects * sizeof *p->object);
    p->size = room(1);
    choose_spreads(p, .5f, 50, 6);
    make_text(p);
}

/* Greatest error of the first plane, in steps. */
static double worst_error(const problem *p, const uint8_t *before)
{
    const size_t n = p->plane_bytes[0] / 2;
    uint8_t *after = room(p->plane_bytes[0]);
    double worst = 0;

    must(tsri_cuda_download(p->gpu, after, p->base[1], 2 * n), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    for (size_t i = 0; i < n; i += 17) {
        float a, b;
        tsri_kv_from_dtype(p->t->dtype, 0, before + 2 * i, 1, &a);
        tsri_kv_from_dtype(p->t->dtype, 0, after + 2 * i, 1, &b);
        worst = fmax(worst, fabs((double)a - b) - fabs((double)a) / 256);
    }
    free(after);
    return worst / (p->t->step * 1.25);
}

/* What is timed. */
typedef struct timing {
    const char *name;
    int objects;
    double step;
    int levels, profile, live;  /* live: of the coefficients, in percent */
} timing;

static void time_case(tsr_context *ctx, tsri_cuda *gpu, const timing *timed)
{
    const int objects = timed->objects;
    const test_case t = { SHAPE(32, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD,
                          objects, 256, 256, 4, 0, 0, 4096, timed->step,
                          .levels = timed->levels, .profile = timed->profile,
                          .dead = timed->live ? 6 : 0, .live = timed->live,
                          .ids = timed->profile & (MATCHES | WORDS) ? KEPT_IDS
                                                                    : NO_IDS };
    problem p = { .t = &t, .ctx = ctx, .gpu = gpu };
    stopwatch w = { .gpu = gpu };
    double bytes = 0;
    bool good = true;

    prepare(&p);
    open_coder(&p);
    open_device(&p);
    for (int i = 0; i < objects; i++)
        p.item[i].pos0 = t.pos0;
    fill_device(&p);
    must(tsri_cuda_mark_open(gpu, &w.begin), "mark");
    must(tsri_cuda_mark_open(gpu, &w.end), "mark");
    uint8_t *before = room(p.plane_bytes[0]);
    must(tsri_cuda_download(gpu, before, p.base[1], p.plane_bytes[0]), "download");
    const double copy = measure(&p, &w, do_copy, p.scratch);
    give_ids(&p, p.ids);
    const double enc = measure(&p, &w, do_encode, NULL);
    give_ids(&p, false);
    outcome o = get_outcome(&p);
    for (int i = 0; i < objects; i++) {
        bytes += (double)o.bytes[i];
        good &= !o.status[i];
        p.item[i].size = o.bytes[i];
    }
    double dec[3];
    for (int level = 1; level <= t.levels; level++) {
        for (int i = 0; i < objects; i++)
            p.item[i].level = level;
        dec[level - 1] = measure(&p, &w, do_decode, NULL);
    }
    free_outcome(&o);
    o = get_outcome(&p);
    for (int i = 0; i < objects; i++)
        good &= !o.status[i];
    free_outcome(&o);
    printf("%-10s %6d %8.3f %7.3f %7.0f", timed->name, 256 * objects, timed->step,
           16 * bytes / ((double)p.planes * (double)p.plane_bytes[0]), enc);
    for (int level = 3; level > 0; level--)
        if (level <= t.levels)
            printf(" %7.0f", dec[level - 1]);
        else
            printf("        ");
    printf(" %7.0f   %.3f%s\n", copy, worst_error(&p, before),
           good ? "" : "  FAILED");
    free(before);
    tsri_cuda_mark_close(gpu, &w.begin);
    tsri_cuda_mark_close(gpu, &w.end);
    close_problem(&p);
}

/* The same cache for all objects of a published method, made on the CPU. */
static size_t make_objects(problem *p)
{
    const size_t plane = (size_t)p->t->tokens * (size_t)p->channels[0] * 2;
    uint8_t **cache = room((size_t)p->planes * sizeof *cache);
    void **base = room((size_t)p->planes * sizeof *base);
    uint8_t *object = room(p->bound);
    size_t size;

    restart(1);
    for (int i = 0; i < p->planes; i++) {
        cache[i] = room(plane);
        model_plane(p, i, cache[i]);
    }
    const tsr_kv_view view = host_view(p, cache, base, 0);
    const tsr_kv_call call = host_call(p, 0, true);
    must(tsr_kv_encode(p->kv, &view, &call, object, p->bound, &size), "encode");
    for (int i = 0; i < p->t->objects; i++) {
        must(tsri_cuda_upload(p->gpu, p->item[i].data, object, size), "upload");
        p->item[i].size = size;
    }
    must(tsri_cuda_sync(p->gpu), "sync");
    for (int i = 0; i < p->planes; i++)
        free(cache[i]);
    free(call.scratch);
    free(object);
    free(cache);
    free(base);
    return size;
}

static void time_method(tsr_context *ctx, tsri_cuda *gpu, const char *method)
{
    const test_case t = { SHAPE(32, 2, 8, 128), 1, 0, 128, TSR_KV_BF16, NHD, 8, 256,
                          256, 0, 0, 0, 4096, 0, .levels = 1, .method = method,
                          .profile = strncmp(method, "vq", 2) ? 0 : TABLES,
                          .entries = 256 };
    problem p = { .t = &t, .ctx = ctx, .gpu = gpu };
    stopwatch w = { .gpu = gpu };
    bool good = true;

    prepare(&p);
    open_coder(&p);
    open_device(&p);
    const size_t size = make_objects(&p);
    must(tsri_cuda_mark_open(gpu, &w.begin), "mark");
    must(tsri_cuda_mark_open(gpu, &w.end), "mark");
    const double dec = measure(&p, &w, do_decode, NULL);
    outcome o = get_outcome(&p);
    for (int i = 0; i < t.objects; i++)
        good &= !o.status[i];
    free_outcome(&o);
    printf("%-40s %7.3f bits, decoded at %7.1f GB/s", method,
           16 * (double)size * t.objects /
           ((double)p.planes * (double)p.plane_bytes[0]), dec);
    for (int i = 0; i < t.objects; i++) {
        p.item[i].size = p.bound;
        p.item[i].pos0 = t.pos0;
    }
    fill_device(&p);
    printf(", encoded at %7.1f GB/s", measure(&p, &w, do_encode, NULL));
    o = get_outcome(&p);
    for (int i = 0; i < t.objects; i++)
        good &= !o.status[i] && o.bytes[i] == size;
    free_outcome(&o);
    printf("%s\n", good ? "" : "  FAILED");
    tsri_cuda_mark_close(gpu, &w.begin);
    tsri_cuda_mark_close(gpu, &w.end);
    close_problem(&p);
}

int bench(tsr_context *ctx, tsri_cuda *gpu, const char *only)
{
    static const char *const methods[] = {
        "cachegen:plain=1", "cachegen", "kivi:residual=0,plain=1",
        "kivi:residual=0", "kvquant:plain=1", "kvquant", "gear:plain=1", "gear",
        "zipcache:plain=1", "zipcache", "turboquant:plain=1", "turboquant",
        "fp8:plain=1", "fp8", "lossless", "vq:plain=1", "vq"
    };
    static const timing timings[] = {
        { "none", 8, 4, 1, 0, 0 }, { "none", 8, 2, 1, 0, 0 },
        { "none", 8, 1, 1, 0, 0 }, { "none", 8, .5, 1, 0, 0 },
        { "none", 8, .25, 1, 0, 0 }, { "none", 8, .0625, 1, 0, 0 },
        { "none", 32, 2, 1, 0, 0 },
        { "levels", 8, 2, 2, 0, 0 }, { "levels", 8, 1, 2, 0, 0 },
        { "levels", 8, 1, 3, 0, 0 }, { "levels", 8, .25, 3, 0, 0 },
        { "plain", 8, 4, 1, PLAIN, 0 }, { "plain", 8, 2, 1, PLAIN, 0 },
        { "plain", 8, 1, 1, PLAIN, 0 }, { "plain", 8, .25, 1, PLAIN, 0 },
        { "plain", 8, 1, 3, PLAIN, 0 }, { "plain", 32, 2, 1, PLAIN, 0 },
        { "matrix", 8, 2, 1, MATRICES, 0 }, { "matrix", 8, 2, 1, MATRICES, 25 },
        { "matrix", 8, 2, 3, MATRICES, 25 },
        { "previous", 8, 2, 1, PLAIN | PREVIOUS | GAINS, 0 },
        { "anchor", 8, 2, 1, PLAIN | ANCHOR | GAINS, 0 },
        { "match", 8, 2, 1, PLAIN | MATCHES | GAINS, 0 },
        { "match", 8, 2, 3, PLAIN | MATCHES | GAINS, 0 },
        { "words", 8, 2, 1, PLAIN | WORDS, 0 },
        { "all", 8, 2, 1, MATRICES | WORDS | MATCHES | GAINS, 25 },
    };

    printf("%s: GB/s of bf16 cache, 32 x 2 x 8 x 128, objects of 256 tokens, "
           "paged, median of %d\n%-10s %6s %8s %7s %7s %7s %7s %7s %7s   %s\n",
           tsri_cuda_name(gpu), PASSES, "profile", "tokens", "step", "bits",
           "encode", "decode3", "decode2", "decode", "copy",
           "worst error in steps");
    for (size_t i = 0; i < sizeof timings / sizeof *timings; i++)
        if (!only || !strcmp(only, timings[i].name))
            time_case(ctx, gpu, &timings[i]);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!only || !strcmp(only, "methods") || !strcmp(only, methods[i]))
            time_method(ctx, gpu, methods[i]);
    return 0;
}
