/* SPDX-License-Identifier: BSD-2-Clause */
/* The recurrent half of an LSTM layer: all steps in one launch.
 *
 * A cluster of up to 16 blocks shares out the hidden units; their weights stay
 * in registers and shared memory from step to step.  Sixteen threads have a
 * unit: each sums its part of the four gates over the hidden values, four get the
 * total of each gate, all sixteen make the unit's new value of them, and each
 * sends it, with that of the unit beside it, to one block.  A block goes on when the values of all
 * units have come.  There are two places for them in turns: who sends to one has
 * all values of the other, so every unit has been through with what was in it.
 * A block alone waits for its threads: compute-sanitizer takes what is sent
 * within a cluster of one for an error.
 * Where registers and shared memory do not suffice, or there are no clusters,
 * weights are read from the cache.
 *
 * A sum's order depends on the layer alone. */
#include "lib/nn/cuda/seq_lstm.cuh"

namespace {

constexpr int LANES = SQK_LSTM_LANES, GATES = 4;
/* Parts of 64 hidden values that registers hold: of full blocks, and of those
 * with fewer units. */
constexpr int KEPT = 4, KEPT_FEW = 6, FEW = 24;
constexpr size_t SHARED = 200 << 10;    /* of weights, at most */

typedef pack<float, 4> quad;

/* In one load: the compiler makes four of a structure, which wait for each other
 * at the banks of shared memory. */
__device__ inline quad load(const quad *from)
{
    const float4 v = *reinterpret_cast<const float4 *>(from);
    return { { v.x, v.y, v.z, v.w } };
}

__device__ inline void add(float sum[GATES], int gate, const quad &w,
                           const quad &h)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum[gate] += w.v[i] * h.v[i];
}

/* Of the sums of a unit's lanes the total of gate lane / 4: the farther half of
 * the lanes has the other gates. */
__device__ inline float total(const float sum[GATES], int lane)
{
    const bool high = lane & 8, odd = lane & 4;
    const float a = (high ? sum[2] : sum[0]) +
                    __shfl_xor_sync(~0u, high ? sum[0] : sum[2], 8);
    const float b = (high ? sum[3] : sum[1]) +
                    __shfl_xor_sync(~0u, high ? sum[1] : sum[3], 8);
    float v = (odd ? b : a) + __shfl_xor_sync(~0u, odd ? a : b, 4);
    v += __shfl_xor_sync(~0u, v, 2);
    return v + __shfl_xor_sync(~0u, v, 1);
}

/* A unit's new value in all of its lanes, which have one gate's new input each:
 * c is its cell. */
__device__ inline float step_of(float in, const float sum[GATES], int lane, float *c)
{
    const float x = in + total(sum, lane);
    const bool tangent_of = lane / 4 == 2;
    const float s = sigmoid(tangent_of ? 2 * x : x);
    const float gate = tangent_of ? 2 * s - 1 : s;
    const float i = __shfl_sync(~0u, gate, 0, LANES);
    const float f = __shfl_sync(~0u, gate, 4, LANES);
    const float g = __shfl_sync(~0u, gate, 8, LANES);
    const float o = __shfl_sync(~0u, gate, 12, LANES);
    *c = f * *c + i * g;
    return o * tangent(*c);
}

/* Blocks of one pass: every thread has one unit, of at most MOST.  The first
 * KEEP parts of its weights are in registers, the rest in shared memory or, where
 * they are too many, in the cache. */
template <typename T, int KEEP, int MOST, bool HERE>
__global__ void __launch_bounds__(LANES * MOST) lstm_fast(sqk_lstm l)
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
    const quad *weight = static_cast<const quad *>(l.weight) +
                         rank * l.parts * part;
    float *h = memory;                          /* [2][width] */
    quad *shared = reinterpret_cast<quad *>(memory + 2 * width);
    const quad *rest = HERE ? shared : weight + KEEP * part;
    quad mine[KEEP ? KEEP : 1][GATES];
    float c = real ? l.state[l.hidden + own] : 0, last = 0;

    if (!threadIdx.x)
        for (int i = 0; i < 2; i++) {
            box_open(&boxes[i]);
            box_expect(&boxes[i], sent);
        }
    for (int i = threadIdx.x; i < 2 * width; i += blockDim.x)
        h[i] = i < l.hidden ? l.state[i] : 0;
    for (size_t i = threadIdx.x; HERE && i < (l.parts - KEEP) * part; i += blockDim.x)
        shared[i] = weight[KEEP * part + i];
#pragma unroll
    for (int p = 0; p < KEEP; p++)
