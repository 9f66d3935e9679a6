/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels for LSTMs share. */
#ifndef TSR_LIB_NN_CUDA_SEQ_LSTM_CUH
#define TSR_LIB_NN_CUDA_SEQ_LSTM_CUH
#include "lib/nn/cuda/seq_numbers.cuh"
#include "lib/nn/cuda/seq_ptx.cuh"

namespace {

/* Both within 1e-6. */
__device__ inline float sigmoid(float x)
{
    return __fdividef(1, 1 + __expf(-x));
}
__device__ inline float tangent(float x)
{
    return 2 * sigmoid(2 * x) - 1;
}

/* Queues a kernel in a cluster of the layer's blocks. */
template <typename K>
cudaError_t launch(K kernel, const sqk_lstm &l, int threads, size_t shared,
                   cudaStream_t stream)
{
    cudaLaunchAttribute cluster = {};
    cudaLaunchConfig_t config = {};
    cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    if (!status && l.blocks > 8)
        status = cudaFuncSetAttribute(
            kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = l.blocks;
    cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
    config.gridDim = dim3(l.blocks);
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &cluster;
    config.numAttrs = l.clusters ? 1 : 0;
    return status ? status : cudaLaunchKernelEx(&config, kernel, l);
}

}
#endif
