/* SPDX-License-Identifier: BSD-2-Clause */
/* Where things are: objects, planes, tiles, segments, elements of the cache; and
 * its numbers as floats. */
#ifndef TSR_CODECS_KV_CUDA_KV_CUH
#define TSR_CODECS_KV_CUDA_KV_CUH
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <tessera/error.h>
#include <tessera/kv.h>
#include "codecs/kv/cuda/kv_kernels.h"

typedef tsri_kv_gpu_job job;
typedef tsri_kv_gpu_object object;

enum { WARP = 32, BOOST_BITS = 3 };
enum {      /* flags of an object */
    HAS_IDS = 1, HAS_BOOSTS = 2, NEEDS_IDS = 4, CHAINED = 8
};
enum {      /* a profile's references, codecs/kv/profile.h */
    REFERS_TO_PREVIOUS = 1, REFERS_TO_ANCHOR = 2, REFERS_TO_MATCH = 3
};
enum : uint32_t { ALL = 0xffffffff };   /* lanes of a warp, as a mask */

/* A segment that is `span` channels of a plane in the rows of a tile: of an
 * object without a profile. */
struct place {
    int object, layer, plane, tile, segment;
    int channel, channels;      /* the first, and how many */
    uint32_t row, rows;         /* the first as a token; rows may be 0 */

    __device__ int group(const job &j) const { return layer * j.planes + plane; }
    /* Where unit_at has the unit (of one level); number of the segment, in the
     * order in which objects hold them. */
    __device__ size_t unit(const job &j) const
    {
        return object * ((size_t)j.groups * j.tiles + 1) +
            (size_t)group(j) * j.tiles + tile;
    }
    __device__ size_t number(const job &j) const
    {
        const size_t before = (size_t)layer * j.layer_segments +
                              (plane ? j.segments[0] : 0);
        return ((size_t)object * j.layers * j.layer_segments + before) *
            j.tiles + (size_t)tile * j.segments[plane] + segment;
    }
    /* Of the first channel among those of all objects. */
    __device__ size_t coefficient(const job &j) const
    {
        return ((size_t)object * j.layers + layer) * j.layer_channels +
            (plane ? j.channels[0] : 0) + channel;
    }
    __device__ uint32_t seed(const job &j) const
    {
        return (uint32_t)segment + 256u * ((uint32_t)group(j) * j.tiles + tile);
    }
};

static __host__ __device__ inline size_t count_segments(const job &j)
{
    return (size_t)j.objects * j.all_segments * j.tiles;
}

/* Rows of a tile: tokens that are no sinks. */
static __device__ uint32_t tile_rows(const job &j, uint32_t sinks, int tile,
                                     uint32_t *first)
{
    const uint32_t begin = (uint32_t)tile * j.tile;
    const uint32_t end = min(begin + j.tile, (uint32_t)j.tokens);

    *first = max(begin, sinks);
    return *first < end ? end - *first : 0;
}

/* The same of any group: `span` of its coefficients. */
struct spot {
    int object, group, tile, segment;
    int first, coefs;       /* the first coefficient, and how many */
    uint32_t row, rows;

    /* Class byte of a coefficient of a set, where the profile has them. */
    __device__ int class_at(const job &j, int set, int c) const
    {
        const tsri_kv_gpu_group &g = j.group[group];
        return g.cls[(size_t)(set >> BOOST_BITS) * g.columns + c];
    }

    __device__ size_t number(const job &j) const
    {
        const tsri_kv_gpu_group &g = j.group[group];
        return ((size_t)object * j.all_segments + g.segment) * j.tiles +
            (size_t)tile * g.segments + segment;
    }
    __device__ size_t unit(const job &j, int levels, int level) const
    {
        return object * ((size_t)j.groups * j.tiles * j.levels + 1) +
            ((size_t)group * j.tiles + tile) * levels + level;
    }
    __device__ uint32_t seed(const job &j, int level) const
    {
        return (uint32_t)segment + 64u * level +
            256u * ((uint32_t)group * j.tiles + tile);
    }
    /* Of a row's values, the segment's first. */
    __device__ int16_t *values(const job &j, uint32_t t) const
    {
        const tsri_kv_gpu_group &g = j.group[group];
        return j.values + (g.pitch_before * j.objects + (size_t)object * g.pitch) *
            j.tokens + (size_t)t * g.pitch + first;
    }
};

