/* SPDX-License-Identifier: BSD-2-Clause */
/* The recurrent half of an LSTM layer in 16 bits, on tensor cores: as seq_lstm.cu,
 * but a warp has four units, all of their weights in registers.
 *
 * Their four gates are the sixteen rows of a matrix; the hidden values are a column
 * beside seven of zeros, rounded to 16 bits as the weights are.  Of column 0, the
 * only one, lane 4 r has rows r and r + 8: two gates of a unit, whose others lane
 * 4 r + 16 has.  Which hidden value is which k is ours to choose: a lane of the
 * column has neighbouring ones, to read them in few loads. */
#include "lib/nn/cuda/seq_lstm.cuh"

namespace {

constexpr int WARP = 32, UNITS = SQK_LSTM_HALF_UNITS, CHAINS = 4;

template <typename T> __device__ inline uint32_t pair_of(float a, float b)
{
    pack<T, 2> two;
    uint32_t word;

    from_float(&two.v[0], a);
    from_float(&two.v[1], b);
    memcpy(&word, &two, sizeof word);
    return word;
}

/* Hidden values of STEPS of 16, in two places in turns. */
template <typename T, int STEPS> struct hidden {
    static constexpr int EACH = STEPS * 4;  /* of a lane */
    static constexpr int CHUNK = EACH + 8;  /* so that lanes do not share banks */
    alignas(16) T value[2][4 * CHUNK];
    box boxes[2];

    /* By all threads; then a cluster_sync(). */
    __device__ void open(const sqk_lstm &l, unsigned sent)
    {
        if (!threadIdx.x)
            for (int i = 0; i < 2; i++) {
                box_open(&boxes[i]);
                box_expect(&boxes[i], sent);
            }
        for (int i = threadIdx.x; i < 2 * 4 * CHUNK; i += blockDim.x) {
            const int k = i / CHUNK * EACH + i % CHUNK;
            const bool there = i < 4 * CHUNK && i % CHUNK < EACH && k < l.hidden;
            from_float(&value[0][0] + i, there ? l.state[k] : 0);
        }
    }

    /* The lane's two rows of a product with place i. */
    __device__ void multiply_by(const uint4 weight[STEPS], int i, int lane,
                                float out[2]) const
    {
        float sum[CHAINS][4] = {};

#pragma unroll
        for (int s = 0; s < STEPS; s += 2) {
            uint4 h = make_uint4(0, 0, 0, 0);
            if (lane < 4)
                h = *reinterpret_cast<const uint4 *>(&value[i][lane * CHUNK + s * 4]);
            const uint32_t even[2] = { h.x, h.y }, odd[2] = { h.z, h.w };
            const uint32_t a[4] = { weight[s].x, weight[s].y, weight[s].z, weight[s].w };
            const uint32_t b[4] = { weight[s + 1].x, weight[s + 1].y, weight[s + 1].z,
                                    weight[s + 1].w };
            multiply(sum[s % CHAINS], a, even, T());
            multiply(sum[(s + 1) % CHAINS], b, odd, T());
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float all = (sum[0][2 * r] + sum[1][2 * r]) +
                              (sum[2][2 * r] + sum[3][2 * r]);
            out[r] = __shfl_sync(~0u, all, lane / 4 * 4);
        }
    }
};

/* A unit's gates i and g, or f and o where `high`, to its new value: c is its
 * cell. */
__device__ inline float step_of(const float in[2], const float sum[2], bool high,
                                float *c)
{
    const float a = sigmoid(in[0] + sum[0]), x = in[1] + sum[1];
    const float b = high ? sigmoid(x) : tangent(x);
    const float other_a = __shfl_xor_sync(~0u, a, 16);
    const float other_b = __shfl_xor_sync(~0u, b, 16);

    *c = (high ? a : other_a) * *c + (high ? other_a * other_b : a * b);
    return (high ? b : other_b) * tangent(*c);
}

template <typename T, int STEPS>
__global__ void __launch_bounds__(WARP * SQK_LSTM_GROUPS / UNITS)
lstm_half(sqk_lstm l)
{
    typedef hidden<T, STEPS> values;
    __shared__ values h;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const unsigned sent = l.blocks * l.units * sizeof(T);
    const int first = cluster_rank() * l.units + warp * UNITS;  /* of the warp's */
    const int own = first + lane / 4 % UNITS;
    const bool high = lane >= 16, real = own < l.hidden;
    const bool writes = real && !high && lane % 4 == 0;
    const int place = first / values::EACH * values::CHUNK + first % values::EACH;
    const uint4 *from = static_cast<const uint4 *>(l.weight) +
                        (size_t)first / UNITS * STEPS * WARP + lane;
    const float *gate = l.gates + high * l.hidden + own;
    uint4 weight[STEPS];
    float c = real ? l.state[l.hidden + own] : 0, last = 0, in[2] = {}, sum[2];

    h.open(l, sent);
#pragma unroll
    for (int s = 0; s < STEPS; s++)
        weight[s] = from[s * WARP];
    for (int i = 0; real && i < 2; i++)
        in[i] = gate[2 * i * l.hidden];
    cluster_sync();
    for (int t = 0; t < l.rows; t++) {
        const int next = (t + 1) % 2;
        h.multiply_by(weight, t % 2, lane, sum);
        last = step_of(in, sum, high, &c);
        /* Units that only fill a block up stay 0. */
        const uint32_t two = pair_of<T>(last, __shfl_down_sync(~0u, last, 4));
        const float low = __uint_as_float(__shfl_sync(~0u, two, 0));
        const float up = __uint_as_float(__shfl_sync(~0u, two, 8));
        if (t + 1 < l.rows && lane < l.blocks)
            box_send(reinterpret_cast<float *>(&h.value[next][place]), &h.boxes[next],
                     lane, low, up);
        if (writes)
            from_float(static_cast<T *>(l.y) + (size_t)t * l.hidden + own,
                       curve_of(l.curve, last, own));
        if (t + 1 == l.rows)
            break;
        gate += 4 * l.hidden;
        for (int i = 0; real && i < 2; i++)
            in[i] = gate[2 * i * l.hidden];
        /* Filled for the steps t + 1 = 1, 3, ... and 2, 4, ... */
        box_wait(&h.boxes[next], t / 2);
        if (!threadIdx.x)
            box_expect(&h.boxes[next], sent);
    }
    if (writes) {
        l.state[own] = last;
        l.state[l.hidden + own] = c;
    }
}

template <typename T> cudaError_t run(const sqk_lstm &l, cudaStream_t stream)
{
    const int threads = l.units / UNITS * WARP;

    return l.steps == 8 ? launch(lstm_half<T, 8>, l, threads, 0, stream) :
           l.steps == 16 ? launch(lstm_half<T, 16>, l, threads, 0, stream) :
           l.steps == 24 ? launch(lstm_half<T, 24>, l, threads, 0, stream) :
           launch(lstm_half<T, 32>, l, threads, 0, stream);
}

}

cudaError_t sqk_lstm_half_run(sqk_type type, const sqk_lstm *l, cudaStream_t stream)
{
    return type == SQK_F16 ? run<__half>(*l, stream) :
           run<__nv_bfloat16>(*l, stream);
}
