/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a hyper entropy model on a CUDA device, for its two files. */
#ifndef TSR_CODECS_HYPER_CUDA_H
#define TSR_CODECS_HYPER_CUDA_H
#include "codecs/image/cuda/hyper_gpu.h"
#include "codecs/image/cuda/hyper_kernels.h"
#include "lib/cuda/device_cuda.h"

typedef struct hyper_layers {
    hyk_layer layer[3];
    bool silent;                /* constant, and nothing of it is coded */
} hyper_layers;

/** Memory of one kind, handed out piece by piece; base is NULL while the pieces
 *  are only counted. */
typedef struct hyper_arena {
    uint8_t *base;
    size_t used, size;
} hyper_arena;

/** Work on units of one size that is queued again and again: from the second unit
 *  on it is recorded, part by part. */
typedef struct hyper_tape {
    bool planar;                /* how y lies */
    bool warm;                  /* a unit was done: every kernel is loaded */
    bool cannot;
    cudaGraphExec_t part[HYK_PASSES_MAX + 1];
} hyper_tape;

/** Numbers of a channel that change from picture to picture, if at all. */
typedef struct hyper_gains {
    float *host, *device;       /* [latents] */
    bool sent;
} hyper_gains;

struct tsri_hyper_gpu {
    tsr_context *ctx;
    tsri_cuda *cuda;
    const tsri_hyper_model *m;
    hyper_arena weights, device, host;
    hyk_layer hs[3];
    hyper_layers group[TSRI_HYPER_GROUPS_MAX];
    uint8_t *radius;            /* [TSRI_HYPER_CLASSES] */
    uint16_t *first;            /* [TSRI_HYPER_CLASSES] places */
    uint8_t *escape_class;      /* host: of each place that is an escape; or 255 */
    hyper_gains gains[TSRI_HYPER_GAINS];
    hyper_tape put, get;
    int height, width;          /* of the unit for which there is room; or 0 */
    /* Device memory of a unit. */
    hyk_map grid[3], map;
    size_t maps_size;           /* they come first and are cleared together */
    uint8_t *hidden[2];
    uint8_t *class_of;
    int16_t *mean, *symbol, *fixed;
    int32_t *rank;
    float *y, *z;
    /* Host memory that the device reads and writes. */
    uint16_t *z_symbol, *coded;
    int16_t *value;             /* escapes; decoder: symbols with the radius */
    int32_t *start, *portion;
    int16_t *host_fixed;
    float *host_y;
    uint16_t *z_class;          /* the host's own */
};

/** Room for a unit; of another size than the last one's it waits. */
tsr_error tsri_hyper_gpu_reserve(tsri_hyper_gpu *g, int height, int width);

void tsri_hyper_tape_forget(tsri_hyper_gpu *g, hyper_tape *tape);

/** Does part `i` of the tape, which `queue` queues. */
tsr_error tsri_hyper_tape_play(tsri_hyper_gpu *g, hyper_tape *tape, int i,
                               tsr_error (*queue)(tsri_hyper_gpu *g,
                                                  const void *cookie),
                               const void *cookie);
#endif
