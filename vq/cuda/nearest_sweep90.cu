/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep on compute capability 9.0 (built for sm_90a alone), for vectors of
 * chunks of 64 channels.  Bulk copies bring codewords into shared memory, where
 * the tensor cores read them; vectors stay in registers up to 128 channels, which
 * leaves shared memory to the codewords (measured: a tenth faster).  Each of two
 * warpgroups has 128 vectors and all 128 codewords of a tile, and goes at its own
 * pace, so that one's scores are made while the other's products are. */
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
#define SUMS SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48)
#define MULTIPLY \
    "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, " \
    "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, " \
    "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, " \
    "%58, %59, %60, %61, %62, %63}, "

/* d = a b (+ d): 64 rows by 128 rows, 16 channels. */
static __device__ void multiply(float *d, unsigned long long a,
                                unsigned long long b, int add)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"
                 MULTIPLY "%64, %65, p, 1, 1, 0, 0; }"
                 : SUMS : "l"(a), "l"(b), "r"(add));
}

static __device__ void multiply_kept(float *d, const unsigned *a,
                                     unsigned long long b, int add)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %69, 0;\n"
                 MULTIPLY "{%64, %65, %66, %67}, %68, p, 1, 1, 0; }"
                 : SUMS
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

/* Where the vectors of a warpgroup are: KEPT chunks in registers, as a lane
 * holds them, or all in shared memory. */
template <int KEPT>
struct vectors { unsigned v[2][KEPT ? KEPT * 4 : 1][4]; };

template <int KEPT>
static __device__ void load_vectors(vectors<KEPT> &a, unsigned rows)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = warp / 4 * 128 + warp % 4 * 16 + lane % 16;

#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int k = 0; k < KEPT * 4; k++) {
            unsigned *r = a.v[m][k];
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
                         "{%0,%1,%2,%3}, [%4];"
                         : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                         : "r"(rows + k / 4 * A_BYTES +
                               16 * swizzle(row + 64 * m, k % 4 * 2 + lane / 16, 8)));
        }
}

/* Starts the products of one chunk: 128 vectors of this warpgroup, from registers
 * (chunk Q) or from address a. */
template <int KEPT, int Q>
static __device__ void start_chunk(float (*d)[64], const vectors<KEPT> &kept_a,
                                   unsigned a, unsigned b, bool add)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int m = 0; m < 2; m++)
            if (KEPT)
                multiply_kept(d[m], kept_a.v[m][Q * 4 + k], describe(b + 32 * k),
                              add || k);
            else
                multiply(d[m], describe(a + m * 64 * CHUNK + 32 * k),
                         describe(b + 32 * k), add || k);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until no more than LEFT chunks are being multiplied. */
template <int LEFT>
static __device__ void wait_chunks(void)
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

/* One chunk of a tile: starts its products, and frees the stage of the chunk
 * before, whose products are then done. */
template <int KEPT, int Q, bool STREAM>
static __device__ void use_chunk(float (*d)[64], const vectors<KEPT> &kept_a, int q,
                                 ring &r, ring &before, feed &f, const pipe &p,
                                 const shape &s, const book &b,
                                 const unsigned char *rows)
{
    const unsigned at = p.data + r.at * p.stage_bytes;
    const unsigned a = (STREAM ? at + B_BYTES : p.rows + q * A_BYTES) +
                       threadIdx.x / 128 * 128 * CHUNK;

    if (threadIdx.x == 0)
        fill_stage<STREAM>(f, p, s, b, rows);
    __syncwarp();
    barrier_wait(p.full + 8 * r.at, r.parity);
    start_chunk<KEPT, Q>(d, kept_a, a, at, q > 0);
    if (q) {
        wait_chunks<1>();
        if (threadIdx.x % 32 == 0)
            barrier_arrive(p.empty + 8 * before.at);
    }
    before = r;
    advance(r, p.stages);
}

/* The scores of one tile into the lowest ones of its two groups. */
template <int KEPT, bool STREAM>
static __device__ void use_tile(float *least, float (*d)[64],
                                const vectors<KEPT> &kept_a, ring &r, feed &f,
                                const pipe &p, const shape &s, const book &b,
                                const unsigned char *rows, const float *scale,
                                const unsigned char *norms)
{
    const int lane = threadIdx.x % 32;
    ring before = r;

    if (KEPT) {
        use_chunk<KEPT, 0, STREAM>(d, kept_a, 0, r, before, f, p, s, b, rows);
        if (KEPT > 1)
            use_chunk<KEPT, KEPT - 1, STREAM>(d, kept_a, 1, r, before, f, p, s, b,
                                              rows);
    } else
        for (int q = 0; q < s.chunks; q++)
            use_chunk<KEPT, 0, STREAM>(d, kept_a, q, r, before, f, p, s, b, rows);
    wait_chunks<0>();
    lower_scores(least, d, (const float *)(norms + before.at * NORM_BYTES) +
                 2 * (lane % 4), scale);
    __syncwarp();
    if (lane == 0)
        barrier_arrive(p.empty + 8 * before.at);
}

template <int KEPT, bool STREAM>
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
    vectors<KEPT> kept_a;
    float d[2][64];

    load_vectors<KEPT>(kept_a, p.rows);

#pragma unroll
    for (int i = 0; i < 4; i++)
        scale[i] = w.row[row0 + i / 2 * 64 + i % 2 * 8].x;
    if (threadIdx.x == 0)
        for (int i = 0; i < p.stages / 2; i++)
            fill_stage<STREAM>(f, p, s, b, rows);
    __syncwarp();
    for (int pair = first; pair < last; pair++) {
        const int group = 2 * pair + t / 2;
        const int4 most = b.group[group];
        float least[8];
#pragma unroll
        for (int i = 0; i < 8; i++)
            least[i] = CUDART_INF_F;
        for (int tile = 0; tile < s.span; tile++)
            use_tile<KEPT, STREAM>(least, d, kept_a, r, f, p, s, b, rows, scale, norms);
        end_group(k, least, most, (size_t)group * npad, false, t);
    }
    for (int i = 0; i < 2; i++)
        atomicMin(w.upper + mine0 + 8 * i, ordered(k.upper[i]));
}

/* Block (x, y): ROWS vectors by part y of the pairs of groups. */
template <int KEPT, bool STREAM>
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
                     stages, stage_bytes };
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
    sweep_pairs<KEPT, STREAM>(s, b, w, npad, p, rows, first, last,
                        memory + (norms - own));
}

template <int KEPT, bool STREAM>
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
        cudaFuncSetAttribute(sweep90<KEPT, STREAM>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (error != cudaSuccess)
        return error;
    sweep90<KEPT, STREAM><<<grid, THREADS, bytes, stream>>>(s, b, w, npad, stages);
    return cudaGetLastError();
}

cudaError_t tsri_launch_sweep90(const shape &s, const book &b, const work &w,
                                int npad, int sms, int shared, cudaStream_t stream)
{
    if (s.chunks == 1)
        return launch<1, false>(s, b, w, npad, sms, shared, stream);
    if (s.chunks == 2)
        return launch<2, false>(s, b, w, npad, sms, shared, stream);
    if (2048 + s.chunks * A_BYTES + 4 * (B_BYTES + NORM_BYTES) <= shared)
        return launch<0, false>(s, b, w, npad, sms, shared, stream);
    return launch<0, true>(s, b, w, npad, sms, shared, stream);
}
