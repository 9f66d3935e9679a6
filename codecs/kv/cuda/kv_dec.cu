/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments to values in the cache.  Objects that are good so far are decoded
 * whatever their bytes are; a segment that is none spoils its object. */
#include "codecs/kv/cuda/rows.cuh"

enum { WARPS = 32, RESTORE = 256 };

static __device__ void spoil(const job &j, int object, int32_t error)
{
    atomicCAS(j.items[object].status, TSR_OK, error);
}

/* A segment in its unit: sizes first, then all segments.  False where the unit
 * is not that. */
static __device__ bool find_segment(const job &j, const place &p,
                                    const uint8_t **data, uint32_t *size)
{
    const int lane = threadIdx.x % WARP, n = j.segments[p.plane];
    const uint64_t *unit = j.unit_at + p.unit(j);
    const uint64_t bytes = unit[1] - unit[0];
    const uint8_t *sizes = j.items[p.object].data + unit[0];
    uint64_t before = 0, all = 0;
    uint32_t own = 0;

    if (bytes < 4ull * n)
        return false;
    for (int i = lane; i < n; i += WARP) {
        const uint8_t *s = sizes + 4 * i;
        const uint32_t v = s[0] | s[1] << 8 | s[2] << 16 | (uint32_t)s[3] << 24;
        before += i < p.segment ? v : 0;
        own = i == p.segment ? v : own;
        all += v;
    }
    for (int by = WARP / 2; by; by /= 2) {
        before += __shfl_xor_sync(ALL, before, by);
        all += __shfl_xor_sync(ALL, all, by);
    }
    *size = __shfl_sync(ALL, own, p.segment % WARP);
    *data = sizes + 4 * n + before;
    return all == bytes - 4ull * n;
}

/* Class and centre of a channel as the head has them; false: no such class. */
static __device__ bool read_channel(const job &j, const place &p, int channel,
                                    int *cls, float *m)
{
    const object &o = j.object[p.object];
    const uint8_t *head = j.items[p.object].data +
        head_at(j, o, o.heads, p.layer, p.plane) + sink_bytes(j, o, p.plane);
    const uint8_t *centre = head + j.channels[p.plane] + 2 * channel;

    *cls = head[channel] & MOST_CLASS;
    *m = __fmul_rn((float)(int16_t)(centre[0] | centre[1] << 8),
                   scaled(o.step[p.plane], -2));
    return head[channel] <= MOST_CLASS;
}

/* ---- heads whole, in registers ---- */

/* How a lane's coefficients are coded; four bits a strip where it is not an
 * array. */
template <int STRIPS>
struct strips {
    uint32_t slots[STRIPS], entries[STRIPS];
    float m[STRIPS];
    uint32_t low, reach;
    uint32_t any_low;           /* a bit a strip */

    __device__ coding of(int s) const
    {
        return { 0, (int)(low >> 4 * s & 15), (int)(reach >> 4 * s & 15) };
    }

    /* Takes classes and centres from the head; false where they are none. */
    __device__ bool set(const job &j, const place &p, const rows_memory &memory,
                        int boost)
    {
        bool good = true;

        low = reach = any_low = 0;
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            int cls;
            good &= read_channel(j, p, p.channel + s * WARP + threadIdx.x % WARP,
                                 &cls, &m[s]);
            const coding k = coding_of(j.tables, class_of(cls, boost));
            slots[s] = memory.slots + k.table * SLOTS;
            entries[s] = memory.entries + k.table * STRIDE * 4;
            low |= (uint32_t)k.low << 4 * s;
            reach |= (uint32_t)k.reach << 4 * s;
            any_low |= __any_sync(ALL, k.low) ? 1u << s : 0;
        }
        return good;
    }
};

/* What the symbols without raw bits stand for, before centres. */
static __device__ void set_floats(uint32_t ring, float step)
{
    const int lane = threadIdx.x % WARP;

    __syncwarp();
    store_shared32(ring + FLOATS + 4 * lane,
                   __float_as_uint(__fmul_rn((float)level_of(lane), step)));
    __syncwarp();
}

/* A token's values, the strips one after another, if there are no escapes;
 * returns false where there are some, and then nothing was taken. */
