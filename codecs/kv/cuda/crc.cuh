/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32C by many threads.  A message is a polynomial over GF(2); what its parts
 * leave modulo the CRC's polynomial is multiplied by x to the number of bits
 * behind the part and added up.  Bits are reflected: bit 31 of a word is x^0.
 * Zeros before a message leave nothing, so words may be counted from its end. */
#ifndef TSR_CODECS_KV_CUDA_CRC_CUH
#define TSR_CODECS_KV_CUDA_CRC_CUH
#include "codecs/kv/cuda/kv_kernels.h"

enum : uint32_t {
    CRC_POLYNOMIAL = 0x82F63B78,
    EVERY_LANE = 0xffffffff
};

/* a * b */
static __device__ uint32_t crc_times(uint32_t a, uint32_t b)
{
    uint32_t r = 0;

    for (int i = 0; i < 32; i++) {
        r ^= a >> 31 ? b : 0;
        a <<= 1;
        b = b >> 1 ^ (b & 1 ? CRC_POLYNOMIAL : 0);
    }
    return r;
}

/* The four bytes at p, which are not before `begin` else 0, the first four of the
 * message inverted.  Whole words are read that hold one of them. */
static __device__ uint32_t crc_word(const uint8_t *p, const uint8_t *begin)
{
    const uint32_t odd = (uint32_t)(uintptr_t)p & 3;
    const uint32_t *word = (const uint32_t *)(p - odd);
    const ptrdiff_t in = p - begin;
    uint32_t v = 0;

    if (in <= -4)
        return 0;
    if (in > (ptrdiff_t)odd - 4)
        v = __ldcg(word);
    if (odd)
        v = __funnelshift_r(v, __ldcg(word + 1), 8 * odd);
    if (in < 4)
        v = in < 0 ? ~v & ~0u << -8 * in : v ^ ~0u >> 8 * in;
    return v;
}

/* A few bytes, bit by bit. */
static __device__ uint32_t crc_short(const uint8_t *p, uint32_t n)
{
    uint32_t v = ~0u;

    for (uint32_t i = 0; i < 8 * n; i++) {
        v ^= i % 8 ? 0 : p[i / 8];
        v = v >> 1 ^ (v & 1 ? CRC_POLYNOMIAL : 0);
    }
    return ~v;
}

/* The CRC-32C of n bytes by a thread block of CRC_THREADS, in its first thread;
 * all threads must come.  Thread i has every CRC_THREADS-th word. */
static __device__ uint32_t crc_block(const tsri_kv_gpu_crc *crc,
                                     const uint8_t *p, uint32_t n)
{
    enum { CRC_THREADS = TSRI_KV_GPU_CRC, ROUND = 4 * CRC_THREADS };
    __shared__ uint32_t step[4][256], part[CRC_THREADS / 32];
    const uint32_t rounds = (n + ROUND - 1) / ROUND;
    const uint8_t *at = p + n - (size_t)ROUND * rounds + 4 * threadIdx.x;
    uint32_t v = 0;

    __syncthreads();
    for (unsigned i = threadIdx.x; i < 1024; i += CRC_THREADS)
        (&step[0][0])[i] = (&crc->step[0][0])[i];
    __syncthreads();
#pragma unroll 4
    for (uint32_t i = 0; i < rounds; i++, at += ROUND)
        v = step[0][v & 255] ^ step[1][v >> 8 & 255] ^ step[2][v >> 16 & 255] ^
            step[3][v >> 24] ^ crc_word(at, p);
    v = crc_times(v, crc->thread[threadIdx.x]);
    for (int by = 16; by; by /= 2)
        v ^= __shfl_xor_sync(EVERY_LANE, v, by);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    for (uint32_t i = 1; !threadIdx.x && i < CRC_THREADS / 32; i++)
        v ^= part[i];
    return n < 4 ? crc_short(p, n) : ~v;
}
#endif