#pragma unroll
        for (int g = 0; g < GATES; g++)
            mine[p][g] = weight[((size_t)(p * GATES + g) * l.units + unit) *
                                LANES + lane];
    const float *gate = l.gates + lane / 4 * l.hidden + own;
    float in = real ? *gate : 0;
    cluster_sync();
    for (int t = 0; t < l.rows; t++) {
        const quad *now = reinterpret_cast<const quad *>(h + t % 2 * width);
        const int next = (t + 1) % 2;
        float sum[GATES] = {};
#pragma unroll
        for (int p = 0; p < KEEP; p++) {
            const quad x = load(now + p * LANES + lane);
#pragma unroll
            for (int g = 0; g < GATES; g++)
                add(sum, g, mine[p][g], x);
        }
        const quad *w = rest + (size_t)unit * LANES + lane;
#pragma unroll 2
        for (int p = KEEP; p < l.parts; p++, w += part) {
            const quad x = load(now + p * LANES + lane);
#pragma unroll
            for (int g = 0; g < GATES; g++)
                add(sum, g, load(w + g * l.units * LANES), x);
        }
        last = step_of(in, sum, lane, &c);
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
        gate += GATES * l.hidden;
        in = real ? *gate : 0;
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
    const quad *weight = static_cast<const quad *>(l.weight) +
                         rank * l.parts * part;
    float *h = memory, *cell = memory + 2 * width;      /* cell: [units] */

    for (int i = threadIdx.x; i < 2 * width; i += blockDim.x)
        h[i] = i < l.hidden ? l.state[i] : 0;
    for (int u = threadIdx.x; u < l.units; u += blockDim.x)
        cell[u] = rank * l.units + u < l.hidden ?
                  l.state[l.hidden + rank * l.units + u] : 0;
    cluster_sync();
    for (int t = 0; t < l.rows; t++) {
        const quad *now = reinterpret_cast<const quad *>(h + t % 2 * width);
        for (int unit = group; unit < l.units; unit += groups) {
            const int own = rank * l.units + unit;
            const bool real = own < l.hidden;
            const quad *w = weight + (size_t)unit * LANES + lane;
            float in = 0, sum[GATES] = {}, c = cell[unit];
            for (int p = 0; p < l.parts; p++, w += part) {
                const quad x = load(now + p * LANES + lane);
                for (int g = 0; g < GATES; g++)
                    add(sum, g, load(w + g * l.units * LANES), x);
            }
            if (real)
                in = l.gates[((size_t)t * GATES + lane / 4) * l.hidden + own];
            const float v = step_of(in, sum, lane, &c);
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

template <typename T, int KEEP, int MOST>
cudaError_t run_fast(const sqk_lstm &l, cudaStream_t stream)
{
    const size_t values = 2 * l.parts * LANES * sizeof(quad);
    const size_t rest = (size_t)(l.parts - KEEP) * GATES * l.units * LANES *
                        sizeof(quad);

    return rest <= SHARED
               ? launch(lstm_fast<T, KEEP, MOST, true>, l, l.units * LANES,
                        values + rest, stream)
               : launch(lstm_fast<T, KEEP, MOST, false>, l, l.units * LANES,
                        values, stream);
}

template <typename T> cudaError_t run_large(const sqk_lstm &l, cudaStream_t stream)
{
    const size_t shared = 2 * l.parts * LANES * sizeof(quad) +
                          l.units * sizeof(float);

    return launch(lstm_large<T>, l, LANES * SQK_LSTM_GROUPS, shared, stream);
}

/* What has 16 bits comes here with few units or very many. */
template <typename T> cudaError_t run(const sqk_lstm &l, cudaStream_t stream)
{
    if (l.units > SQK_LSTM_GROUPS)
        return run_large<T>(l, stream);
    if constexpr (sizeof(T) == sizeof(float)) {
        if (l.parts >= KEPT_FEW && l.units <= FEW)
            return run_fast<T, KEPT_FEW, FEW>(l, stream);
        if (l.parts >= KEPT)
            return run_fast<T, KEPT, SQK_LSTM_GROUPS>(l, stream);
    }
    return run_fast<T, 0, SQK_LSTM_GROUPS>(l, stream);
}

}

cudaError_t sqk_lstm_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream)
{
    return l->steps ? sqk_lstm_half_run(type, l, stream) :
           type == SQK_F16 ? run<__half>(*l, stream) :
           type == SQK_BF16 ? run<__nv_bfloat16>(*l, stream) :
           run<float>(*l, stream);
}
