/* SPDX-License-Identifier: BSD-2-Clause */
/* The device side of lib/nn/cuda/iconv.h.
 *
 * A block of ICONV_THREADS threads makes 32 outputs of 32 positions.  Its warps
 * share the sum: each takes every eighth step (32 channels of a tap), so that a
 * small map still keeps the whole device busy; the partial sums meet in shared
 * memory.  Weights come in the order of the instruction, 16 bytes a lane, and
 * are read once; positions are read where they lie. */
#ifndef TSR_LIB_NN_CUDA_ICONV_CUH
#define TSR_LIB_NN_CUDA_ICONV_CUH
#include <stdint.h>

namespace iconv {

constexpr int WARPS = 8, THREADS = 32 * WARPS, TILE = 32, CHUNK_BYTES = 64;
constexpr int PITCH = TILE + 1;     /* of the sums: both directions are free of
                                       bank conflicts */

/** A layer: tsri_iconv_bytes in device memory. */
struct layer {
    const uint8_t *weight;
    const int32_t *bias;
    int tiles, taps, chunks, shift, out;
};

/** Which positions of a map: all (step 1), or those of one colour of a
 *  checkerboard (step 2, y + x + odd even), row after row. */
struct places {
    int width, step, odd;
    int n;
};

struct place { int y, x; };

__device__ __forceinline__ place place_of(const places &p, int i)
{
    const int y = i / p.width, rest = i % p.width;
    if (p.step == 1)
        return { y, rest };
    const int even = (p.width - p.odd + 1) / 2; /* in rows 0, 2, .. */
    const int lower = rest >= even;
    return { 2 * y + lower,
             ((lower + p.odd) & 1) + 2 * (rest - (lower ? even : 0)) };
}

/** A map: `origin` is the first byte that position (0, 0)'s window reads. */
struct map {
    const uint8_t *origin;
    uint32_t row, stride;           /* bytes */
};

/** Where the lower byte of channel c is in its position. */
__device__ __forceinline__ uint32_t byte_of(int c)
{
    return static_cast<uint32_t>(c / 32 * CHUNK_BYTES + c % 32 / 8 * 16 + c % 8);
}

__device__ __forceinline__ void put(uint8_t *position, int c, int value)
{
    uint8_t *to = position + byte_of(c);
    to[0] = static_cast<uint8_t>(value);
    to[8] = static_cast<uint8_t>(value >> 8);
}

#define ICONV_MMA(name, a_type, b_type)                                        \
__device__ __forceinline__ void name(int32_t (&d)[4], const uint4 &a,          \
                                     uint32_t b0, uint32_t b1)                 \
{                                                                              \
    asm("mma.sync.aligned.m16n8k32.row.col.s32." a_type "." b_type ".s32 "     \
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                \
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                       \
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));           \
}
ICONV_MMA(mma_uu, "u8", "u8")
ICONV_MMA(mma_us, "u8", "s8")
ICONV_MMA(mma_su, "s8", "u8")
ICONV_MMA(mma_ss, "s8", "s8")
#undef ICONV_MMA

/** What a warp reads for one step. */
struct operands {
    uint4 low[2], high[2];          /* weights of two times 16 outputs */
    uint4 at[4];                    /* four times 8 positions */
};

/** The running sums of a warp, by the weight of the products. */
struct sums {
    int32_t by1[2][4][4], by256[2][4][4], by65536[2][4][4];
};

__device__ __forceinline__ void fetch(operands &x, const layer &l, const map &m,
                                      const uint8_t *weight,
                                      const uint8_t *const (&from)[4], int steps,
                                      int step)
{
    const int tap = step / l.chunks, chunk = step % l.chunks;
    const size_t offset = static_cast<size_t>(tap / l.taps) * m.row +
                          static_cast<size_t>(tap % l.taps) * m.stride +
                          static_cast<size_t>(chunk) * CHUNK_BYTES;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint8_t *w = weight + (static_cast<size_t>(i) * steps + step) * 1024;
        x.low[i] = *reinterpret_cast<const uint4 *>(w);
        x.high[i] = *reinterpret_cast<const uint4 *>(w + 512);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        x.at[i] = *reinterpret_cast<const uint4 *>(from[i] + offset);
}

__device__ __forceinline__ void multiply(sums &s, const operands &x)
{
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int k = 0; k < 4; k++) {
            mma_uu(s.by1[i][k], x.low[i], x.at[k].x, x.at[k].y);
            mma_us(s.by256[i][k], x.low[i], x.at[k].z, x.at[k].w);
            mma_ss(s.by65536[i][k], x.high[i], x.at[k].z, x.at[k].w);
            mma_su(s.by256[i][k], x.high[i], x.at[k].x, x.at[k].y);
        }
}

/** The sums of the block's warps: [WARPS][TILE outputs][PITCH]. */
struct shared {
    uint32_t part[WARPS][TILE][PITCH];
};

/** Adds up 32 outputs from `tile` on of 32 positions from `first` on; all
 *  threads, which wait for each other. */
__device__ __forceinline__ void run(shared &mem, const layer &l, const map &m,
                                    const places &p, int tile, int first)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int steps = l.taps * l.taps * l.chunks;
    const uint8_t *weight = l.weight + static_cast<size_t>(tile) * 2 * steps * 1024 +
                            lane * 16;
    const uint8_t *from[4];
    operands now, next;
    sums s = {};

#pragma unroll
    for (int i = 0; i < 4; i++) {
        const place at = place_of(p, min(first + 8 * i + lane / 4, p.n - 1));
        from[i] = m.origin + static_cast<size_t>(at.y) * m.row +
                  static_cast<size_t>(at.x) * m.stride + lane % 4 * 16;
    }
    if (warp < steps)
        fetch(now, l, m, weight, from, steps, warp);
    for (int step = warp; step < steps; step += WARPS) {
        if (step + WARPS < steps)
            fetch(next, l, m, weight, from, steps, step + WARPS);
        multiply(s, now);
        now = next;
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                mem.part[warp][16 * i + e / 2 * 8 + lane / 4]
                        [8 * k + lane % 4 * 2 + e % 2] =
                    static_cast<uint32_t>(s.by1[i][k][e]) +
                    (static_cast<uint32_t>(s.by256[i][k][e]) << 8) +
                    (static_cast<uint32_t>(s.by65536[i][k][e]) << 16);
    __syncthreads();
}

/** Output `row` of the tile at position `column` after run(), shifted. */
__device__ __forceinline__ int total(const shared &mem, const layer &l, int tile,
                                     int row, int column)
{
    uint32_t sum = static_cast<uint32_t>(l.bias[tile * TILE + row]);
#pragma unroll
    for (int w = 0; w < WARPS; w++)
        sum += mem.part[w][row][column];
    return static_cast<int32_t>(sum) >> l.shift;
}

} /* namespace iconv */
#endif
