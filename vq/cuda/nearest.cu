/* SPDX-License-Identifier: BSD-2-Clause */
/* The nearest search in two steps.
 *
 * sweep: tensor cores compute scores from x and c rounded to half precision,
 * 256 vectors by 128 codewords at a time; only the lowest score of each vector
 * in each group of codewords leaves the multiprocessor.  rank: groups that may
 * hold the answer are searched in float, in the order of vq/codebook.h.
 *
 * The bound.  Let x' and c' be x and c as the tensor cores see them (halves,
 * scaled by powers of two, one per vector and one per codebook), dx = x - x',
 * dc = c - c', and N the norm as a float, which both sides take as it is.
 *
 *   |x.c - x'.c'| = |x'.dc + dx.c|  <=  |x'| |dc| + |dx| |c|   (Cauchy-Schwarz)
 *
 * The lengths |dx| and |dc| are measured, not estimated: x * scale - half is
 * exact.  Products of halves are exact; a sum on tensor cores is of "at least
 * single precision" with rounding unspecified: four units of 2^-23 for each of
 * the P padded terms, relative to |x'| |c'|, covers truncation of every term at
 * the largest exponent and of every partial sum, in steps of any width.  The
 * definition's own sum of dim products is off by at most 1.01 dim 2^-24 |x||c|,
 * and by 2^-150 for each product that underflows.  Both final scores round
 * once, by 2^-24 (N + 2 |x||c|), and so do the two ends of the interval below.
 * With X = |x'| + |dx|, D = |dx|, and C, E the largest |c'| + |dc|, |dc| of the
 * group and M its largest norm:
 *
 *   |approximate - exact|  <=  2 (X E + D C + (P 2^-21 + (dim + 4) 2^-23) X C)
 *                              + 2^-21 M + 2^-130  =: b
 *
 * Up to five channels, where halves are too coarse for large codebooks, x' and
 * c' are sums of a high and a low half: x'.c' is made as high.high + low.high +
 * high.low, which leaves out low.low <= |low x| |low c|, so 2 |low x| L with L
 * the group's largest |low c| is added to b.
 *
 * Up to 32 channels the sums do not start at 0 but so that all scores of a vector
 * are larger by R, about 1.01 X^2: they are then squared distances and more, not
 * negative but for b.  R is one term more of the sum and of the last rounding:
 * 1.02 (P 2^-21 + (dim + 4) 2^-23 + 2^-20) R is added to b.
 *
 * b is computed with 2.02 for 2, which covers the rounding of the bound itself.  A
 * group whose lowest approximate score m has m - b above the smallest m + b of
 * the vector cannot hold the lowest exact score, nor an equal one.
 *
 * Codewords whose norm is not finite never win by the definition and are left
 * out.  A vector or codebook with exponents that could overflow or underflow in
 * a score has b infinite: all its groups are searched in float. */
#include <cuda_fp16.h>
#include "vq/cuda/nearest_common.cuh"

enum {
    PANEL = 128,            /* codewords side by side in the float copy */
    BATCH = 32,             /* rows that a block searches a group for at once */
    LIST = 4096, SCAN = 2048
};

/* ---- preparation ---- */

static __device__ float power(int e)
{
    return __uint_as_float((unsigned)(e + 127) << 23);
}

/* The exponent of a largest |value| given by its bits; 0 for zero. */
static __device__ int exponent(unsigned bits)
{
    return bits ? (int)(bits >> 23) - 127 : 0;
}

static __device__ bool book_is_tame(const unsigned *info)
{
    const int e = exponent(info[0]);
    return e >= -60 && e <= 60 && info[1] < __float_as_uint(0x1p120f);
}

/* Eight channels of a row from channel 8 u, zeros past its end. */
static __device__ void load8(const float *row, int dim, int u, bool aligned,
                             float *v)
{
    const float *from = row + 8 * u;

    if (aligned && 8 * u + 8 <= dim) {
        *(float4 *)v = *(const float4 *)from;
        *(float4 *)(v + 4) = *(const float4 *)(from + 4);
        return;
    }
    for (int j = 0; j < 8; j++)
        v[j] = 8 * u + j < dim ? from[j] : 0;
}

