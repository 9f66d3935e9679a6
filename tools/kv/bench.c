/* SPDX-License-Identifier: BSD-2-Clause */
/* bench: size, error and speed of all methods on one cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tools/engine.h"
#include "tools/json.h"
#include "tools/kv/error.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

/* Seconds that each direction is repeated for; the fastest counts. */
static const double patience = 0.5;

typedef struct job {
    const args *a;
    tsr_context *ctx;
    cache in, out;
    tsr_kv *kv;
    tsr_kv_call call;
    uint8_t *object;
    size_t room, size;
} job;

typedef struct result {
    double bits, encode, decode;    /* bits a value, GB/s of cache */
    double relative[2];
} result;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tsr_error encode(job *j)
{
    return tsr_kv_encode(j->kv, &j->in.view, &j->call, j->object, j->room,
                         &j->size);
}

static tsr_error decode(job *j)
{
    return tsr_kv_decode(j->kv, j->object, j->size, NULL, &j->out.view,
                         &j->call);
}

/* GB/s of the cache that `run` does at its fastest. */
static tsr_error measure(job *j, tsr_error (*run)(job *j), double *speed)
{
    const double start = now();
    double best = 1e9;

    do {
        const double from = now();
        const tsr_error error = run(j);
        const double took = now() - from;
        if (error)
            return error;
        best = took < best ? took : best;
    } while (now() - start < patience);
    *speed = 1e-9 * (double)cache_bytes(&j->in) / best;
    return TSR_OK;
}

static tsr_error run_method(job *j, const tsr_kv_settings *settings, result *r)
{
    const size_t tokens = j->in.view.tokens;
    const double values = (double)cache_bytes(&j->in) /
        (double)cache_element(j->in.view.dtype);
    tsr_error error = tsr_kv_open(&j->kv, j->ctx, settings);

    if (!error)
        error = tsr_kv_encode_bound(j->kv, tokens, &j->room);
    if (!error)
        j->object = malloc(j->room);
    if (!error && (!j->object || kv_call(j->kv, tokens, &j->call)))
        error = TSR_E_NOMEM;
    j->call.pos0 = j->in.pos0;
    j->call.token_ids = j->in.ids;
    if (!error)
        error = measure(j, encode, &r->encode);
    if (!error)
        error = measure(j, decode, &r->decode);
    r->bits = 8 * (double)j->size / values;
    for (int p = 0; !error && p < j->in.shape.planes; p++) {
        kv_errors e = { 0 };
        for (int l = 0; l < j->in.shape.layers; l++)
            if (kv_error(&j->in, &j->out, l, p, &e))
                error = TSR_E_NOMEM;
        r->relative[p] = kv_relative(&e);
    }
    tsr_kv_close(&j->kv);
    free(j->object);
    free(j->call.scratch);
    j->object = NULL;
    memset(&j->call, 0, sizeof j->call);
    return error;
}

static void print(const job *j, const char *name, const result *r, int first)
{
    if (!j->a->json) {
        printf("%-18s %8.4f  %8.5f  %8.5f  %7.3f  %7.3f\n", name, r->bits,
               r->relative[0], r->relative[1], r->encode, r->decode);
        return;
    }
    printf("%s{\"method\": ", first ? "[" : ",\n ");
    json_string(name);
    printf(", \"bits_per_value\": ");
    json_number(r->bits, 5);
    printf(", \"relative\": [");
    json_number(r->relative[0], 6);
    printf(", ");
    json_number(r->relative[1], 6);
    printf("], \"encode_gb_s\": ");
    json_number(r->encode, 4);
    printf(", \"decode_gb_s\": ");
    json_number(r->decode, 4);
    printf("}");
}

/* All methods, but those that want what is not there: a profile. */
static int bench_all(job *j, tsr_kv_settings *settings)
{
    const char *name;
    int shown = 0;

    for (int i = 0; (name = tsr_kv_method_at(i)); i++) {
        result r = { 0 };
        settings->method = name;
        const tsr_error error = run_method(j, settings, &r);
        if (error == TSR_E_MODEL) {
            say_info("%s: left out: %s", name, say_take_detail());
            continue;
        }
        if (error)
            return say_failure(name, error);
        print(j, name, &r, !shown++);
    }
    return RC_OK;
}

static int bench_one(job *j, const tsr_kv_settings *settings)
{
    result r = { 0 };
    const tsr_error error = run_method(j, settings, &r);
    if (error)
        return say_failure(settings->method, error);
    print(j, settings->method, &r, 1);
    return RC_OK;
}

static int bench(job *j, tsr_kv_settings *settings)
{
    if (!j->a->json)
        printf("method             bits/val  keys err  values    encode   "
               "decode GB/s, %d thread%s\n", tsr_context_threads(j->ctx),
               tsr_context_threads(j->ctx) == 1 ? "" : "s");
    const int rc = j->a->method ? bench_one(j, settings)
                                : bench_all(j, settings);
    if (j->a->json && !rc)
        printf("]\n");
    return rc;
}

int kv_bench(args *a)
{
    tsr_kv_settings settings;
    tsr_model *model = NULL;
    job j = { .a = a };
    int rc;

    if (a->files + (a->in != NULL) != 1)
        return say_error(RC_USAGE, NULL, "bench wants one cache");
    rc = engine_open(&j.ctx, a);
    if (!rc)
        rc = cache_open(&j.in, j.ctx, a, a->in ? a->in : a->file[0]);
    if (!rc)
        rc = kv_settings(&settings, &model, j.ctx, a, &j.in);
    j.out.name = "";
    if (!rc)
        rc = cache_make(&j.out, a, &j.in.shape, j.in.view.dtype,
                        j.in.view.tokens);
    if (!rc)
        rc = bench(&j, &settings);
    tsr_model_unref(&model);
    cache_close(&j.in);
    cache_close(&j.out);
    tsr_context_close(&j.ctx);
    return rc;
}
