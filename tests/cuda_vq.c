/* SPDX-License-Identifier: BSD-2-Clause */
/* The nearest search on a CUDA device against plain C.
 *
 *   cuda_vq              the test; skipped where there is no device
 *   cuda_vq small        few sizes, for checkers that slow a program down
 *   cuda_vq tiny         five, for checkers that slow it down very much
 *   cuda_vq time N K D [PREFIX]
 *       milliseconds of a search, median of 25; with PREFIX, writes vectors,
 *       codewords and codes as raw little-endian to PREFIX.x, .c and .codes */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/context.h>
#include "vq/codebook.h"
#include "vq/cuda/nearest_cuda.h"

enum { RUNS = 25 };

typedef struct sizes { int n, k, dim; } sizes;

/* Everything of one search, on both sides. */
typedef struct problem {
    sizes s;
    float *x, *words;
    int32_t *want, *got;
    void *gpu_x, *gpu_words, *gpu_codes, *book, *work;
} problem;

static tsr_context *ctx;
static tsri_cuda *gpu;
static uint64_t seed = 1;
static int tests, failures;

static void must(tsr_error error, const char *what)
{
    if (!error)
        return;
    printf("Bail out! %s: %s\n", what, tsr_error_string(error));
    exit(1);
}

static void *memory(size_t count, size_t size)
{
    void *p = malloc(count * size);
    if (!p)
        must(TSR_E_NOMEM, "memory");
    return p;
}

static uint32_t bits(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * 2685821657736338717ull) >> 32);
}

static float uniform(void)
{
    return (float)((int32_t)bits() >> 8) / (float)(1 << 23);
}

/* About normal: a sum of four, of variance 1. */
static float normal(void)
{
    return (uniform() + uniform() + uniform() + uniform()) * 0.8660254f;
}

/* ---- data that is hard for one reason each ---- */

enum kind {
    PLAIN, TIES, EQUAL, NEAR_TIES, HUGE_NORMS, TINY, NOT_NUMBERS, SCALES, FAR_AWAY,
    ZEROS, ALL_NAN, ROUNDED, KINDS
};
static const char *const kind_name[] = {
    "normal", "exact ties", "equal codewords", "near ties", "huge norms",
    "denormals", "Inf and NaN", "many scales and an outlier", "far from zero",
    "zeros", "all NaN", "rounded one way"
};

static float value(enum kind kind, int i, int j)
{
    static const float odd[] = { INFINITY, -INFINITY, NAN, -0.0f, 3e38f, -3e38f,
                                 1e-45f, 2e19f };
    switch (kind) {
    case TIES:
        return (float)((int)(bits() % 3) - 1);
    case EQUAL:
        return (float)(j % 5) - 1.7f;
    case NEAR_TIES:
        return ldexpf((float)(1 + j % 3), 0) + 1e-7f * (float)(bits() % 5);
    case HUGE_NORMS:
        return normal() * (i % 3 ? 1e18f : 1.2e19f);
    case TINY:
        return normal() * (i % 3 == 0 ? 1e-38f : i % 3 == 1 ? 1e-42f : 1e-22f);
    case NOT_NUMBERS:
        return bits() % 40 ? normal() : odd[bits() % 8];
    case SCALES:
        return ldexpf(normal(), i == 5 ? 40 : i % 61 - 30);
    case FAR_AWAY:
        return 1000 + normal();
    case ZEROS:
        return bits() % 2 ? 0.0f : -0.0f;
    case ALL_NAN:
        return NAN;
    case ROUNDED:               /* beside the middle of two halves, a row alike */
        return 1 + 0x1p-11f + (i % 2 ? 0x1p-14f : -0x1p-14f) * (1 + 0.1f * uniform());
    default:
        return normal();
    }
}

/* Vectors may differ in kind from codewords: huge, tiny and odd ones also meet
 * ordinary codewords. */
static void fill(problem *p, enum kind words, enum kind vectors)
{
    for (int i = 0; i < p->s.k; i++)
        for (int j = 0; j < p->s.dim; j++)
            p->words[(size_t)i * (size_t)p->s.dim + (size_t)j] = value(words, i, j);
    for (int i = 0; i < p->s.n; i++)
        for (int j = 0; j < p->s.dim; j++)
            p->x[(size_t)i * (size_t)p->s.dim + (size_t)j] = value(vectors, i, j);
}

/* ---- both sides ---- */

