/* SPDX-License-Identifier: BSD-2-Clause */
/* The recurrent half of an LSTM layer: all steps in one launch.
 *
 * A cluster of up to 16 blocks shares out the hidden units; their weights stay
 * in registers and shared memory from step to step.  Sixteen threads have a
 * unit: each sums its part of the four gates over the hidden values, all sixteen
 * get the totals and make the unit's new value, and each writes it to the shared
 * memory of one block, twice buffered, so that a step costs one barrier of the
 * cluster.  Where registers and shared memory do not suffice, or there are no
 * clusters, weights are read from the cache.
 *
 * A sum's order depends on the layer alone. */
#include "lib/nn/cuda/seq_numbers.cuh"
#include "lib/nn/cuda/seq_ptx.cuh"

namespace {

constexpr int LANES = SQK_LSTM_LANES, KEPT = SQK_LSTM_KEPT, GATES = 4;
constexpr size_t SHARED = 200 << 10;    /* of weights, at most */

typedef pack<float, 4> quad;

/* Both within 1e-6. */
__device__ inline float sigmoid(float x)
{
    return __fdividef(1, 1 + __expf(-x));
}
__device__ inline float tangent(float x)
{
    return 2 * sigmoid(2 * x) - 1;
}

/* Sum of all lanes of a unit, in every one of them. */
__device__ inline float total(float v)
{
    for (int by = LANES / 2; by; by /= 2)
        v += __shfl_xor_sync(~0u, v, by);
    return v;
}

__device__ inline void add(float sum[GATES], int gate, const quad &w,
                           const quad &h)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum[gate] += w.v[i] * h.v[i];
}

/* A unit's gates after its new input: c is its cell. */
__device__ inline float step_of(const float in[GATES], const float sum[GATES],
                                float *c)
{
    const float i = sigmoid(in[0] + sum[0]), f = sigmoid(in[1] + sum[1]);
    const float g = tangent(in[2] + sum[2]), o = sigmoid(in[3] + sum[3]);
    *c = f * *c + i * g;
    return o * tangent(*c);
}

/* Blocks of one pass: every thread has one unit.  KEEP: the first KEPT parts of
 * its weights are in registers. */
template <typename T, bool KEEP>
__global__ void __launch_bounds__(LANES * SQK_LSTM_GROUPS)
lstm_fast(sqk_lstm l, int shared_parts)
{
    extern __shared__ __align__(16) float memory[];
    const int lane = threadIdx.x % LANES, unit = threadIdx.x / LANES;
    const int width = l.parts * LANES * 4;      /* of h, filled up */
    const unsigned rank = cluster_rank();
    const int own = rank * l.units + unit;
    const bool real = own < l.hidden && unit < l.units;
    const size_t part = (size_t)GATES * l.units * LANES;  /* quads of a part */
    const int kept = KEEP ? KEPT : 0;
    const quad *weight = reinterpret_cast<const quad *>(l.weight) +
                         rank * l.parts * part;
    float *h = memory;                          /* [2][width] */
    quad *shared = reinterpret_cast<quad *>(memory + 2 * width);
    const quad *rest = shared_parts ? shared : weight + kept * part;
    quad mine[KEEP ? KEPT : 1][GATES];
    float c = real ? l.state[l.hidden + own] : 0, last = 0;

    for (int i = threadIdx.x; i < 2 * width; i += blockDim.x)
        h[i] = i < l.hidden ? l.state[i] : 0;
    for (size_t i = threadIdx.x; i < shared_parts * part; i += blockDim.x)
        shared[i] = weight[kept * part + i];
    for (int p = 0; p < kept; p++)
#pragma unroll
        for (int g = 0; g < GATES; g++)
            if (KEEP)
                mine[p][g] = weight[((size_t)(p * GATES + g) * l.units + unit) *
                                    LANES + lane];
    float in[GATES], next[GATES];
    for (int g = 0; g < GATES; g++)
        next[g] = real ? l.gates[g * l.hidden + own] : 0;
    cluster_sync();
    for (int t = 0; t < l.rows; t++) {
        const float *now = h + t % 2 * width;
        float sum[GATES] = {};
        for (int g = 0; g < GATES; g++)
            in[g] = next[g];
        if (KEEP)
#pragma unroll
            for (int p = 0; p < KEPT; p++) {
                const quad x = *reinterpret_cast<const quad *>(
                    now + (p * LANES + lane) * 4);
#pragma unroll
                for (int g = 0; g < GATES; g++)
                    add(sum, g, mine[p][g], x);
            }
        const quad *w = rest + (size_t)unit * LANES + lane;
        for (int p = kept; p < l.parts; p++, w += part) {
            const quad x = *reinterpret_cast<const quad *>(
                now + (p * LANES + lane) * 4);
#pragma unroll
            for (int g = 0; g < GATES; g++)
                add(sum, g, w[(size_t)g * l.units * LANES], x);
        }
        for (int g = 0; g < GATES; g++)
            sum[g] = total(sum[g]);
        last = step_of(in, sum, &c);
        if (real && lane < l.blocks)
            cluster_store(h + (t + 1) % 2 * width + own, lane, last);
        /* Who arrives waits for its own writes: those to memory, which take
         * long, are made between. */
        cluster_arrive();
        if (real && lane == 0)
            from_float(static_cast<T *>(l.y) + (size_t)t * l.hidden + own,
                       curve_of(l.curve, last, own));
        if (t + 1 < l.rows)
            for (int g = 0; g < GATES; g++)
                next[g] = real ? l.gates[((size_t)(t + 1) * GATES + g) *
                                         l.hidden + own] : 0;
        cluster_wait();
    }
    if (real && lane == 0) {
        l.state[own] = last;
        l.state[l.hidden + own] = c;
    }
}