template <int STRIPS>
static __device__ bool take_plain(decoder &d, const strips<STRIPS> &k, float step,
                                  uint32_t before, float v[STRIPS])
{
    const uint32_t x = d.x, sum = d.sum, pos = d.pos;
    uint32_t most = 0;

#pragma unroll
    for (int s = 0; s < STRIPS; s++) {
        const uint32_t y = d.take<true>(k.slots[s], k.entries[s], before, true);
        most = max(most, y);
        if (k.any_low >> s & 1) {
            const int low = k.of(s).low;
            const int tail = (int)d.take_uniform(low, before, true);
            v[s] = __fmul_rn((float)value_of(level_of(y), tail, low), step);
        } else {
            v[s] = __uint_as_float(load_shared32(d.ring + 4 * y + FLOATS));
        }
        v[s] = __fadd_rn(v[s], k.m[s]);
    }
    if (!__any_sync(ALL, most >= ESCAPE_SYMBOL))
        return true;
    d.x = x;
    d.sum = sum;
    d.pos = pos;
    return false;
}

/* The same without raw bits. */
template <int STRIPS>
static __device__ bool take_symbols(decoder &d, const strips<STRIPS> &k,
                                    uint32_t before, float v[STRIPS])
{
    const uint32_t x = d.x, sum = d.sum, pos = d.pos;
    uint32_t most = 0;

#pragma unroll
    for (int s = 0; s < STRIPS; s++) {
        const uint32_t y = d.take<true>(k.slots[s], k.entries[s], before, true);
        most = max(most, y);
        v[s] = __fadd_rn(__uint_as_float(load_shared32(d.ring + 4 * y + FLOATS)),
                         k.m[s]);
    }
    if (!__any_sync(ALL, most >= ESCAPE_SYMBOL))
        return true;
    d.x = x;
    d.sum = sum;
    d.pos = pos;
    return false;
}

/* The same with everything there may be. */
template <int STRIPS>
static __device__ void take_values(decoder &d, const strips<STRIPS> &k,
                                   float step, uint32_t before, float v[STRIPS])
{
#pragma unroll
    for (int s = 0; s < STRIPS; s++) {
        const uint32_t y = d.take<true>(k.slots[s], k.entries[s], before, true);
        const int q = d.take_rest(y, k.of(s), k.any_low >> s & 1, before, true);
        v[s] = __fadd_rn(__fmul_rn((float)q, step), k.m[s]);
        if (s % 4 == 3)
            d.fill();
    }
}

/* A token's values turned back; the dims of a pair are in the same lane, HEAD /
 * 2 strips from each other. */
template <int STRIPS, int HEAD>
static __device__ void turn_back(float v[STRIPS], const float2 cs[HEAD / 2])
{
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
        if (s % HEAD < HEAD / 2)
            put_back(v[s], v[s + HEAD / 2], cs[s % (HEAD / 2)]);
}

template <int STRIPS, int HEAD>
static __device__ void store_token(uint8_t *to, ptrdiff_t head_stride, bool bf16,
                                   const float v[STRIPS])
{
#pragma unroll
    for (int s = 0; s < STRIPS; s++) {
        if (s && s % HEAD == 0)
            to += head_stride;
        __stwb((uint16_t *)(to + s % HEAD * 2 * WARP),
               bf16 ? __bfloat16_as_ushort(__float2bfloat16_rn(v[s]))
                    : __half_as_ushort(__float2half_rn(v[s])));
    }
}

/* Segments are whole heads of HEAD strips.  Tokens come in runs that are
 * neighbours in memory; one by one, where they have boosts. */
template <int STRIPS, int HEAD>
static __device__ void decode_heads(const job &j, const place &p, decoder &d,
                                    const rows_memory &memory)
{
    const int lane = threadIdx.x % WARP;
    const bool turned = j.layout && !p.plane, bf16 = j.dtype == TSR_KV_BF16;
    const uint32_t before = lanes_before(), end = p.row + p.rows;
    const uint32_t boosts = j.object[p.object].boosts;
    const float whole = j.object[p.object].step[p.plane];
    const ptrdiff_t first = (ptrdiff_t)(p.channel / WARP / HEAD) * j.head_stride +
                            2 * lane;
    const float2 *cs = j.angles +
        ((size_t)p.object * j.tokens + p.row) * j.pairs + lane;
    strips<STRIPS> k;
    float step = whole;
    int boost = 0;

    d.bad |= !k.set(j, p, memory, 0);
    set_floats(d.ring, step);
    for (uint32_t t = p.row; t < end; ) {
        const tsri_kv_gpu_item &item = j.items[p.object];
        uint8_t *to = find_token(j, item, p.group(j), t) + first;
        uint32_t run = item.blocks ? j.block_tokens -
                       (uint32_t)((item.first + t) % j.block_tokens) : end - t;
        run = min(run, end - t);
        if (boosts) {
            const int wanted = item.data[boosts + t / 2] >> t % 2 * 4 & 7;
            run = 1;
            if (wanted != boost) {
                boost = wanted;
                step = scaled(whole, -boost);
                k.set(j, p, memory, boost);
                set_floats(d.ring, step);
            }
        }
        t += run;
#pragma unroll 1
        for (; run; run--, to += j.token_stride, cs += j.pairs) {
            float2 angle[HEAD / 2];
            float v[STRIPS];
#pragma unroll
            for (int s = 0; turned && s < HEAD / 2; s++)
                angle[s] = __ldg(cs + s * WARP);
            d.fill();
            if (!(k.any_low ? take_plain<STRIPS>(d, k, step, before, v)
                            : take_symbols<STRIPS>(d, k, before, v)))
                take_values<STRIPS>(d, k, step, before, v);
            if (turned)
                turn_back<STRIPS, HEAD>(v, angle);
            store_token<STRIPS, HEAD>(to, j.head_stride, bf16, v);
        }
    }
}

