/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of the kernels behind lib/nn/plane_device.h; its structures, in device
 * memory. */
#ifndef TSR_LIB_NN_CUDA_PLANE_KERNELS_H
#define TSR_LIB_NN_CUDA_PLANE_KERNELS_H
#include "lib/nn/cuda/seq_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PLK_HEAD = 32 };         /* channels of a head of attention */

typedef struct plk_gather {
    const void *x;
    void *y;
    int items, height, width, channels, rows, columns, stride, twice;
} plk_gather;

typedef struct plk_norm {
    const void *x;
    void *y;
    int items, positions, channels, groups;
    float eps;
    const float *weight, *add;
    int silu;
} plk_norm;

typedef struct plk_layer_norm {
    const void *x;
    void *y;
    int rows, channels;
    const float *weight;
} plk_layer_norm;

typedef struct plk_attention {
    const void *q, *k, *v;
    void *y;
    int items, n, m, channels;
} plk_attention;

typedef struct plk_gate {
    const void *x;
    void *y;
    int rows, channels;
} plk_gate;

typedef struct plk_join {
    const void *a, *b;
    void *y;
    int rows, a_channels, b_channels;
} plk_join;

typedef struct plk_mix {
    float *x;
    const float *v, *noise;
    void *numbers;
    int n;
    float by_x, by_v, by_noise, guidance;
} plk_mix;

cudaError_t plk_gather_run(sqk_type type, const plk_gather *g, cudaStream_t stream);
cudaError_t plk_norm_run(sqk_type type, const plk_norm *n, cudaStream_t stream);
cudaError_t plk_layer_norm_run(sqk_type type, const plk_layer_norm *n,
                               cudaStream_t stream);
cudaError_t plk_attention_run(sqk_type type, const plk_attention *a,
                              cudaStream_t stream);
cudaError_t plk_gate_run(sqk_type type, const plk_gate *g, cudaStream_t stream);
cudaError_t plk_join_run(sqk_type type, const plk_join *j, cudaStream_t stream);
cudaError_t plk_mix_run(sqk_type type, const plk_mix *m, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
