/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects that arrive one by one, in host memory, into a cache on a device. */
#include <string.h>
#include <tessera/kv_stream.h>
#include "codecs/kv/cuda/kv_device.h"

struct tsr_kv_cuda_destination {
    tsr_context *ctx;
    tsr_kv_shape shape;
    tsr_kv_view view;           /* base is our copy */
    void **base;
    tsr_model *profile;         /* a reference, or NULL */
    int device;
    cudaStream_t stream;
    tsri_cuda *gpu;             /* for memory */
    int32_t *ids;               /* on the device, of the context, or NULL */
    int32_t *status;            /* on the device */
    uint8_t *object, *scratch;  /* on the device, of these sizes */
    size_t object_room, scratch_room;
    tsr_kv *kv;
    tsr_kv_info info;           /* that kv was opened for */
    tsr_kv_cuda *coder;
};

/* ---- open and close ---- */

static tsr_error bring_ids(tsr_kv_cuda_destination *d, const int32_t *ids)
{
    const size_t n = d->view.tokens;

    if (!ids)
        return TSR_OK;
    TSR_TRY(tsri_cuda_alloc(d->gpu, &d->ids, n, sizeof *d->ids));
    TSR_TRY(tsri_cuda_upload(d->gpu, d->ids, ids, n * sizeof *d->ids));
    return tsri_cuda_sync(d->gpu);
}

static tsr_error fill(tsr_kv_cuda_destination *d, const int32_t *ids)
{
    TSR_TRY(tsri_cuda_open(&d->gpu, d->ctx, d->device));
    TSR_TRY(tsri_cuda_alloc(d->gpu, &d->status, 1, sizeof *d->status));
    return bring_ids(d, ids);
}

tsr_error tsr_kv_cuda_destination_open(tsr_kv_cuda_destination **out,
                                       tsr_context *ctx,
                                       const tsr_kv_shape *shape,
                                       const tsr_kv_view *view,
                                       tsr_model *profile, const int32_t *ids,
                                       int device, void *stream)
{
    tsr_kv_cuda_destination *d;
    tsr_error error;
    size_t planes;

    *out = NULL;
    if (!tsri_kv_shape_fits(shape) || !view->base ||
        view->tokens > TSRI_KV_MAX_TOKENS)
        return tsri_fail(ctx, TSR_E_ARG, "KV destination: no shape or no view");
    planes = (size_t)shape->layers * (size_t)shape->planes;
    d = tsri_calloc(ctx, 1, sizeof *d);
    if (!d)
        return tsri_nomem(ctx);
    *d = (tsr_kv_cuda_destination){
        .ctx = ctx, .shape = *shape, .view = *view, .device = device,
        .profile = profile ? tsr_model_ref(profile) : NULL, .stream = stream };
    d->base = tsri_alloc(ctx, planes, sizeof *d->base);
    error = d->base ? TSR_OK : tsri_nomem(ctx);
    if (!error) {
        memcpy(d->base, view->base, planes * sizeof *d->base);
        d->view.base = d->base;
        error = fill(d, ids);
    }
    if (error)
        tsr_kv_cuda_destination_close(&d);
    *out = d;
    return error;
}

static void close_coder(tsr_kv_cuda_destination *d)
{
    tsr_kv_cuda_close(&d->coder);
    tsr_kv_close(&d->kv);
}

void tsr_kv_cuda_destination_close(tsr_kv_cuda_destination **out)
{
    tsr_kv_cuda_destination *d = out ? *out : NULL;

    if (!d)
        return;
    close_coder(d);
    if (d->gpu) {
        tsri_cuda_free(d->gpu, d->ids);
        tsri_cuda_free(d->gpu, d->status);
        tsri_cuda_free(d->gpu, d->object);
        tsri_cuda_free(d->gpu, d->scratch);
    }
    tsri_cuda_close(&d->gpu);
    tsr_model_unref(&d->profile);
    tsri_free(d->ctx, d->base);
    tsri_free(d->ctx, d);
    *out = NULL;
}

/* ---- an object ---- */