/* ---- any other shape: values to scratch ---- */

static __device__ int16_t *find_values(const job &j, const place &p)
{
    const size_t plane = ((size_t)p.object * j.layers + p.layer) *
        j.layer_channels + (p.plane ? j.channels[0] : 0);
    return j.values + plane * j.tokens + p.channel;
}

static __device__ void decode_values(const job &j, const place &p, decoder &d,
                                     const rows_memory &memory)
{
    const int lane = threadIdx.x % WARP;
    const object &o = j.object[p.object];
    const uint32_t before = lanes_before();
    int16_t *q = find_values(j, p) + (size_t)p.row * j.channels[p.plane] + lane;
    float m;

    for (uint32_t t = p.row; t < p.row + p.rows; t++) {
        const int boost = boost_of(j, o, j.items[p.object].data, t);
        for (int c = 0; c < p.channels; c += WARP) {
            const bool active = c + lane < p.channels;
            int cls = 0;
            if (active)
                d.bad |= !read_channel(j, p, p.channel + c + lane, &cls, &m);
            const coding k = coding_of(j.tables, class_of(cls, boost));
            d.fill();
            const uint32_t s = d.take<false>(memory.slots + k.table * SLOTS,
                                             memory.entries + k.table * STRIDE * 4,
                                             before, active);
            const int v = d.take_rest(s, k, __any_sync(ALL, active && k.low),
                                      before, active);
            if (active)
                q[c] = (int16_t)v;
        }
        q += j.channels[p.plane];
    }
}

/* Values in scratch to the cache; a thread block has a token of a plane. */
static __global__ __launch_bounds__(RESTORE) void restore(job j)
{
    const uint32_t t = blockIdx.x % j.tokens, n = blockIdx.x / j.tokens;
    place p;

    p.layer = n / j.planes % j.layers;
    p.plane = n % j.planes;
    p.object = n / j.groups;
    p.channel = 0;
    const object &o = j.object[p.object];
    const tsri_kv_gpu_item &item = j.items[p.object];
    if (!o.good || t < o.sinks || !j.base[p.group(j)])
        return;
    const int16_t *q = find_values(j, p) + (size_t)t * j.channels[p.plane];
    const float step = scaled(o.step[p.plane], -boost_of(j, o, item.data, t));
    const int dim = j.dim[p.plane], size = element_bytes(j.dtype);
    uint8_t *to = find_token(j, item, p.group(j), t);

    for (int c = threadIdx.x; c < j.channels[p.plane]; c += RESTORE) {
        float m, v, w;
        int cls, other = 0;
        const int d = c % dim, pair = pair_of(j, p.plane, d, &other);
        read_channel(j, p, c, &cls, &m);
        v = __fadd_rn(__fmul_rn((float)q[c], step), m);
        if (pair >= 0) {
            const float2 cs =
                j.angles[((size_t)p.object * j.tokens + t) * j.pairs + pair];
            read_channel(j, p, c - d + other, &cls, &m);
            w = __fadd_rn(__fmul_rn((float)q[c - d + other], step), m);
            if (d < other)
                put_back(v, w, cs);
            else
                put_back(w, v, cs);
        }
        store_element(j.dtype, to + c / dim * j.head_stride + d * size, v);
    }
}

/* ---- sinks ---- */

