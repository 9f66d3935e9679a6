/* SPDX-License-Identifier: BSD-2-Clause */
/* pack and unpack of CacheGen's own streams. */
#include <string.h>
#include <tessera/kv_cachegen.h>
#include "tools/engine.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

typedef struct job {
    const args *a;
    tsr_context *ctx;
    const objects *in;
    cache *c;
    int level;
} job;

/* -method cachegen or cachegen:level=N, or none. */
static int read_level(const args *a, int *level)
{
    static const char with[] = "cachegen:level=";
    const char *text = a->method ? a->method : "cachegen";
    const size_t n = sizeof with - 1;

    *level = 0;
    if (!strcmp(text, "cachegen"))
        return RC_OK;
    if (strncmp(text, with, n) || text[n] < '0' ||
        text[n] >= '0' + TSR_CACHEGEN_LEVELS || text[n + 1])
        return say_error(RC_USAGE, NULL, "-method %s: a CacheGen stream is "
                         "cachegen or cachegen:level=N, N from 0 to %d", text,
                         TSR_CACHEGEN_LEVELS - 1);
    *level = text[n] - '0';
    return RC_OK;
}

int cachegen_is_meant(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".pkl") || !strcmp(dot, ".pickle"));
}

static int pack(void *cookie, output *out, progress *p)
{
    const job *j = cookie;
    const tsr_sink sink = output_sink(out);
    (void)p;

    const tsr_error error = tsr_cachegen_encode(j->ctx, &j->c->shape,
                                                &j->c->view, j->level, &sink);
    return !error ? RC_OK
         : say_failure_as(error == TSR_E_ARG ? RC_INPUT : say_rc(error),
                          j->c->name, error);
}

int cachegen_pack(const args *a, tsr_context *ctx, cache *c)
{
    job j = { .a = a, .ctx = ctx, .c = c };
    int rc = read_level(a, &j.level);

    if (!rc && a->profile)
        rc = say_error(RC_USAGE, a->out, "a CacheGen stream has no profile");
    return rc ? rc : kv_write(a, NULL, pack, &j, NULL);
}

static int unpack(void *cookie, output *out, progress *p)
{
    const job *j = cookie;
    (void)p;

    const tsr_error error = tsr_cachegen_decode(j->ctx, j->in->data,
                                                j->in->size, j->level,
                                                &j->c->view);
    return error ? say_failure_as(RC_INPUT, j->in->name, error)
                 : cache_write(j->c, j->a, out);
}

/* Room for all of it, and what the options say of its positions. */
static int make_cache(const job *j, cache *c)
{
    const args *a = j->a;
    tsr_cachegen_info info;
    const tsr_error error = tsr_cachegen_probe(j->ctx, j->in->data, j->in->size,
                                               &info);

    if (error)
        return say_failure_as(RC_INPUT, j->in->name, error);
    c->name = a->out;
    c->pos0 = a->pos0 > 0 ? (uint64_t)a->pos0 : 0;
    const int rc = cache_rope(a->rope ? a->rope : "none", info.shape.dim[0],
                              &c->rope);
    return rc ? rc : cache_make(c, a, &info.shape, info.dtype, info.tokens);
}

int cachegen_unpack(const args *a, tsr_context *ctx, const objects *in)
{
    cache c = { 0 };
    job j = { .a = a, .ctx = ctx, .in = in, .c = &c };
    int rc = read_level(a, &j.level);

    if (!rc && (a->layer_range || a->token_range || a->level || a->profile))
        rc = say_error(RC_USAGE, in->name, "is a CacheGen stream, which is "
                       "unpacked whole and has no profile");
    if (!rc)
        rc = make_cache(&j, &c);
    if (!rc)
        rc = kv_write(a, NULL, unpack, &j, NULL);
    cache_close(&c);
    return rc;
}
