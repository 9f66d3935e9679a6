/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a device, for X_cuda.c files. */
#ifndef TSR_LIB_CUDA_DEVICE_CUDA_H
#define TSR_LIB_CUDA_DEVICE_CUDA_H
#include <cuda_runtime_api.h>
#include "lib/cuda/device.h"

struct tsri_cuda {
    tsr_context *ctx;
    cudaStream_t stream, own;   /**< of what is queued now; our own */
    cudaStream_t given;         /**< the caller's, or NULL */
    struct tsri_cuda_sent {     /**< pinned memory, and when it can be used again */
        void *mem;
        size_t size;
        cudaEvent_t event;
    } sent[TSRI_CUDA_SENT];
    int next_sent;
    bool pixels;
    int index;
    int sms;            /**< multiprocessors */
    char name[256];
};

/** Makes the device the thread's current one; before any other CUDA call. */
tsr_error tsri_cuda_use(tsri_cuda *gpu);

/** What a CUDA call returned, as an error of ours: logs `what` and CUDA's words
 *  where it failed.  For launches: of cudaGetLastError(). */
tsr_error tsri_cuda_check(tsri_cuda *gpu, cudaError_t status, const char *what);

/** From now on what is queued is kept and not done, until it is given back to be
 *  launched any number of times.  false, NULL: it cannot be. */
bool tsri_cuda_record(tsri_cuda *gpu);
cudaGraphExec_t tsri_cuda_end_record(tsri_cuda *gpu);
#endif
