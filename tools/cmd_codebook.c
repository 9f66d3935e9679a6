/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/vq.h>
#include "tools/codebook_nest.h"
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/array.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/say.h"

static const opt codebook_options[] = {
    { "-i --input", "FILE", "the array: .npy or .safetensors", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-tensor", "NAME", "of a .safetensors input", OPT_TEXT,
      offsetof(args, tensor), 0, 0 },
    { "-k", "N", "codewords", OPT_INT, offsetof(args, k), 1,
      TSR_VQ_MAX_CODEWORDS },
    { "-codes", "FILE", "indices that use the codebook, .npy: its frequencies",
      OPT_TEXT, offsetof(args, codes), 0, 0 },
    { "-seed", "N", "of the random choices; default 1", OPT_INT,
      offsetof(args, seed), 0, 2147483647.0 },
    { "-iterations", "N", "updates at most; default 50", OPT_INT,
      offsetof(args, iterations), 0, 1000000 },
    { "-tolerance", "X", "stop when an update gains less; default 0.0001",
      OPT_NUMBER, offsetof(args, tolerance), 0, 1 },
    { "-batch", "N", "mini-batches of N vectors; default 0, all at once",
      OPT_INT, offsetof(args, batch), 0, TSR_VQ_MAX_VECTORS },
    { "-levels", "N,N,...", "nest: codes of the coarser codebooks; default"
      " 16384,4096,1024,256", OPT_TEXT, offsetof(args, sizes), 0, 0 },
    { "-random", NULL, "start from random vectors, not k-means++", OPT_FLAG,
      offsetof(args, random), 0, 0 },
    { "-threads", "N", "worker threads; 0, the default, is one per processor",
      OPT_INT, offsetof(args, threads), 0, 256 },
    { "--json", NULL, "stats as a JSON object", OPT_FLAG, offsetof(args, json),
      0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* What a command works on. */
typedef struct job {
    tsr_context *ctx;
    const args *a;
    array in;
    float *x;           /* [n][dim] */
    size_t n;
    int dim;
    uint64_t *counts;   /* [n], of -codes */
    float *words;       /* [k][dim]: the result */
    int k;
} job;

static int no_memory(void)
{
    return say_error(RC_MACHINE, NULL, "out of memory");
}

/* Counts the indices of an array, each below k (0: below the largest + 1,
 * which *k then is). */
static int count(tsr_context *ctx, const array *from, int *k,
                 uint64_t **counts)
{
    int32_t *codes = NULL;
    size_t n = 0;
    int rc = array_codes(from, 0, &codes, &n), most = 0;

    for (size_t i = 0; !rc && i < n; i++)
        most = codes[i] > most ? codes[i] : most;
    if (!rc && !*k && most >= TSR_VQ_MAX_CODEWORDS)
        rc = say_error(RC_INPUT, from->in.name, "index %d is over %d", most,
                       TSR_VQ_MAX_CODEWORDS - 1);
    *k = *k ? *k : most + 1;
    *counts = rc ? NULL : calloc((size_t)*k, sizeof **counts);
    if (!rc && !*counts)
        rc = no_memory();
    if (!rc && tsr_codes_count(ctx, codes, n, *k, *counts))
        rc = say_failure_as(RC_INPUT, from->in.name, TSR_E_ARG);
    free(codes);
    return rc;
}

static int read_counts(job *j)
{
    array codes;
    int k = (int)j->n, rc;

    if (j->n > TSR_VQ_MAX_CODEWORDS)
        return say_error(RC_INPUT, j->in.in.name, "%zu codewords; %d at most",
                         j->n, TSR_VQ_MAX_CODEWORDS);
    rc = array_open(&codes, j->ctx, j->a->codes, NULL);
    if (!rc)
        rc = count(j->ctx, &codes, &k, &j->counts);
    array_close(&codes);
    return rc;
}

static int cluster(job *j, progress *p)
{
    tsr_kmeans_settings s;
    tsr_kmeans_result r;
    float *weights = NULL;
    tsr_error error;

    tsr_kmeans_settings_init(&s);
    s.seed = (uint64_t)j->a->seed;
    s.start = j->a->random ? TSR_KMEANS_RANDOM : TSR_KMEANS_PLUSPLUS;
    s.iterations = j->a->iterations;
    s.tolerance = j->a->tolerance;
    s.batch = j->a->batch;
    s.progress = progress_hook(p);
    j->words = malloc((size_t)j->k * (size_t)j->dim * sizeof *j->words);
    if (j->counts)
        weights = malloc(j->n * sizeof *weights);
    if (!j->words || (j->counts && !weights)) {
        free(weights);
        return no_memory();
    }
    for (size_t i = 0; weights && i < j->n; i++)
        weights[i] = (float)j->counts[i];
    s.weights = weights;
    error = tsr_kmeans(j->ctx, &s, j->x, j->n, j->dim, j->k, j->words, NULL,
                       &r);
    free(weights);
    if (error)
        return say_failure(j->in.in.name, error);
    say_info("%s: %d codewords of %d numbers, mean squared error %.6g a"
             " vector, %d updates, %d repaired, %d unused", j->a->out, j->k,
             j->dim, r.inertia / (double)j->n, r.iterations, r.repaired,
             r.empty);
    return RC_OK;
}

static int sort(job *j, progress *p)
{
    int32_t *order = malloc(j->n * sizeof *order);
    const size_t bytes = (size_t)j->dim * sizeof *j->words;
    tsr_error error;

    (void)p;
    j->words = malloc(j->n * bytes);
    if (!order || !j->words) {
        free(order);
        return no_memory();
    }
    error = tsr_codes_rank(j->ctx, j->counts, j->k, order);
    for (size_t r = 0; !error && r < j->n; r++)
        memcpy(j->words + r * (size_t)j->dim,
               j->x + (size_t)order[r] * (size_t)j->dim, bytes);
    free(order);
    return error ? say_failure(j->in.in.name, error) : RC_OK;
}

/* Makes the output with `make`, which fills j->words. */
static int write_with(job *j, int (*make)(job *j, progress *p))
{
    progress p;
    output out;
    int rc, rc_close;

    rc = output_open(&out, j->a, &j->in.in, j->a->out);
    if (rc)
        return rc;
    rc = progress_open(&p, j->a, j->a->out);
    if (!rc) {
        rc = make(j, &p);
        if (!rc)
            array_write(&out, "<f4", (size_t)j->k, j->dim, j->words);
        progress_close(&p, out.bytes, !rc);
    }
    rc_close = output_close(&out, !rc);
    return rc_close ? rc_close : rc;
}

static int train(job *j)
{
    int rc = RC_OK;
    j->k = j->a->k;
    if (!j->k || (size_t)j->k > j->n)
        return say_error(RC_USAGE, j->in.in.name, "-k N: 1 to %zu codewords"
                         " from %zu vectors", j->n, j->n);
    if (j->a->codes)
        rc = read_counts(j);
    return rc ? rc : write_with(j, cluster);
}

static int sort_by_codes(job *j)
{
    int rc;
    if (!j->a->codes)
        return say_error(RC_USAGE, NULL, "sort wants -codes FILE");
    rc = read_counts(j);
    j->k = (int)j->n;
    return rc ? rc : write_with(j, sort);
}

static int stats(job *j)
{
    tsr_codes_stats s;
    int k = j->a->k;
    int rc = count(j->ctx, &j->in, &k, &j->counts);

    if (rc)
        return rc;
    tsr_codes_describe(j->counts, k, &s);
    if (j->a->json)
        printf("{\"codes\": %llu, \"k\": %d, \"used\": %d, \"utilisation\": "
               "%.6f, \"entropy\": %.6f, \"perplexity\": %.4f}\n",
               (unsigned long long)s.total, k, s.used, s.utilisation,
               s.entropy, s.perplexity);
    else
        printf("codes       %llu\ncodewords   %d\nused        %d  (%.2f %%)\n"
               "entropy     %.4f bits per code\nperplexity  %.2f\n",
               (unsigned long long)s.total, k, s.used, 100 * s.utilisation,
               s.entropy, s.perplexity);
    return RC_OK;
}

typedef struct verb {
    const char *name;
    const char *ending;     /* of the output; NULL: writes none */
    int (*run)(job *j);
} verb;

static const verb verbs[] = {
    { "train", ".codebook.npy", train }, { "shrink", ".small.npy", train },
    { "sort", ".sorted.npy", sort_by_codes }, { "stats", NULL, stats },
};

static const verb *find(const args *a)
{
    for (size_t i = 0; a->files && i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(a->file[0], verbs[i].name))
            return &verbs[i];
    return NULL;
}

static int run_verb(const verb *v, args *a)
{
    job j = { .a = a };
    int rc = engine_open(&j.ctx, a);

    if (!rc)
        rc = array_open(&j.in, j.ctx, a->in, a->tensor);
    if (!rc && v->ending)
        rc = array_floats(&j.in, &j.x, &j.n, &j.dim);
    if (!rc)
        rc = v->run(&j);
    array_close(&j.in);
    free(j.x);
    free(j.counts);
    free(j.words);
    tsr_context_close(&j.ctx);
    return rc;
}

static int run(args *a)
{
    char made[NAME_SIZE];
    const verb *v = find(a);
    const int nest = a->files && !strcmp(a->file[0], "nest");
    int rc;

    if (!v && !nest)
        return say_error(RC_USAGE, NULL, "codebook %s: use train, shrink, sort,"
                         " stats or nest", a->files ? a->file[0] : "");
    a->file++;
    a->files--;
    if (nest)
        return codebook_nest(a);
    if (!v->ending && (a->out || a->files + (a->in != NULL) > 1))
        return say_error(RC_USAGE, NULL, "stats wants one file of indices");
    rc = command_paths(a, NULL, v->ending ? v->ending : "", made);
    return rc ? rc : run_verb(v, a);
}

const command command_codebook = {
    .name = "codebook",
    .summary = "codebooks: train, shrink, sort, statistics, nest",
    .synopsis = "train|shrink|sort|stats|nest [options] [-i] IN ... [[-o] OUT]",
    .verbs = "train shrink sort stats nest",
    .takes = "npy safetensors png ppm pgm pnm jpg jpeg webp tif tiff",
    .usage =
        "  tessera codebook train -k 1024 vectors.npy book.npy\n"
        "  tessera codebook train -k 256 -tensor y data.safetensors book.npy\n"
        "  tessera codebook shrink -k 256 -codes codes.npy book.npy small.npy\n"
        "  tessera codebook sort -codes codes.npy book.npy sorted.npy\n"
        "  tessera codebook stats -k 1024 codes.npy\n"
        "  tessera codebook nest -levels 4096,256 my.safetensors photos/*.png\n",
    .notes =
        "Vectors and codewords are the rows of an array, the output is .npy of\n"
        "float32. shrink clusters codewords, weighted by how often -codes uses\n"
        "them; sort puts the most frequent first. The same seed gives the same\n"
        "codebook on every machine and for any number of threads.\n"
        "nest MODEL PICTURE ... writes a model of pictures of codes anew: with how\n"
        "often its codes are, coarser codebooks nested in each other (-q chooses one),\n"
        "and what the neighbours of a code say about it. It reports what a code costs.\n",
    .tables = { codebook_options, args_output_options, args_common_options },
    .run = run
};
