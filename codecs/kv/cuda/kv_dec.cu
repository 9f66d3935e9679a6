/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments of heads straight to the cache (no profile, one level), and sinks.
 * Objects that are good so far are decoded whatever their bytes are; a segment
 * that is none spoils its object.  kv_get.cu has the rest. */
#include "codecs/kv/cuda/rows.cuh"

enum { WARPS = 32, RESTORE = 256 };

/* A segment in its unit. */
static __device__ bool find_segment(const job &j, const place &p,
                                    const uint8_t **data, uint32_t *size)
{
    return find_part(j, p.object, p.unit(j), p.segment, j.segments[p.plane], data,
                     size);
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
    const uint32_t from = j.items[p.object].from, until = j.items[p.object].to;
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
        const bool wanted = t >= from && t < until;
        run = min(run, wanted ? min(end, until) - t
                              : (t < from ? min(end, from) : end) - t);
        if (boosts) {
            const int given = item.data[boosts + t / 2] >> t % 2 * 4 & 7;
            run = 1;
            if (given != boost) {
                boost = given;
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
            if (wanted)
                store_token<STRIPS, HEAD>(to, j.head_stride, bf16, v);
        }
    }
}

/* ---- sinks ---- */

static __device__ float sink_value(const uint8_t *head, int d)
{
    const int e = (int8_t)head[0];      /* below -126 its power is denormal */

    return __fmul_rn((float)(int8_t)head[1 + d],
                     __int_as_float(e < -126 ? 1 << (149 + e) : (127 + e) << 23));
}

/* A thread block has the sinks of a group. */
static __global__ __launch_bounds__(RESTORE) void restore_sinks(job j)
{
    const int n = blockIdx.x, i = n / (j.layers * j.planes);
    const int layer = n / j.planes % j.layers;
    const int plane = n % j.planes, dim = j.dim[plane];
    const object &o = j.object[i];

    if (!o.good || !j.base[layer * j.planes + plane])
        return;
    const uint8_t *heads = j.items[i].data + head_at(j, o, o.heads, layer, plane);
    const uint32_t each = (uint32_t)j.channels[plane];
    for (uint32_t k = threadIdx.x; k < o.sinks * each; k += RESTORE) {
        const uint32_t t = k / each, head = k % each / dim;
        if (!is_token_wanted(j.items[i], t))
            continue;
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

/* Thread blocks have segments that are neighbours. */
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
        if (!j.object[p.object].good || !p.rows || !j.base[p.group(j)] ||
            !levels_of(j, p.object, p.tile))
            continue;
        if (!find_segment(j, p, &data, &size)) {
            spoil(j, p.object, TSR_E_CORRUPT);
            continue;
        }
        d.ring = memory.ring;
        d.open(data, size, p.seed(j));
        decode_heads<STRIPS, HEAD>(j, p, d, memory);
        if (!d.close(p.seed(j)) && threadIdx.x % WARP == 0)
            spoil(j, p.object, TSR_E_CORRUPT);
    }
}

template <int STRIPS, int HEAD>
static cudaError_t launch(const job *j, cudaStream_t stream)
{
    const size_t segments = count_segments(*j);
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

extern "C" cudaError_t tsri_kv_gpu_sinks(const job *j, cudaStream_t stream)
{
    const size_t planes = (size_t)j->objects * j->layers * j->planes;

    if (planes > INT32_MAX)
        return cudaErrorInvalidValue;
    restore_sinks<<<(unsigned)planes, RESTORE, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_decode(const job *j, cudaStream_t stream)
{
    if (j->strips == 8)
        return j->head_strips == 4 ? launch<8, 4>(j, stream)
                                   : launch<8, 2>(j, stream);
    return j->head_strips == 4 ? launch<4, 4>(j, stream)
                               : launch<4, 2>(j, stream);
}
