/* SPDX-License-Identifier: BSD-2-Clause */
/* pack: a cache to objects. */
#include <stdlib.h>
#include "tools/engine.h"
#include "tools/kv/verbs.h"
#include "tools/progress.h"
#include "tools/say.h"

typedef struct job {
    const args *a;
    cache in;
    tsr_kv *kv;
    tsr_kv_call call;
    void **base;
    uint8_t *object;
    size_t room, each;  /* bytes and tokens of an object, at most */
} job;

static int make_room(job *j)
{
    const size_t planes = (size_t)(j->in.shape.layers * j->in.shape.planes);
    const size_t tokens = j->in.view.tokens;

    j->each = j->a->chunk && (size_t)j->a->chunk < tokens ? (size_t)j->a->chunk
                                                          : tokens;
    const tsr_error error = tsr_kv_encode_bound(j->kv, j->each, &j->room);
    if (error)
        return say_failure(j->in.name, error);
    j->base = calloc(planes, sizeof *j->base);
    j->object = malloc(j->room);
    if (!j->base || !j->object)
        return say_error(RC_MACHINE, j->in.name, "out of memory");
    return kv_call(j->kv, j->each, &j->call);
}

static int pack(void *cookie, output *out, progress *p)
{
    job *j = cookie;
    const tsr_progress hook = progress_hook(p);
    const size_t tokens = j->in.view.tokens;
    size_t done = 0;

    do {
        const size_t n = tokens - done < j->each ? tokens - done : j->each;
        const tsr_kv_view view = kv_window(&j->in, done, n, j->base);
        size_t size;
        j->call.pos0 = j->in.pos0 + done;
        j->call.token_ids = j->in.ids ? j->in.ids + done : NULL;
        const tsr_error error = tsr_kv_encode(j->kv, &view, &j->call, j->object,
                                              j->room, &size);
        if (error)
            return say_failure_as(error == TSR_E_ARG ? RC_INPUT : say_rc(error),
                                  j->in.name, error);
        output_write(out, j->object, size);
        done += n;
        hook.report(hook.cookie, tokens ? (double)done / (double)tokens : 1);
    } while (done < tokens);
    return RC_OK;
}

static int write_with(job *j)
{
    const input *in = j->in.file.in.file ? &j->in.file.in : NULL;
    const double values = (double)cache_bytes(&j->in) /
        (double)cache_element(j->in.view.dtype);
    uint64_t bytes;
    const int rc = kv_write(j->a, in, pack, j, &bytes);

    if (!rc && values > 0)
        say_info("%s: %llu bytes of %llu, %.3f bits a value", j->a->out,
                 (unsigned long long)bytes,
                 (unsigned long long)cache_bytes(&j->in),
                 8 * (double)bytes / values);
    return rc;
}

static int pack_objects(const args *a, tsr_context *ctx, job *j)
{
    tsr_kv_settings settings;
    tsr_model *model = NULL;
    int rc = kv_settings(&settings, &model, ctx, a, &j->in);

    if (!rc) {
        const tsr_error error = tsr_kv_open(&j->kv, ctx, &settings);
        rc = error ? say_failure(a->profile ? a->profile : a->in, error) : RC_OK;
    }
    if (!rc)
        rc = make_room(j);
    if (!rc)
        rc = write_with(j);
    tsr_kv_close(&j->kv);
    tsr_model_unref(&model);
    return rc;
}

int kv_pack(args *a)
{
    tsr_context *ctx;
    job j = { .a = a };
    int rc = engine_open(&ctx, a);

    if (!rc)
        rc = cache_open(&j.in, ctx, a, a->in);
    if (!rc)
        rc = cachegen_is_meant(a->out) ? cachegen_pack(a, ctx, &j.in)
                                       : pack_objects(a, ctx, &j);
    cache_close(&j.in);
    free(j.base);
    free(j.object);
    free(j.call.scratch);
    tsr_context_close(&ctx);
    return rc;
}
