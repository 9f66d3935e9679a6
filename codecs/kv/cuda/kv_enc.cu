/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache to segments.  Three times over the cache: a sample of it gives the
 * centres; all of it the classes, and the sums that lanes start from; all of it
 * again, last token first, the words. */
#include "codecs/kv/cuda/rows.cuh"

enum {
    WARPS = 8, THREADS = WARPS * WARP,
    SAMPLES = 32,           /* of a channel, for its centre */
    MOST_VALUE = 32767
};

static __device__ void refuse(const job &j, int object)
{
    atomicCAS(j.items[object].status, TSR_OK, TSR_E_ARG);
}

static __device__ int boost_at(const job &j, uint32_t t)
{
    return t + j.recent >= (uint32_t)j.tokens ? j.recent_boost : 0;
}

/* v is not over MOST_VALUE by half: rounded to nearest even. */
static __device__ int round_value(float v)
{
    return __float_as_int(__fadd_rn(v, 12582912.f)) - 0x4B400000;
}

static __device__ bool is_value(float v)
{
    return fabsf(v) < MOST_VALUE + .5f;     /* no for a NaN */
}

/* ---- centres ---- */

static __device__ void sort(float v[SAMPLES])
{
#pragma unroll
    for (int size = 2; size <= SAMPLES; size *= 2)
#pragma unroll
        for (int by = size / 2; by; by /= 2)
#pragma unroll
            for (int i = 0; i < SAMPLES; i++)
                if (!(i & by)) {
                    const float a = fminf(v[i], v[i + by]);
                    const float b = fmaxf(v[i], v[i + by]);
                    v[i] = i & size ? b : a;
                    v[i + by] = i & size ? a : b;
                }
}

static __device__ int strips_of(int channels)
{
    return (channels + WARP - 1) / WARP;
}

/* A warp has a strip of a plane. */
static __global__ __launch_bounds__(THREADS) void centres(job j)
{
    const int first = strips_of(j.channels[0]);
    const int all = first + (j.planes > 1 ? strips_of(j.channels[1]) : 0);
    size_t n = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    const int strip = (int)(n % all);
    float v[SAMPLES];
    bool finite = true;
    place p = {};

    n /= all;
    p.plane = strip >= first;
    p.layer = (int)(n % j.layers);
    p.object = (int)(n / j.layers);
    p.channel = (p.plane ? strip - first : strip) * WARP + threadIdx.x % WARP;
    if (p.object >= j.objects || p.channel >= j.channels[p.plane] ||
        !j.object[p.object].good || !has_rows(j, j.object[p.object]))
        return;
    const uint32_t sinks = j.object[p.object].sinks, rows = j.tokens - sinks;
#pragma unroll
    for (uint32_t i = 0; i < SAMPLES; i++)
        v[i] = load_value(j, j.items[p.object], p,
                          sinks + (uint32_t)((uint64_t)i * rows / SAMPLES),
                          p.channel, finite);
    sort(v);
    float m = __fmul_rn(v[SAMPLES / 2 - 1], j.quarter[p.plane]);
    m = fminf(fmaxf(m, -MOST_VALUE - 1), MOST_VALUE);
    j.centre[p.coefficient(j)] = (int16_t)round_value(m);
}

/* ---- values of segments ---- */

static __device__ float centre_of(const job &j, const place &p, int channel)
{
    return __fmul_rn((float)j.centre[p.coefficient(j) + channel],
                     scaled(j.step[p.plane], -2));
}

/* Segments of whole heads of HEAD strips: a token's values, a lane's
 * coefficients in registers.  A token is fetched before the one at hand is
 * worked on. */
template <int STRIPS, int HEAD>
struct source {
    token_walk walk;
    const float2 *cs;
    ptrdiff_t first;
    float m[STRIPS];
    uint32_t raw[STRIPS];
    float2 angle[HEAD / 2];
    bool turned;

    __device__ source(const job &j, const place &p, uint32_t t)
        : walk(j, p.object, p.group(j), t), turned(j.layout && !p.plane)
    {
        const int lane = threadIdx.x % WARP;

        first = (ptrdiff_t)(p.channel / WARP / HEAD) * j.head_stride + 2 * lane;
        cs = j.angles + ((size_t)p.object * j.tokens + t) * j.pairs + lane;
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            m[s] = centre_of(j, p, s * WARP + lane);
    }

