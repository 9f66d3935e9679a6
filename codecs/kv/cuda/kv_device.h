/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a device's coder. */
#ifndef TSR_CODECS_KV_CUDA_KV_DEVICE_H
#define TSR_CODECS_KV_CUDA_KV_DEVICE_H
#include <tessera/kv_cuda.h>
#include "codecs/kv/cuda/kv_kernels.h"
#include "codecs/kv/kv_internal.h"
#include "lib/cuda/device_cuda.h"

enum { TSRI_KV_GPU_ARRAYS = 24 };   /* in device memory, at most */

struct tsr_kv_cuda {
    tsr_kv *kv;
    tsri_cuda *gpu;
    tsri_kv_gpu_job encoder, decoder;   /* what calls have in common */
    int8_t live_shift[2];   /* of encoder, of decoder */
    void *array[TSRI_KV_GPU_ARRAYS];
    int arrays;
};

/** Device memory that goes with the coder; its address goes to *device. */
tsr_error tsri_kv_gpu_room(tsr_kv_cuda *g, size_t count, size_t size,
                           void *device);
/** The same with a copy of `from`, which must stay until the next sync. */
tsr_error tsri_kv_gpu_put(tsr_kv_cuda *g, const void *from, size_t count,
                          size_t size, void *device);

/** Brings what a published method's kernels need.  Waits. */
tsr_error tsri_kv_gpu_put_method(tsr_kv_cuda *g);

/** Most bytes of a unit of the method, of so many tokens of a type: packed, too. */
size_t tsri_kv_gpu_plain_bytes(const tsr_kv *kv, int tile, int tokens, int dtype);

/** Brings the profile and the shape of groups there: everything of both jobs that
 *  has to do with groups.  Waits. */
tsr_error tsri_kv_gpu_put_groups(tsr_kv_cuda *g);
#endif
