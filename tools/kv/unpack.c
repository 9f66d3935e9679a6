/* SPDX-License-Identifier: BSD-2-Clause */
/* unpack: objects, or a part of them, to a cache; reduce: to fewer levels. */
#include <stdlib.h>
#include <string.h>
#include <tessera/kv_cachegen.h>
#include "tools/engine.h"
#include "tools/kv/transfer.h"
#include "tools/kv/verbs.h"
#include "tools/progress.h"
#include "tools/say.h"

typedef struct job {
    const args *a;
    objects in;
    cache out;
    tsr_kv *kv;
    tsr_kv_call call;
    void **base;
    int32_t *ids;           /* of all tokens, or NULL */
    uint64_t first_layer, layers, first, tokens;
} job;

static int ranges(job *j)
{
    const tsr_kv_info *last = &j->in.info[j->in.count - 1];
    const uint64_t all = last->pos0 + last->tokens - j->in.info[0].pos0;
    int rc = RC_OK;

    j->layers = (uint64_t)j->in.info[0].shape.layers;
    j->tokens = all;
    if (j->a->layer_range)
        rc = kv_range(j->a->layer_range, j->layers, &j->first_layer, &j->layers);
    if (!rc && j->a->token_range)
        rc = kv_range(j->a->token_range, all, &j->first, &j->tokens);
    return rc;
}

static int make_output(job *j)
{
    const tsr_kv_info *info = &j->in.info[0];
    tsr_kv_shape shape = info->shape;

    shape.layers = (int)j->layers;
    j->out.name = j->a->out;
    j->out.rope = info->rope;
    j->out.pos0 = info->pos0 + j->first;
    return cache_make(&j->out, j->a, &shape, info->dtype, j->tokens);
}

static int open_coder(job *j, tsr_context *ctx)
{
    tsr_model *model = NULL;
    uint64_t most = 0;
    int rc = j->a->profile ? engine_open_model(&model, ctx, j->a->profile)
                           : RC_OK;

    if (!rc) {
        const tsr_error error = tsr_kv_open_for(&j->kv, ctx, &j->in.info[0],
                                                model);
        rc = error ? say_failure(j->in.name, error) : RC_OK;
    }
    tsr_model_unref(&model);
    for (int i = 0; i < j->in.count; i++)
        most = j->in.info[i].tokens > most ? j->in.info[i].tokens : most;
    j->base = calloc((size_t)(j->in.info[0].shape.layers *
                              j->in.info[0].shape.planes), sizeof *j->base);
    if (!rc && !j->base)
        rc = say_error(RC_MACHINE, NULL, "out of memory");
    return rc ? rc : kv_call(j->kv, (size_t)most, &j->call);
}

/* What of object i is wanted, and the view that it goes to. */
static int unpack_one(job *j, int i, uint64_t start)
{
    const tsr_kv_info *info = &j->in.info[i];
    const uint64_t from = j->first > start ? j->first - start : 0;
    const uint64_t end = j->first + j->tokens;
    const uint64_t to = end - start < info->tokens ? end - start : info->tokens;
    const tsr_kv_part part = { (int)j->first_layer, (int)j->layers, from,
                               to - from, j->a->level };
    const int planes = info->shape.planes;
    tsr_kv_view view = j->out.view;

    view.base = j->base;
    view.tokens = info->tokens;
    for (int k = 0; k < planes * (int)j->layers; k++)
        j->base[planes * (int)j->first_layer + k] = (void *)
            ((uintptr_t)j->out.base[k] + (uintptr_t)j->out.view.token_stride *
                                             (start - j->first));
    j->call.token_ids = j->ids ? j->ids + start : NULL;
    const tsr_error error = tsr_kv_decode(j->kv, j->in.data + j->in.at[i],
                                          j->in.at[i + 1] - j->in.at[i], &part,
                                          &view, &j->call);
    return error ? say_failure_as(RC_INPUT, j->in.name, error) : RC_OK;
}

static int unpack(void *cookie, output *out, progress *p)
{
    job *j = cookie;
    const tsr_progress hook = progress_hook(p);
    uint64_t start = 0;
    int rc = RC_OK;

    for (int i = 0; !rc && i < j->in.count; i++) {
        const uint64_t n = j->in.info[i].tokens;
        if (start < j->first + j->tokens && start + n > j->first)
            rc = unpack_one(j, i, start);
        start += n;
        hook.report(hook.cookie, (double)(i + 1) / j->in.count);
    }
    return rc ? rc : cache_write(&j->out, j->a, out);
}

/* Token ids that the objects lean on but do not hold. */
static int open_ids(job *j, tsr_context *ctx)
{
    const tsr_kv_info *last = &j->in.info[j->in.count - 1];
    const uint64_t all = last->pos0 + last->tokens - j->in.info[0].pos0;
    size_t n = 0;
    const int rc = j->a->ids ? kv_transfer_ids(ctx, j->a, &j->ids, &n) : RC_OK;

    if (!rc && j->ids && n < all)
        return say_error(RC_INPUT, j->a->ids, "has %zu token ids for %llu"
                         " tokens", n, (unsigned long long)all);
    return rc;
}

static int unpack_objects(const args *a, tsr_context *ctx, job *j)
{
    int rc = objects_index(&j->in, ctx);

    if (!rc)
        rc = ranges(j);
    if (!rc)
        rc = open_ids(j, ctx);
    if (!rc)
        rc = open_coder(j, ctx);
    if (!rc)
        rc = make_output(j);
    return rc ? rc : kv_write(a, NULL, unpack, j, NULL);
}

int kv_unpack(args *a)
{
    tsr_context *ctx;
    job j = { .a = a };
    int rc = engine_open(&ctx, a);

    if (!rc)
        rc = objects_read(&j.in, a->in);
    if (!rc)
        rc = tsr_cachegen_is(j.in.data, j.in.size)
            ? cachegen_unpack(a, ctx, &j.in) : unpack_objects(a, ctx, &j);
    tsr_kv_close(&j.kv);
    cache_close(&j.out);
    objects_close(&j.in);
    free(j.base);
    free(j.ids);
    free(j.call.scratch);
    tsr_context_close(&ctx);
    return rc;
}

static int reduce(const args *a, tsr_context *ctx, const objects *in,
                  output *out)
{
    for (int i = 0; i < in->count; i++) {
        size_t size;
        const tsr_error error =
            tsr_kv_reduce(ctx, in->data + in->at[i], in->at[i + 1] - in->at[i],
                          a->level, in->data + in->at[i],
                          in->at[i + 1] - in->at[i], &size);
        if (error)
            return say_failure_as(RC_INPUT, in->name, error);
        output_write(out, in->data + in->at[i], size);
    }
    return RC_OK;
}

int kv_reduce(args *a)
{
    tsr_context *ctx;
    objects in = { 0 };
    output out;
    int rc = engine_open(&ctx, a);

    if (!rc && !a->level)
        rc = say_error(RC_USAGE, NULL, "reduce wants -level N");
    if (!rc)
        rc = objects_open(&in, ctx, a->in);
    if (!rc)
        rc = output_open(&out, a, NULL, a->out);
    if (!rc) {
        rc = reduce(a, ctx, &in, &out);
        const int rc_close = output_close(&out, !rc);
        rc = rc ? rc : rc_close;
    }
    objects_close(&in);
    tsr_context_close(&ctx);
    return rc;
}