    __device__ void fetch(const job &j)
    {
        const uint8_t *at = walk.at + first;

#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            if (s && s % HEAD == 0)
                at += j.head_stride;
            raw[s] = __ldg((const uint16_t *)(at + s % HEAD * 2 * WARP));
        }
#pragma unroll
        for (int s = 0; turned && s < HEAD / 2; s++)
            angle[s] = __ldg(cs + s * WARP);
    }

    /* Of the token that was fetched: steps from the centre. */
    __device__ void values(bool bf16, float inverse, float v[STRIPS]) const
    {
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            __half_raw h;
            h.x = (uint16_t)raw[s];
            v[s] = bf16 ? __uint_as_float(raw[s] << 16) : __half2float(h);
        }
#pragma unroll
        for (int s = 0; turned && s < STRIPS; s++)
            if (s % HEAD < HEAD / 2)
                take_off(v[s], v[s + HEAD / 2], angle[s % (HEAD / 2)]);
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            v[s] = __fmul_rn(__fsub_rn(v[s], m[s]), inverse);
    }

    __device__ void next(const job &j)
    {
        walk.next(j);
        cs += j.pairs;
    }
    __device__ void back(const job &j)
    {
        walk.back(j);
        cs -= j.pairs;
    }
};

/* Of any shape: a value by itself. */
static __device__ float any_value(const job &j, const place &p, uint32_t t, int c)
{
    bool finite = true;
    const float x = load_value(j, j.items[p.object], p, t, p.channel + c, finite);
    const float v = __fmul_rn(__fsub_rn(x, centre_of(j, p, c)),
                              scaled(j.inverse[p.plane], boost_at(j, t)));
    return finite ? v : INFINITY;
}

/* ---- first pass: magnitudes, and sums of lanes ---- */

/* What a lane has seen. */
struct account {
    uint32_t sum;       /* of its symbols, as if no class had raw bits and there
                           were no escapes */
    bool good;

    /* Adds a strip's value; returns its magnitude. */
    __device__ uint32_t add(float v)
    {
        good &= is_value(v);
        const int q = round_value(v);
        sum = sum * FACTOR + (uint32_t)(q << 1 ^ q >> 31);
        return (uint32_t)abs(q);
    }
};

static __device__ uint32_t *sums_of(const job &j, const place &p)
{
    return j.sums + p.number(j) * 2 * WARP + threadIdx.x % WARP;
}

/* The greatest magnitudes of the strips, four bits each, are of use only where
 * all tokens have the same boost. */
template <int STRIPS, int HEAD>
static __device__ void measure_heads(const job &j, const place &p, account &a)
{
    const bool bf16 = j.dtype == TSR_KV_BF16;
    const uint32_t end = p.row + p.rows;
    source<STRIPS, HEAD> in(j, p, p.row);
    uint32_t magnitude[STRIPS] = {}, most[STRIPS] = {}, packed = 0;

    in.fetch(j);
    for (uint32_t t = p.row; t < end; t++) {
        const source<STRIPS, HEAD> now = in;
        const int boost = boost_at(j, t);
        float v[STRIPS];
        if (t + 1 < end) {
            in.next(j);
            in.fetch(j);
        }
        now.values(bf16, scaled(j.inverse[p.plane], boost), v);
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            const uint32_t m = a.add(v[s]);
            most[s] = max(most[s], m);
            magnitude[s] += m >> boost;
        }
    }
#pragma unroll
    for (int s = 0; s < STRIPS; s++) {
        packed |= min(most[s], 15u) << 4 * s;
        atomicAdd(&j.sum[p.coefficient(j) + s * WARP + threadIdx.x % WARP],
                  (unsigned long long)magnitude[s]);
    }
    sums_of(j, p)[0] = a.sum;
    sums_of(j, p)[WARP] = packed;
}

static __device__ void measure_any(const job &j, const place &p, account &a)
{
    for (uint32_t t = p.row; t < p.row + p.rows; t++)
        for (int c = threadIdx.x % WARP; c < p.channels; c += WARP)
            atomicAdd(&j.sum[p.coefficient(j) + c], (unsigned long long)
                      (a.add(any_value(j, p, t, c)) >> boost_at(j, t)));
}

/* A warp has a segment. */
template <int STRIPS, int HEAD>
static __global__ __launch_bounds__(THREADS) void measure(job j, size_t segments)
{
    const size_t n = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;

    if (n >= segments)
        return;
    const place p = find_place(j, n);
    account a = { 0, true };
    if (!j.object[p.object].good || !p.rows)
        return;
    if constexpr (STRIPS > 0)
        measure_heads<STRIPS, HEAD>(j, p, a);
    else
        measure_any(j, p, a);
    if (!a.good)
        refuse(j, p.object);
}