/* Largest |value| of a row, as bits (NaN above Inf above all else); `lanes`
 * neighbouring threads work on one row. */
static __device__ unsigned largest(const float *row, int dim, int lane, int lanes,
                                   bool aligned)
{
    unsigned most = 0;
    float v[8];

    for (int u = lane; 8 * u < dim; u += lanes) {
        load8(row, dim, u, aligned, v);
        for (int j = 0; j < 8; j++)
            most = max(most, __float_as_uint(v[j]) & 0x7fffffffu);
    }
    for (int step = lanes / 2; step; step /= 2)
        most = max(most, __shfl_xor_sync(~0u, most, step));
    return most;
}

/* Lengths of a row, scaled: |x'| + |dx|, |dx|, and that of the second halves. */
struct lengths { float whole, lost, low; };

static __device__ float add_up(float v, int lanes)
{
    for (int step = lanes / 2; step; step /= 2)
        v += __shfl_xor_sync(~0u, v, step);
    return v;
}

/* A row as halves of row * scale.  Where s.split, channel j is at j, dim + j and
 * 2 dim + j: high, low, high for vectors, high, high, low for codewords. */
static __device__ lengths to_half(uint4 *to, size_t chunk_units, int r,
                                  const shape &s, const float *row, float scale,
                                  bool words, int lane, int lanes, bool aligned)
{
    const int units = s.width / 8;
    lengths sum = { 0, 0, 0 };
    float v[8];

    for (int u = lane; u < units * s.chunks; u += lanes) {
        __align__(16) __half h[8];
        if (scale && !s.split)
            load8(row, s.dim, u, aligned, v);
        for (int j = 0; j < 8; j++) {
            const int part = s.split ? (8 * u + j) / s.dim : 0;
            if (scale && s.split)
                v[j] = part < 3 ? row[(8 * u + j) % s.dim] : 0;
            const float full = scale ? v[j] * scale : 0;
            const __half high = __float2half_rn(full);
            const float rest = full - __half2float(high);
            const __half low = __float2half_rn(s.split ? rest : 0);
            h[j] = part == (words ? 2 : 1) ? low : high;
            if (part)
                continue;
            const float second = __half2float(low), off = rest - second;
            sum.whole += (full - off) * (full - off);
            sum.lost += off * off;
            sum.low += second * second;
        }
        to[u / units * chunk_units + swizzle(r, u % units, units)] =
            *(const uint4 *)h;
    }
    /* What squares and scaled values lose to underflow is below 2^-30. */
    sum.lost = sqrtf(add_up(sum.lost, lanes)) + 0x1p-30f;
    sum.whole = sqrtf(add_up(sum.whole, lanes)) + sum.lost;
    sum.low = sqrtf(add_up(sum.low, lanes));
    return sum;
}

/* Norms in the order of the definition and the float copy, a panel a block. */
static __global__ void __launch_bounds__(256)
copy_panels(shape s, book b, const float *codewords)
{
    __shared__ float square[32][PANEL + 1];
    const int first = blockIdx.x * PANEL, c = first + threadIdx.x;
    unsigned most = 0;
    float norm = 0;

    for (int j0 = 0; j0 < s.dim; j0 += 32) {
        const int n = min(32, s.dim - j0);
        __syncthreads();
        for (int i = threadIdx.x; i < 32 * PANEL; i += 256)
            if (i % 32 < n)
                square[i % 32][i / 32] = first + i / 32 < s.k ?
                    codewords[(size_t)(first + i / 32) * s.dim + j0 + i % 32] : 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n * PANEL; i += 256)
            b.panel[((size_t)blockIdx.x * s.dim + j0) * PANEL + i] =
                square[i / PANEL][i % PANEL];
        if (threadIdx.x < PANEL)
            for (int j = 0; j < n; j++) {
                const float v = square[j][threadIdx.x];
                norm = __fadd_rn(norm, __fmul_rn(v, v));
                most = max(most, __float_as_uint(v) & 0x7fffffffu);
            }
    }
    if (threadIdx.x >= PANEL)
        return;
    const bool wins = c < s.k && norm < CUDART_INF_F;
    const int in = c % (s.span * TILE), at = in % (s.span * HALF);
    if (!wins)
        norm = CUDART_INF_F;
    b.norm[c] = norm;
    b.tile_norm[(size_t)(c / (s.span * TILE) * s.span + at / HALF) * TILE +
                in / (s.span * HALF) * HALF + at % HALF] = norm;
    if (wins) {
        atomicMax(b.info, most);
        atomicMax(b.info + 1, __float_as_uint(norm));
    }
}

