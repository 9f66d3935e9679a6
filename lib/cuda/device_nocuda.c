/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without CUDA: no device ever opens, so nothing else is reached. */
#include "lib/cuda/device.h"

static const tsr_error none = TSR_E_UNSUPPORTED;

tsr_error tsri_cuda_open(tsri_cuda **gpu, tsr_context *ctx, int index)
{
    *gpu = NULL;
    return tsri_fail(ctx, none, "CUDA: device %d: this build has no CUDA", index);
}

void tsri_cuda_close(tsri_cuda **gpu)
{
    (void)gpu;
}

void *tsri_cuda_stream(const tsri_cuda *gpu)
{
    (void)gpu;
    return NULL;
}

const char *tsri_cuda_name(const tsri_cuda *gpu)
{
    (void)gpu;
    return "";
}

tsr_error tsri_cuda_alloc(tsri_cuda *gpu, void *mem_pointer, size_t count,
                          size_t size)
{
    (void)gpu, (void)mem_pointer, (void)count, (void)size;
    return none;
}

void tsri_cuda_free(tsri_cuda *gpu, void *mem)
{
    (void)gpu, (void)mem;
}

tsr_error tsri_cuda_take(tsri_cuda *gpu, void *mem_pointer, size_t size)
{
    (void)gpu, (void)mem_pointer, (void)size;
    return none;
}

void tsri_cuda_give(tsri_cuda *gpu, void *mem)
{
    (void)gpu, (void)mem;
}

tsr_error tsri_cuda_upload(tsri_cuda *gpu, void *to, const void *from, size_t size)
{
    (void)gpu, (void)to, (void)from, (void)size;
    return none;
}

tsr_error tsri_cuda_send(tsri_cuda *gpu, void *to, const void *from, size_t size)
{
    (void)gpu, (void)to, (void)from, (void)size;
    return none;
}

tsr_error tsri_cuda_use_stream(tsri_cuda *gpu, void *stream)
{
    (void)gpu, (void)stream;
    return none;
}

void tsri_cuda_aside(tsri_cuda *gpu, bool aside)
{
    (void)gpu, (void)aside;
}

bool tsri_cuda_has_pixels(const tsri_cuda *gpu)
{
    (void)gpu;
    return false;
}

void tsri_cuda_set_pixels(tsri_cuda *gpu, bool here)
{
    (void)gpu, (void)here;
}

tsr_error tsri_cuda_download(tsri_cuda *gpu, void *to, const void *from,
                             size_t size)
{
    (void)gpu, (void)to, (void)from, (void)size;
    return none;
}

tsr_error tsri_cuda_copy(tsri_cuda *gpu, void *to, const void *from, size_t size)
{
    (void)gpu, (void)to, (void)from, (void)size;
    return none;
}

tsr_error tsri_cuda_fill(tsri_cuda *gpu, void *to, uint8_t byte, size_t size)
{
    (void)gpu, (void)to, (void)byte, (void)size;
    return none;
}

bool tsri_cuda_idle(tsri_cuda *gpu)
{
    (void)gpu;
    return true;
}

tsr_error tsri_cuda_sync(tsri_cuda *gpu)
{
    (void)gpu;
    return none;
}

tsr_error tsri_cuda_mark_open(tsri_cuda *gpu, tsri_cuda_mark **mark)
{
    (void)gpu, (void)mark;
    return none;
}

void tsri_cuda_mark_close(tsri_cuda *gpu, tsri_cuda_mark **mark)
{
    (void)gpu, (void)mark;
}

tsr_error tsri_cuda_mark_set(tsri_cuda *gpu, tsri_cuda_mark *mark)
{
    (void)gpu, (void)mark;
    return none;
}

tsr_error tsri_cuda_mark_between(tsri_cuda *gpu, tsri_cuda_mark *from,
                                 tsri_cuda_mark *to, float *ms)
{
    (void)gpu, (void)from, (void)to, (void)ms;
    return none;
}
