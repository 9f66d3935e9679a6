/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics of planes. */
#include "lib/nn/cuda/steps.cuh"

namespace {

constexpr int MAX_CHUNKS = 1024, CHUNK = 256;   /* samples, at least */

int chunks_of(int rows, int cols)
{
    const size_t n = (static_cast<size_t>(rows) * cols + CHUNK - 1) / CHUNK;
    return n < MAX_CHUNKS ? static_cast<int>(n) : MAX_CHUNKS;
}

/* Floats of an item's sums. */
__host__ __device__ size_t sums_of(int chunks, int lanes)
{
    return 2 * static_cast<size_t>(chunks) * lanes;
}

/* Of each channel of a chunk of samples: sum of x - x of the first sample, and of
 * its square.  blockIdx.y takes 8 THREADS channels, blockIdx.z an item. */
template <typename T>
__global__ void sum_chunk(nnk_map m, float *all, size_t samples, size_t chunk)
{
    __shared__ float s[THREADS][2 * LANE + 1];
    const int blocks = m.lanes / LANE, wide = min(blocks, THREADS);
    const int column = threadIdx.x % wide, row = threadIdx.x / wide;
    const int rows = THREADS / wide;
    const int c = (blockIdx.y * THREADS + column) * LANE;
    const T *data = static_cast<const T *>(item_of<T>(m, blockIdx.z).data);
    float *sums = all + sums_of(gridDim.x, m.lanes) * blockIdx.z;
    const size_t from = blockIdx.x * chunk, to = min(from + chunk, samples);
    float sum[LANE] = {}, squares[LANE] = {};

    if (row < rows && c < m.lanes) {
        const eight shift = load8(data + c);
        for (size_t i = from + row; i < to; i += rows) {
            const eight x = load8(data + i * m.lanes + c);
#pragma unroll
            for (int k = 0; k < LANE; k++) {
                const float d = x.v[k] - shift.v[k];
                sum[k] += d;
                squares[k] += d * d;
            }
        }
    }
    for (int k = 0; k < LANE; k++) {
        s[threadIdx.x][k] = sum[k];
        s[threadIdx.x][LANE + k] = squares[k];
    }
    __syncthreads();
    if (row > 0 || c >= m.lanes)
        return;
    for (int r = 1; r < rows; r++)
        for (int k = 0; k < LANE; k++) {
            sum[k] += s[r * wide + column][k];
            squares[k] += s[r * wide + column][LANE + k];
        }
    float *out = sums + (static_cast<size_t>(blockIdx.x) * m.lanes + c) * 2;
    for (int k = 0; k < LANE; k++) {
        out[2 * k] = sum[k];
        out[2 * k + 1] = squares[k];
    }
}

__device__ double block_sum(double x, double *shared)
{
    shared[threadIdx.x] = x;
    __syncthreads();
    for (int n = THREADS / 2; n > 0; n /= 2) {
        if (threadIdx.x < n)
            shared[threadIdx.x] += shared[threadIdx.x + n];
        __syncthreads();
    }
    const double all = shared[0];
    __syncthreads();
    return all;
}

/* One group of an item a block. */
template <typename T>
__global__ void finish_norm(nnk_norm n, int chunks, double samples)
{
    __shared__ double shared[THREADS];
    const int size = n.channels / n.groups, first = blockIdx.x * size;
    const int items = size * chunks, lanes = n.src.lanes;
    const T *data = static_cast<const T *>(item_of<T>(n.src, blockIdx.y).data);
    double mean = 0, var = 0;

    n.sums += sums_of(chunks, lanes) * blockIdx.y;
    n.out += static_cast<size_t>(3) * lanes * blockIdx.y;

    for (int i = threadIdx.x; i < items; i += THREADS)
        mean += n.sums[(static_cast<size_t>(i / size) * lanes + first +
                        i % size) * 2];
    for (int i = threadIdx.x; i < size; i += THREADS)
        mean += samples * to_float(data[first + i]);
    mean = block_sum(mean, shared) / (samples * size);
    for (int i = threadIdx.x; i < items; i += THREADS) {
        const float *s = n.sums + (static_cast<size_t>(i / size) * lanes +
                                   first + i % size) * 2;
        const double off = mean - to_float(data[first + i % size]);
        var += s[1] - 2 * off * s[0];
    }
    for (int i = threadIdx.x; i < size; i += THREADS) {
        const double off = mean - to_float(data[first + i]);
        var += samples * off * off;
    }
    var = block_sum(var, shared) / (samples * size);
    for (int i = threadIdx.x; i < size; i += THREADS) {
        const int c = first + i;
        const float near = static_cast<float>(mean);
        const float scale = static_cast<float>(
            n.weights[c] / sqrt(fmax(var, 0.0) + n.eps));
        n.out[c] = near;
        n.out[lanes + c] = scale;
        n.out[2 * lanes + c] = static_cast<float>(
            n.weights[lanes + c] + (near - mean) * scale);
    }
    if (blockIdx.x == 0 && threadIdx.x < lanes - n.channels)
        for (int k = 0; k < 3; k++)
            n.out[k * lanes + n.channels + threadIdx.x] = 0;
}

template <typename T>
cudaError_t run_norm(const nnk_norm &n, cudaStream_t stream)
{
    const size_t samples = static_cast<size_t>(n.src.rows) * n.src.cols;
    const int chunks = chunks_of(n.src.rows, n.src.cols);
    const dim3 grid(chunks, (n.src.lanes / LANE + THREADS - 1) / THREADS,
                    n.src.items);

    sum_chunk<T><<<grid, THREADS, 0, stream>>>(
        n.src, n.sums, samples, (samples + chunks - 1) / chunks);
    finish_norm<T><<<dim3(n.groups, n.src.items), THREADS, 0, stream>>>(
        n, chunks, static_cast<double>(samples));
    return cudaGetLastError();
}

} // namespace

size_t nnk_norm_floats(int rows, int cols, int lanes)
{
    return sums_of(chunks_of(rows, cols), lanes);
}

cudaError_t nnk_norm_run(nnk_type type, const nnk_norm *n, cudaStream_t stream)
{
    return BY_TYPE(type, run_norm)(*n, stream);
}
