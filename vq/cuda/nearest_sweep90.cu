/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep on compute capability 9.0 (built for sm_90a alone), for vectors of
 * chunks of 64 channels.  The tensor cores read both sides from shared memory,
 * where bulk copies put them; each of two warpgroups has 128 vectors and all 128
 * codewords of a tile.  The warpgroups take turns, so that one's scores are made
 * while the other's products are: a turn ends when all but the last products are
 * done, as those of two warpgroups at once would both end late.  Taking turns, one
 * is a tile behind, so the ring must hold that tile and what is filled ahead:
 * else there are no turns. */
#include "vq/cuda/nearest_common.cuh"

enum {
    CHUNK = 64 * 2,                 /* bytes of a row in a chunk */
    B_BYTES = TILE * CHUNK, A_BYTES = ROWS * CHUNK, NORM_BYTES = TILE * 4
};

/* Shared memory: barriers, the vectors (unless streamed), stages of codewords
 * (and vectors, if streamed), norms of each stage.  The full barrier of a stage
 * counts bytes, the empty one warps. */
struct pipe {
    unsigned full, empty, rows, data, norms;
    int stages, stage_bytes;
    bool turns;
};

struct feed { ring r; int tile, chunk, last; };

static __device__ void barrier_expect(unsigned bar, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;"
                 :: "r"(bar), "r"(bytes) : "memory");
}

static __device__ void bulk_copy(unsigned to, const void *from, unsigned bytes,
                                 unsigned bar)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1], %2, [%3];"
                 :: "r"(to), "l"(from), "r"(bytes), "r"(bar) : "memory");
}

/* What thread 0 does at each step: starts the copies of the next stage. */
template <bool STREAM>
static __device__ void fill_stage(feed &f, const pipe &p, const shape &s,
                                  const book &b, const unsigned char *rows)
{
    if (f.tile == f.last)
        return;
    const bool ends = f.chunk == s.chunks - 1;
    const unsigned bar = p.full + 8 * f.r.at, to = p.data + f.r.at * p.stage_bytes;
    barrier_wait(p.empty + 8 * f.r.at, f.r.parity ^ 1);
    barrier_expect(bar, p.stage_bytes + (ends ? NORM_BYTES : 0));
    bulk_copy(to, (const unsigned char *)b.half +
              ((size_t)f.tile * s.chunks + f.chunk) * B_BYTES, B_BYTES, bar);
    if (STREAM)
        bulk_copy(to + B_BYTES, rows + (size_t)f.chunk * A_BYTES, A_BYTES, bar);
    if (ends)
        bulk_copy(p.norms + f.r.at * NORM_BYTES, b.tile_norm + (size_t)f.tile * TILE,
                  NORM_BYTES, bar);
    advance(f.r, p.stages);
    if (++f.chunk == s.chunks) {
        f.chunk = 0;
        f.tile++;
    }
}

/* Rows of 128 bytes, in the 128-byte swizzle, eight rows apart by 1024 bytes. */
static __device__ unsigned long long describe(unsigned address)
{
    return (address & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

#define FOUR(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SIXTEEN(i) FOUR(i), FOUR(i + 4), FOUR(i + 8), FOUR(i + 12)

/* d = a b (+ d): 64 rows by 128 rows, 16 channels. */
static __device__ void multiply(float *d, unsigned long long a,
                                unsigned long long b, int add)
{
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "
        "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "
        "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, "
        "%58, %59, %60, %61, %62, %63}, %64, %65, p, 1, 1, 0, 0; }"
        : SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48)
        : "l"(a), "l"(b), "r"(add));
}

/* Starts the products of one chunk, 128 vectors of this warpgroup, in halves. */
static __device__ void start_chunk(float (*d)[64], unsigned a, unsigned b, bool add)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
        for (int m = 0; m < 2; m++)
            multiply(d[m], describe(a + m * 64 * CHUNK + 32 * k),
                     describe(b + 32 * k), add || k);
        if (k % 2)
            asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    }
}

/* Until no more than LEFT halves of chunks are being multiplied. */
template <int LEFT>
static __device__ void wait_halves(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(LEFT) : "memory");
}

/* least[4h + 2m + i]: lowest score of row 64 m + 8 i in half h. */
static __device__ void lower_scores(float *least, const float (*d)[64],
                                    const float *norm, const float *scale)
{
#pragma unroll
    for (int n = 0; n < 16; n++) {
        const float2 c = *(const float2 *)(norm + 8 * n);
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float *to = least + n / 8 * 4 + 2 * m + i;
                const float *sum = d[m] + 4 * n + 2 * i, f = scale[2 * m + i];
                *to = fminf(*to, fmaf(sum[0], f, c.x));
                *to = fminf(*to, fmaf(sum[1], f, c.y));
            }
    }
}

/* Warpgroup `g` may multiply; and then the other one. */
static __device__ void turn_wait(int g)
{
    asm volatile("bar.sync %0, 256;" :: "r"(g + 1) : "memory");
}

static __device__ void turn_pass(int g)
{
    asm volatile("bar.arrive %0, 256;" :: "r"(2 - g) : "memory");
}

