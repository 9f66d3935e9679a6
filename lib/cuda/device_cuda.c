/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/cuda/device_cuda.h"
#include <string.h>

struct tsri_cuda_mark {
    cudaEvent_t event;
};

static tsr_error translate(tsr_context *ctx, cudaError_t status, const char *what)
{
    if (status == cudaSuccess)
        return TSR_OK;
    cudaGetLastError();     /* else the next launch would seem to have failed */
    const tsr_error error =
        status == cudaErrorMemoryAllocation ? TSR_E_NOMEM :
        status == cudaErrorNoDevice || status == cudaErrorInvalidDevice ||
        status == cudaErrorInsufficientDriver ||
        status == cudaErrorNoKernelImageForDevice ? TSR_E_UNSUPPORTED
                                                  : TSR_E_BACKEND;
    return tsri_fail(ctx, error, "CUDA: %s: %s", what, cudaGetErrorString(status));
}

tsr_error tsri_cuda_check(tsri_cuda *gpu, cudaError_t status, const char *what)
{
    return translate(gpu->ctx, status, what);
}

tsr_error tsri_cuda_use(tsri_cuda *gpu)
{
    return tsri_cuda_check(gpu, cudaSetDevice(gpu->index), "device");
}

/* What tsri_cuda_give() gave is kept by the device's pool. */
static tsr_error keep_pool(tsri_cuda *gpu)
{
    cudaMemPool_t pool;
    uint64_t all = UINT64_MAX;

    TSR_TRY(tsri_cuda_check(gpu, cudaDeviceGetDefaultMemPool(&pool, gpu->index),
                            "memory pool"));
    return tsri_cuda_check(gpu, cudaMemPoolSetAttribute(
        pool, cudaMemPoolAttrReleaseThreshold, &all), "memory pool");
}

/* Fills the handle in; the stream last, so that nothing is left on failure. */
static tsr_error open_device(tsri_cuda *gpu)
{
    struct cudaDeviceProp prop;

    TSR_TRY(tsri_cuda_use(gpu));
    TSR_TRY(tsri_cuda_check(gpu, cudaGetDeviceProperties(&prop, gpu->index),
                            "device"));
    gpu->sms = prop.multiProcessorCount;
    memcpy(gpu->name, prop.name, sizeof gpu->name);
    gpu->name[sizeof gpu->name - 1] = 0;
    TSR_TRY(keep_pool(gpu));
    TSR_TRY(tsri_cuda_check(gpu, cudaStreamCreateWithFlags(&gpu->own,
                            cudaStreamNonBlocking), "stream"));
    gpu->stream = gpu->own;
    return TSR_OK;
}

tsr_error tsri_cuda_open(tsri_cuda **out, tsr_context *ctx, int index)
{
    tsri_cuda *gpu;
    int devices = 0;

    *out = NULL;
    TSR_TRY(translate(ctx, cudaGetDeviceCount(&devices), "no device to use"));
    if (index < 0 || index >= devices)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "CUDA: there is no device %d, "
                         "of %d", index, devices);
    gpu = tsri_calloc(ctx, 1, sizeof *gpu);
    if (!gpu)
        return tsri_nomem(ctx);
    gpu->ctx = ctx;
    gpu->index = index;
    const tsr_error error = open_device(gpu);
    if (error) {
        tsri_free(ctx, gpu);
        return error;
    }
    *out = gpu;
    return TSR_OK;
}

static void free_sent(tsri_cuda *gpu)
{
    for (int i = 0; i < TSRI_CUDA_SENT; i++) {
        if (gpu->sent[i].event)
            tsri_cuda_check(gpu, cudaEventDestroy(gpu->sent[i].event), "event");
        if (gpu->sent[i].mem)
            tsri_cuda_check(gpu, cudaFreeHost(gpu->sent[i].mem), "free");
    }
}

void tsri_cuda_close(tsri_cuda **out)
{
    tsri_cuda *gpu = *out;
    if (!gpu)
        return;
    if (!tsri_cuda_use(gpu) && !tsri_cuda_sync(gpu)) {
        free_sent(gpu);
        tsri_cuda_check(gpu, cudaStreamDestroy(gpu->own), "stream");
    }
    tsri_free(gpu->ctx, gpu);
    *out = NULL;
}

void *tsri_cuda_stream(const tsri_cuda *gpu)
{
    return gpu->stream;
}