static void search_on_cpu(const problem *p, int n, int32_t *codes)
{
    const size_t dim = (size_t)p->s.dim, count = (size_t)n;
    float *planes = memory(count * dim, sizeof *planes);
    tsri_fmap map = { .channels = p->s.dim, .height = 1, .width = n,
                      .row = count, .plane = count, .data = planes };
    tsri_codes out = { .data = codes, .groups = 1, .height = 1, .width = n,
                       .plane = count, .row = count };
    tsri_codebook *cb;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dim; j++)
            planes[j * count + i] = p->x[i * dim + j];
    must(tsri_codebook_new(&cb, ctx, 1, p->s.k, p->s.dim, p->words), "codebook");
    must(tsri_codebook_encode(cb, ctx, &map, &out), "search in C");
    tsri_codebook_free(&cb, ctx);
    free(planes);
}

static void open_problem(problem *p, sizes s)
{
    const size_t n = (size_t)s.n, k = (size_t)s.k, dim = (size_t)s.dim;

    *p = (problem){ .s = s };
    p->x = memory(n * dim, sizeof *p->x);
    p->words = memory(k * dim, sizeof *p->words);
    p->want = memory(n, sizeof *p->want);
    p->got = memory(n + 1, sizeof *p->got);
    must(tsri_cuda_alloc(gpu, &p->gpu_x, n * dim, sizeof *p->x), "vectors");
    must(tsri_cuda_alloc(gpu, &p->gpu_words, k * dim, sizeof *p->x), "codewords");
    must(tsri_cuda_alloc(gpu, &p->gpu_codes, n + 1, sizeof *p->got), "codes");
    must(tsri_cuda_alloc(gpu, &p->book, tsri_nearest_cuda_book_size(s.k, s.dim), 1),
         "book");
    must(tsri_cuda_alloc(gpu, &p->work,
                         tsri_nearest_cuda_work_size(n, s.k, s.dim), 1), "scratch");
}

static void close_problem(problem *p)
{
    void *on_gpu[] = { p->gpu_x, p->gpu_words, p->gpu_codes, p->book, p->work };
    for (size_t i = 0; i < sizeof on_gpu / sizeof *on_gpu; i++)
        tsri_cuda_free(gpu, on_gpu[i]);
    free(p->x);
    free(p->words);
    free(p->want);
    free(p->got);
}

static void upload(const problem *p)
{
    const size_t row = (size_t)p->s.dim * sizeof(float);
    must(tsri_cuda_upload(gpu, p->gpu_x, p->x, (size_t)p->s.n * row), "upload");
    must(tsri_cuda_upload(gpu, p->gpu_words, p->words, (size_t)p->s.k * row),
         "upload");
    must(tsri_cuda_fill(gpu, p->book, 0xff,
                        tsri_nearest_cuda_book_size(p->s.k, p->s.dim)), "fill");
    must(tsri_nearest_cuda_prepare(gpu, p->book, p->gpu_words, p->s.k, p->s.dim),
         "prepare");
}

static void search(const problem *p, tsri_nearest_how how)
{
    must(tsri_nearest_cuda_search(gpu, p->gpu_codes, p->book, p->s.k, p->s.dim,
                                  p->gpu_x, (size_t)p->s.n, p->work, how),
         "search");
}

/* Codes into p->got, from poisoned memory. */
static void search_poisoned(const problem *p, tsri_nearest_how how, uint8_t poison)
{
    const size_t n = (size_t)p->s.n;
    must(tsri_cuda_fill(gpu, p->gpu_codes, 0xee, (n + 1) * sizeof *p->got), "fill");
    must(tsri_cuda_fill(gpu, p->work, poison,
                        tsri_nearest_cuda_work_size(n, p->s.k, p->s.dim)), "fill");
    search(p, how);
    must(tsri_cuda_download(gpu, p->got, p->gpu_codes, (n + 1) * sizeof *p->got),
         "download");
    must(tsri_cuda_sync(gpu), "sync");
}

/* Wrong codes among the first n, the first one shown. */
static int wrong(const problem *p, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        if (p->got[i] != p->want[i] && count++ == 0)
            printf("# vector %d: %d, not %d\n", i, (int)p->got[i], (int)p->want[i]);
    return count;
}

/* ---- the test ---- */