/* The n-th spot that warps come to. */
static __device__ spot find_spot(const job &j, size_t n)
{
    const int s = (int)(n % j.all_segments);
    spot p;

    n /= j.all_segments;
    p.tile = (int)(n % j.tiles);
    p.object = (int)(n / j.tiles);
    p.group = j.segment_group[s];
    p.segment = s - j.group[p.group].segment;
    p.first = p.segment * j.span;
    p.coefs = min(j.span, j.group[p.group].coefs - p.first);
    p.rows = tile_rows(j, j.object[p.object].sinks, p.tile, &p.row);
    return p;
}

/* ---- what a decoder wants ---- */

/* Is any plane of a group wanted? */
static __device__ bool is_wanted(const job &j, int group)
{
    const int first = j.group[group].first_plane;

    for (int i = 0; i < j.group[group].planes; i++)
        if (j.base[first + i])
            return true;
    return false;
}

static __device__ bool is_token_wanted(const tsri_kv_gpu_item &item, uint32_t t)
{
    return t >= item.from && t < item.to;
}

/* The first token of the first tile that has tokens that are wanted. */
static __device__ uint32_t first_shown(const job &j, const tsri_kv_gpu_item &item)
{
    return item.from / j.tile * j.tile;
}

/* Levels of a tile that are decoded: where none of its tokens is wanted 0, or the
 * first, which those that are may lean on. */
static __device__ int levels_of(const job &j, int object, int tile)
{
    const tsri_kv_gpu_item &item = j.items[object];
    const tsri_kv_gpu_object &o = j.object[object];
    const uint32_t first = (uint32_t)tile * j.tile;

    if (item.from >= item.to || first >= item.to)
        return 0;
    return first >= first_shown(j, item) ? o.used : (o.flags & CHAINED) != 0;
}

/* Of rows first .. first + n - 1 of all objects' tokens. */
static __device__ bool are_rows_wanted(const job &j, size_t first, size_t n)
{
    const size_t end = min(first + n, (size_t)j.objects * j.tokens);

    while (first < end) {
        const tsri_kv_gpu_item &item = j.items[first / j.tokens];
        const uint32_t t = (uint32_t)(first % j.tokens);
        const size_t here = min((size_t)(j.tokens - t), end - first);
        if (t < item.to && t + here > item.from)
            return true;
        first += here;
    }
    return false;
}

/* Brings what is at p to the second cache. */
static __device__ void bring(const void *p)
{
    asm volatile("prefetch.global.L2 [%0];" : : "l"(p));
}

/* q of the level below, once for each of `times`. */
static __device__ int coarsen(int q, int times)
{
#pragma unroll
    for (int i = 0; i < TSRI_KV_GPU_LEVELS - 1; i++)
        if (i < times) {
            const int a = (abs(q) + 1) * 43691 >> 17;   /* round(|q| / 3) */
            q = q < 0 ? -a : a;
        }
    return q;
}

/* The n-th place that warps come to: heads that share tokens are neighbours. */
static __device__ place find_place(const job &j, size_t n)
{
    place p;

    const int s = (int)(n % j.layer_segments);
    n /= j.layer_segments;
    p.layer = (int)(n % j.layers);
    n /= j.layers;
    p.tile = (int)(n % j.tiles);
    p.object = (int)(n / j.tiles);
    p.plane = s >= j.segments[0];
    p.segment = p.plane ? s - j.segments[0] : s;
    p.channel = p.segment * j.span;
    p.channels = min(j.span, j.channels[p.plane] - p.channel);
    p.rows = tile_rows(j, j.object[p.object].sinks, p.tile, &p.row);
    return p;
}

