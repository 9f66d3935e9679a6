/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of gear made from the cache: groups of what is not far, and the directions of
 * what their codes leave.  Sums are made in the order in which the CPU makes them. */
#include "codecs/kv/cuda/far.cuh"

enum { ROUNDS = 3, SUMS = 4 };

/* ---- groups ---- */

/* n values `step` apart. */
struct group {
    size_t at, n, step;
};

static __device__ group group_at(const grid &g, size_t i)
{
    const int row = (int)(i / g.row()), k = (int)(i % g.row()), each = g.groups();
    const int first = row * g.token_group, in = k % each * g.channel_group;
    const size_t at = (size_t)first * g.channels + k / each * g.segment + in;

    if (g.channel_group == 1)
        return { at, (size_t)min(g.token_group, g.tokens - first), (size_t)g.channels };
    return { at, (size_t)min(g.channel_group, g.segment - in), 1 };
}

/* The least value, the first where several are, and the largest. */
struct limits {
    float least, most;
    size_t first;
    bool any;

    __device__ void take(float low, float high, size_t k)
    {
        if (!any || low < least || (low == least && k < first)) {
            least = low;
            first = k;
        }
        most = !any || high > most ? high : most;
        any = true;
    }
};

template <int SIZE> static __device__ limits find_limits(const far &f, const group &o)
{
    limits l = {};

    for (size_t k = team<SIZE>::lane(); k < o.n; k += SIZE) {
        const float v = f.near(o.at + k * o.step);
        l.take(v, v, k);
    }
    for (int by = SIZE / 2; by; by /= 2) {
        const float low = __shfl_xor_sync(ALL, l.least, by);
        const float high = __shfl_xor_sync(ALL, l.most, by);
        const size_t first = __shfl_xor_sync(ALL, l.first, by);
        if (__shfl_xor_sync(ALL, (int)l.any, by))
            l.take(low, high, first);
    }
    return l;
}

/* Codes of a group, and in place of its values what these leave. */
template <int SIZE>
static __device__ void quantise(const far &f, const group &o, int bits, uint16_t *half,
                                bool &good)
{
    const limits l = find_limits<SIZE>(f, o);
    const float last = (float)((1 << bits) - 1);
    const float width = l.most == l.least ? 0 : __fsub_rn(l.most, l.least);
    const uint32_t scale_half = half_of(__fdiv_rn(width, last), good);
    const uint32_t base_half = half_of(l.least, good);
    const float scale = value_of_half((uint16_t)scale_half);
    const float base = value_of_half((uint16_t)base_half);

    if (!team<SIZE>::lane()) {
        half[0] = (uint16_t)scale_half;
        half[1] = (uint16_t)base_half;
    }
    for (size_t k = team<SIZE>::lane(); k < o.n; k += SIZE) {
        const size_t i = o.at + k * o.step;
        const float x = f.near(i);
        const float v = scale > 0 ? __fdiv_rn(__fsub_rn(x, base), scale) : 0;
        const int code = __float2int_rn(fminf(fmaxf(v, 0), last));
        f.code()[i] = (uint8_t)code;
        f.x()[i] = f.is_far(i)
            ? 0 : __fsub_rn(x, __fadd_rn(__fmul_rn((float)code, scale), base));
    }
}

template <int SIZE>
static __device__ void quantise_groups(const job &j, const far &f, const grid &g,
                                       int part, int parts)
{
    const size_t groups = (size_t)g.rows() * g.row();
    const int teams = THREADS / SIZE;
    bool good = true;

    for (size_t i = (size_t)part * teams + threadIdx.x / SIZE; i < groups;
         i += (size_t)parts * teams)
        quantise<SIZE>(f, group_at(g, i), g.bits, f.half() + 2 * i, good);
    if (!good)
        refuse(j, f.u.object);
}

static __global__ __launch_bounds__(THREADS) void make_groups(job j, int parts)
{
    const far f(j, blockIdx.x / parts);
    const grid g = grid_of(j, f.u.plane, f.u.tokens, f.u.tokens, 0);

    if (f.good && g.channel_group > 1)
        quantise_groups<WARP>(j, f, g, blockIdx.x % parts, parts);
    else if (f.good)
        quantise_groups<1>(j, f, g, blockIdx.x % parts, parts);
}

/* ---- directions ---- */

/* A head: e[t * pitch + d] is about to be the sum of p[k][t] q[k][d]. */
struct low_rank {
    const float *e;
    size_t pitch;
    int tokens, dim, rank;
    float *p, *q;
};

/* p = e q: a thread has some rows of a token. */
static __device__ void project(const low_rank &l)
{
    const int sets = (l.rank + SUMS - 1) / SUMS;

    for (int i = threadIdx.x; i < sets * l.tokens; i += THREADS) {
        const int t = i % l.tokens, first = i / l.tokens * SUMS;
        const int count = min((int)SUMS, l.rank - first);
        const float *e = l.e + t * l.pitch;
        float sum[SUMS] = {};
        for (int d = 0; d < l.dim; d++)
#pragma unroll
            for (int k = 0; k < SUMS; k++)
                if (k < count)
                    sum[k] = __fadd_rn(sum[k], __fmul_rn(e[d], l.q[(first + k) * l.dim +
                                                                   d]));
#pragma unroll
        for (int k = 0; k < SUMS; k++)
            if (k < count)
                l.p[(size_t)(first + k) * l.tokens + t] = sum[k];
    }
}