tsr_error tsri_cuda_use_stream(tsri_cuda *gpu, void *stream)
{
    TSR_TRY(tsri_cuda_sync(gpu));
    gpu->given = stream;
    tsri_cuda_aside(gpu, false);
    return TSR_OK;
}

/* What is queued from now on comes after what is queued on `other`. */
static void come_after(tsri_cuda *gpu, cudaStream_t other)
{
    cudaEvent_t event = NULL;
    const bool good =
        !tsri_cuda_use(gpu) &&
        cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess &&
        cudaEventRecord(event, other) == cudaSuccess &&
        cudaStreamWaitEvent(gpu->stream, event, 0) == cudaSuccess;

    if (!good)
        tsri_cuda_check(gpu, cudaStreamSynchronize(other), "work");
    if (event)
        (void)cudaEventDestroy(event); /* when it is done */
}

void tsri_cuda_aside(tsri_cuda *gpu, bool aside)
{
    const cudaStream_t before = gpu->stream;

    gpu->stream = aside || !gpu->given ? gpu->own : gpu->given;
    if (!aside && gpu->stream != before)
        come_after(gpu, before);
}

bool tsri_cuda_has_pixels(const tsri_cuda *gpu)
{
    return gpu->pixels;
}

void tsri_cuda_set_pixels(tsri_cuda *gpu, bool here)
{
    gpu->pixels = here;
}

const char *tsri_cuda_name(const tsri_cuda *gpu)
{
    return gpu->name;
}

tsr_error tsri_cuda_alloc(tsri_cuda *gpu, void *mem_pointer, size_t count,
                          size_t size)
{
    void **mem = mem_pointer;
    size_t bytes;

    *mem = NULL;
    if (!tsri_mul(count, size, &bytes))
        return tsri_nomem(gpu->ctx);
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu, cudaMalloc(mem, bytes ? bytes : 1), "memory");
}

void tsri_cuda_free(tsri_cuda *gpu, void *mem)
{
    if (mem && !tsri_cuda_use(gpu))
        tsri_cuda_check(gpu, cudaFree(mem), "free");
}

tsr_error tsri_cuda_take(tsri_cuda *gpu, void *mem_pointer, size_t size)
{
    void **mem = mem_pointer;

    *mem = NULL;
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu, cudaMallocAsync(mem, size ? size : 1,
                                                gpu->stream), "memory");
}

void tsri_cuda_give(tsri_cuda *gpu, void *mem)
{
    if (mem && !tsri_cuda_use(gpu))
        tsri_cuda_check(gpu, cudaFreeAsync(mem, gpu->stream), "free");
}

static tsr_error copy(tsri_cuda *gpu, void *to, const void *from, size_t size,
                      enum cudaMemcpyKind kind)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu, cudaMemcpyAsync(to, from, size, kind,
                                                gpu->stream), "copy");
}

tsr_error tsri_cuda_upload(tsri_cuda *gpu, void *to, const void *from, size_t size)
{
    return copy(gpu, to, from, size, cudaMemcpyHostToDevice);
}

/* Pinned memory that nothing reads any more: with room if there is such, since to
 * take some makes the device wait, else the eldest. */
static struct tsri_cuda_sent *find_slot(tsri_cuda *gpu, size_t size)
{
    struct tsri_cuda_sent *slot;

    for (slot = gpu->sent; slot < gpu->sent + TSRI_CUDA_SENT; slot++)
        if (slot->size >= size && cudaEventQuery(slot->event) == cudaSuccess)
            return slot;
    for (slot = gpu->sent; slot < gpu->sent + TSRI_CUDA_SENT; slot++)
        if (!slot->event)
            return slot;
    slot = &gpu->sent[gpu->next_sent];
    gpu->next_sent = (gpu->next_sent + 1) % TSRI_CUDA_SENT;
    return slot;
}

static tsr_error make_ready(tsri_cuda *gpu, struct tsri_cuda_sent *slot,
                            size_t size)
{
    if (!slot->event)
        TSR_TRY(tsri_cuda_check(gpu, cudaEventCreateWithFlags(
            &slot->event, cudaEventDisableTiming), "event"));
    TSR_TRY(tsri_cuda_check(gpu, cudaEventSynchronize(slot->event), "copy"));
    if (size <= slot->size)
        return TSR_OK;
    if (slot->mem)
        TSR_TRY(tsri_cuda_check(gpu, cudaFreeHost(slot->mem), "free"));
    slot->mem = NULL;
    slot->size = 0;
    TSR_TRY(tsri_cuda_check(gpu, cudaMallocHost(&slot->mem, size + size / 2),
                            "pinned memory"));
    slot->size = size + size / 2;
    return TSR_OK;
}

