/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels of the nearest search share: how a prepared codebook and the
 * scratch lie in memory.  nearest.cu says how the search works. */
#ifndef TSR_VQ_CUDA_NEAREST_COMMON_CUH
#define TSR_VQ_CUDA_NEAREST_COMMON_CUH
#include <math_constants.h>
#include "vq/cuda/nearest_kernels.h"

enum {
    TILE = 128,             /* codewords of a step of the sweep */
    ROWS = 256,             /* vectors of a block of the sweep */
    HALF = TILE / 2,        /* codewords of a tile in one group */
    THREADS = 256,          /* of a block */
    MAX_STAGES = 8
};

/* Sizes of a search; the same from (k, dim) on host and device. */
struct shape {
    int k, dim;
    int split;              /* few channels: each takes three halves, see below */
    int width, chunks;      /* halves of a row, padded: width * chunks */
    int span;               /* tiles of a pair of groups */
    int pairs;              /* group 2p + h: HALF * span codewords in a row */
};

/* The prepared codebook.  Tile t of pair p holds, in its half h, codewords
 * HALF * (t - p * span) onwards of group 2p + h. */
struct book {
    uint4 *half;            /* [tile][chunk][TILE][width / 8], swizzled */
    float *tile_norm;       /* [tile][TILE] */
    float *panel;           /* [panel][dim][PANEL] */
    float *norm;            /* [codeword], +inf where it cannot win */
    int4 *group;            /* [group]: bits of E, C, M, L */
    unsigned *info;         /* bits of the largest |c_j| and the largest norm */
};

struct work {
    uint4 *half;            /* [block of ROWS][chunk][ROWS][width / 8] */
    float4 *row;            /* scale of the sum; factors of E, C, L */
    float2 *shift;          /* what is added to all scores: the sum's start, in
                             * its scale; and what that adds to the bound */
    float *lower;           /* [group][rows]: m - b */
    unsigned *upper;        /* smallest m + b, ordered() */
    unsigned long long *best;   /* ordered(score) << 32 | index */
};

static inline __host__ __device__ int groups_of(const shape &s)
{
    return 2 * s.pairs;
}

static inline __host__ __device__ int codewords_of(const shape &s)
{
    return s.pairs * s.span * TILE;
}

/* Unsigned integers in the order of the floats; not for NaN, and -0 < +0. */
static inline __device__ unsigned ordered(float f)
{
    const unsigned u = __float_as_uint(f);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static inline __device__ float unordered(unsigned u)
{
    return __uint_as_float(u & 0x80000000u ? u ^ 0x80000000u : ~u);
}

/* Where the 16-byte unit `u` of row `r` lies among `units` a row, so that eight
 * rows of one column hit all 32 banks. */
static inline __device__ int swizzle(int r, int u, int units)
{
    const int shift = units == 8 ? 0 : units == 4 ? 1 : units == 2 ? 2 : 3;
    return r * units + (u ^ (r >> shift & (units - 1)));
}

static inline __device__ unsigned shared_address(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

static inline __device__ void barrier_init(unsigned bar, unsigned count)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" :: "r"(bar), "r"(count));
}

static inline __device__ void barrier_arrive(unsigned bar)
{
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }"
                 :: "r"(bar) : "memory");
}

static inline __device__ void barrier_wait(unsigned bar, unsigned parity)
{
    asm volatile("{ .reg .pred done;\n"
                 "again: mbarrier.test_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra again; }" :: "r"(bar), "r"(parity) : "memory");
}

/* A place in the ring of stages. */
struct ring { int at, parity; };

static inline __device__ void advance(ring &r, int stages)
{
    if (++r.at == stages) {
        r.at = 0;
        r.parity ^= 1;
    }
}

/* What a lane needs of the two rows whose minima it keeps. */
struct kept {
    float4 row[2];
    float more[2];          /* added to the bound */
    float upper[2];         /* smallest m + b so far */
    float *lower;           /* of group 0, at the first row; the other is 8 on */
};

/* Ends a group: of the eight lowest scores of a quad of lanes, lane t keeps 2 t
 * and 2 t + 1.  Where they were compared as integers, one that is not positive
 * stands for anything down to -b, as shifted scores are not negative but for
 * rounding. */
static inline __device__ void end_group(kept &k, const float *least, const int4 &group,
                                 size_t offset, bool shifted, int t)
{
    float mine[2] = { 0, 0 };

#pragma unroll
    for (int i = 0; i < 8; i++) {
        float v = least[i];
        v = fminf(v, __shfl_xor_sync(~0u, v, 1));
        v = fminf(v, __shfl_xor_sync(~0u, v, 2));
        if (t == i / 2)
            mine[i % 2] = v;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float b = k.row[i].y * __int_as_float(group.x) +
                        k.row[i].z * __int_as_float(group.y) +
                        k.row[i].w * __int_as_float(group.w) +
                        0x1p-21f * __int_as_float(group.z) + 0x1p-130f + k.more[i];
        const float low = (shifted && mine[i] <= 0 ? -b : mine[i]) - b;
        k.lower[offset + 8 * i] = low == low ? low : -CUDART_INF_F;
        k.upper[i] = fminf(k.upper[i], mine[i] + b);
    }
}

/* Sweeps npad vectors: w.lower and w.upper from w.half and w.row.  shared: bytes
 * of shared memory that a block may have. */
cudaError_t tsri_launch_sweep(const shape &s, const book &b, const work &w,
                              int npad, int sms, int shared, cudaStream_t stream);

/* The same on compute capability 9.0, for s.width of 64 only. */
cudaError_t tsri_launch_sweep90(const shape &s, const book &b, const work &w,
                                int npad, int sms, int shared,
                                cudaStream_t stream);

/* Parts of the codebook so that blocks fill the device to the end; each block
 * has its vectors to load, so rather few. */
static inline int parts(int blocks, int pairs, int sms)
{
    int best = 1;
    double most = 0;

    for (int p = 1; p <= pairs && p <= 4 * sms; p++) {
        const int waves = (blocks * p + sms - 1) / sms;
        const double use = (double)blocks * p / ((double)waves * sms) *
                           (1 - 0.01 * waves * p / pairs);
        if (use > most) {
            most = use;
            best = p;
        }
    }
    return best;
}
#endif