/* q = e' p: a thread has a dim of a row. */
static __device__ void project_back(const low_rank &l)
{
    for (int i = threadIdx.x; i < l.rank * l.dim; i += THREADS) {
        const float *p = l.p + (size_t)(i / l.dim) * l.tokens, *e = l.e + i % l.dim;
        float sum = 0;
#pragma unroll 8
        for (int t = 0; t < l.tokens; t++)
            sum = __fadd_rn(sum, __fmul_rn(e[t * l.pitch], p[t]));
        l.q[i] = sum;
    }
}

/* By one thread: sums of doubles depend on their order. */
static __device__ double product(const float *a, const float *b, int n)
{
    double sum = 0;

#pragma unroll 8
    for (int i = 0; i < n; i++)
        sum = __dadd_rn(sum, __dmul_rn(a[i], b[i]));
    return sum;
}

/* Rows of p become orthonormal; one that is nothing becomes 0. */
static __device__ void orthonormalise(const low_rank &l)
{
    __shared__ double factor;
    double before = 0;

    for (int k = 0; k < l.rank; k++) {
        float *a = l.p + (size_t)k * l.tokens;
        if (!threadIdx.x)
            before = product(a, a, l.tokens);
        for (int i = 0; i < k; i++) {
            const float *b = l.p + (size_t)i * l.tokens;
            if (!threadIdx.x)
                factor = product(a, b, l.tokens);
            __syncthreads();
            for (int t = threadIdx.x; t < l.tokens; t += THREADS)
                a[t] = __double2float_rn(__dsub_rn(a[t], __dmul_rn(factor, b[t])));
            __syncthreads();
        }
        if (!threadIdx.x) {
            const double size = product(a, a, l.tokens);
            factor = size > __dmul_rn(1e-10, before)
                ? __ddiv_rn(1, __dsqrt_rn(size)) : 0;
        }
        __syncthreads();
        for (int t = threadIdx.x; t < l.tokens; t += THREADS)
            a[t] = __double2float_rn(__dmul_rn(a[t], factor));
        __syncthreads();
    }
}

/* A thread block has a head of a unit. */
static __global__ __launch_bounds__(THREADS) void find_directions(job j, int heads)
{
    const far f(j, blockIdx.x / heads);
    const int head = (int)(blockIdx.x % heads), tokens = f.u.tokens, dim = f.u.dim;
    const int rank = gear_rank(j, f.u.plane, tokens);
    float *p = f.factor() + (size_t)head * rank * (tokens + dim);
    const low_rank l = { f.x() + (size_t)head * dim, (size_t)f.u.channels, tokens, dim,
                         rank, p, p + (size_t)rank * tokens };
    uint32_t random = 1;

    if (!f.good || head >= j.heads[f.u.plane] || !rank)
        return;
    for (int i = 0; !threadIdx.x && i < rank * dim; i++) {
        random = random * 1664525 + 1013904223;
        l.q[i] = __fmul_rn((float)(int32_t)random, 1.f / (1u << 31));
    }
    __syncthreads();
    for (int round = 0; round < ROUNDS; round++) {
        project(l);
        __syncthreads();
        orthonormalise(l);
        project_back(l);
        __syncthreads();
    }
}

/* ---- the unit ---- */

struct bytes_of {
    const uint8_t *code;

    __device__ uint32_t operator()(size_t i) const { return code[i]; }
};

static __global__ __launch_bounds__(THREADS) void put_gear(job j, int parts)
{
    const far f(j, blockIdx.x / parts);
    const int part = (int)(blockIdx.x % parts), plane = f.u.plane;
    const grid g = grid_of(j, plane, f.u.tokens, f.u.tokens, 0);
    const size_t factors = (size_t)j.heads[plane] *
        gear_rank(j, plane, f.u.tokens) * (f.u.tokens + f.u.dim);
    const size_t groups = (size_t)g.rows() * g.row();
    bool good = true;

    if (!f.good)
        return;
    uint8_t *to = f.to(j);
    put_list(j, f, to, part, parts, good);
    to += list_bytes(f);
    for (size_t i = (size_t)part * THREADS + threadIdx.x; i < factors;
         i += (size_t)parts * THREADS)
        put_bytes(to + 2 * i, half_of(f.factor()[i], good), 2);
    to += 2 * factors;
    put_halves(to, f.half(), 2 * groups, part, parts);
    to += 1 + 4 * groups;
    put_codes(to, f.n, g.bits, part, parts, bytes_of{ f.code() });
    if (!good)
        refuse(j, f.u.object);
}

/* ---- launch ---- */

extern "C" cudaError_t tsri_kv_gpu_size_gear(const job *j, cudaStream_t stream)
{
    const cudaError_t error = tsri_kv_gpu_mark(j, stream);

    return error ? error : tsri_kv_gpu_code_marks(j, stream);
}

extern "C" cudaError_t tsri_kv_gpu_put_gear(const job *j, cudaStream_t stream)
{
    const unsigned units = (unsigned)count_units(j);
    const int parts = count_parts(j);
    const int heads = j->heads[0] > j->heads[1] ? j->heads[0] : j->heads[1];

    make_groups<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    find_directions<<<units * heads, THREADS, 0, stream>>>(*j, heads);
    put_gear<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}