static __device__ bool has_rows(const job &j, const object &o)
{
    return o.sinks < (uint32_t)j.tokens;
}

/* Bytes of a plane in the head of its group. */
static __device__ uint32_t sink_bytes(const job &j, const object &o, int plane)
{
    return o.sinks * j.heads[plane] * (1 + j.dim[plane]);
}
static __device__ uint32_t plane_bytes(const job &j, const object &o, int plane)
{
    return sink_bytes(j, o, plane) +
        (has_rows(j, o) && !j.profiled && !j.method ? 3 * j.channels[plane] : 0);
}

/* Where a plane's part of its head begins, in an object whose heads begin at
 * `heads`: planes are in order whatever groups they make. */
static __device__ uint64_t head_at(const job &j, const object &o, uint64_t heads,
                                   int layer, int plane)
{
    const uint64_t both = (uint64_t)plane_bytes(j, o, 0) +
                          (j.planes > 1 ? plane_bytes(j, o, 1) : 0);
    return heads + layer * both + (plane ? plane_bytes(j, o, 0) : 0);
}

/* Of the n-th plane of all. */
static __device__ uint64_t plane_at(const job &j, const object &o, int n)
{
    return head_at(j, o, o.heads, n / j.planes, n % j.planes);
}

/* Where the head of a group begins, and how long it is. */
static __device__ uint64_t find_head(const job &j, const object &o, int group,
                                     uint32_t *bytes)
{
    const tsri_kv_gpu_group &g = j.group[group];
    const uint64_t at = plane_at(j, o, g.first_plane);

    *bytes = (uint32_t)(plane_at(j, o, g.first_plane + g.planes) - at);
    return at;
}

/* Bytes of a front whose sections are given, and where its directories are. */
static __device__ uint64_t front_bytes(const job &j, uint32_t sections, int levels)
{
    return TSRI_KV_GPU_HEADER + (uint64_t)sections + 8ull * j.groups +
        8ull * j.groups * j.tiles * levels + 4;
}

/* Boost of a token. */
static __device__ int boost_of(const job &j, const object &o,
                               const uint8_t *data, uint32_t token)
{
    return o.boosts ? data[o.boosts + token / 2] >> token % 2 * 4 & 7 : 0;
}

/* The set of class bytes that a row is coded with: its boost, and above that the
 * row that its match leads to. */
static __device__ int set_of(const job &j, int object, uint32_t t, int boost)
{
    return j.match
        ? boost | j.match[(size_t)object * j.tokens + t] << BOOST_BITS : boost;
}

/* 2^-boost * step and its inverse are exact. */
static __device__ float scaled(float v, int exponent)
{
    return __fmul_rn(v, __int_as_float((127 + exponent) << 23));
}

/* The step of the last of some levels. */
static __device__ float level_step(float coarsest, int levels)
{
    return levels == 1 ? coarsest
                       : __fdiv_rn(coarsest, levels == 2 ? 3.f : 9.f);
}

/* ---- the cache ---- */

/* Token t of the object, in a plane; heads and dims are to be added. */
static __device__ uint8_t *find_token(const job &j, const tsri_kv_gpu_item &item,
                                      int plane, uint32_t t)
{
    const uint64_t token = item.first + t;
    ptrdiff_t at;

    if (item.blocks)
        at = item.blocks[token / j.block_tokens] * j.block_stride +
             (ptrdiff_t)(token % j.block_tokens) * j.token_stride;
    else
        at = (ptrdiff_t)token * j.token_stride;
    return j.base[plane] + at;
}

/* A token of the object after another. */
struct token_walk {
    uint8_t *at;
    const uint8_t *base;
    const int32_t *block;   /* NULL: not paged */
    int in, tokens;         /* of the block */

