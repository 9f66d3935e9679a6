/* SPDX-License-Identifier: BSD-2-Clause */
/* A CUDA device: its memory, and one stream on which everything is queued.
 * A handle is used by one thread at a time; several on one device are allowed.
 *
 * Device memory is a pointer that the host must not follow.  Work, copies
 * included, happens in the order it was queued and after the call returned;
 * only tsri_cuda_sync() waits.  A fault of a kernel shows at the next call.
 *
 * Every function returns TSR_OK or, after one line to the context's logger,
 * TSR_E_UNSUPPORTED no CUDA in this build, no driver, no such device, or one
 * too old for the kernels; TSR_E_NOMEM device memory is out; TSR_E_BACKEND
 * anything else that CUDA reports. */
#ifndef TSR_LIB_CUDA_DEVICE_H
#define TSR_LIB_CUDA_DEVICE_H
#include "lib/core.h"

/** Opens device `index`, from 0; ctx must outlive it.  NULL on failure. */
tsr_error tsri_cuda_open(tsri_cuda **gpu, tsr_context *ctx, int index);

/** Waits for what is queued.  NULL is allowed. */
void tsri_cuda_close(tsri_cuda **gpu);

/** The stream, a cudaStream_t, for what is queued by other means. */
void *tsri_cuda_stream(const tsri_cuda *gpu);

/** Queues on the caller's cudaStream_t from now on, NULL: on the handle's own;
 *  waits for what is queued. */
tsr_error tsri_cuda_use_stream(tsri_cuda *gpu, void *stream);

/** From now on queues on the handle's own stream all the same, without regard to the
 *  caller's; or again on the caller's, after what is on our own.  Does not wait. */
void tsri_cuda_aside(tsri_cuda *gpu, bool aside);

/** The device's name; the handle's until it closes. */
const char *tsri_cuda_name(const tsri_cuda *gpu);

/** Whether pictures that the context is given now are in the device's memory; set
 *  for the length of a call. */
bool tsri_cuda_has_pixels(const tsri_cuda *gpu);
void tsri_cuda_set_pixels(tsri_cuda *gpu, bool here);

/** `count` * `size` bytes of device memory, 256-byte aligned, not cleared; a
 *  product of 0 gives a valid pointer. */
tsr_error tsri_cuda_alloc(tsri_cuda *gpu, void *mem_pointer, size_t count,
                          size_t size);

/** Waits for what is queued.  NULL is allowed. */
void tsri_cuda_free(tsri_cuda *gpu, void *mem);

/** The same in the order of what is queued, from a pool that is kept: neither
 *  waits. */
tsr_error tsri_cuda_take(tsri_cuda *gpu, void *mem_pointer, size_t size);
void tsri_cuda_give(tsri_cuda *gpu, void *mem);

/** Host to device; `from` must not change before the next sync. */
tsr_error tsri_cuda_upload(tsri_cuda *gpu, void *to, const void *from,
                           size_t size);

/** The same, but `from` may change after the call: it is copied to pinned memory
 *  first.  Waits only where that is to be taken, or TSRI_CUDA_SENT such copies are
 *  on their way. */
enum { TSRI_CUDA_SENT = 8 };
tsr_error tsri_cuda_send(tsri_cuda *gpu, void *to, const void *from, size_t size);

/** Device to host; `to` is written at the next sync. */
tsr_error tsri_cuda_download(tsri_cuda *gpu, void *to, const void *from,
                             size_t size);

/** Device to device, not overlapping. */
tsr_error tsri_cuda_copy(tsri_cuda *gpu, void *to, const void *from, size_t size);

/** Sets device memory to `byte`. */
tsr_error tsri_cuda_fill(tsri_cuda *gpu, void *to, uint8_t byte, size_t size);

/** Whether all that was queued is done; does not wait. */
bool tsri_cuda_idle(tsri_cuda *gpu);

/** Waits until all that was queued is done. */
tsr_error tsri_cuda_sync(tsri_cuda *gpu);

/** Device time: a mark in the stream, and the milliseconds between two marks
 *  (which waits for the second).  For benchmarks. */
typedef struct tsri_cuda_mark tsri_cuda_mark;
tsr_error tsri_cuda_mark_open(tsri_cuda *gpu, tsri_cuda_mark **mark);
void tsri_cuda_mark_close(tsri_cuda *gpu, tsri_cuda_mark **mark);
tsr_error tsri_cuda_mark_set(tsri_cuda *gpu, tsri_cuda_mark *mark);
tsr_error tsri_cuda_mark_between(tsri_cuda *gpu, tsri_cuda_mark *from,
                                 tsri_cuda_mark *to, float *ms);
#endif
