/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels share.  A warp has a block; the warps of a thread block have
 * consecutive tiles of one group, so that they come to the same classes at the
 * same time and share the class's table. */
#ifndef TSR_ENTROPY_CUDA_PLAN_CUH
#define TSR_ENTROPY_CUDA_PLAN_CUH
#include "entropy/cuda/plan_kernels.h"

enum {
    WARP = 32,
    LOW = 1 << 16,      /* states are in [2^16, 2^32) */
    ROWS = 8,           /* of 32 tokens, at a time: a multiple of 4 */
    WARPS = 8,          /* of a thread block, at most */
    RESIDENT = 6        /* thread blocks of a multiprocessor, wanted */
};
enum : uint32_t { ALL = 0xffffffff };   /* lanes of a warp, as a mask */

/* Sums of lanes, see rans.h: K and its powers modulo 2^16; a step of four
 * symbols takes the dot product of their bytes with K^4, K^3, K^2, K. */
enum : uint32_t {
    K = 0x9E35, K2 = K * K & 0xffff, K3 = K2 * K & 0xffff, K4 = K3 * K & 0xffff,
    K_LOW = (K4 & 255) | (K3 & 255) << 8 | (K2 & 255) << 16 | (K & 255) << 24,
    K_HIGH = K4 >> 8 | K3 >> 8 << 8 | K2 >> 8 << 16 | K >> 8 << 24
};

/* What a warp works on. */
struct place {
    int lane, group;
    uint64_t block;
    size_t token;       /* its first */
    uint32_t tokens;    /* 0: the warp has no block */
    uint32_t seed;      /* what a lane of zeros starts from */
};

static __device__ place find_place(const tsri_gpu_plan &plan,
                                   const tsri_gpu_matrix &m)
{
    const unsigned warps = blockDim.x / WARP;
    place p;

    p.lane = threadIdx.x % WARP;
    p.group = blockIdx.x % plan.groups;
    const size_t tile = (size_t)(blockIdx.x / plan.groups) * warps +
                        threadIdx.x / WARP;
    p.token = tile * plan.tile;
    p.tokens = p.token >= m.tokens ? 0 : (uint32_t)min((size_t)plan.tile,
                                                       m.tokens - p.token);
    p.block = tile * plan.groups + p.group;
    p.seed = LOW | ((m.crc + (uint32_t)p.block) & 0xffff);
    return p;
}

/* The values of a channel in the block, and what is added to its symbols. */
struct column {
    uint8_t *data;
    uint32_t offset;
};

static __device__ column find_column(const tsri_gpu_plan &plan,
                                     const tsri_gpu_matrix &m, const place &p,
                                     int at)
{
    const int32_t channel = plan.channel[at];
    return { m.data + (size_t)channel * m.pitch + p.token, plan.offset[channel] };
}

/* Lanes before this one, as a mask. */
static __device__ uint32_t lanes_before()
{
    uint32_t before;
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(before));
    return before;
}

/* Adds symbols, the low bytes of s, to a lane's sum. */
static __device__ uint32_t add_symbols(uint32_t sum, const uint32_t s[ROWS])
{
#pragma unroll
    for (int i = 0; i < ROWS; i += 4) {
        const uint32_t packed = __byte_perm(
            __byte_perm(s[i], s[i + 1], 0x0040),
            __byte_perm(s[i + 2], s[i + 3], 0x0040), 0x5410);
        sum = __dp4a(packed, (uint32_t)K_LOW, sum * K4) +
              (__dp4a(packed, (uint32_t)K_HIGH, 0u) << 8);
    }
    return sum;
}

/* The same position of W lanes in a run of `count` channels of `tokens`: symbol
 * i of the run is token i % tokens of channel i / tokens. */
struct walk {
    int channel;
    uint32_t token;

    __device__ void step(uint32_t by, uint32_t tokens)
    {
        token += by;
        channel += (int)(token / tokens);
        token %= tokens;
    }
};

/* Warps of a thread block: as many as there are tiles to share a table. */
static inline unsigned choose_warps(size_t tiles)
{
    unsigned warps = 1;
    while (warps < WARPS && warps < tiles)
        warps *= 2;
    return warps;
}

static inline size_t count_tiles(const tsri_gpu_plan *plan,
                                 const tsri_gpu_matrix *m)
{
    return (m->tokens + plan->tile - 1) / plan->tile;
}
#endif
