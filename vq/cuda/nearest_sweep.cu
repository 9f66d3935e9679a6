/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep on tensor cores of compute capability 8.0 and later.  A block has 256
 * vectors and goes through tiles of 128 codewords, which a ring of stages brings
 * into shared memory; a warp multiplies 64 x 64. */
#include "vq/cuda/nearest_common.cuh"

/* Arrives once what this thread has copied so far is there. */
static __device__ void barrier_arrive_copied(unsigned bar)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];"
                 :: "r"(bar) : "memory");
}

static __device__ void copy16(unsigned to, const void *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :: "r"(to), "l"(from) : "memory");
}

/* Four 8 x 8 matrices; each lane gives the address of one row. */
static __device__ void load_matrices(unsigned *r, unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}

/* d = a b + c, 16 x 8 x 16 and 16 x 8 x 8. */
static __device__ void multiply16(float *d, const unsigned *a, const unsigned *b,
                                  const float *c)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
          "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

static __device__ void multiply8(float *d, const unsigned *a, unsigned b,
                                 const float *c)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

/* The sums of a warp: 64 vectors by 64 codewords. */
struct sums { float v[4][8][4]; };

/* Where the sums start: the same for all columns of a row. */
struct starts { float v[4][4]; };

/* Adds the products of 64 rows a and 64 rows b, 16 halves from half 16 k on; the
 * addresses of the blocks of `units` 16-byte units a row, and the rows in them. */
template <bool ADD>
static __device__ void multiply_step(sums &d, const starts &c, unsigned a, int a_row,
                                     unsigned b, int b_row, int units, int k, int lane)
{
    unsigned fa[4][4], fb[4][4];

#pragma unroll
    for (int m = 0; m < 4; m++)
        load_matrices(fa[m], a + 16 * swizzle(a_row + 16 * m + lane % 16,
                                              2 * k + lane / 16, units));
#pragma unroll
    for (int n = 0; n < 4; n++)
        load_matrices(fb[n], b + 16 * swizzle(b_row + 16 * n + lane % 8 +
                                              lane / 16 * 8, 2 * k + lane / 8 % 2,
                                              units));
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int n = 0; n < 8; n++)
            multiply16(d.v[m][n], fa[m], &fb[n / 2][n % 2 * 2],
                       ADD ? d.v[m][n] : c.v[m]);
}

/* The same for rows of WIDTH halves; without ADD the sums start at c. */
template <int WIDTH, bool ADD>
static __device__ void multiply(sums &d, const starts &c, unsigned a, int a_row,
                                unsigned b, int b_row, int lane)
{
    multiply_step<ADD>(d, c, a, a_row, b, b_row, WIDTH / 8, 0, lane);
#pragma unroll
    for (int k = 1; k < WIDTH / 16; k++)
        multiply_step<true>(d, c, a, a_row, b, b_row, WIDTH / 8, k, lane);
}

template <>
__device__ void multiply<8, false>(sums &d, const starts &c, unsigned a, int a_row,
                                   unsigned b, int b_row, int lane)
{
    unsigned fa[2][4], fb[2][4];

#pragma unroll
    for (int m = 0; m < 2; m++)
        load_matrices(fa[m], a + 16 * (a_row + 32 * m + lane));
#pragma unroll
    for (int n = 0; n < 2; n++)
        load_matrices(fb[n], b + 16 * (b_row + 32 * n + lane));
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int n = 0; n < 8; n++)
            multiply8(d.v[m][n], &fa[m / 2][m % 2 * 2], fb[n / 4][n % 4], c.v[m]);
}

/* least[2m + i] = lowest score of row 16 m + 8 i + lane / 4 over the columns of
 * this lane; `norm` is that of column 2 (lane % 4).  Floats that are not negative
 * compare as integers do, three at a time. */
template <bool SHIFTED>
static __device__ void lower_scores(float *least, const sums &d, const float *norm,
                                    const float *scale)
{
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const float2 c = *(const float2 *)(norm + 8 * n);
#pragma unroll
        for (int m = 0; m < 4; m++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float *to = least + 2 * m + i;
                const float *sum = d.v[m][n] + 2 * i, f = scale[2 * m + i];
                const float s0 = fmaf(sum[0], f, c.x), s1 = fmaf(sum[1], f, c.y);
                if (SHIFTED)
                    *to = __int_as_float(__vimin3_s32(__float_as_int(*to),
                                                      __float_as_int(s0),
                                                      __float_as_int(s1)));
                else
                    *to = fminf(*to, fminf(s0, s1));
            }
    }
}

/* Tiles that one stage of the pipeline holds. */
static __host__ __device__ constexpr int stage_tiles(int width)
{
    return width <= 16 ? 4 : width == 32 ? 2 : 1;
}

