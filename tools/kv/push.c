/* SPDX-License-Identifier: BSD-2-Clause */
/* push: a cache to a store, chunk by chunk. */
#include <stdlib.h>
#include "tools/engine.h"
#include "tools/kv/remote.h"
#include "tools/kv/transfer.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

static int run(const args *a, const tsr_kv_stream_settings *s,
               const tsr_kv_settings *codec, const cache *c, const int32_t *ids)
{
    tsr_kv_job_result r;
    tsr_kv_job *job;
    progress p;
    int rc = progress_open(&p, a, kv_remote_shown(s->url));

    if (rc)
        return rc;
    const tsr_error error = tsr_kv_push_begin(&job, s, codec, &c->view, ids,
                                              c->pos0);
    if (error) {
        progress_close(&p, 0, 0);
        return kv_remote_failed(kv_remote_shown(s->url), error);
    }
    kv_transfer_wait(job, &p, &r);
    tsr_kv_job_close(&job);
    progress_close(&p, r.bytes, !r.error);
    rc = kv_transfer_failed(&r, s->url);
    if (!rc)
        kv_transfer_summary(a, "push", &r);
    return rc;
}

/* The ids of the cache's own file, or those of -ids. */
static int find_ids(const args *a, tsr_context *ctx, const cache *c,
                    int32_t **ids)
{
    size_t n;
    *ids = NULL;
    if (!a->ids && c->ids)
        return RC_OK;
    if (!a->ids)
        return say_error(RC_USAGE, c->name, "has no token_ids, by which it would"
                         " be found; -ids FILE has them");
    const int rc = kv_transfer_ids(ctx, a, ids, &n);
    if (!rc && n != c->view.tokens)
        return say_error(RC_INPUT, a->ids, "%zu ids; the cache has %zu tokens", n,
                         c->view.tokens);
    return rc;
}

int kv_push(args *a)
{
    tsr_kv_stream_settings s;
    tsr_kv_settings codec;
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    cache in = { 0 };
    int32_t *ids = NULL;
    int rc = a->files == 2 ? RC_OK : say_error(RC_USAGE, NULL, "push wants a"
                                               " cache and the URL of a store");
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc)
        rc = cache_open(&in, ctx, a, a->file[0]);
    if (!rc)
        rc = kv_settings(&codec, &model, ctx, a, &in);
    if (!rc)
        rc = find_ids(a, ctx, &in, &ids);
    if (!rc)
        rc = kv_transfer_settings(&s, a, a->file[1], model);
    if (!rc && !in.view.tokens)
        rc = say_error(RC_INPUT, in.name, "a cache without tokens");
    if (!rc)
        rc = run(a, &s, &codec, &in, ids ? ids : in.ids);
    tsr_model_unref(&model);
    cache_close(&in);
    free(ids);
    tsr_context_close(&ctx);
    return rc;
}
