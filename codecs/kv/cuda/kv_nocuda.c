/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA: no coder ever opens, so nothing else is reached. */
#include <tessera/kv_cuda.h>
#include "codecs/kv/kv_internal.h"

static const tsr_error none = TSR_E_UNSUPPORTED;

tsr_error tsr_kv_cuda_open(tsr_kv_cuda **gpu, tsr_kv *kv, int device)
{
    *gpu = NULL;
    return tsri_fail(kv->ctx, none, "KV on CUDA: device %d: this build has no "
                     "CUDA", device);
}

void tsr_kv_cuda_close(tsr_kv_cuda **gpu)
{
    (void)gpu;
}

tsr_error tsr_kv_cuda_scratch_size(const tsr_kv_cuda *gpu, size_t tokens,
                                   size_t items, size_t *bytes)
{
    (void)gpu, (void)tokens, (void)items;
    *bytes = 0;
    return none;
}

tsr_error tsr_kv_cuda_encode(tsr_kv_cuda *gpu, const tsr_kv_cuda_item *items,
                             size_t n, size_t tokens, void *scratch,
                             size_t scratch_size, void *stream)
{
    (void)gpu, (void)items, (void)n, (void)tokens, (void)scratch;
    (void)scratch_size, (void)stream;
    return none;
}

tsr_error tsr_kv_cuda_decode(tsr_kv_cuda *gpu, const tsr_kv_cuda_item *items,
                             size_t n, size_t tokens, void *scratch,
                             size_t scratch_size, void *stream)
{
    (void)gpu, (void)items, (void)n, (void)tokens, (void)scratch;
    (void)scratch_size, (void)stream;
    return none;
}

tsr_error tsr_kv_cuda_destination_open(tsr_kv_cuda_destination **destination,
                                       tsr_context *context,
                                       const tsr_kv_shape *shape,
                                       const tsr_kv_view *view,
                                       tsr_model *profile, const int32_t *ids,
                                       int device, void *stream)
{
    (void)shape, (void)view, (void)profile, (void)ids, (void)device;
    (void)stream;
    *destination = NULL;
    return tsri_fail(context, none, "KV on CUDA: not in this build");
}

tsr_error tsr_kv_cuda_destination_take(void *destination,
                                       const struct tsr_kv_arrival *arrival)
{
    (void)destination, (void)arrival;
    return none;
}

void tsr_kv_cuda_destination_close(tsr_kv_cuda_destination **destination)
{
    (void)destination;
}
