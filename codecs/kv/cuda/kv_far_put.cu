/* SPDX-License-Identifier: BSD-2-Clause */
/* Which values of a unit are far out, for kvquant and gear: values to scratch, the
 * largest and smallest of each vector marked, the marks coded.  A mark is a decision
 * whose model learns from those before, so that one thread codes those of a unit. */
#include "codecs/kv/cuda/range_put.cuh"
#include "codecs/kv/cuda/far.cuh"

static __global__ __launch_bounds__(THREADS) void load_far(job j, int parts)
{
    const far f(j, blockIdx.x / parts);
    const int channels = f.u.channels;
    const size_t raw = (size_t)f.raw * channels;
    bool good = true;

    if (!f.good)
        return;
    for (size_t i = (size_t)(blockIdx.x % parts) * THREADS + threadIdx.x;
         i < f.u.values(); i += (size_t)parts * THREADS) {
        const float v = f.value(j, (int)(i / channels), (int)(i % channels), good);
        if (i >= raw)
            f.x()[i - raw] = v;
    }
    if (!good)
        refuse(j, f.u.object);
}

/* ---- the largest and the smallest ---- */

struct vector {
    const float *x;
    uint8_t *mask;
    size_t n, step;

    /* A number that is in the order of the values; -0 and 0 are one. */
    __device__ uint32_t key(size_t k) const
    {
        const float v = x[k * step];
        const uint32_t bits = v == 0 ? 0 : __float_as_uint(v);
        return bits >> 31 ? ~bits : bits | 1u << 31;
    }
};

static __device__ vector vector_at(const far &f, size_t i)
{
    const size_t at = f.u.plane ? i * f.length : i;

    return { f.x() + at, f.list() + at, f.length,
             f.u.plane ? (size_t)1 : (size_t)f.u.channels };
}

/* Keys of the few-th smallest and largest, and how many of those that have them are
 * among the few. */
struct edges {
    uint32_t low, high, on_low, on_high;
};

/* A bit at a time: the largest key that not more than so many are below. */
template <int SIZE>
static __device__ edges find_edges(const vector &v, uint32_t few)
{
    edges e = {};
    uint32_t below = 0, above = 0;

    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        uint32_t low = 0, high = 0;
        for (size_t k = team<SIZE>::lane(); k < v.n; k += SIZE) {
            const uint32_t key = v.key(k);
            low += key < (e.low | bit);
            high += key < (e.high | bit);
        }
        if (team<SIZE>::sum(low) < few)
            e.low |= bit;
        if (team<SIZE>::sum(high) <= v.n - few)
            e.high |= bit;
    }
    for (size_t k = team<SIZE>::lane(); k < v.n; k += SIZE) {
        below += v.key(k) < e.low;
        above += v.key(k) > e.high;
    }
    e.on_low = few - team<SIZE>::sum(below);
    e.on_high = few - team<SIZE>::sum(above);
    return e;
}

/* Of values that are equal the first ones are taken; low ones before high ones. */
template <int SIZE>
static __device__ void mark(const vector &v, uint32_t few, bool &good)
{
    const uint32_t lane = team<SIZE>::lane(), before = (1u << lane) - 1;
    const edges e = few ? find_edges<SIZE>(v, few) : edges{ 0, UINT32_MAX, 0, 0 };
    const uint32_t low_ones = e.on_low + (e.low == e.high ? e.on_high : 0);
    uint32_t low = 0, high = 0;

    for (size_t first = 0; first < v.n; first += SIZE) {
        const size_t k = first + lane;
        const uint32_t key = k < v.n ? v.key(k) : 0;
        const bool is_low = k < v.n && key == e.low;
        const bool is_high = k < v.n && key == e.high && !is_low;
        const uint32_t lows = team<SIZE>::ballot(is_low);
        const uint32_t highs = team<SIZE>::ballot(is_high);
        const bool is = key < e.low || key > e.high ||
            (is_low && low + __popc(lows & before) < low_ones) ||
            (is_high && high + __popc(highs & before) < e.on_high);
        low += __popc(lows);
        high += __popc(highs);
        if (k >= v.n)
            continue;
        v.mask[k * v.step] = is;
        if (is)
            half_of(v.x[k * v.step], good);
    }
}

/* ---- what stands in their place ---- */

/* The last of the values that are least, or greatest: zeros have signs. */
struct extreme {
    float v;
    size_t at;

    __device__ void take(float other, size_t k, bool any, bool less)
    {
        if (!any || (less ? other < v : other > v) || (other == v && k > at)) {
            v = other;
            at = k;
        }
    }
};

/* kvquant: the middle and half the width of what is not far. */
template <int SIZE>
static __device__ void put_middle(const far &f, const vector &v, size_t i, bool &good)
{
    extreme least = {}, most = {};
    bool any = false;

    for (size_t k = team<SIZE>::lane(); k < v.n; k += SIZE)
        if (!v.mask[k * v.step]) {
            least.take(v.x[k * v.step], k, any, true);
            most.take(v.x[k * v.step], k, any, false);
            any = true;
        }
    for (int by = SIZE / 2; by; by /= 2) {
        const extreme a = { __shfl_xor_sync(ALL, least.v, by),
                            __shfl_xor_sync(ALL, least.at, by) };
        const extreme b = { __shfl_xor_sync(ALL, most.v, by),
                            __shfl_xor_sync(ALL, most.at, by) };
        if (__shfl_xor_sync(ALL, (int)any, by)) {
            least.take(a.v, a.at, any, true);
            most.take(b.v, b.at, any, false);
            any = true;
        }
    }
    if (team<SIZE>::lane())
        return;
    const float low = __fmul_rn(least.v, .5f), high = __fmul_rn(most.v, .5f);
    const float middle = __fadd_rn(low, high);
    f.middle()[i] = middle;
    f.half()[2 * i] = (uint16_t)half_of(middle, good);
    f.half()[2 * i + 1] = (uint16_t)half_of(__fsub_rn(high, low), good);
}