static void check(sizes s, enum kind words, enum kind vectors)
{
    static const char *const how_name[] = { "auto", "sweep", "exact" };
    problem p;

    open_problem(&p, s);
    fill(&p, words, vectors);
    search_on_cpu(&p, s.n, p.want);
    upload(&p);
    int bad = 0;
    for (int how = TSRI_NEAREST_AUTO; how <= TSRI_NEAREST_EXACT; how++) {
        search_poisoned(&p, (tsri_nearest_how)how, how == 1 ? 0xff : 0x7f);
        const int count = wrong(&p, s.n);
        if (count)
            printf("# %s: %d of %d\n", how_name[how], count, s.n);
        bad += count;
        uint32_t guard;
        memcpy(&guard, p.got + s.n, sizeof guard);
        if (guard != 0xeeeeeeee) {
            printf("# written past the end\n");
            bad++;
        }
    }
    failures += bad > 0;
    tests++;
    if (bad)
        printf("not ok %d - %d vectors, k %d, dim %d: %s in %s\n", tests, s.n, s.k,
               s.dim, kind_name[vectors], kind_name[words]);
    else
        printf("ok %d - n %d k %d dim %d %s\n", tests, s.n, s.k, s.dim,
               kind_name[vectors]);
    close_problem(&p);
}

static void check_sizes(int small)
{
    static const int ns[] = { 1, 63, 1000 };
    static const int ks[] = { 1, 7, 127, 129, 4096, 100000 };
    static const int dims[] = { 1, 3, 4, 8, 31, 64, 128, 256, 1024 };

    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
            for (size_t n = 0; n < sizeof ns / sizeof *ns; n++) {
                const sizes s = { ns[n], ks[k], dims[d] };
                if ((double)s.n * s.k * s.dim > (small ? 1e7 : 2e9))
                    continue;
                if (small && (d + k + n) % 4)
                    continue;
                check(s, PLAIN, PLAIN);
            }
}

static void check_kinds(int small)
{
    static const sizes some[] = {
        { 300, 700, 8 }, { 300, 700, 64 }, { 1000, 5000, 4 }, { 700, 3000, 130 },
        { 500, 9000, 16 }, { 400, 2000, 32 }, { 300, 3000, 400 },
    };
    for (size_t i = 0; i < (small ? 2 : sizeof some / sizeof *some); i++)
        for (int kind = 1; kind < KINDS; kind++) {
            check(some[i], (enum kind)kind, (enum kind)kind);
            check(some[i], PLAIN, (enum kind)kind);
            check(some[i], (enum kind)kind, PLAIN);
        }
}

/* Each kernel once. */
static void check_tiny(void)
{
    static const sizes some[] = {
        { 63, 300, 2 }, { 63, 300, 30 }, { 63, 300, 64 }, { 63, 300, 130 },
        { 63, 300, 300 },
    };
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        check(some[i], TIES, PLAIN);
}

/* More vectors than one turn takes. */
static void check_turns(void)
{
    const sizes s = { 70000, 1 << 20, 1 };
    problem p;

    open_problem(&p, s);
    fill(&p, PLAIN, PLAIN);
    upload(&p);
    search_poisoned(&p, TSRI_NEAREST_EXACT, 0xff);
    memcpy(p.want, p.got, (size_t)s.n * sizeof *p.want);
    search_poisoned(&p, TSRI_NEAREST_SWEEP, 0xff);
    const int bad = wrong(&p, s.n);
    failures += bad > 0;
    printf("%s %d - several turns\n", bad ? "not ok" : "ok", ++tests);
    close_problem(&p);
}

static void check_refusals(void)
{
    tsr_context_settings quiet;
    tsr_context *other;
    tsri_cuda *silent;
    int bad = 0;

    tsr_context_settings_init(&quiet);
    quiet.logger.log = NULL;
    must(tsr_context_open(&other, &quiet), "context");
    must(tsri_cuda_open(&silent, other, 0), "device");
    bad += tsri_nearest_cuda_book_size(0, 1) != 0;
    bad += tsri_nearest_cuda_book_size(1, TSRI_NEAREST_CUDA_DIM + 1) != 0;
    bad += tsri_nearest_cuda_work_size(1, TSRI_NEAREST_CUDA_K + 1, 1) != 0;
    bad += tsri_nearest_cuda_prepare(silent, NULL, NULL, 0, 1) != TSR_E_ARG;
    bad += tsri_nearest_cuda_search(silent, NULL, NULL, 1, 0, NULL, 1, NULL,
                                    TSRI_NEAREST_AUTO) != TSR_E_ARG;
    bad += tsri_nearest_cuda_search(silent, NULL, NULL, 1, 1, NULL, 0, NULL,
                                    TSRI_NEAREST_AUTO) != TSR_OK;
    tsri_cuda_close(&silent);
    tsr_context_close(&other);
    failures += bad > 0;
    printf("%s %d - sizes that are refused\n", bad ? "not ok" : "ok", ++tests);
}