/* ---- classes ---- */

/* The class of a sum over n values, as tsri_rows_class(). */
static __device__ int find_class(const uint32_t *border, uint64_t sum, uint32_t n)
{
    int c = 0;

    if (sum >> 15 >= n)
        return MOST_CLASS;
    for (int by = (MOST_CLASS + 1) / 2; by; by /= 2)
        c += sum << 16 >= (uint64_t)border[c + by] * n ? by : 0;
    return c;
}

static __global__ __launch_bounds__(THREADS) void classes(job j)
{
    const size_t each = (size_t)j.layers * j.layer_channels;
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;

    if (i >= each * j.objects)
        return;
    object &o = j.object[i / each];
    if (*j.items[i / each].status)
        o.good = 0;
    else if (has_rows(j, o))
        j.cls[i] = (uint8_t)find_class(j.tables.border, j.sum[i],
                                       j.tokens - o.sinks);
}

/* ---- second pass ---- */

static __device__ coding find_coding(const job &j, const place &p, int c, int boost)
{
    return coding_of(j.tables, class_of(j.cls[p.coefficient(j) + c], boost));
}

template <int STRIPS>
struct codings {
    coding k[STRIPS];
    bool any_low[STRIPS], low;

    __device__ void set(const job &j, const place &p, int boost)
    {
        low = false;
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            k[s] = find_coding(j, p, s * WARP + threadIdx.x % WARP, boost);
            any_low[s] = __any_sync(ALL, k[s].low);
            low |= any_low[s];
        }
    }
    /* Are there escapes, where strips have these greatest magnitudes? */
    __device__ bool escapes(uint32_t most) const
    {
        bool any = false;
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            any |= (int)(most >> 4 * s & 15) > k[s].reach;
        return __any_sync(ALL, any);
    }
};

/* The lanes' sums of a segment that has raw bits or escapes. */
template <int STRIPS, int HEAD>
static __device__ uint32_t sum_heads(const job &j, const place &p)
{
    const bool bf16 = j.dtype == TSR_KV_BF16;
    const uint32_t end = p.row + p.rows;
    source<STRIPS, HEAD> in(j, p, p.row);
    codings<STRIPS> k;
    uint32_t sum = 0;
    int boost = -1;

    for (uint32_t t = p.row; t < end; t++) {
        float v[STRIPS];
        if (boost_at(j, t) != boost)
            k.set(j, p, boost = boost_at(j, t));
        in.fetch(j);
        in.values(bf16, scaled(j.inverse[p.plane], boost), v);
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            sum = add_symbols(sum, symbols(round_value(v[s]), k.k[s]),
                              k.any_low[s], true);
        if (t + 1 < end)
            in.next(j);
    }
    return sum;
}

template <int STRIPS, int HEAD>
static __device__ void code_heads(const job &j, const place &p, writer &w,
                                  const uint2 *code, uint32_t seed)
{
    const bool bf16 = j.dtype == TSR_KV_BF16;
    const uint32_t before = lanes_before();
    codings<STRIPS> k;
    int boost = boost_at(j, p.row + p.rows - 1);

    k.set(j, p, boost);
    const bool rest = k.low || k.escapes(sums_of(j, p)[WARP]) ||
                      boost_at(j, p.row) != boost;
    const uint32_t sum = rest ? sum_heads<STRIPS, HEAD>(j, p) : sums_of(j, p)[0];
    source<STRIPS, HEAD> in(j, p, p.row + p.rows - 1);
    w.x = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
    in.fetch(j);
    for (uint32_t t = p.row + p.rows; t-- > p.row;) {
        const source<STRIPS, HEAD> now = in;
        float v[STRIPS];
        if (boost_at(j, t) != boost)
            k.set(j, p, boost = boost_at(j, t));
        if (t > p.row) {
            in.back(j);
            in.fetch(j);
        }
        now.values(bf16, scaled(j.inverse[p.plane], boost), v);
        if (rest) {
#pragma unroll
            for (int s = STRIPS; s-- > 0;) {
                const symbols y(round_value(v[s]), k.k[s]);
                put_symbols(w, y, code[k.k[s].table * STRIDE + y.first], k.k[s].low,
                            k.any_low[s], before, true);
            }
        } else {
#pragma unroll
            for (int s = STRIPS; s-- > 0;) {
                const int q = round_value(v[s]);
                w.put<true>(code[k.k[s].table * STRIDE + (q << 1 ^ q >> 31)], before,
                            true);
            }
        }
    }
}