/* gear: the mean of them, whose sum is made in order. */
template <int SIZE>
static __device__ void put_mean(const far &f, const vector &v, size_t i, uint32_t few)
{
    double sum = 0;

    if (team<SIZE>::lane() || !few)
        return;
    for (size_t k = 0; k < v.n; k++)
        sum = __dadd_rn(sum, v.mask[k * v.step] ? 0 : (double)v.x[k * v.step]);
    f.middle()[i] = (float)__ddiv_rn(sum, (double)(v.n - 2 * few));
}

/* How many of a vector are far on either side. */
static __device__ uint32_t few_of(const job &j, size_t n)
{
    const uint32_t per_10000 = j.param[j.method == GEAR ? 3 : 1];
    const uint32_t few = ((uint32_t)n * per_10000 + 10000) / 20000;
    const uint32_t most = (uint32_t)(n - 1) / 2;

    return j.method == KVQUANT ? min(few, most) : few > most ? 0 : few;
}

template <int SIZE>
static __device__ void mark_vectors(const job &j, const far &f, int part, int parts)
{
    const int teams = THREADS / SIZE;
    bool good = true;

    for (size_t i = (size_t)part * teams + threadIdx.x / SIZE; i < f.vectors;
         i += (size_t)parts * teams) {
        const vector v = vector_at(f, i);
        const uint32_t few = few_of(j, v.n);
        mark<SIZE>(v, few, good);
        if (SIZE > 1)
            __syncwarp();
        if (j.method == KVQUANT)
            put_middle<SIZE>(f, v, i, good);
        else
            put_mean<SIZE>(f, v, i, few);
    }
    if (!good)
        refuse(j, f.u.object);
}

/* A channel of keys is a thread's: its neighbours have those beside it. */
static __global__ __launch_bounds__(THREADS) void mark_far(job j, int parts)
{
    const far f(j, blockIdx.x / parts);

    if (f.good && f.u.plane)
        mark_vectors<WARP>(j, f, blockIdx.x % parts, parts);
    else if (f.good)
        mark_vectors<1>(j, f, blockIdx.x % parts, parts);
}

static __global__ __launch_bounds__(THREADS) void gather_marks(job j, int parts)
{
    const far f(j, blockIdx.x / parts);

    if (!f.good)
        return;
    for (size_t w = (size_t)(blockIdx.x % parts) * WARPS + threadIdx.x / WARP;
         32 * w < f.n; w += (size_t)parts * WARPS) {
        const size_t i = 32 * w + threadIdx.x % WARP;
        const uint32_t mask = __ballot_sync(ALL, i < f.n && f.list()[i]);
        if (threadIdx.x % WARP == 0)
            f.word()[w] = { mask, 0 };
    }
}

/* ---- decisions: entropy/range.c has what is done here ---- */

struct decisions_out {
    range_out out;
    uint32_t fast, slow;

    __device__ explicit decisions_out(uint8_t *to)
        : out(to, true), fast(1 << 15), slow(1 << 15) {}
    __device__ void put(bool bit, int rate)
    {
        const uint32_t below = range_in::part(out.range, (fast + slow) / 2, 16);

        out.narrow(bit ? 0 : below, bit ? below : out.range - below);
        fast = towards(fast, bit, min(rate, 4));
        slow = towards(slow, bit, rate);
    }
};

/* A thread has a unit; there is a warp for each, so that they do not wait for each
 * other. */
static __global__ __launch_bounds__(WARP) void code_marks(job j)
{
    const far f(j, blockIdx.x);
    far_head &head = f.head();
    uint32_t count = 0;

    if (!f.good || threadIdx.x)
        return;
    decisions_out out(f.list());
    for (size_t i = 0; i < f.n; i += 32) {
        listed &l = f.word()[i / 32];
        const uint32_t mask = l.mask;
        l.before = count;
        const int n = (int)min(f.n - i, (size_t)32);
        if (i < 64)
            for (int k = 0; k < n; k++)
                out.put(mask >> k & 1, rate_of(i + k));
        else
            for (int k = 0; k < n; k++)
                out.put(mask >> k & 1, LAST_RATE);
        count += __popc(mask);
    }
    head.list_bytes = out.out.finish();
    head.count = count;
    j.segment_size[blockIdx.x] = (uint32_t)(f.raw_bytes(j) +
        (f.n ? list_bytes(f) + tail_bytes(j, f) : 0));
}

/* ---- launch ---- */

extern "C" cudaError_t tsri_kv_gpu_mark(const job *j, cudaStream_t stream)
{
    const unsigned units = (unsigned)count_units(j);
    const int parts = count_parts(j);

    if (!parts)
        return cudaErrorInvalidValue;
    load_far<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    mark_far<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    gather_marks<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_code_marks(const job *j, cudaStream_t stream)
{
    code_marks<<<(unsigned)count_units(j), WARP, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" size_t tsri_kv_gpu_far_bytes(const job *j)
{
    const int tokens = j->tile < j->tokens ? j->tile : j->tokens;
    size_t most = 0;

    for (int p = 0; p < j->planes; p++) {
        const size_t bytes = far_room_of(*j, p, tokens).all;
        most = bytes > most ? bytes : most;
    }
    return most;
}
