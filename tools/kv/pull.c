/* SPDX-License-Identifier: BSD-2-Clause */
/* pull: the cache of a text from a store, decoded or as objects. */
#include <stdlib.h>
#include <string.h>
#include "tools/engine.h"
#include "tools/kv/remote.h"
#include "tools/kv/transfer.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

/* An object that has come. */
typedef struct object {
    uint8_t *data;
    size_t size;
} object;

typedef struct job {
    const args *a;
    tsr_context *ctx;
    tsr_model *profile;
    tsr_kv_stream_settings s;
    int32_t *ids;
    size_t n;
    tsr_kv_info info;       /* of the first chunk */
    cache out;
    object *object;         /* of each chunk, where objects are wanted */
    int chunks;
    tsr_kv_job_result result;
} job;

/* ---- what is there ---- */

typedef struct bytes {
    uint8_t *data;
    size_t size, room;
} bytes;

static tsr_error take(void *cookie, const void *data, size_t size)
{
    bytes *b = cookie;
    if (size > b->room - b->size)
        return TSR_E_LIMIT;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

static tsr_error get(tsr_store *store, const char *key, size_t size, bytes *b)
{
    const tsr_sink sink = { b, take };
    b->data = malloc(size);
    b->room = size;
    return b->data ? tsr_store_get(store, key, 0, size, &sink, NULL)
                   : TSR_E_NOMEM;
}

/* The front of a chunk says what cache it is. */
static tsr_error read_front(job *j, tsr_store *store, const char *key)
{
    enum { MOST_FRONT = 1 << 26 };
    tsr_store_entry entry;
    tsr_kv_chunk chunk;
    bytes b = { 0 };
    tsr_error error = kv_remote_head(store, j->ctx, key, &entry, &chunk);

    if (!error && chunk.front_bytes > MOST_FRONT)
        error = TSR_E_LIMIT;
    if (!error)
        error = get(store, key, (size_t)chunk.front_bytes, &b);
    if (!error)
        error = b.size > TSR_KV_CHUNK_HEAD
            ? tsr_kv_probe(j->ctx, b.data + TSR_KV_CHUNK_HEAD,
                           b.size - TSR_KV_CHUNK_HEAD, &j->info)
            : TSR_E_TRUNCATED;
    free(b.data);
    return error;
}

static int find_shape(job *j)
{
    const size_t n = j->n < (size_t)j->s.chunk_tokens
        ? j->n : (size_t)j->s.chunk_tokens;
    char key[TSR_KV_NAME_TEXT];
    tsr_kv_prefix prefix;
    tsr_store *store = NULL;
    tsr_error error = tsr_kv_prefix_begin(
        &prefix, j->s.model, j->profile ? tsr_model_hash(j->profile) : NULL);

    if (!error)
        error = tsr_kv_prefix_add(&prefix, j->ids, n);
    if (error)
        return say_failure(j->a->ids, error);
    tsr_kv_name_text(prefix.name, key);
    int rc = kv_remote_open(&store, j->a, j->s.url);
    if (rc)
        return rc;
    error = read_front(j, store, key);
    if (error == TSR_E_MISSING)
        rc = say_error(RC_INPUT, kv_remote_shown(j->s.url), "nothing of this"
                       " text is stored for model \"%s\"%s in chunks of %d"
                       " tokens", j->s.model, j->profile ? " and this profile"
                       : " without a profile", j->s.chunk_tokens);
    else if (error == TSR_E_CORRUPT || (error <= TSR_E_CHECKSUM &&
                                        error >= TSR_E_FORMAT))
        rc = say_error(RC_INPUT, kv_remote_shown(j->s.url), "chunk 0, %s, is"
                       " damaged (%s); push -replace stores it anew", key,
                       tsr_error_string(error));
    else if (error)
        rc = kv_remote_failed(kv_remote_shown(j->s.url), error);
    tsr_store_close(&store);
    return rc;
}

/* ---- as objects ---- */

static tsr_error keep(void *cookie, const tsr_kv_arrival *arrival)
{
    job *j = cookie;
    object *o = &j->object[arrival->chunk];
    tsr_context *ctx = NULL;
    tsr_error error = tsr_context_open(&ctx, NULL);

    free(o->data);
    *o = (object){ .data = malloc(arrival->size) };
    if (!error && !o->data)
        error = TSR_E_NOMEM;
    if (!error)
        error = tsr_kv_reduce(ctx, arrival->object, arrival->size,
                              arrival->levels, o->data, arrival->size, &o->size);
    tsr_context_close(&ctx);
    return error;
}

static int make_objects(job *j)
{
    j->chunks = (int)((j->n + (size_t)j->s.chunk_tokens - 1) /
                      (size_t)j->s.chunk_tokens);
    j->object = calloc((size_t)j->chunks, sizeof *j->object);
    j->s.arrival = keep;
    j->s.arrival_cookie = j;
    return j->object ? RC_OK : say_error(RC_MACHINE, NULL, "out of memory");
}

static void write_objects(const job *j, output *out)
{
    for (int i = 0; i < j->chunks; i++)
        output_write(out, j->object[i].data, j->object[i].size);
}

/* ---- the work ---- */

static int wants_objects(const char *path)
{
    const char *end = strrchr(path, '.');
    return end && !strcmp(end, ".tkv");
}

static int make_output(job *j)
{
    if (wants_objects(j->a->out))
        return make_objects(j);
    j->out.name = j->a->out;
    j->out.rope = j->info.rope;
    j->out.pos0 = j->info.pos0;
    const int rc = cache_make(&j->out, j->a, &j->info.shape, j->info.dtype,
                              j->n);
    j->out.ids = j->ids;
    return rc;
}

static int pull(void *cookie, output *out, progress *p)
{
    job *j = cookie;
    tsr_kv_job *work;
    const tsr_error error = tsr_kv_pull_begin(&work, &j->s, &j->info.shape,
                                              j->object ? NULL : &j->out.view,
                                              j->ids, j->n);
    if (error)
        return kv_remote_failed(kv_remote_shown(j->s.url), error);
    kv_transfer_wait(work, p, &j->result);
    tsr_kv_job_close(&work);
    const int rc = kv_transfer_failed(&j->result, j->s.url);
    if (rc)
        return rc;
    if (*j->result.message)
        say_warning(j->a->out, "not in full quality: %s", j->result.message);
    if (!j->object)
        return cache_write(&j->out, j->a, out);
    write_objects(j, out);
    return RC_OK;
}

/* -tokens 0:N asks for the beginning of the text. */
static int cut(job *j)
{
    uint64_t first, n;
    if (j->a->layer_range || j->a->level)
        return say_error(RC_USAGE, NULL, "pull fetches all layers; -ceiling N"
                         " limits their levels");
    if (!j->a->token_range)
        return RC_OK;
    const int rc = kv_range(j->a->token_range, j->n, &first, &n);
    if (!rc && first)
        return say_error(RC_USAGE, NULL, "pull begins at token 0: -tokens 0:%llu",
                         (unsigned long long)(first + n));
    j->n = rc ? j->n : (size_t)n;
    return rc;
}

static int prepare(job *j)
{
    int rc = engine_open(&j->ctx, j->a);

    if (!rc && j->a->profile)
        rc = engine_open_model(&j->profile, j->ctx, j->a->profile);
    if (!rc)
        rc = kv_transfer_settings(&j->s, j->a, j->a->file[0], j->profile);
    if (!rc)
        rc = kv_transfer_ids(j->ctx, j->a, &j->ids, &j->n);
    if (!rc)
        rc = cut(j);
    if (!rc)
        rc = find_shape(j);
    return rc ? rc : make_output(j);
}

int kv_pull(args *a)
{
    job j = { .a = a };
    int rc = RC_OK;

    if (a->files == 2 && !a->out)
        a->out = a->file[--a->files];
    if (a->files != 1 || !a->out)
        rc = say_error(RC_USAGE, NULL, "pull wants the URL of a store and the"
                       " file to write");
    if (!rc)
        rc = prepare(&j);
    if (!rc)
        rc = kv_write(a, NULL, pull, &j, NULL);
    if (!rc && !args_is_pipe(a->out))
        kv_transfer_summary(a, "pull", &j.result);
    j.out.ids = NULL;
    cache_close(&j.out);
    for (int i = 0; i < j.chunks; i++)
        free(j.object[i].data);
    free(j.object);
    free(j.ids);
    tsr_model_unref(&j.profile);
    tsr_context_close(&j.ctx);
    return rc;
}