/* A strip of any shape. */
static __device__ void code_any(const job &j, const place &p, writer &w,
                                const uint2 *code, uint32_t seed)
{
    const int lane = threadIdx.x % WARP;
    const uint32_t before = lanes_before();
    uint32_t sum = 0;

    for (int back = 0; back < 2; back++) {
        w.x = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
        for (uint32_t i = 0; i < p.rows; i++)
            for (int first = 0; first < p.channels; first += WARP) {
                const uint32_t t = back ? p.row + p.rows - 1 - i : p.row + i;
                const int last = (p.channels - 1) / WARP * WARP;
                const int c = (back ? last - first : first) + lane;
                const bool active = c < p.channels;
                const coding k = active ? find_coding(j, p, c, boost_at(j, t))
                                        : coding{ 0, 0, 0 };
                const symbols y(active ? round_value(any_value(j, p, t, c)) : 0, k);
                const bool low = __any_sync(ALL, k.low);
                if (back)
                    put_symbols(w, y, code[k.table * STRIDE + y.first], k.low, low, before,
                                active);
                else
                    sum = add_symbols(sum, y, low, active);
            }
    }
}

/* The head before the words; returns the bytes of the segment. */
static __device__ uint32_t finish(const writer &w, size_t slot)
{
    const int lane = threadIdx.x % WARP;
    uint8_t *p = (uint8_t *)(w.slot + w.first) - 4 * WARP;

    ((uint16_t *)p)[2 * lane] = (uint16_t)w.x;
    ((uint16_t *)p)[2 * lane + 1] = (uint16_t)(w.x >> 16);
    if (!lane)
        p[-1] = 3;
    return (uint32_t)((uint8_t *)w.slot + slot - p) + 1;
}

template <int STRIPS, int HEAD>
static __global__ __launch_bounds__(THREADS) void code(job j, size_t segments)
{
    extern __shared__ __align__(16) uint2 records[];
    const size_t n = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;

    for (int i = threadIdx.x; i < j.tables.tables * STRIDE; i += THREADS)
        records[i] = __ldg((const uint2 *)j.tables.code + i);
    __syncthreads();
    if (n >= segments)
        return;
    const place p = find_place(j, n);
    if (!j.object[p.object].good || !p.rows)
        return;
    writer w = { (uint16_t *)(j.slots + p.number(j) * j.slot),
                 (uint32_t)(j.slot / 2), 0 };
    if constexpr (STRIPS > 0)
        code_heads<STRIPS, HEAD>(j, p, w, records, p.seed(j));
    else
        code_any(j, p, w, records, p.seed(j));
    const uint32_t size = finish(w, j.slot);
    if (threadIdx.x % WARP == 0)
        j.segment_size[p.number(j)] = size;
}

/* ---- launch ---- */

static unsigned blocks_of(size_t n, int each)
{
    return (unsigned)((n + each - 1) / each);
}

template <int STRIPS, int HEAD>
static cudaError_t launch(const job *j, cudaStream_t stream)
{
    const size_t segments = count_segments(j);
    const size_t channels = (size_t)j->objects * j->layers * j->layer_channels;
    const unsigned grid = blocks_of(segments, WARPS);
    const size_t bytes = (size_t)j->tables.tables * STRIDE * sizeof(uint2);

    measure<STRIPS, HEAD><<<grid, THREADS, 0, stream>>>(*j, segments);
    classes<<<blocks_of(channels, THREADS), THREADS, 0, stream>>>(*j);
    code<STRIPS, HEAD><<<grid, THREADS, bytes, stream>>>(*j, segments);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_encode(const job *j, cudaStream_t stream)
{
    const size_t strips = (size_t)j->objects * j->layers *
        ((j->channels[0] + WARP - 1) / WARP +
         (j->planes > 1 ? (j->channels[1] + WARP - 1) / WARP : 0));

    if (count_segments(j) > INT32_MAX || strips > INT32_MAX)
        return cudaErrorInvalidValue;
    if (!j->tokens)
        return cudaSuccess;
    centres<<<blocks_of(strips, WARPS), THREADS, 0, stream>>>(*j);
    switch (j->strips) {
    case 8:
        return j->head_strips == 4 ? launch<8, 4>(j, stream)
                                   : launch<8, 2>(j, stream);
    case 4:
        return j->head_strips == 4 ? launch<4, 4>(j, stream)
                                   : launch<4, 2>(j, stream);
    }
    return launch<0, 1>(j, stream);
}