static __global__ void __launch_bounds__(256)
halve_book(shape s, book b, const float *codewords, int lanes, bool aligned)
{
    const int c = (int)((blockIdx.x * 256u + threadIdx.x) / lanes);
    const int lane = threadIdx.x % lanes;
    const int e = book_is_tame(b.info) ? exponent(b.info[0]) : 0;
    const float norm = b.norm[c];
    const bool used = norm < CUDART_INF_F && book_is_tame(b.info);
    const int in = c % (s.span * TILE), at = in % (s.span * HALF);
    const int tile = c / (s.span * TILE) * s.span + at / HALF;
    const int chunk = TILE * s.width / 8;
    const lengths length =
        to_half(b.half + (size_t)tile * s.chunks * chunk, chunk,
                in / (s.span * HALF) * HALF + at % HALF, s,
                codewords + (size_t)c * s.dim, used ? power(14 - e) : 0, true,
                lane, lanes, aligned);

    if (lane == 0 && used) {
        int4 *group = b.group + c / (s.span * HALF);
        atomicMax(&group->x, __float_as_int(length.lost * power(e - 14)));
        atomicMax(&group->y, __float_as_int(length.whole * power(e - 14)));
        atomicMax(&group->z, __float_as_int(norm));
        atomicMax(&group->w, __float_as_int(length.low * power(e - 14)));
    }
}

static __global__ void __launch_bounds__(256)
halve_rows(shape s, work w, const unsigned *info, const float *x, int n,
           int lanes, bool aligned)
{
    const int r = (int)((blockIdx.x * 256u + threadIdx.x) / lanes);
    const int lane = threadIdx.x % lanes;
    const float *row = x + (size_t)r * s.dim;
    const unsigned most = largest(row, r < n ? s.dim : 0, lane, lanes, aligned);
    const bool nan = most > 0x7f800000u;
    const int e = exponent(most), both = e + exponent(info[0]);
    const bool tame = book_is_tame(info) && e >= -50 && e <= 50 && both >= -60 &&
                      both <= 80;
    const int chunk = ROWS * s.width / 8;
    const lengths length =
        to_half(w.half + (size_t)(r / ROWS) * s.chunks * chunk, chunk, r % ROWS,
                s, row, tame && r < n ? power(14 - e) : 0, false, lane, lanes,
                aligned);

    if (lane)
        return;
    w.upper[r] = ordered(CUDART_INF_F);
    w.best[r] = ~0ull;
    float4 f = make_float4(0, CUDART_INF_F, 0, 0);
    float2 shift = make_float2(0, 0);
    if (nan)                    /* any group will do: every score is NaN */
        f.y = 0;
    else if (tame) {
        const float eps = s.width * s.chunks * 0x1p-21f + (s.dim + 4) * 0x1p-23f;
        const float square = 1.01f * (length.whole * power(e - 14)) *
                             (length.whole * power(e - 14));
        f.x = -power(both - 27);
        shift.x = -square * power(27 - both);
        shift.y = 1.02f * (eps + 0x1p-20f) * square;
        f.y = 2.02f * length.whole * power(e - 14);
        f.z = 2.02f * (length.lost + eps * length.whole) * power(e - 14);
        f.w = 2.02f * length.low * power(e - 14);
    }
    w.row[r] = f;
    w.shift[r] = shift;
}