tsr_error tsri_cuda_send(tsri_cuda *gpu, void *to, const void *from, size_t size)
{
    if (!size)
        return TSR_OK;
    TSR_TRY(tsri_cuda_use(gpu));
    struct tsri_cuda_sent *slot = find_slot(gpu, size);
    TSR_TRY(make_ready(gpu, slot, size));
    memcpy(slot->mem, from, size);
    TSR_TRY(tsri_cuda_upload(gpu, to, slot->mem, size));
    return tsri_cuda_check(gpu, cudaEventRecord(slot->event, gpu->stream),
                           "event");
}

tsr_error tsri_cuda_download(tsri_cuda *gpu, void *to, const void *from,
                             size_t size)
{
    return copy(gpu, to, from, size, cudaMemcpyDeviceToHost);
}

tsr_error tsri_cuda_copy(tsri_cuda *gpu, void *to, const void *from, size_t size)
{
    return copy(gpu, to, from, size, cudaMemcpyDeviceToDevice);
}

tsr_error tsri_cuda_fill(tsri_cuda *gpu, void *to, uint8_t byte, size_t size)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu, cudaMemsetAsync(to, byte, size, gpu->stream),
                           "fill");
}

bool tsri_cuda_idle(tsri_cuda *gpu)
{
    return !tsri_cuda_use(gpu) && cudaStreamQuery(gpu->stream) == cudaSuccess;
}

tsr_error tsri_cuda_sync(tsri_cuda *gpu)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu, cudaStreamSynchronize(gpu->stream), "work");
}

bool tsri_cuda_record(tsri_cuda *gpu)
{
    if (tsri_cuda_use(gpu))
        return false;
    if (cudaStreamBeginCapture(gpu->stream, cudaStreamCaptureModeThreadLocal) ==
        cudaSuccess)
        return true;
    (void)cudaGetLastError();
    return false;
}

cudaGraphExec_t tsri_cuda_end_record(tsri_cuda *gpu)
{
    cudaGraphExec_t exec = NULL;
    cudaGraph_t graph = NULL;
    const bool good = cudaStreamEndCapture(gpu->stream, &graph) == cudaSuccess &&
                      graph && cudaGraphInstantiateWithFlags(&exec, graph, 0) ==
                                   cudaSuccess;

    if (graph)
        (void)cudaGraphDestroy(graph);
    if (good)
        return exec;
    (void)cudaGetLastError();
    return NULL;
}

tsr_error tsri_cuda_mark_open(tsri_cuda *gpu, tsri_cuda_mark **out)
{
    cudaEvent_t event;

    *out = NULL;
    TSR_TRY(tsri_cuda_use(gpu));
    TSR_TRY(tsri_cuda_check(gpu, cudaEventCreate(&event), "event"));
    *out = tsri_alloc(gpu->ctx, 1, sizeof **out);
    if (!*out) {
        tsri_cuda_check(gpu, cudaEventDestroy(event), "event");
        return tsri_nomem(gpu->ctx);
    }
    (*out)->event = event;
    return TSR_OK;
}

void tsri_cuda_mark_close(tsri_cuda *gpu, tsri_cuda_mark **mark)
{
    if (!*mark)
        return;
    tsri_cuda_check(gpu, cudaEventDestroy((*mark)->event), "event");
    tsri_free(gpu->ctx, *mark);
    *mark = NULL;
}

tsr_error tsri_cuda_mark_set(tsri_cuda *gpu, tsri_cuda_mark *mark)
{
    TSR_TRY(tsri_cuda_use(gpu));
    return tsri_cuda_check(gpu, cudaEventRecord(mark->event, gpu->stream), "event");
}

tsr_error tsri_cuda_mark_between(tsri_cuda *gpu, tsri_cuda_mark *from,
                                 tsri_cuda_mark *to, float *ms)
{
    TSR_TRY(tsri_cuda_check(gpu, cudaEventSynchronize(to->event), "event"));
    return tsri_cuda_check(gpu, cudaEventElapsedTime(ms, from->event, to->event),
                           "event");
}
