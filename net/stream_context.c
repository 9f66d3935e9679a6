/* SPDX-License-Identifier: BSD-2-Clause */
/* A context cut into chunks: names, views, memory for coders. */
#include "net/settings.h"
#include "net/stream.h"
#include <stdlib.h>
#include <string.h>

int tsri_shape_good(const tsr_kv_shape *s)
{
    int good = s->layers >= 1 && s->layers <= 1024 && s->planes >= 1 &&
        s->planes <= 2;
    for (int p = 0; good && p < s->planes; p++)
        good = s->heads[p] >= 1 && s->heads[p] <= 1024 && s->dim[p] >= 1 &&
            s->dim[p] <= 2048 && s->heads[p] * s->dim[p] <= 16384;
    return good;
}

int tsri_settings_good(tsr_kv_stream_settings *own,
                       const tsr_kv_stream_settings *theirs)
{
    return theirs && tsri_settings_stream(own, theirs) && own->url &&
        own->model && own->chunk_tokens >= 32 &&
        own->chunk_tokens <= 1 << 20 && own->connections >= 1 &&
        own->connections <= 64 && own->threads >= 0 && own->threads <= 256;
}

int tsri_chunk_count(size_t tokens, int each)
{
    return (int)((tokens + (size_t)each - 1) / (size_t)each);
}

size_t tsri_chunk_tokens(const tsr_kv_job *job, int chunk)
{
    const size_t left = job->tokens - tsri_chunk_first(job, chunk);
    return left < job->each ? left : job->each;
}

tsr_error tsri_names(const tsr_kv_stream_settings *s, const int32_t *ids,
                     size_t n, uint8_t (**names)[TSR_KV_NAME_BYTES])
{
    const size_t each = (size_t)s->chunk_tokens;
    const int chunks = tsri_chunk_count(n, s->chunk_tokens);
    tsr_kv_prefix prefix;

    *names = calloc((size_t)chunks, sizeof **names);
    if (!*names)
        return TSR_E_NOMEM;
    tsr_error error = tsr_kv_prefix_begin(
        &prefix, s->model, s->profile ? tsr_model_hash(s->profile) : NULL);
    for (int i = 0; !error && i < chunks; i++) {
        const size_t first = (size_t)i * each;
        error = tsr_kv_prefix_add(&prefix, ids + first,
                                  n - first < each ? n - first : each);
        memcpy((*names)[i], prefix.name, sizeof (*names)[i]);
    }
    return error;
}

int tsri_planes(const tsr_kv_shape *shape)
{
    return shape->layers * shape->planes;
}

uint64_t tsri_layer_bytes(const tsr_kv_shape *shape, size_t tokens)
{
    uint64_t values = 0;
    for (int p = 0; p < shape->planes; p++)
        values += (uint64_t)shape->heads[p] * (uint64_t)shape->dim[p];
    return 2 * values * tokens;
}

tsr_kv_view tsri_chunk_view(const tsr_kv_job *job, int chunk, void **base)
{
    const size_t first = tsri_chunk_first(job, chunk);
    tsr_kv_view view = job->view;

    memcpy(base, job->base, (size_t)tsri_planes(&job->shape) * sizeof *base);
    view.base = base;
    view.tokens = tsri_chunk_tokens(job, chunk);
    if (view.blocks) {
        view.blocks += first / (size_t)view.block_tokens;
        return view;
    }
    for (int i = 0; i < tsri_planes(&job->shape); i++)
        if (base[i])
            base[i] = (uint8_t *)base[i] + (ptrdiff_t)first * view.token_stride;
    return view;
}

uint8_t *tsri_token_at(const tsr_kv_view *view, int plane, size_t t)
{
    uint8_t *base = view->base[plane];
    if (view->blocks) {
        const size_t size = (size_t)view->block_tokens;
        base += view->blocks[t / size] * view->block_stride;
        t %= size;
    }
    return base + (ptrdiff_t)t * view->token_stride;
}

size_t tsri_element(tsr_kv_dtype dtype)
{
    return dtype == TSR_KV_F32 ? 4
        : dtype == TSR_KV_E4M3 || dtype == TSR_KV_E5M2 ? 1 : 2;
}

tsr_error tsri_call(const tsr_kv *kv, size_t tokens, tsr_kv_call *call)
{
    enum { ALIGN = 64 };
    free(call->scratch);
    call->scratch = NULL;
    const tsr_error error = tsr_kv_scratch_size(kv, tokens, &call->scratch_size);
    if (error)
        return error;
    if (call->scratch_size > SIZE_MAX - ALIGN)
        return TSR_E_NOMEM;
    call->scratch = aligned_alloc(ALIGN, (call->scratch_size / ALIGN + 1) *
                                             ALIGN);
    return call->scratch ? TSR_OK : TSR_E_NOMEM;
}

/* ---- is it stored? ---- */

typedef struct first_bytes {
    uint8_t data[TSR_KV_CHUNK_HEAD];
    size_t n;
} first_bytes;

static tsr_error take(void *cookie, const void *data, size_t size)
{
    first_bytes *f = cookie;
    const size_t room = sizeof f->data - f->n;
    const size_t n = size < room ? size : room;
    memcpy(f->data + f->n, data, n);
    f->n += n;
    return TSR_OK;
}

tsr_error tsri_chunk_stored(tsr_store *store, tsr_context *context,
                            const uint8_t name[TSR_KV_NAME_BYTES], size_t tokens)
{
    char key[TSR_KV_NAME_TEXT];
    first_bytes f = { .n = 0 };
    const tsr_sink sink = { &f, take };
    tsr_store_entry entry;
    tsr_kv_chunk chunk;

    tsr_kv_name_text(name, key);
    const tsr_error error = tsr_store_get(store, key, 0, TSR_KV_CHUNK_HEAD,
                                          &sink, &entry);
    if (error)
        return error;
    if (tsr_kv_chunk_probe(context, f.data, f.n, &chunk) ||
        memcmp(chunk.name, name, sizeof chunk.name) ||
        chunk.tokens != tokens || chunk.bytes != entry.bytes)
        return TSR_E_MISSING;
    return TSR_OK;
}
