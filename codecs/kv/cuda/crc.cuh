/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32C by many threads.  A message is a polynomial over GF(2); what its parts
 * leave modulo the CRC's polynomial is multiplied by x to the number of bits
 * behind the part and added up.  Bits are reflected: bit 31 of a word is x^0.
 * Without its first and last inversions a CRC does not see zeros before the
 * message, so lanes may take words counted from the end. */
#ifndef TSR_CODECS_KV_CUDA_CRC_CUH
#define TSR_CODECS_KV_CUDA_CRC_CUH
#include "codecs/kv/cuda/kv_kernels.h"

enum : uint32_t {
    CRC_POLYNOMIAL = 0x82F63B78,
    CRC_ONE = 0x80000000,       /* x^0 */
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

/* The product of the lanes' values, in all lanes. */
static __device__ uint32_t crc_product(uint32_t v)
{
    for (int by = 16; by; by /= 2)
        v = crc_times(v, __shfl_xor_sync(EVERY_LANE, v, by));
    return v;
}

/* x^(8 n), by a whole warp: what n bytes behind a part multiply it by. */
static __device__ uint32_t crc_behind(const tsri_kv_gpu_crc *crc, uint32_t n)
{
    const unsigned lane = threadIdx.x % 32;
    return crc_product(n >> lane & 1 ? crc->power[lane] : CRC_ONE);
}

/* The four bytes at p, which are not before `begin` else 0.  Whole words are
 * read that hold one of them. */
static __device__ uint32_t crc_word(const uint8_t *p, const uint8_t *begin)
{
    const uint32_t odd = (uint32_t)(uintptr_t)p & 3;
    const uint32_t *word = (const uint32_t *)(p - odd);
    const ptrdiff_t before = begin - p;
    uint32_t v;

    if (before >= 4)
        return 0;
    v = odd ? __funnelshift_r(word[0], word[1], 8 * odd) : word[0];
    return before > 0 ? v & ~0u << 8 * before : v;
}

/* What n bytes leave, without inversions, by a whole warp; the result is in all
 * lanes.  step: crc->step in shared memory. */
static __device__ uint32_t crc_bytes(const tsri_kv_gpu_crc *crc,
                                     const uint32_t (*step)[256],
                                     const uint8_t *p, uint32_t n)
{
    const unsigned lane = threadIdx.x % 32;
    const uint32_t rounds = (n + 127) / 128;
    const uint8_t *at = p + n - (size_t)128 * rounds + 4 * lane;
    uint32_t a = 0;

#pragma unroll 4
    for (uint32_t i = 0; i < rounds; i++, at += 128)
        a = step[0][a & 255] ^ step[1][a >> 8 & 255] ^ step[2][a >> 16 & 255] ^
            step[3][a >> 24] ^ crc_word(at, p);
    a = crc_times(a, crc->lane[lane]);
    for (int by = 16; by; by /= 2)
        a ^= __shfl_xor_sync(EVERY_LANE, a, by);
    return a;
}

/* The CRC-32C of n bytes by a thread block, in its first thread; all warps must
 * come. */
static __device__ uint32_t crc_block(const tsri_kv_gpu_crc *crc,
                                     const uint8_t *p, uint32_t n)
{
    __shared__ uint32_t step[4][256], part[32];
    const uint32_t warps = blockDim.x / 32, warp = threadIdx.x / 32;
    const uint32_t each = (n / warps + 127) / 128 * 128;
    const uint32_t from = min(n, warp * each);
    const uint32_t to = warp + 1 == warps ? n : min(n, from + each);

    __syncthreads();
    for (unsigned i = threadIdx.x; i < 1024; i += blockDim.x)
        (&step[0][0])[i] = (&crc->step[0][0])[i];
    __syncthreads();
    uint32_t v = to > from ? crc_times(crc_bytes(crc, step, p + from, to - from),
                                       crc_behind(crc, n - to)) : 0;
    if (!warp)      /* the inversion at the begin */
        v ^= crc_times(~0u, crc_behind(crc, n));
    if (threadIdx.x % 32 == 0)
        part[warp] = v;
    __syncthreads();
    for (uint32_t i = 1; !threadIdx.x && i < warps; i++)
        v ^= part[i];
    return ~v;
}
#endif
