/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done number by number, and the sums of group normalisation.  All are
 * bound by memory. */
#include "lib/nn/cuda/seq_numbers.cuh"

namespace {

constexpr int THREADS = 256, BLOCKS = 256;  /* BLOCKS: of partial sums */

int grid_of(size_t n)
{
    const size_t blocks = (n + THREADS - 1) / THREADS;
    return (int)(blocks < 1 ? 1 : blocks < 4096 ? blocks : 4096);
}

template <typename T>
__global__ void enter(T *to, const float *from, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n;
         i += (size_t)gridDim.x * THREADS)
        from_float(to + i, from[i]);
}

template <typename T>
__global__ void leave(float *to, const T *from, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n;
         i += (size_t)gridDim.x * THREADS)
        to[i] = to_float(from[i]);
}

/* ---- rows ---- */

__device__ inline float row_of(const sqk_rows &r, float x, float add, int c)
{
    const float v = r.shift ? (x - r.shift[c]) * r.shift[r.channels + c] + r.bias[c]
                            : r.scale * (x + add);
    return curve_of(r.curve, v, c);
}

/* N neighbouring channels at a time. */
template <typename T, int N> __global__ void rows(sqk_rows r)
{
    typedef pack<T, N> numbers;
    const numbers *x = static_cast<const numbers *>(r.x);
    const numbers *add = static_cast<const numbers *>(r.add);
    numbers *y = static_cast<numbers *>(r.y);

    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < r.n / N;
         i += (size_t)gridDim.x * THREADS) {
        const int c = (int)(i % (r.channels / N)) * N;
        const numbers v = x[i];
        numbers a, out;
        if (add)
            a = add[i];
#pragma unroll
        for (int k = 0; k < N; k++)
            from_float(&out.v[k], row_of(r, to_float(v.v[k]),
                                         add ? to_float(a.v[k]) : 0, c + k));
        y[i] = out;
    }
}

template <typename T> void run_rows(const sqk_rows &r, cudaStream_t stream)
{
    constexpr int N = 16 / sizeof(T);
    const uintptr_t at = reinterpret_cast<uintptr_t>(r.x) |
                         reinterpret_cast<uintptr_t>(r.add) |
                         reinterpret_cast<uintptr_t>(r.y);
    if (r.channels % N == 0 && at % 16 == 0)
        rows<T, N><<<grid_of(r.n / N), THREADS, 0, stream>>>(r);
    else
        rows<T, 1><<<grid_of(r.n), THREADS, 0, stream>>>(r);
}

/* ---- group normalisation ---- */

/* Sums and sums of squares of each channel over a block's share of the rows:
 * [blocks][channels][2].  Threads have a channel each, or several threads have
 * every so-many-th row of one. */
template <typename T> __global__ void sum_up(sqk_measure m)
{
    __shared__ double part[THREADS][2];
    const T *x = static_cast<const T *>(m.x);
    const int wide = min(m.channels, THREADS), lanes = THREADS / wide;
    const int lane = threadIdx.x / wide;
    const size_t share = (m.length + gridDim.x - 1) / gridDim.x;
    const size_t first = share * blockIdx.x;
    const size_t end = first + share < m.length ? first + share : m.length;

    for (int c0 = 0; c0 < m.channels; c0 += wide) {
        const int c = c0 + threadIdx.x % wide;
        double sum = 0, squares = 0;
        for (size_t t = first + lane; lane < lanes && c < m.channels && t < end;
             t += lanes) {
            const double v = to_float(x[t * m.channels + c]);
            sum += v;
            squares += v * v;
        }
        part[threadIdx.x][0] = sum;
        part[threadIdx.x][1] = squares;
        __syncthreads();
        if (lane == 0 && c < m.channels) {
            for (int i = 1; i < lanes; i++) {
                sum += part[threadIdx.x + i * wide][0];
                squares += part[threadIdx.x + i * wide][1];
            }
            double *to = m.sums + ((size_t)blockIdx.x * m.channels + c) * 2;
            to[0] = sum;
            to[1] = squares;
        }
        __syncthreads();
    }
}

/* A block for each group. */
template <typename T> __global__ void conclude(sqk_measure m)
{
    __shared__ double part[THREADS][2];
    const int each = m.channels / m.groups, first = blockIdx.x * each;
    double sum = 0, squares = 0;

    for (int i = threadIdx.x; i < each * BLOCKS; i += THREADS) {
        const double *from = m.sums + ((size_t)(i / each) * m.channels + first +
                                       i % each) * 2;
        sum += from[0];
        squares += from[1];
    }
    part[threadIdx.x][0] = sum;
    part[threadIdx.x][1] = squares;
    __syncthreads();
    for (int by = THREADS / 2; by; by /= 2) {
        if (threadIdx.x < by)
            for (int k = 0; k < 2; k++)
                part[threadIdx.x][k] += part[threadIdx.x + by][k];
        __syncthreads();
    }
    const double n = (double)m.length * each, mean = part[0][0] / n;
    const double var = fmax(part[0][1] / n - mean * mean, 0.);
    for (int c = first + threadIdx.x; c < first + each; c += THREADS) {
        m.shift[c] = (float)mean;
        m.shift[m.channels + c] = (float)(m.weight[c] / sqrt(var + (double)m.eps));
    }
}

template <typename T> void run_measure(const sqk_measure &m, cudaStream_t stream)
{
    sum_up<T><<<BLOCKS, THREADS, 0, stream>>>(m);
    conclude<T><<<m.groups, THREADS, 0, stream>>>(m);
}

}

cudaError_t sqk_enter_run(sqk_type type, void *to, const float *from, size_t n,
                          cudaStream_t stream)
{
    if (type == SQK_F16)
        enter<<<grid_of(n), THREADS, 0, stream>>>(static_cast<__half *>(to), from, n);
    else if (type == SQK_BF16)
        enter<<<grid_of(n), THREADS, 0, stream>>>(static_cast<__nv_bfloat16 *>(to),
                                                  from, n);
    else
        enter<<<grid_of(n), THREADS, 0, stream>>>(static_cast<float *>(to), from, n);
    return cudaGetLastError();
}

cudaError_t sqk_leave_run(sqk_type type, float *to, const void *from, size_t n,
                          cudaStream_t stream)
{
    if (type == SQK_F16)
        leave<<<grid_of(n), THREADS, 0, stream>>>(to,
                                                  static_cast<const __half *>(from), n);
    else if (type == SQK_BF16)
        leave<<<grid_of(n), THREADS, 0, stream>>>(
            to, static_cast<const __nv_bfloat16 *>(from), n);
    else
        leave<<<grid_of(n), THREADS, 0, stream>>>(to,
                                                  static_cast<const float *>(from), n);
    return cudaGetLastError();
}

cudaError_t sqk_rows_run(sqk_type type, const sqk_rows *r, cudaStream_t stream)
{
    if (type == SQK_F16)
        run_rows<__half>(*r, stream);
    else if (type == SQK_BF16)
        run_rows<__nv_bfloat16>(*r, stream);
    else
        run_rows<float>(*r, stream);
    return cudaGetLastError();
}

size_t sqk_measure_doubles(int channels)
{
    return (size_t)BLOCKS * channels * 2;
}

cudaError_t sqk_measure_run(sqk_type type, const sqk_measure *m,
                            cudaStream_t stream)
{
    if (type == SQK_F16)
        run_measure<__half>(*m, stream);
    else if (type == SQK_BF16)
        run_measure<__nv_bfloat16>(*m, stream);
    else
        run_measure<float>(*m, stream);
    return cudaGetLastError();
}