static __host__ __device__ constexpr int stage_bytes(int width, bool stream)
{
    return stage_tiles(width) * TILE * (2 * width + 4) +
           (stream ? ROWS * 2 * width : 0);
}

/* Shared memory of a block: barriers, its vectors (unless streamed), stages.  A
 * stage is full when all threads' copies are there, empty when all warps are
 * done with it. */
struct pipe { unsigned full, empty, rows, data; int stages; };

/* The copying side: which stage of the codebook comes next. */
struct feed { ring r; int tile, chunk, last; };

/* Copies `units` of 16 bytes, all threads. */
static __device__ void copy_units(unsigned to, const void *from, int units)
{
    for (int i = threadIdx.x; i < units; i += THREADS)
        copy16(to + 16 * i, (const uint4 *)from + i);
}

template <int WIDTH, bool STREAM>
static __device__ void fill_stage(feed &f, const pipe &p, const shape &s,
                                  const book &b, const uint4 *rows)
{
    const int tiles = stage_tiles(WIDTH), chunk = TILE * WIDTH / 8;
    const unsigned to = p.data + f.r.at * stage_bytes(WIDTH, STREAM);

    if (f.tile == f.last)
        return;
    barrier_wait(p.empty + 8 * f.r.at, f.r.parity ^ 1);
    copy_units(to, b.half + ((size_t)f.tile * s.chunks + f.chunk) * chunk,
               tiles * chunk);
    if (f.chunk == s.chunks - 1)
        copy_units(to + 16 * tiles * chunk, b.tile_norm + (size_t)f.tile * TILE,
                   tiles * TILE / 4);
    if (STREAM)
        copy_units(to + tiles * (16 * chunk + 4 * TILE),
                   rows + (size_t)f.chunk * ROWS * WIDTH / 8, ROWS * WIDTH / 8);
    barrier_arrive_copied(p.full + 8 * f.r.at);
    advance(f.r, p.stages);
    if (++f.chunk == s.chunks) {
        f.chunk = 0;
        f.tile += tiles;
    }
}

/* The scores of one stage into the lowest ones of the group. */
template <int WIDTH, bool STREAM>
static __device__ void use_stage(float *least, sums &d, const starts &c,
                                 const pipe &p, int at, int q, int chunks,
                                 const float *scale, const unsigned char *memory)
{
    const int tiles = stage_tiles(WIDTH), chunk = TILE * WIDTH / 8;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int b_row = warp % 2 * HALF, a_row = warp / 2 * 64;
    const int offset = at * stage_bytes(WIDTH, STREAM);
    const unsigned b = p.data + offset;
    const unsigned a = STREAM ? b + tiles * (16 * chunk + 4 * TILE) :
                                p.rows + q * ROWS * WIDTH * 2;
    const float *norm = (const float *)(memory + offset + 16 * tiles * chunk) +
                        b_row + 2 * (lane % 4);

    if (WIDTH < 64) {
#pragma unroll 1
        for (int i = 0; i < tiles; i++) {
            multiply<WIDTH, false>(d, c, a, a_row, b + 16 * i * chunk, b_row, lane);
            lower_scores<true>(least, d, norm + i * TILE, scale);
        }
        return;
    }
    if (q == 0)
        multiply<WIDTH, false>(d, c, a, a_row, b, b_row, lane);
    else
        multiply<64, true>(d, c, a, a_row, b, b_row, lane);
    if (q == chunks - 1)
        lower_scores<false>(least, d, norm, scale);
}

/* Reads a number twice.  The tensor cores take four registers in a row; the
 * assembler, where it knows that two are equal, keeps one and copies it to a new
 * row for each product. */
static __device__ void read_twice(float *to, const float *from)
{
    for (int i = 0; i < 2; i++)
        asm volatile("ld.volatile.global.f32 %0, [%1];" : "=f"(to[i]) : "l"(from));
}

template <int WIDTH, bool STREAM>
static __device__ void sweep_pairs(const shape &s, const book &b, const work &w,
                                   int npad, const pipe &p, const uint4 *rows,
                                   int first, int last, const unsigned char *data)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, t = lane % 4;
    const int row0 = blockIdx.x * ROWS + warp / 2 * 64 + lane / 4;
    const bool shifted = WIDTH < 64;
    kept k = { { w.row[row0 + 16 * t], w.row[row0 + 16 * t + 8] }, { 0, 0 },
               { CUDART_INF_F, CUDART_INF_F }, w.lower + row0 + 16 * t };
    starts c = { };
    float scale[8];
    feed f = { { 0, 0 }, first * s.span, 0, last * s.span };
    ring r = { 0, 0 };
    sums d;