    __device__ token_walk(const job &j, int object, int plane, uint32_t t)
    {
        const tsri_kv_gpu_item &item = j.items[object];
        at = find_token(j, item, plane, t);
        base = j.base[plane];
        tokens = item.blocks ? j.block_tokens : INT32_MAX;
        in = item.blocks ? (int)((item.first + t) % tokens) : 1 << 30;
        block = item.blocks + (item.first + t) / tokens;
    }
    __device__ void next(const job &j)
    {
        at += j.token_stride;
        if (++in == tokens) {
            in = 0;
            at = (uint8_t *)base + *++block * j.block_stride;
        }
    }
};

static __device__ int element_bytes(int dtype)
{
    return dtype == TSR_KV_F32 ? 4 : dtype <= TSR_KV_BF16 ? 2 : 1;
}

static __device__ float load_element(int dtype, const uint8_t *p)
{
    __half_raw h;

    switch (dtype) {
    case TSR_KV_BF16:
        return __uint_as_float((uint32_t)*(const uint16_t *)p << 16);
    case TSR_KV_F32:
        return *(const float *)p;
    case TSR_KV_F16:
        h.x = *(const uint16_t *)p;
        break;
    case TSR_KV_E4M3:
        h = __nv_cvt_fp8_to_halfraw(*p, __NV_E4M3);
        break;
    default:
        h = __nv_cvt_fp8_to_halfraw(*p, __NV_E5M2);
    }
    return __half2float(h);
}

static __device__ float half_value(bool bf16, uint16_t v)
{
    __half_raw h;

    h.x = v;
    return bf16 ? __uint_as_float((uint32_t)v << 16) : __half2float(h);
}

static __device__ void store_element(int dtype, uint8_t *p, float v)
{
    switch (dtype) {
    case TSR_KV_BF16:
        *(__nv_bfloat16 *)p = __float2bfloat16_rn(v);
        break;
    case TSR_KV_F32:
        *(float *)p = v;
        break;
    case TSR_KV_F16:
        *(__half *)p = __float2half_rn(v);
        break;
    case TSR_KV_E4M3:
        *p = __nv_cvt_float_to_fp8(v, __NV_SATFINITE, __NV_E4M3);
        break;
    default:
        *p = __nv_cvt_float_to_fp8(v, __NV_SATFINITE, __NV_E5M2);
    }
}

static __device__ bool is_finite(float v)
{
    return (__float_as_uint(v) & 0x7fffffff) < 0x7f800000;
}

/* ---- rotation: each operation rounded by itself ---- */

static __device__ float2 angle_of(const job &j, uint64_t position, int pair)
{
    const float2 h = j.high[position / 256 * j.pairs + pair];
    const float2 l = j.low[position % 256 * j.pairs + pair];

    return make_float2(
        __fsub_rn(__fmul_rn(h.x, l.x), __fmul_rn(h.y, l.y)),
        __fadd_rn(__fmul_rn(h.y, l.x), __fmul_rn(h.x, l.y)));
}

static __device__ void take_off(float &a, float &b, float2 cs)
{
    const float x = a, y = b;
    a = __fadd_rn(__fmul_rn(x, cs.x), __fmul_rn(y, cs.y));
    b = __fsub_rn(__fmul_rn(y, cs.x), __fmul_rn(x, cs.y));
}

static __device__ void put_back(float &a, float &b, float2 cs)
{
    const float x = a, y = b;
    a = __fsub_rn(__fmul_rn(x, cs.x), __fmul_rn(y, cs.y));
    b = __fadd_rn(__fmul_rn(y, cs.x), __fmul_rn(x, cs.y));
}

/* Pair that dim d of plane 0 is in, or -1; *other: the pair's other dim. */
static __device__ int pair_of(const job &j, int plane, int d, int *other)
{
    const int i = d - j.offset;

    if (!j.layout || plane || i < 0 || i >= 2 * j.pairs)
        return -1;
    if (j.layout == 2) {
        *other = (i ^ 1) + j.offset;
        return i / 2;
    }
    *other = i < j.pairs ? d + j.pairs : d - j.pairs;
    return i % j.pairs;
}

/* Element (token, channel) with its rotation taken off; finite says no where
 * the value is not. */
