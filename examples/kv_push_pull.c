/* SPDX-License-Identifier: BSD-2-Clause */
/* A key/value cache to a store and back.
 *
 *     kv_push_pull STORE
 *
 * STORE is a folder, http://host:port of a `tessera kv serve`, redis://host or
 * s3://bucket.  The cache is made up; a serving engine gives pointers to its own.
 * Link with tessera-net, and with -lm for its own arithmetic. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <tessera/kv_stream.h>
#include <tessera/tessera.h>

enum { LAYERS = 4, PLANES = 2, HEADS = 2, DIM = 64, TOKENS = 512,
       PLANE = TOKENS * HEADS * DIM };

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

/* All planes in one array, each [token][head][dim]. */
static float *made_up(void)
{
    float *cache = malloc(sizeof *cache * LAYERS * PLANES * PLANE);
    check(cache ? TSR_OK : TSR_E_NOMEM, "cache");
    for (int i = 0; i < LAYERS * PLANES * PLANE; i++)
        cache[i] = (float)(rand() % 2001 - 1000) / 500 + (float)(i % DIM == 3);
    return cache;
}

static tsr_kv_view view_of(float *cache, void *base[LAYERS * PLANES])
{
    for (int p = 0; p < LAYERS * PLANES; p++)
        base[p] = cache + (size_t)p * PLANE;
    return (tsr_kv_view){ .dtype = TSR_KV_F32, .base = base,
                          .token_stride = HEADS * DIM * sizeof *cache,
                          .head_stride = DIM * sizeof *cache,
                          .tokens = TOKENS };
}

static tsr_kv_job_result wait_for(tsr_kv_job *job, const char *what)
{
    tsr_kv_job_result r;
    check(tsr_kv_job_wait(job, -1, &r), what);
    if (r.error)
        fprintf(stderr, "%s: %s\n", what, r.message);
    check(r.error, what);
    printf("%s: %zu tokens, %llu bytes for %llu of values, %.3f s\n", what,
           r.tokens, (unsigned long long)r.bytes, (unsigned long long)r.raw_bytes,
           r.seconds);
    tsr_kv_job_close(&job);
    return r;
}

int main(int argc, char **argv)
{
    void *from[LAYERS * PLANES], *to[LAYERS * PLANES];
    float *cache = made_up(), *back = made_up();
    const tsr_kv_view source = view_of(cache, from), destination = view_of(back, to);
    const tsr_kv_shape shape = { LAYERS, PLANES, { HEADS, HEADS }, { DIM, DIM } };
    tsr_kv_stream_settings settings;
    tsr_kv_settings codec;
    tsr_kv_job *job;
    int32_t ids[TOKENS];
    double off = 0;

    check(argc == 2 ? TSR_OK : TSR_E_ARG, "usage: kv_push_pull STORE");
    for (int t = 0; t < TOKENS; t++)
        ids[t] = rand() % 32000;        /* the text that the cache is of */
    tsr_kv_stream_settings_init(&settings);
    settings.url = argv[1];
    settings.model = "example@1";       /* part of the chunks' names */
    tsr_kv_settings_init(&codec);
    codec.shape = shape;
    codec.step = 0.125;     /* no key is off by more than half of it, */
    codec.value_ratio = 1;  /* nor is a value; without, both are chosen */

    check(tsr_kv_push_begin(&job, &settings, &codec, &source, ids, 0), "push");
    wait_for(job, "push");
    check(tsr_kv_pull_begin(&job, &settings, &shape, &destination, ids, TOKENS),
          "pull");
    wait_for(job, "pull");

    for (int i = 0; i < LAYERS * PLANES * PLANE; i++)
        off = fmax(off, fabs((double)back[i] - (double)cache[i]));
    printf("largest difference %.3f\n", off);
    free(cache);
    free(back);
    return 0;
}