/* Can the coder for `a` decode b, too?  Steps and sinks may be others. */
static bool same_kind(const tsr_kv_info *a, const tsr_kv_info *b)
{
    return !strcmp(a->method, b->method) && a->levels == b->levels &&
        a->tile == b->tile && a->span == b->span &&
        a->live_shift == b->live_shift &&
        !memcmp(a->profile, b->profile, sizeof a->profile) &&
        !memcmp(a->params, b->params, sizeof a->params) &&
        tsri_kv_same_rope(&a->rope, &b->rope);
}

static tsr_error open_coder(tsr_kv_cuda_destination *d, const tsr_kv_info *info)
{
    tsr_error error;

    if (d->coder && same_kind(&d->info, info))
        return TSR_OK;
    close_coder(d);
    d->info = *info;
    error = tsr_kv_open_for(&d->kv, d->ctx, info, d->profile);
    if (!error)
        error = tsr_kv_cuda_open(&d->coder, d->kv, d->device);
    if (error)
        close_coder(d);
    return error;
}

/* Device memory of at least `size` bytes, a multiple of 16. */
static tsr_error grow(tsr_kv_cuda_destination *d, uint8_t **memory, size_t *room,
                      size_t size)
{
    if (size <= *room)
        return TSR_OK;
    tsri_cuda_free(d->gpu, *memory);
    *memory = NULL;
    *room = 0;
    TSR_TRY(tsri_cuda_alloc(d->gpu, memory, (size + 15) / 16, 16));
    *room = size;
    return TSR_OK;
}

static tsr_error make_room(tsr_kv_cuda_destination *d, const tsr_kv_arrival *a)
{
    size_t scratch;

    TSR_TRY(tsr_kv_cuda_scratch_size(d->coder, a->tokens, 1, &scratch));
    TSR_TRY(grow(d, &d->object, &d->object_room, a->size));
    return grow(d, &d->scratch, &d->scratch_room, scratch);
}

static tsr_error check(const tsr_kv_cuda_destination *d, const tsr_kv_info *info,
                       const tsr_kv_arrival *a)
{
    if (!tsri_kv_same_shape(&info->shape, &d->shape) ||
        info->tokens != a->tokens)
        return tsri_fail(d->ctx, TSR_E_MODEL, "a KV object of another shape or "
                         "length than was expected");
    return a->first_token <= d->view.tokens &&
        a->tokens <= d->view.tokens - a->first_token ? TSR_OK
        : tsri_fail(d->ctx, TSR_E_ARG, "a KV object beyond the end of its "
                    "destination");
}

/* Queues it; *status: what becomes of it, after the stream was waited for. */
static tsr_error decode(tsr_kv_cuda_destination *d, const tsr_kv_arrival *a,
                        int32_t *status)
{
    const tsr_kv_cuda_item item = {
        .view = d->view, .first_token = a->first_token, .data = d->object,
        .size = a->size, .status = d->status, .level = a->levels,
        .token_ids = d->ids ? d->ids + a->first_token : NULL };

    TSR_TRY(tsri_cuda_use(d->gpu));
    TSR_TRY(tsri_cuda_check(d->gpu, cudaMemcpyAsync(d->object, a->object, a->size,
        cudaMemcpyHostToDevice, d->stream), "object"));
    TSR_TRY(tsr_kv_cuda_decode(d->coder, &item, 1, a->tokens, d->scratch,
                               d->scratch_room, d->stream));
    TSR_TRY(tsri_cuda_check(d->gpu, cudaMemcpyAsync(status, d->status,
        sizeof *status, cudaMemcpyDeviceToHost, d->stream), "status"));
    return tsri_cuda_check(d->gpu, cudaStreamSynchronize(d->stream), "decode");
}

tsr_error tsr_kv_cuda_destination_take(void *destination,
                                       const tsr_kv_arrival *a)
{
    tsr_kv_cuda_destination *d = destination;
    tsr_kv_info info;
    int32_t status = TSR_OK;

    if (!a->tokens)
        return TSR_OK;
    TSR_TRY(tsr_kv_probe(d->ctx, a->object, a->size, &info));
    TSR_TRY(check(d, &info, a));
    TSR_TRY(open_coder(d, &info));
    TSR_TRY(make_room(d, a));
    TSR_TRY(decode(d, a, &status));
    return status == TSR_OK ? TSR_OK : tsri_fail(d->ctx, (tsr_error)status,
                                                 "a KV object is damaged");
}