static __device__ float load_value(const job &j, const tsri_kv_gpu_item &item,
                                   const place &p, uint32_t t, int channel,
                                   bool &finite)
{
    const int dim = j.dim[p.plane], size = element_bytes(j.dtype);
    const int head = channel / dim, d = channel % dim;
    const uint8_t *at = find_token(j, item, p.group(j), t) +
                        head * j.head_stride;
    float v = load_element(j.dtype, at + d * size);
    int other = 0;
    const int pair = pair_of(j, p.plane, d, &other);

    finite &= is_finite(v);
    if (pair >= 0) {
        float w = load_element(j.dtype, at + other * size);
        const float2 cs =
            j.angles[((size_t)p.object * j.tokens + t) * j.pairs + pair];
        if (d < other)
            take_off(v, w, cs);
        else
            take_off(w, v, cs);
    }
    return v;
}

/* ---- values ---- */

enum { MOST_VALUE = 32767 };

/* Added to a small number it rounds it to the nearest integer, ties to even. */
static const float ROUNDER = 12582912;

static __device__ void refuse(const job &j, int object)
{
    atomicCAS(j.items[object].status, TSR_OK, TSR_E_ARG);
}

/* Boost of a token, encoding, where only the last ones have any. */
static __device__ int boost_at(const job &j, uint32_t t)
{
    return t + j.recent >= (uint32_t)j.tokens ? j.recent_boost : 0;
}

/* The same where the caller may have given some. */
static __device__ int boost_at(const job &j, int object, uint32_t t)
{
    const uint8_t *given = j.sample ? j.items[object].boost : NULL;
    return given ? max(boost_at(j, t), (int)given[t]) : boost_at(j, t);
}

/* v is not over MOST_VALUE by half: rounded to nearest even. */
static __device__ int round_value(float v)
{
    return __float_as_int(__fadd_rn(v, ROUNDER)) - 0x4B400000;
}

static __device__ bool is_value(float v)
{
    return fabsf(v) < MOST_VALUE + .5f;     /* no for a NaN */
}

static __device__ float centre_of(const job &j, const place &p, int channel)
{
    return __fmul_rn((float)j.centre[p.coefficient(j) + channel],
                     scaled(j.step[p.plane], -2));
}

/* Class and centre of a channel as the head has them; false: no such class. */
static __device__ bool read_channel(const job &j, const place &p, int channel,
                                    int *cls, float *m)
{
    const object &o = j.object[p.object];
    const uint8_t *head = j.items[p.object].data +
        head_at(j, o, o.heads, p.layer, p.plane) + sink_bytes(j, o, p.plane);
    const uint8_t *centre = head + j.channels[p.plane] + 2 * channel;

    *cls = head[channel] & 63;
    *m = __fmul_rn((float)(int16_t)(centre[0] | centre[1] << 8),
                   scaled(o.step[p.plane], -2));
    return head[channel] < 64;
}

/* Threads 0 .. threads - 1 move n bytes.  Words of four bytes are written whole; each is
 * made of two of the source, which has room after its end. */
static __device__ void move(uint8_t *to, const uint8_t *from, uint32_t n,
                            uint32_t thread, uint32_t threads)
{
    const uint32_t head = min(n, (uint32_t)-(uintptr_t)to & 3);
    const uint32_t words = (n - head) / 4, tail = head + 4 * words;

    if (thread < head)
        to[thread] = from[thread];
    if (thread < n - tail)
        to[tail + thread] = from[tail + thread];
    from += head;
    to += head;
    const uint32_t *p = (const uint32_t *)((uintptr_t)from & ~(uintptr_t)3);
    const uint32_t shift = 8 * ((uint32_t)(uintptr_t)from & 3);
#pragma unroll 4
    for (uint32_t i = thread; i < words; i += threads)
        ((uint32_t *)to)[i] = __funnelshift_r(__ldcs(p + i), __ldcs(p + i + 1),
                                              shift);
}
#endif