/* ---- time ---- */

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Median milliseconds of a search, or of a preparation. */
static float time_of(const problem *p, bool prepare, tsri_nearest_how how, int runs)
{
    tsri_cuda_mark *from, *to;
    float ms[RUNS];

    must(tsri_cuda_mark_open(gpu, &from), "mark");
    must(tsri_cuda_mark_open(gpu, &to), "mark");
    for (int i = -2; i < runs; i++) {
        must(tsri_cuda_mark_set(gpu, from), "mark");
        if (prepare)
            must(tsri_nearest_cuda_prepare(gpu, p->book, p->gpu_words, p->s.k,
                                           p->s.dim), "prepare");
        else
            search(p, how);
        must(tsri_cuda_mark_set(gpu, to), "mark");
        must(tsri_cuda_mark_between(gpu, from, to, &ms[i < 0 ? 0 : i]), "time");
    }
    tsri_cuda_mark_close(gpu, &from);
    tsri_cuda_mark_close(gpu, &to);
    qsort(ms, (size_t)runs, sizeof *ms, ascending);
    return ms[runs / 2];
}

static void write_raw(const char *prefix, const char *end, const void *data,
                      size_t size)
{
    char name[1024];
    snprintf(name, sizeof name, "%s.%s", prefix, end);
    FILE *f = fopen(name, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        must(TSR_E_IO, name);
}

static void time_one(sizes s, const char *prefix)
{
    const size_t n = (size_t)s.n, dim = (size_t)s.dim;
    const int checked = s.n < 512 ? s.n : 512;
    problem p;

    open_problem(&p, s);
    fill(&p, PLAIN, PLAIN);
    upload(&p);
    search_on_cpu(&p, checked, p.want);
    search_poisoned(&p, TSRI_NEAREST_EXACT, 0xff);
    int bad = wrong(&p, checked);
    memcpy(p.want, p.got, n * sizeof *p.want);
    search_poisoned(&p, TSRI_NEAREST_SWEEP, 0xff);
    bad += wrong(&p, s.n);
    const float exact = time_of(&p, false, TSRI_NEAREST_EXACT, 3);
    const float prepare = time_of(&p, true, TSRI_NEAREST_AUTO, RUNS);
    const float first = time_of(&p, false, TSRI_NEAREST_SWEEP, RUNS);
    const float again = time_of(&p, false, TSRI_NEAREST_SWEEP, RUNS);
    printf("n %d k %d dim %d: search %.3f %.3f ms, prepare %.3f ms, float alone "
           "%.3f ms, wrong %d\n", s.n, s.k, s.dim, (double)first, (double)again,
           (double)prepare, (double)exact, bad);
    if (prefix) {
        write_raw(prefix, "x", p.x, n * dim * sizeof *p.x);
        write_raw(prefix, "c", p.words, (size_t)s.k * dim * sizeof *p.x);
        write_raw(prefix, "codes", p.want, n * sizeof *p.want);
    }
    failures += bad > 0;
    close_problem(&p);
}

int main(int argc, char **argv)
{
    tsr_context_settings settings;
    const int small = argc == 2 && strcmp(argv[1], "small") == 0;

    tsr_context_settings_init(&settings);
    settings.threads = 8;
    if (tsr_context_open(&ctx, &settings))
        return 99;
    const tsr_error error = tsri_cuda_open(&gpu, ctx, 0);
    if (error) {
        printf("1..0 # SKIP no CUDA device: %s\n", tsr_error_string(error));
        tsr_context_close(&ctx);
        return 0;
    }
    if (argc >= 5 && strcmp(argv[1], "time") == 0)
        time_one((sizes){ atoi(argv[2]), atoi(argv[3]), atoi(argv[4]) },
                 argc > 5 ? argv[5] : NULL);
    else if (argc == 2 && strcmp(argv[1], "tiny") == 0)
        check_tiny();
    else {
        check_sizes(small);
        check_kinds(small);
        check_refusals();
        if (!small)
            check_turns();
        printf("1..%d\n", tests);
    }
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return failures > 0;
}