/* ---- the float search ---- */

struct found { float score[4]; int code[4]; };

/* Four listed rows by four codewords of each panel of the group; the warp has
 * its four rows in common. */
static __device__ void search_rows(found &f, const shape &s, const book &b,
                                   const float *x, const int *list, int n,
                                   int first, int panels)
{
    __shared__ __align__(16) float xs[32][BATCH + 4], cs[32][PANEL + 4];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    for (int p = first; p < first + panels; p++) {
        float sum[4][4] = { };
        for (int j0 = 0; j0 < s.dim; j0 += 32) {
            const int depth = min(32, s.dim - j0);
            const float *from = b.panel + ((size_t)p * s.dim + j0) * PANEL;
            __syncthreads();
            for (int i = threadIdx.x; i < depth * PANEL / 4; i += 256)
                *(float4 *)&cs[i / (PANEL / 4)][i % (PANEL / 4) * 4] =
                    *(const float4 *)(from + 4 * i);
            for (int r = 4 * warp; r < 4 * warp + 4; r++)
                if (lane < depth)
                    xs[lane][r] = r < n ? x[(size_t)list[r] * s.dim + j0 + lane] : 0;
            __syncthreads();
#pragma unroll 4
            for (int j = 0; j < depth; j++) {
                const float4 v = *(const float4 *)&xs[j][4 * warp];
                const float4 c = *(const float4 *)&cs[j][4 * lane];
                const float vs[4] = { v.x, v.y, v.z, v.w };
                const float cw[4] = { c.x, c.y, c.z, c.w };
#pragma unroll
                for (int r = 0; r < 4; r++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        sum[r][i] = __fadd_rn(sum[r][i], __fmul_rn(cw[i], vs[r]));
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int c = p * PANEL + 4 * lane + i;
            const float norm = b.norm[c];
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const float score = __fsub_rn(norm, __fmul_rn(2, sum[r][i]));
                if (score < f.score[r]) {
                    f.score[r] = score;
                    f.code[r] = c;
                }
            }
        }
    }
}

/* Searches the group for all listed rows. */
static __device__ void search_list(const shape &s, const book &b, const work &w,
                                   const float *x, const int *list, int n, int group)
{
    const int panels = s.span * HALF / PANEL;

    for (int r0 = 0; r0 < n; r0 += BATCH) {
        found f;
        for (int r = 0; r < 4; r++) {
            f.score[r] = CUDART_INF_F;
            f.code[r] = 0;
        }
        search_rows(f, s, b, x, list + r0, n - r0, group * panels, panels);
        for (int r = 0; r < 4; r++) {
            const int row = r0 + threadIdx.x / 32 * 4 + r;
            /* + 0: zeros of both signs are equal. */
            unsigned long long key = f.score[r] < CUDART_INF_F ?
                (unsigned long long)ordered(__fadd_rn(f.score[r], 0)) << 32 |
                (unsigned)f.code[r] : ~0ull;
            for (int step = 16; step; step /= 2)
                key = min(key, __shfl_xor_sync(~0u, key, step));
            if (threadIdx.x % 32 == 0 && row < n && key != ~0ull)
                atomicMin(w.best + list[row], key);
        }
    }
}

/* Block (x, y): group x, rows of part y that the bound leaves open (all rows
 * where there was no sweep). */
static __global__ void __launch_bounds__(256)
rank(shape s, book b, work w, const float *x, int n, int npad, int part, bool swept)
{
    __shared__ int list[LIST], count;
    const int group = blockIdx.x;
    const int end = min(n, (int)(blockIdx.y + 1) * part);
    const float *lower = w.lower + (size_t)group * npad;

    if (threadIdx.x == 0)
        count = 0;
    __syncthreads();
    for (int r0 = blockIdx.y * part; r0 < end; r0 += SCAN) {
#pragma unroll
        for (int i = 0; i < SCAN / 256; i++) {
            const int r = r0 + i * 256 + threadIdx.x;
            const float low = swept && r < end ? lower[r] : -CUDART_INF_F;
            if (r < end && (!swept || (low < CUDART_INF_F &&
                                       low <= unordered(w.upper[r]))))
                list[atomicAdd(&count, 1)] = r;
        }
        __syncthreads();
        const int n_list = count;
        if (n_list > LIST - SCAN || r0 + SCAN >= end) {
            search_list(s, b, w, x, list, n_list, group);
            __syncthreads();
            if (threadIdx.x == 0)
                count = 0;
        }
        __syncthreads();
    }
}

static __global__ void clear_best(work w, int n)
{
    const int r = blockIdx.x * 256 + threadIdx.x;
    if (r < n)
        w.best[r] = ~0ull;
}

static __global__ void write_codes(int32_t *codes, work w, int n)
{
    const int r = blockIdx.x * 256 + threadIdx.x;
    if (r < n)
        codes[r] = w.best[r] == ~0ull ? 0 : (int32_t)w.best[r];
}

/* ---- launchers ---- */

static int ceil_div(size_t a, size_t b)
{
    return (int)((a + b - 1) / b);
}

static shape shape_of(int k, int dim)
{
    shape s = { k, dim };

    s.split = dim <= 5;
    dim *= s.split ? 3 : 1;
    s.width = dim <= 8 ? 8 : dim <= 16 ? 16 : dim <= 32 ? 32 : 64;
    s.chunks = ceil_div(dim, s.width);
    /* A group costs 8 bytes of minima a vector and 2 dim operations for each of
     * its codewords in the float search: equal at about sqrt(25 k / dim). */
    s.span = s.width <= 16 ? 4 : 2;
    while (s.span < 8 && (double)HALF * s.span * HALF * s.span < 12. * k / s.dim)
        s.span *= 2;
    s.pairs = ceil_div(k, s.span * TILE);
    return s;
}

/* Hands out aligned parts of one buffer; counts only, where it is NULL. */
struct carver { unsigned char *base; size_t used; };

template <class T>
static void carve(carver &c, T *&out, size_t count)
{
    out = (T *)(c.base + c.used);
    c.used += (count * sizeof(T) + 255) / 256 * 256;
}

static size_t carve_book(book &b, const shape &s, void *base)
{
    const size_t k = codewords_of(s);
    carver c = { (unsigned char *)base, 0 };

    carve(c, b.half, k * s.chunks * s.width / 8);
    carve(c, b.tile_norm, k);
    carve(c, b.panel, k * s.dim);
    carve(c, b.norm, k);
    carve(c, b.group, groups_of(s));
    carve(c, b.info, 2);
    return c.used;
}

/* Vectors of one turn: minima of at most 512 MiB. */
static int turn_rows(const shape &s, size_t n)
{
    const size_t most = ((size_t)1 << 27) / groups_of(s) / ROWS * ROWS;
    const size_t limit = most < 1 << 20 ? most : 1 << 20;
    return n < limit ? ceil_div(n, ROWS) * ROWS : (int)limit;
}

static size_t carve_work(work &w, const shape &s, void *base, int rows)
{
    carver c = { (unsigned char *)base, 0 };

    carve(c, w.half, (size_t)rows * s.chunks * s.width / 8);
    carve(c, w.row, rows);
    carve(c, w.shift, rows);
    carve(c, w.lower, (size_t)rows * groups_of(s));
    carve(c, w.upper, rows);
    carve(c, w.best, rows);
    return c.used;
}

size_t tsri_nearest_book_bytes(int k, int dim)
{
    book b;
    return carve_book(b, shape_of(k, dim), NULL);
}

size_t tsri_nearest_work_bytes(size_t n, int k, int dim)
{
    const shape s = shape_of(k, dim);
    work w;
    return carve_work(w, s, NULL, turn_rows(s, n));
}

/* Threads that share a row: one for each 8 channels, a power of two. */
static int row_lanes(const shape &s)
{
    int lanes = 1;
    while (lanes < 32 && lanes * 8 < s.width * s.chunks)
        lanes *= 2;
    return lanes;
}

static bool rows_aligned(const float *p, int dim)
{
    return (uintptr_t)p % 16 == 0 && dim % 4 == 0;
}

cudaError_t tsri_launch_nearest_prepare(void *memory, const float *codewords,
                                        int k, int dim, cudaStream_t stream)
{
    const shape s = shape_of(k, dim);
    const int lanes = row_lanes(s), padded = codewords_of(s);
    book b;

    carve_book(b, s, memory);
    cudaMemsetAsync(b.group, 0, groups_of(s) * sizeof *b.group, stream);
    cudaMemsetAsync(b.info, 0, 2 * sizeof *b.info, stream);
    copy_panels<<<padded / PANEL, 256, 0, stream>>>(s, b, codewords);
    halve_book<<<(unsigned)((size_t)padded * lanes / 256), 256, 0, stream>>>(
        s, b, codewords, lanes, rows_aligned(codewords, dim));
    return cudaGetLastError();
}

static cudaError_t any_sweep(const shape &s, const book &b, const work &w, int npad,
                             int sms, cudaStream_t stream)
{
    int device, shared, major;
    cudaError_t error = cudaGetDevice(&device);

    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&shared,
                                       cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                       device);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor,
                                       device);
    if (error != cudaSuccess)
        return error;
    if (major == 9 && s.width == 64)
        return tsri_launch_sweep90(s, b, w, npad, sms, shared, stream);
    return tsri_launch_sweep(s, b, w, npad, sms, shared, stream);
}