#pragma unroll
    for (int i = 0; i < 8; i++) {
        scale[i] = w.row[row0 + 8 * i].x;
        if (shifted)
            read_twice(c.v[i / 2] + i % 2 * 2, &w.shift[row0 + 8 * i].x);
    }
    if (shifted)
        for (int i = 0; i < 2; i++)
            k.more[i] = w.shift[row0 + 16 * t + 8 * i].y;
    /* Half of the ring ahead; the other half is how far warps may drift. */
    for (int i = 0; i < p.stages / 2; i++)
        fill_stage<WIDTH, STREAM>(f, p, s, b, rows);
    for (int group = 2 * first + warp % 2; group < 2 * last; group += 2) {
        const int4 most = b.group[group];
        float least[8];
#pragma unroll
        for (int i = 0; i < 8; i++)
            least[i] = CUDART_INF_F;
        for (int tile = 0; tile < s.span; tile += stage_tiles(WIDTH))
            for (int q = 0; q < s.chunks; q++, advance(r, p.stages)) {
                fill_stage<WIDTH, STREAM>(f, p, s, b, rows);
                barrier_wait(p.full + 8 * r.at, r.parity);
                use_stage<WIDTH, STREAM>(least, d, c, p, r.at, q, s.chunks, scale,
                                         data);
                __syncwarp();
                if (lane == 0)
                    barrier_arrive(p.empty + 8 * r.at);
            }
        end_group(k, least, most, (size_t)group * npad, shifted, t);
    }
    for (int i = 0; i < 2; i++)
        atomicMin(w.upper + row0 + 16 * t + 8 * i, ordered(k.upper[i]));
}

/* Block (x, y): ROWS vectors by part y of the pairs of groups. */
template <int WIDTH, bool STREAM>
static __global__ void __launch_bounds__(THREADS, WIDTH <= 16 ? 2 : 1)
sweep(shape s, book b, work w, int npad, int stages)
{
    extern __shared__ __align__(128) unsigned char memory[];
    const int first = (int)((long long)s.pairs * blockIdx.y / gridDim.y);
    const int last = (int)((long long)s.pairs * (blockIdx.y + 1) / gridDim.y);
    const int kept = STREAM ? 0 : ROWS * WIDTH / 8 * s.chunks;
    const uint4 *rows = w.half + (size_t)blockIdx.x * s.chunks * (ROWS * WIDTH / 8);
    const unsigned start = shared_address(memory);
    const pipe p = { start, start + 8 * MAX_STAGES, start + 16 * MAX_STAGES,
                     start + 16 * (MAX_STAGES + kept), stages };

    if (threadIdx.x < stages) {
        barrier_init(p.full + 8 * threadIdx.x, THREADS);
        barrier_init(p.empty + 8 * threadIdx.x, THREADS / 32);
    }
    copy_units(p.rows, rows, kept);
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    sweep_pairs<WIDTH, STREAM>(s, b, w, npad, p, rows, first, last,
                               memory + 16 * (MAX_STAGES + kept));
}

template <int WIDTH, bool STREAM>
static cudaError_t launch_sweep(const shape &s, const book &b, const work &w,
                                int npad, int sms, int shared, cudaStream_t stream)
{
    const int fixed = 16 * MAX_STAGES +
                      (STREAM ? 0 : ROWS * 2 * WIDTH * s.chunks);
    const int room = (shared - fixed) / stage_bytes(WIDTH, STREAM);
    const int stages = room < MAX_STAGES ? room : MAX_STAGES;
    const int bytes = fixed + stages * stage_bytes(WIDTH, STREAM);
    const dim3 grid(npad / ROWS, parts(npad / ROWS, s.pairs, sms));
    const cudaError_t error =
        cudaFuncSetAttribute(sweep<WIDTH, STREAM>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (error != cudaSuccess)
        return error;
    sweep<WIDTH, STREAM><<<grid, THREADS, bytes, stream>>>(s, b, w, npad,
                                                                   stages);
    return cudaGetLastError();
}

cudaError_t tsri_launch_sweep(const shape &s, const book &b, const work &w,
                              int npad, int sms, int shared, cudaStream_t stream)
{
    if (s.width == 8)
        return launch_sweep<8, false>(s, b, w, npad, sms, shared, stream);
    if (s.width == 16)
        return launch_sweep<16, false>(s, b, w, npad, sms, shared, stream);
    if (s.width == 32)
        return launch_sweep<32, false>(s, b, w, npad, sms, shared, stream);
    if (s.chunks * ROWS * 128 + 3 * stage_bytes(64, false) + 16 * MAX_STAGES <= shared)
        return launch_sweep<64, false>(s, b, w, npad, sms, shared, stream);
    return launch_sweep<64, true>(s, b, w, npad, sms, shared, stream);
}