/* The scores of one tile into the lowest ones of its two groups. */
template <bool STREAM>
static __device__ void use_tile(float *least, float (*d)[64], ring &r, feed &f,
                                const pipe &p, const shape &s, const book &b,
                                const unsigned char *rows, const float *scale,
                                const unsigned char *norms)
{
    const int lane = threadIdx.x % 32, g = threadIdx.x / 128;
    ring before = r;

    if (p.turns)
        turn_wait(g);
    for (int q = 0; q < s.chunks; q++) {
        const unsigned at = p.data + r.at * p.stage_bytes;
        if (threadIdx.x == 0)
            fill_stage<STREAM>(f, p, s, b, rows);
        __syncwarp();
        barrier_wait(p.full + 8 * r.at, r.parity);
        start_chunk(d, (STREAM ? at + B_BYTES : p.rows + q * A_BYTES) +
                    g * 128 * CHUNK, at, q > 0);
        if (q) {
            wait_halves<2>();
            if (lane == 0)
                barrier_arrive(p.empty + 8 * before.at);
        }
        before = r;
        advance(r, p.stages);
    }
    wait_halves<1>();
    if (p.turns)
        turn_pass(g);
    wait_halves<0>();
    lower_scores(least, d, (const float *)(norms + before.at * NORM_BYTES) +
                 2 * (lane % 4), scale);
    __syncwarp();
    if (lane == 0)
        barrier_arrive(p.empty + 8 * before.at);
}

template <bool STREAM>
static __device__ void sweep_pairs(const shape &s, const book &b, const work &w,
                                   int npad, const pipe &p,
                                   const unsigned char *rows, int first, int last,
                                   const unsigned char *norms)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, t = lane % 4;
    const int row0 = blockIdx.x * ROWS + warp / 4 * 128 + warp % 4 * 16 + lane / 4;
    const int mine0 = row0 + t % 2 * 64;    /* and mine0 + 8, in half t / 2 */
    kept k = { { w.row[mine0], w.row[mine0 + 8] }, { 0, 0 },
               { CUDART_INF_F, CUDART_INF_F }, w.lower + mine0 };
    float scale[4];
    feed f = { { 0, 0 }, first * s.span, 0, last * s.span };
    ring r = { 0, 0 };
    float d[2][64];

#pragma unroll
    for (int i = 0; i < 4; i++)
        scale[i] = w.row[row0 + i / 2 * 64 + i % 2 * 8].x;
    if (threadIdx.x == 0)
        for (int i = 0; i < p.stages / 2; i++)
            fill_stage<STREAM>(f, p, s, b, rows);
    __syncwarp();
    if (p.turns && warp / 4)
        turn_pass(1);
    for (int pair = first; pair < last; pair++) {
        const int group = 2 * pair + t / 2;
        const int4 most = b.group[group];
        float least[8];
#pragma unroll
        for (int i = 0; i < 8; i++)
            least[i] = CUDART_INF_F;
        for (int tile = 0; tile < s.span; tile++)
            use_tile<STREAM>(least, d, r, f, p, s, b, rows, scale, norms);
        end_group(k, least, most, (size_t)group * npad, false, t);
    }
    if (p.turns && warp / 4 == 0)
        turn_wait(0);           /* the last pass of the other warpgroup */
    for (int i = 0; i < 2; i++)
        atomicMin(w.upper + mine0 + 8 * i, ordered(k.upper[i]));
}

/* Block (x, y): ROWS vectors by part y of the pairs of groups. */
template <bool STREAM>
static __global__ void __launch_bounds__(THREADS, 1)
sweep90(shape s, book b, work w, int npad, int stages)
{
    extern __shared__ unsigned char memory[];
    const int first = (int)((long long)s.pairs * blockIdx.y / gridDim.y);
    const int last = (int)((long long)s.pairs * (blockIdx.y + 1) / gridDim.y);
    const int kept = STREAM ? 0 : s.chunks * A_BYTES;
    const int stage_bytes = B_BYTES + (STREAM ? A_BYTES : 0);
    const unsigned char *rows = (const unsigned char *)w.half +
                                (size_t)blockIdx.x * s.chunks * A_BYTES;
    const unsigned own = shared_address(memory), start = (own + 1023) / 1024 * 1024;
    const unsigned data = start + 1024 + kept, norms = data + stages * stage_bytes;
    const pipe p = { start, start + 8 * MAX_STAGES, start + 1024, data, norms,
                     stages, stage_bytes, s.chunks <= stages - stages / 2 };
    const unsigned ready = start + 16 * MAX_STAGES;

    if (threadIdx.x == 0) {
        for (int i = 0; i < stages; i++) {
            barrier_init(p.full + 8 * i, 1);
            barrier_init(p.empty + 8 * i, THREADS / 32);
        }
        barrier_init(ready, 1);
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        if (kept) {
            barrier_expect(ready, kept);
            bulk_copy(p.rows, rows, kept, ready);
        }
    }
    __syncthreads();
    if (kept)
        barrier_wait(ready, 0);
    sweep_pairs<STREAM>(s, b, w, npad, p, rows, first, last,
                        memory + (norms - own));
}

template <bool STREAM>
static cudaError_t launch(const shape &s, const book &b, const work &w, int npad,
                          int sms, int shared, cudaStream_t stream)
{
    const int stage = B_BYTES + NORM_BYTES + (STREAM ? A_BYTES : 0);
    const int fixed = 2048 + (STREAM ? 0 : s.chunks * A_BYTES);
    const int room = (shared - fixed) / stage;
    const int stages = room < MAX_STAGES ? room : MAX_STAGES;
    const int bytes = fixed + stages * stage;
    const dim3 grid(npad / ROWS, parts(npad / ROWS, s.pairs, sms));
    const cudaError_t error =
        cudaFuncSetAttribute(sweep90<STREAM>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (error != cudaSuccess)
        return error;
    sweep90<STREAM><<<grid, THREADS, bytes, stream>>>(s, b, w, npad, stages);
    return cudaGetLastError();
}

cudaError_t tsri_launch_sweep90(const shape &s, const book &b, const work &w,
                                int npad, int sms, int shared, cudaStream_t stream)
{
    if (2048 + s.chunks * A_BYTES + 4 * (B_BYTES + NORM_BYTES) <= shared)
        return launch<false>(s, b, w, npad, sms, shared, stream);
    return launch<true>(s, b, w, npad, sms, shared, stream);
}
