/* SPDX-License-Identifier: BSD-2-Clause */
/* Small work on maps between nets: every kernel is bound by memory, so a thread
 * does one number and the grid runs over all. */
#include "codecs/image/cuda/maps_kernels.h"

enum { THREADS = 256, BLOCKS = 4096, SIDE = 32, ROWS = 8 };

static unsigned blocks(size_t count)
{
    const size_t n = (count + THREADS - 1) / THREADS;
    return (unsigned)(n < 1 ? 1 : n < BLOCKS ? n : BLOCKS);
}

#define EACH(i, count)                                                       \
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < (count); \
         i += (size_t)gridDim.x * THREADS)

/* dst = words, or from - words. */
__global__ static void words_kernel(float *dst, const float *from,
                                    const float *words, const int32_t *codes,
                                    size_t n, int groups, int k, int dim)
{
    const int channels = groups * dim;

    EACH(i, n * channels) {
        const size_t place = i / channels;
        const int c = (int)(i % channels), g = c / dim;
        const size_t word = (size_t)g * k + codes[(size_t)g * n + place];
        const float w = words[word * dim + c % dim];
        dst[i] = from ? from[i] - w : w;
    }
}

__global__ static void add_kernel(float *dst, const float *src, size_t count)
{
    EACH(i, count)
        dst[i] += src[i];
}

/* dst[group][place][dim] = src[place][group][dim] */
__global__ static void split_kernel(float *dst, const float *src, size_t n,
                                    int groups, int dim)
{
    EACH(i, n * groups * dim) {
        const size_t row = i / dim;
        dst[i] = src[((row % n) * groups + row / n) * dim + i % dim];
    }
}

__global__ static void scale_kernel(float *map, const float *gain, size_t n,
                                    int channels)
{
    EACH(i, n * channels)
        map[i] *= gain[i % channels];
}

/* dst[channel][place] = src[place][channel], by squares. */
__global__ static void planar_kernel(float *dst, const float *src, size_t n,
                                     int channels)
{
    __shared__ float square[SIDE][SIDE + 1];
    const size_t n0 = (size_t)blockIdx.x * SIDE;
    const int c0 = blockIdx.y * SIDE;

    for (int r = threadIdx.y; r < SIDE; r += ROWS)
        if (n0 + r < n && c0 + (int)threadIdx.x < channels)
            square[r][threadIdx.x] = src[(n0 + r) * channels + c0 + threadIdx.x];
    __syncthreads();
    for (int r = threadIdx.y; r < SIDE; r += ROWS)
        if (c0 + r < channels && n0 + threadIdx.x < n)
            dst[(size_t)(c0 + r) * n + n0 + threadIdx.x] = square[threadIdx.x][r];
}

/* A unit's tokens [channel][row][column] times gain / 128 into a map that is
 * `width` places wide; NULL: zeros. */
__global__ static void tokens_kernel(float *dst, const int16_t *tokens,
                                     const float *gain, int width, int y0, int x0,
                                     int rows, int columns, int channels)
{
    __shared__ float square[SIDE][SIDE + 1];
    const int n = rows * columns, n0 = blockIdx.x * SIDE, c0 = blockIdx.y * SIDE;

    for (int r = threadIdx.y; r < SIDE; r += ROWS) {
        const int c = c0 + r, at = n0 + (int)threadIdx.x;
        if (c < channels && at < n)
            square[r][threadIdx.x] = tokens
                ? tokens[(size_t)c * n + at] * (gain[c] / 128) : 0;
    }
    __syncthreads();
    for (int r = threadIdx.y; r < SIDE; r += ROWS) {
        const int at = n0 + r, c = c0 + (int)threadIdx.x;
        if (at < n && c < channels)
            dst[((size_t)(y0 + at / columns) * width + x0 + at % columns) *
                    channels + c] = square[threadIdx.x][r];
    }
}

static dim3 squares(size_t n, int channels)
{
    return dim3((unsigned)((n + SIDE - 1) / SIDE),
                (unsigned)((channels + SIDE - 1) / SIDE));
}

cudaError_t tsri_launch_words(float *dst, const float *from, const float *words,
                              const int32_t *codes, size_t n, int groups, int k,
                              int dim, cudaStream_t stream)
{
    words_kernel<<<blocks(n * groups * dim), THREADS, 0, stream>>>(
        dst, from, words, codes, n, groups, k, dim);
    return cudaGetLastError();
}

cudaError_t tsri_launch_add(float *dst, const float *src, size_t count,
                            cudaStream_t stream)
{
    add_kernel<<<blocks(count), THREADS, 0, stream>>>(dst, src, count);
    return cudaGetLastError();
}

cudaError_t tsri_launch_split(float *dst, const float *src, size_t n, int groups,
                              int dim, cudaStream_t stream)
{
    split_kernel<<<blocks(n * groups * dim), THREADS, 0, stream>>>(dst, src, n,
                                                                   groups, dim);
    return cudaGetLastError();
}

cudaError_t tsri_launch_scale(float *map, const float *gain, size_t n,
                              int channels, cudaStream_t stream)
{
    scale_kernel<<<blocks(n * channels), THREADS, 0, stream>>>(map, gain, n,
                                                               channels);
    return cudaGetLastError();
}

cudaError_t tsri_launch_planar(float *dst, const float *src, size_t n,
                               int channels, cudaStream_t stream)
{
    planar_kernel<<<squares(n, channels), dim3(SIDE, ROWS), 0, stream>>>(
        dst, src, n, channels);
    return cudaGetLastError();
}

cudaError_t tsri_launch_tokens(float *dst, const int16_t *tokens,
                               const float *gain, int width, int y0, int x0,
                               int rows, int columns, int channels,
                               cudaStream_t stream)
{
    tokens_kernel<<<squares((size_t)rows * columns, channels), dim3(SIDE, ROWS),
                    0, stream>>>(dst, tokens, gain, width, y0, x0, rows, columns,
                                 channels);
    return cudaGetLastError();
}