/* Rows of a block of rank(): few where there are few, for a block searches its group
 * again for each BATCH of them, one after the other. */
static int rows_of_part(int n, int groups, int sms)
{
    const int each = ceil_div(n, ceil_div(8 * sms, groups));
    const int step = each < SCAN ? BATCH : SCAN;
    return ceil_div(each, step) * step;
}

static cudaError_t search_turn(int32_t *codes, const shape &s, const book &b,
                               const work &w, const float *x, int n, int sms,
                               int swept, cudaStream_t stream)
{
    const int npad = ceil_div(n, ROWS) * ROWS, lanes = row_lanes(s);
    const int groups = groups_of(s), blocks = ceil_div(n, 256);
    cudaError_t error = cudaSuccess;

    if (swept) {
        halve_rows<<<(unsigned)((size_t)npad * lanes / 256), 256, 0, stream>>>(
            s, w, b.info, x, n, lanes, rows_aligned(x, s.dim));
        error = any_sweep(s, b, w, npad, sms, stream);
    } else
        clear_best<<<blocks, 256, 0, stream>>>(w, n);
    if (error != cudaSuccess)
        return error;
    const int part = rows_of_part(n, groups, sms);
    rank<<<dim3(groups, ceil_div(n, part)), 256, 0, stream>>>(s, b, w, x, n, npad,
                                                              part, swept);
    write_codes<<<blocks, 256, 0, stream>>>(codes, w, n);
    return cudaGetLastError();
}

cudaError_t tsri_launch_nearest(int32_t *codes, const void *memory, int k, int dim,
                                const float *x, size_t n, void *scratch, int sms,
                                int swept, cudaStream_t stream)
{
    const shape s = shape_of(k, dim);
    book b;
    work w;

    carve_book(b, s, (void *)memory);
    carve_work(w, s, scratch, turn_rows(s, n));
    for (size_t at = 0; at < n;) {
        const size_t turn = turn_rows(s, n - at);
        const int rows = (int)(turn < n - at ? turn : n - at);
        const cudaError_t error =
            search_turn(codes + at, s, b, w, x + at * dim, rows, sms, swept, stream);
        if (error != cudaSuccess)
            return error;
        at += rows;
    }
    return cudaSuccess;
}
