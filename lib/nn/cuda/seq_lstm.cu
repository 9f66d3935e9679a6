/* SPDX-License-Identifier: BSD-2-Clause */
/* The recurrent half of an LSTM layer: all steps in one launch.
 *
 * A cluster of up to 16 blocks shares out the hidden units; their weights stay
 * in registers and shared memory from step to step.  Sixteen threads have a
 * unit: each sums its part of the four gates over the hidden values, all sixteen
 * get the totals and make the unit's new value, and each sends it, with that of
 * the unit beside it, to one block.  A block goes on when the values of all
 * units have come.  There are two places for them in turns: who sends to one has
 * all values of the other, so every unit has been through with what was in it.
 * A block alone waits for its threads: compute-sanitizer takes what is sent
 * within a cluster of one for an error.
 * Where registers and shared memory do not suffice, or there are no clusters,
 * weights are read from the cache.
 *
 * A sum's order depends on the layer alone. */
#include "lib/nn/cuda/seq_numbers.cuh"
#include "lib/nn/cuda/seq_ptx.cuh"

namespace {

constexpr int LANES = SQK_LSTM_LANES, GATES = 4;
/* Parts of 64 hidden values that registers hold: of full blocks, and of those
 * with fewer units. */
constexpr int KEPT = 4, KEPT_FEW = 6, FEW = 24;
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

/* Blocks of one pass: every thread has one unit, of at most MOST.  The first
 * KEEP parts of its weights are in registers. */
template <typename T, int KEEP, int MOST>
__global__ void __launch_bounds__(LANES * MOST)
lstm_fast(sqk_lstm l, int shared_parts)
{
    extern __shared__ __align__(16) float memory[];
    __shared__ box boxes[2];
    const int lane = threadIdx.x % LANES, unit = threadIdx.x / LANES;
    const int width = l.parts * LANES * 4;      /* of h, filled up */
    const unsigned rank = cluster_rank();
    const unsigned sent = l.blocks * l.units * sizeof(float);
    const int own = rank * l.units + unit;
    const bool real = own < l.hidden, alone = l.blocks == 1;
    const size_t part = (size_t)GATES * l.units * LANES;  /* quads of a part */
    const quad *weight = reinterpret_cast<const quad *>(l.weight) +
                         rank * l.parts * part;
    float *h = memory;                          /* [2][width] */
    quad *shared = reinterpret_cast<quad *>(memory + 2 * width);
    const quad *rest = shared_parts ? shared : weight + KEEP * part;
    quad mine[KEEP ? KEEP : 1][GATES];
    float c = real ? l.state[l.hidden + own] : 0, last = 0;

    if (!threadIdx.x)
        for (int i = 0; i < 2; i++) {
            box_open(&boxes[i]);
            box_expect(&boxes[i], sent);
        }
    for (int i = threadIdx.x; i < 2 * width; i += blockDim.x)
        h[i] = i < l.hidden ? l.state[i] : 0;
    for (size_t i = threadIdx.x; i < shared_parts * part; i += blockDim.x)
        shared[i] = weight[KEEP * part + i];
#pragma unroll
    for (int p = 0; p < KEEP; p++)
#pragma unroll
        for (int g = 0; g < GATES; g++)
            mine[p][g] = weight[((size_t)(p * GATES + g) * l.units + unit) *
                                LANES + lane];
    float in[GATES];
    for (int g = 0; g < GATES; g++)
        in[g] = real ? l.gates[g * l.hidden + own] : 0;
    cluster_sync();
    for (int t = 0; t < l.rows; t++) {
        const float *now = h + t % 2 * width;
        const int next = (t + 1) % 2;
        float sum[GATES] = {};
#pragma unroll
        for (int p = 0; p < KEEP; p++) {
            const quad x = *reinterpret_cast<const quad *>(
                now + (p * LANES + lane) * 4);
#pragma unroll
            for (int g = 0; g < GATES; g++)
                add(sum, g, mine[p][g], x);
        }
        const quad *w = rest + (size_t)unit * LANES + lane;
#pragma unroll 2
        for (int p = KEEP; p < l.parts; p++, w += part) {
            const quad x = *reinterpret_cast<const quad *>(
                now + (p * LANES + lane) * 4);
#pragma unroll
            for (int g = 0; g < GATES; g++)
                add(sum, g, w[(size_t)g * l.units * LANES], x);
        }
        for (int g = 0; g < GATES; g++)
            sum[g] = total(sum[g]);
        last = step_of(in, sum, &c);
        /* Units that only fill a block up stay 0. */
        const float beside = __shfl_xor_sync(~0u, last, LANES);
        if (alone && lane == 0)
            h[next * width + own] = last;
        if (!alone && t + 1 < l.rows && unit % 2 == 0 && lane < l.blocks)
            box_send(h + next * width + own, &boxes[next], lane, last, beside);
        if (real && lane == 0)
            from_float(static_cast<T *>(l.y) + (size_t)t * l.hidden + own,
                       curve_of(l.curve, last, own));
        if (t + 1 == l.rows)
            break;
        for (int g = 0; g < GATES; g++)
            in[g] = real ? l.gates[((size_t)(t + 1) * GATES + g) * l.hidden + own]
                         : 0;
        if (alone) {
            __syncthreads();
            continue;
        }
        /* Filled for the steps t + 1 = 1, 3, ... and 2, 4, ... */
        box_wait(&boxes[next], t / 2);
        if (!threadIdx.x)
            box_expect(&boxes[next], sent);
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
            if (real && lane == 0 && l.blocks == 1)
                h[(t + 1) % 2 * width + own] = v;
            else if (real && lane < l.blocks)
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

template <typename T, int KEEP, int MOST>
cudaError_t run_fast(const sqk_lstm &l, cudaStream_t stream)
{
    const size_t part = (size_t)GATES * l.units * LANES * sizeof(quad);
    const int rest = (l.parts - KEEP) * part <= SHARED ? l.parts - KEEP : 0;
    const size_t shared = 2 * l.parts * LANES * sizeof(quad) + rest * part;
    cudaLaunchAttribute cluster;
    const cudaLaunchConfig_t config = config_of(l, l.units * LANES, shared,
                                                stream, &cluster);
    const cudaError_t status = prepare(lstm_fast<T, KEEP, MOST>, l, shared);

    return status ? status : cudaLaunchKernelEx(
        &config, lstm_fast<T, KEEP, MOST>, l, rest);
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
    if (l.units > SQK_LSTM_GROUPS)
        return run_large<T>(l, stream);
    if (l.parts < KEPT)
        return run_fast<T, 0, SQK_LSTM_GROUPS>(l, stream);
    if (l.parts < KEPT_FEW || l.units > FEW)
        return run_fast<T, KEPT, SQK_LSTM_GROUPS>(l, stream);
    return run_fast<T, KEPT_FEW, FEW>(l, stream);
}

}

cudaError_t sqk_lstm_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream)
{
    return type == SQK_F16 ? run<__half>(*l, stream) :
           type == SQK_BF16 ? run<__nv_bfloat16>(*l, stream) :
           run<float>(*l, stream);
}