/* Any size: units in turns, cells in memory, weights from the cache. */
template <typename T>
__global__ void __launch_bounds__(LANES * SQK_LSTM_GROUPS)
lstm_large(sqk_lstm l)
{
    extern __shared__ __align__(16) float memory[];
    const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
    const int groups = blockDim.x / LANES, width = l.parts * LANES * 4;
    const unsigned rank = cluster_rank();
    const size_t part = (size_t)GATES * l.units * LANES;
    const quad *weight = reinterpret_cast<const quad *>(l.weight) +
                         rank * l.parts * part;
    float *h = memory, *cell = memory + 2 * width;      /* cell: [units] */

    for (int i = threadIdx.x; i < 2 * width; i += blockDim.x)
        h[i] = i < l.hidden ? l.state[i] : 0;
    for (int u = threadIdx.x; u < l.units; u += blockDim.x)
        cell[u] = rank * l.units + u < l.hidden ?
                  l.state[l.hidden + rank * l.units + u] : 0;
    cluster_sync();
    for (int t = 0; t < l.rows; t++) {
        const float *now = h + t % 2 * width;
        for (int unit = group; unit < l.units; unit += groups) {
            const int own = rank * l.units + unit;
            const bool real = own < l.hidden;
            const quad *w = weight + (size_t)unit * LANES + lane;
            float in[GATES] = {}, sum[GATES] = {}, c = cell[unit];
            for (int p = 0; p < l.parts; p++, w += part) {
                const quad x = *reinterpret_cast<const quad *>(
                    now + (p * LANES + lane) * 4);
                for (int g = 0; g < GATES; g++)
                    add(sum, g, w[(size_t)g * l.units * LANES], x);
            }
            for (int g = 0; g < GATES; g++) {
                sum[g] = total(sum[g]);
                if (real)
                    in[g] = l.gates[((size_t)t * GATES + g) * l.hidden + own];
            }
            const float v = step_of(in, sum, &c);
            if (real && lane < l.blocks)
                cluster_store(h + (t + 1) % 2 * width + own, lane, v);
            if (real && lane == 0) {
                cell[unit] = c;
                from_float(static_cast<T *>(l.y) + (size_t)t * l.hidden + own,
                           curve_of(l.curve, v, own));
            }
            __syncwarp();
        }
        cluster_sync();
    }
    for (int unit = threadIdx.x; unit < l.units; unit += blockDim.x) {
        const int own = rank * l.units + unit;
        if (own < l.hidden) {
            l.state[own] = h[l.rows % 2 * width + own];
            l.state[l.hidden + own] = cell[unit];
        }
    }
}

/* ---- which ---- */

template <typename K>
cudaError_t prepare(K kernel, const sqk_lstm &l, size_t shared)
{
    cudaError_t status = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    if (!status && l.blocks > 8)
        status = cudaFuncSetAttribute(
            kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    return status;
}

cudaLaunchConfig_t config_of(const sqk_lstm &l, int threads, size_t shared,
                             cudaStream_t stream, cudaLaunchAttribute *cluster)
{
    cudaLaunchConfig_t config = {};
    cluster->id = cudaLaunchAttributeClusterDimension;
    cluster->val.clusterDim.x = l.blocks;
    cluster->val.clusterDim.y = cluster->val.clusterDim.z = 1;
    config.gridDim = dim3(l.blocks);
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = cluster;
    config.numAttrs = l.clusters ? 1 : 0;
    return config;
}

template <typename T, bool KEEP>
cudaError_t run_fast(const sqk_lstm &l, int shared_parts, cudaStream_t stream)
{
    const size_t part = (size_t)GATES * l.units * LANES * sizeof(quad);
    const size_t shared = 2 * l.parts * LANES * sizeof(quad) +
                          shared_parts * part;
    cudaLaunchAttribute cluster;
    const cudaLaunchConfig_t config = config_of(l, l.units * LANES, shared,
                                                stream, &cluster);
    const cudaError_t status = prepare(lstm_fast<T, KEEP>, l, shared);

    return status ? status : cudaLaunchKernelEx(&config, lstm_fast<T, KEEP>, l,
                                                shared_parts);
}

template <typename T> cudaError_t run_large(const sqk_lstm &l, cudaStream_t stream)
{
    const size_t shared = 2 * l.parts * LANES * sizeof(quad) +
                          l.units * sizeof(float);
    cudaLaunchAttribute cluster;
    const cudaLaunchConfig_t config = config_of(l, LANES * SQK_LSTM_GROUPS, shared,
                                                stream, &cluster);
    const cudaError_t status = prepare(lstm_large<T>, l, shared);

    return status ? status : cudaLaunchKernelEx(&config, lstm_large<T>, l);
}

template <typename T> cudaError_t run(const sqk_lstm &l, cudaStream_t stream)
{
    const size_t part = (size_t)GATES * l.units * LANES * sizeof(quad);

    if (l.units > SQK_LSTM_GROUPS)
        return run_large<T>(l, stream);
    if (l.parts < KEPT)
        return run_fast<T, false>(l, l.parts * part <= SHARED ? l.parts : 0,
                                  stream);
    const int rest = l.parts - KEPT;
    return run_fast<T, true>(l, rest * part <= SHARED ? rest : 0, stream);
}

}

cudaError_t sqk_lstm_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream)
{
    return type == SQK_F16 ? run<__half>(*l, stream) :
           type == SQK_BF16 ? run<__nv_bfloat16>(*l, stream) :
           run<float>(*l, stream);
}
