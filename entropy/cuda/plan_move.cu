/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes on their way: blocks to their places, matrices to the other order. */
#include <tessera/error.h>
#include "entropy/cuda/plan_kernels.h"

enum { SCAN = 1024, EACH = 8, SIDE = 64, WORDS = 32, THREADS = 256 };

/* Sum of the values of the thread block's threads before this one; *all: of
 * all. */
static __device__ uint64_t sum_before(uint64_t value, uint64_t *all)
{
    __shared__ uint64_t warp_sum[SCAN / 32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint64_t sum = value, before = 0;

    for (unsigned by = 1; by < 32; by *= 2) {
        const uint64_t other = __shfl_up_sync(~0u, sum, by);
        sum += lane >= by ? other : 0;
    }
    if (lane == 31)
        warp_sum[warp] = sum;
    __syncthreads();
    *all = 0;
    for (unsigned i = 0; i < SCAN / 32; i++) {
        before += i < warp ? warp_sum[i] : 0;
        *all += warp_sum[i];
    }
    __syncthreads();
    return before + sum - value;
}

/* One thread block: a round takes SCAN * EACH sizes. */
static __global__ void offsets(uint64_t *offset, const uint32_t *size, size_t n)
{
    uint64_t base = 0;

    for (size_t at = 0; at < n; at += SCAN * EACH) {
        const size_t first = at + threadIdx.x * EACH;
        uint64_t sum = 0, all;
        for (size_t i = first; i < n && i < first + EACH; i++)
            sum += size[i];
        uint64_t to = base + sum_before(sum, &all);
        for (size_t i = first; i < n && i < first + EACH; i++) {
            offset[i] = to;
            to += size[i];
        }
        base += all;
    }
    if (!threadIdx.x)
        offset[n] = base;
}

/* A thread block moves a block.  Words of four bytes are written whole; each is
 * made of two of the source, which has room after its end. */
static __global__ void gather(uint8_t *out, uint64_t room, const uint64_t *offset,
                              const uint8_t *slots, size_t slot, int32_t *status)
{
    const uint64_t begin = offset[blockIdx.x];
    const uint32_t size = (uint32_t)(offset[blockIdx.x + 1] - begin);
    uint8_t *to = out + begin;
    const uint8_t *from = slots + (blockIdx.x + (size_t)1) * slot - size;
    const uint32_t head = min(size, (uint32_t)-(uintptr_t)to & 3);
    const uint32_t words = (size - head) / 4, tail = head + 4 * words;

    if (begin + size > room) {
        if (!threadIdx.x)
            status[blockIdx.x] = TSR_E_LIMIT;
        return;
    }
    if (threadIdx.x < head)
        to[threadIdx.x] = from[threadIdx.x];
    if (threadIdx.x < size - tail)
        to[tail + threadIdx.x] = from[tail + threadIdx.x];
    from += head;
    to += head;
    const uint32_t *p = (const uint32_t *)((uintptr_t)from & ~(uintptr_t)3);
    const uint32_t shift = 8 * ((uint32_t)(uintptr_t)from & 3);
    for (uint32_t i = threadIdx.x; i < words; i += THREADS)
        ((uint32_t *)to)[i] = __funnelshift_r(p[i], p[i + 1], shift);
}

/* A square of SIDE x SIDE bytes through shared memory: index i runs along the
 * lines of `from`, j along those of `to`. */
static __global__ void transpose(uint8_t *to, ptrdiff_t to_i, ptrdiff_t to_j,
                                 const uint8_t *from, ptrdiff_t from_i,
                                 ptrdiff_t from_j, size_t ni, size_t nj)
{
    __shared__ uint8_t square[SIDE][SIDE + 4];
    const unsigned across = (unsigned)((ni + SIDE - 1) / SIDE);
    const size_t i0 = (size_t)(blockIdx.x % across) * SIDE;
    const size_t j0 = (size_t)(blockIdx.x / across) * SIDE;

    for (unsigned k = threadIdx.x; k < SIDE * SIDE; k += THREADS) {
        const size_t i = i0 + k % SIDE, j = j0 + k / SIDE;
        if (i < ni && j < nj)
            square[k / SIDE][k % SIDE] =
                from[(ptrdiff_t)i * from_i + (ptrdiff_t)j * from_j];
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < SIDE * SIDE; k += THREADS) {
        const size_t i = i0 + k / SIDE, j = j0 + k % SIDE;
        if (i < ni && j < nj)
            to[(ptrdiff_t)i * to_i + (ptrdiff_t)j * to_j] =
                square[k % SIDE][k / SIDE];
    }
}

/* Four rows of four bytes become four columns. */
static __device__ void turn(uint32_t w[4])
{
    const uint32_t a = __byte_perm(w[0], w[1], 0x5140);
    const uint32_t b = __byte_perm(w[0], w[1], 0x7362);
    const uint32_t c = __byte_perm(w[2], w[3], 0x5140);
    const uint32_t d = __byte_perm(w[2], w[3], 0x7362);

    w[0] = __byte_perm(a, c, 0x5410);
    w[1] = __byte_perm(a, c, 0x7632);
    w[2] = __byte_perm(b, d, 0x5410);
    w[3] = __byte_perm(b, d, 0x7632);
}

/* The same for lines of words: from_i and to_j are 1, all else in bytes is a
 * multiple of 4.  A thread block has 128 x 128 bytes; line 4 i + k of the result
 * waits in row 32 k + i, so that no two lanes of a warp meet in a bank. */
static __global__ void transpose_words(uint8_t *to, ptrdiff_t to_i,
                                       const uint8_t *from, ptrdiff_t from_j,
                                       size_t ni, size_t nj)
{
    __shared__ uint32_t square[4 * WORDS][WORDS + 1];
    const unsigned across = (unsigned)((ni + 4 * WORDS - 1) / (4 * WORDS));
    const size_t i0 = (size_t)(blockIdx.x % across) * 4 * WORDS;
    const size_t j0 = (size_t)(blockIdx.x / across) * 4 * WORDS;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;

    for (unsigned j = warp; j < WORDS; j += THREADS / 32) {
        uint32_t w[4] = { 0, 0, 0, 0 };
        if (i0 + 4 * lane < ni && j0 + 4 * j < nj)
            for (unsigned k = 0; k < 4; k++)
                w[k] = __ldg((const uint32_t *)(from + i0 + 4 * lane +
                             (ptrdiff_t)(j0 + 4 * j + k) * from_j));
        turn(w);
        for (unsigned k = 0; k < 4; k++)
            square[WORDS * k + lane][j] = w[k];
    }
    __syncthreads();
    for (unsigned i = warp; i < 4 * WORDS; i += THREADS / 32)
        if (i0 + i < ni && j0 + 4 * lane < nj)
            *(uint32_t *)(to + (ptrdiff_t)(i0 + i) * to_i + j0 + 4 * lane) =
                square[i % 4 * WORDS + i / 4][lane];
}

extern "C" cudaError_t tsri_launch_offsets(uint64_t *offset, const uint32_t *size,
                                           size_t n, cudaStream_t stream)
{
    offsets<<<1, SCAN, 0, stream>>>(offset, size, n);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_launch_gather(uint8_t *out, uint64_t room,
                                          const uint64_t *offset,
                                          const uint8_t *slots, size_t slot,
                                          size_t blocks, int32_t *status,
                                          cudaStream_t stream)
{
    if (blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    gather<<<(unsigned)blocks, THREADS, 0, stream>>>(out, room, offset, slots,
                                                     slot, status);
    return cudaGetLastError();
}

static bool words_fit(const tsri_gpu_plane *p, ptrdiff_t fast, ptrdiff_t slow)
{
    return fast == 1 && slow % 4 == 0 && (uintptr_t)p->data % 4 == 0;
}

extern "C" cudaError_t tsri_launch_transpose(const tsri_gpu_plane *to,
                                             const tsri_gpu_plane *from,
                                             size_t channels, size_t tokens,
                                             int back, cudaStream_t stream)
{
    const size_t ni = back ? tokens : channels, nj = back ? channels : tokens;
    const ptrdiff_t to_i = back ? to->token_step : to->channel_step;
    const ptrdiff_t to_j = back ? to->channel_step : to->token_step;
    const ptrdiff_t from_i = back ? from->token_step : from->channel_step;
    const ptrdiff_t from_j = back ? from->channel_step : from->token_step;
    const bool words = ni % 4 == 0 && nj % 4 == 0 &&
        words_fit(from, from_i, from_j) && words_fit(to, to_j, to_i);
    const size_t side = words ? 4 * WORDS : SIDE;
    const size_t grid = (ni + side - 1) / side * ((nj + side - 1) / side);

    if (grid > INT32_MAX)
        return cudaErrorInvalidValue;
    if (words)
        transpose_words<<<(unsigned)grid, THREADS, 0, stream>>>(
            to->data, to_i, from->data, from_j, ni, nj);
    else
        transpose<<<(unsigned)grid, THREADS, 0, stream>>>(
            to->data, to_i, to_j, from->data, from_i, from_j, ni, nj);
    return cudaGetLastError();
}