static __device__ float sink_value(const uint8_t *head, int d)
{
    return __fmul_rn((float)(int8_t)head[1 + d],
                     __int_as_float((127 + (int8_t)head[0]) << 23));
}

/* A thread block has the sinks of a group. */
static __global__ __launch_bounds__(RESTORE) void restore_sinks(job j)
{
    const int n = blockIdx.x, i = n / j.groups, layer = n / j.planes % j.layers;
    const int plane = n % j.planes, dim = j.dim[plane];
    const object &o = j.object[i];

    if (!o.good || !j.base[n % j.groups])
        return;
    const uint8_t *heads = j.items[i].data + head_at(j, o, o.heads, layer, plane);
    const uint32_t each = (uint32_t)j.channels[plane];
    for (uint32_t k = threadIdx.x; k < o.sinks * each; k += RESTORE) {
        const uint32_t t = k / each, head = k % each / dim;
        const int d = (int)(k % each % dim);
        const uint8_t *in = heads + (t * j.heads[plane] + head) * (1 + dim);
        int other = 0;
        const int pair = pair_of(j, plane, d, &other);
        float v = sink_value(in, d), w;
        if (pair >= 0) {
            const float2 cs =
                j.angles[((size_t)i * j.tokens + t) * j.pairs + pair];
            w = sink_value(in, other);
            if (d < other)
                put_back(v, w, cs);
            else
                put_back(w, v, cs);
        }
        store_element(j.dtype, find_token(j, j.items[i], layer * j.planes + plane,
                                          t) + head * j.head_stride +
                      d * element_bytes(j.dtype), v);
    }
}

/* ---- launch ---- */

/* STRIPS 0: any shape.  Thread blocks have segments that are neighbours. */
template <int STRIPS, int HEAD>
static __global__ __launch_bounds__(WARPS * WARP, 1)
void decode(job j, size_t segments)
{
    extern __shared__ uint8_t shared[];
    const int warp = threadIdx.x / WARP;
    const rows_memory memory((uint32_t)__cvta_generic_to_shared(shared),
                             j.tables.tables, warp);
    const size_t end = segments * (blockIdx.x + 1) / gridDim.x;

    load_tables(j.tables, memory);
    for (size_t n = segments * blockIdx.x / gridDim.x + warp; n < end; n += WARPS) {
        const place p = find_place(j, n);
        const uint8_t *data;
        uint32_t size;
        decoder d;
        if (!j.object[p.object].good || !p.rows || !j.base[p.group(j)])
            continue;
        if (!find_segment(j, p, &data, &size)) {
            spoil(j, p.object, TSR_E_CORRUPT);
            continue;
        }
        d.ring = memory.ring;
        d.open(data, size, p.seed(j));
        if constexpr (STRIPS > 0)
            decode_heads<STRIPS, HEAD>(j, p, d, memory);
        else
            decode_values(j, p, d, memory);
        if (!d.close(p.seed(j)) && threadIdx.x % WARP == 0)
            spoil(j, p.object, TSR_E_CORRUPT);
    }
}

template <int STRIPS, int HEAD>
static cudaError_t launch(const job *j, cudaStream_t stream)
{
    const size_t segments = count_segments(j);
    const size_t bytes = rows_memory(1, j->tables.tables, WARPS).ring;
    const size_t grid = (segments + WARPS - 1) / WARPS;
    const cudaError_t error = cudaFuncSetAttribute(
        (const void *)decode<STRIPS, HEAD>,
        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);

    if (error)
        return error;
    decode<STRIPS, HEAD><<<(unsigned)(grid < (size_t)j->sms ? grid : j->sms),
                           WARPS * WARP, bytes, stream>>>(*j, segments);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_decode(const job *j, cudaStream_t stream)
{
    const size_t rows = (size_t)j->objects * j->groups * j->tokens;
    cudaError_t error;

    if (rows > INT32_MAX)
        return cudaErrorInvalidValue;
    if (!rows)
        return cudaSuccess;
    restore_sinks<<<(unsigned)j->objects * j->groups, RESTORE, 0, stream>>>(*j);
    switch (j->strips) {
    case 8:
        return j->head_strips == 4 ? launch<8, 4>(j, stream)
                                   : launch<8, 2>(j, stream);
    case 4:
        return j->head_strips == 4 ? launch<4, 4>(j, stream)
                                   : launch<4, 2>(j, stream);
    }
    error = launch<0, 1>(j, stream);
    if (error)
        return error;
    restore<<<(unsigned)rows, RESTORE, 0, stream>>>(*j);
    return cudaGetLastError();
}
