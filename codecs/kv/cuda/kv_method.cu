/* SPDX-License-Identifier: BSD-2-Clause */
/* Published methods' units to the cache, once it is known where their parts are
 * (kv_parts.cu): a thread has a value. */
#include "codecs/kv/cuda/method.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP, SOME = 32, MOST_DIM = 2048 };

/* ---- values ---- */

/* Of tokens that are as they are: row t of them. */
static __device__ float raw_value(const unit &u, int t, int c, bool &good)
{
    const float v = value_at(u.dtype, u.part + ((size_t)t * u.channels + c) *
                                      element_bytes(u.dtype));
    good &= is_finite(v);
    return v;
}

/* *v becomes what the list says of value i, if it has it. */
static __device__ void look_up(const unit &u, size_t i, float *v, bool &good)
{
    const listed &l = u.list[i / 32];
    const uint32_t before = (1u << i % 32) - 1;

    if (!(l.mask >> i % 32 & 1))
        return;
    *v = value_at(TSR_KV_F16, u.value +
                  2 * ((size_t)l.before + __popc(l.mask & before)));
    good &= is_finite(*v);
}

static __device__ float cachegen_value(const unit &u, int t, int c, bool &good)
{
    const int q = (int)u.code.get(t, c), m = u.bins / 2 - 1;
    const float s = value_at(u.dtype, u.part + t * element_bytes(u.dtype));

    good &= is_finite(s) & (q <= 2 * m);
    return __fmul_rn(__fdiv_rn((float)(q - m), (float)m), s);
}

static __device__ float kvquant_value(const unit &u, int t, int c, bool &good)
{
    const int r = t - u.raw;

    if (r < 0)
        return raw_value(u, t, c, good);
    const int row = u.plane ? r : 0, column = u.plane ? 0 : 2 * c;
    const float offset = u.element.value(row, column, good);
    const float range = u.element.value(row, column + 1, good);
    float v = __fadd_rn(__fmul_rn(u.level[u.code.get(r, c)],
                                  range > 0 ? range : 1e-30f), offset);
    look_up(u, (size_t)r * u.channels + c, &v, good);
    return v;
}

static __device__ float gear_value(const unit &u, int t, int c, bool &good)
{
    const uint8_t *p = u.part + 2 * (size_t)(c / u.dim) * u.rank *
                                (u.tokens + u.dim);
    const uint8_t *q = p + 2 * (size_t)u.rank * u.tokens;
    float v = u.g[0].value(t, c, good);

    for (int k = 0; k < u.rank; k++) {
        const float a = value_at(TSR_KV_F16, p + 2 * ((size_t)k * u.tokens + t));
        const float b = value_at(TSR_KV_F16, q + 2 * (k * u.dim + c % u.dim));
        good &= is_finite(a) & is_finite(b);
        v = __fadd_rn(v, __fmul_rn(a, b));
    }
    look_up(u, (size_t)t * u.channels + c, &v, good);
    return v;
}

/* An index of more than 8 bits: `digits` are a number, of which the last one may
 * be too large. */
static __device__ uint64_t index_at(const books &b, const uint8_t *data, size_t n,
                                    size_t i)
{
    const size_t number = i / b.digits, first = number * b.bits;
    const int digits = (int)min((size_t)b.digits, n - number * b.digits);
    const int bits = digits < b.digits ? b.rest_bits[digits] : b.bits;
    uint64_t v = 0;

    for (int got = 0; got < bits; got += 16)
        v |= (uint64_t)bits_at(data, first + got, min(16, bits - got)) << got;
    for (int k = 0; k < (int)(i % b.digits); k++)
        v /= b.entries;
    return (int)(i % b.digits) == digits - 1 ? v : v % b.entries;
}

static __device__ float vq_value(const job &j, const unit &u, int t, int c,
                                 bool &good)
{
    const books &b = j.books[u.number];
    const int g = c / b.dims;
    float v = 0;

    for (int i = 0; i < b.stages; i++) {
        const uint64_t index = b.entries <= 256
            ? u.stage[i].get(t, g)
            : index_at(b, u.word[i], (size_t)u.tokens * b.groups,
                       (size_t)t * b.groups + g);
        good &= index < (uint32_t)b.entries;
        if (index < (uint32_t)b.entries)
            v = __fadd_rn(v, b.at[(((size_t)i * b.groups + g) * b.entries + index) *
                                  b.dims + c % b.dims]);
    }
    return v;
}

static __device__ float class_value(const job &j, const unit &u, int t, int c,
                                    bool &good)
{
    const int m = j.rank[(size_t)u.object * j.tokens + u.first + t];
    const int k = m < 0;    /* of the others, counted from -1 down */
    const float v = u.g[k].value(k ? -1 - m : m, c, good);

    return is_separable(j, u.plane)
        ? __fmul_rn(v, u.element.value(0, c, good)) : v;
}

/* The value of token t of the tile, channel c; good says no where its numbers are
 * none. */
static __device__ float value_of(const job &j, const unit &u, int t, int c,
                                 bool &good)
{
    switch (j.method) {
    case FP8:
        return u.element.value(t, c, good);
    case CACHEGEN:
        return cachegen_value(u, t, c, good);
    case KIVI:
        return t < u.g[0].tokens ? u.g[0].value(t, c, good)
                                 : raw_value(u, t - u.g[0].tokens, c, good);
    case KVQUANT:
        return kvquant_value(u, t, c, good);
    case GEAR:
        return gear_value(u, t, c, good);
    case TURBOQUANT:
        return u.g[0].value(t, c, good);
    case VQ:
        return vq_value(j, u, t, c, good);
    default:
        return class_value(j, u, t, c, good);
    }
}

/* ---- turned keys ---- */

/* Channels first .. first + n - 1 of token t, whole heads, into x; by a thread
 * block. */
static __device__ void turn_keys(const job &j, const unit &u, int t, int first,
                                 int n, float *x, bool &good)
{
    const int bits = j.param[0], half = 1 << (bits - 1);

    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int q = (int)u.code.get(t, first + i);
        x[i] = q < half ? -level_above(bits, half - 1 - q)
                        : level_above(bits, q - half);
    }
    transform_heads(x, n, u.dim);
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int d = i % u.dim;
        const float length = u.element.value(t, (first + i) / u.dim, good);
        x[i] = __fmul_rn(x[i], __fdiv_rn(is_negative(j, u.layer, d) ? -length
                                                                    : length,
                                         (float)u.dim));
    }
}

/* ---- kernels ---- */

/* By a thread block: each token's place among those of its class; the others' are
 * -1 - place.  An encoder's boosts are not in its object yet. */
template <bool ENCODING>
static __global__ __launch_bounds__(THREADS) void rank_tokens(job j)
{
    __shared__ int warp_sum[WARPS];
    const int i = blockIdx.x / j.tiles, tile = blockIdx.x % j.tiles;
    const int first = tile * j.tile, n = min(j.tile, j.tokens - first);
    const object &o = j.object[i];
    const int warp = threadIdx.x / WARP;
    const uint32_t before_me = (1u << threadIdx.x % WARP) - 1;
    int salient = 0;

    if (!o.good)
        return;
    for (int base = 0; base < n; base += THREADS) {
        const int t = base + (int)threadIdx.x;
        const bool is = t < n &&
            (!o.boosts || (ENCODING ? boost_at(j, i, first + t)
                                    : boost_of(j, o, j.items[i].data, first + t)));
        const uint32_t mask = __ballot_sync(ALL, is);
        int before = salient + __popc(mask & before_me);
        if (threadIdx.x % WARP == 0)
            warp_sum[warp] = __popc(mask);
        __syncthreads();
        for (int w = 0; w < WARPS; w++) {
            before += w < warp ? warp_sum[w] : 0;
            salient += warp_sum[w];
        }
        if (t < n)
            j.rank[(size_t)i * j.tokens + first + t] = is ? before
                                                          : -1 - (t - before);
        __syncthreads();
    }
    if (!threadIdx.x)
        j.salient[(size_t)i * j.tiles + tile] = salient;
}

static __device__ uint8_t *element_of(const job &j, const unit &u, uint8_t *token,
                                      int c)
{
    return token + c / u.dim * j.head_stride +
        c % u.dim * element_bytes(j.dtype);
}

static __device__ void put(const job &j, const unit &u, uint8_t *token, int c,
                           float v)
{
    store_element(j.dtype, element_of(j, u, token, c), v);
}

/* An element as it is, of the cache's own type. */
static __device__ void put_bits(int dtype, uint8_t *to, uint32_t v)
{
    if (element_bytes(dtype) == 4)
        *(uint32_t *)to = v;
    else if (element_bytes(dtype) == 2)
        *(uint16_t *)to = (uint16_t)v;
    else
        *to = (uint8_t)v;
}

/* Channels of a token; those that are turned by position go in pairs, where the
 * method has them without. */
static __device__ void put_token(const job &j, const unit &u, int t, uint8_t *to,
                                 bool &good)
{
    for (int c = threadIdx.x; c < u.channels; c += THREADS) {
        const int d = c % u.dim;
        int other = 0;
        const int pair = pair_of(j, u.plane, d, &other);
        if (j.method == LOSSLESS) {
            put_bits(j.dtype, element_of(j, u, to, c), u.element.get(t, c, good));
        } else if (pair < 0) {
            put(j, u, to, c, value_of(j, u, t, c, good));
        } else if (d < other) {
            float v = value_of(j, u, t, c, good);
            float w = value_of(j, u, t, c - d + other, good);
            put_back(v, w, j.angles[((size_t)u.object * j.tokens + u.first + t) *
                                    j.pairs + pair]);
            put(j, u, to, c, v);
            put(j, u, to, c - d + other, w);
        }
    }
}

static __device__ void put_turned(const job &j, const unit &u, int t, uint8_t *to,
                                  float *x, bool &good)
{
    const int width = max(u.dim, (int)THREADS) / u.dim * u.dim;

    for (int c = 0; c < u.channels; c += width) {
        const int some = min(width, u.channels - c);
        turn_keys(j, u, t, c, some, x, good);
        for (int i = threadIdx.x; i < some; i += THREADS)
            put(j, u, to, c + i, x[i]);
        __syncthreads();
    }
}

/* A thread block has some tokens of a unit. */
static __global__ __launch_bounds__(THREADS) void decode_units(job j, int parts)
{
    __shared__ float x[MOST_DIM];
    const int part = blockIdx.x % parts;
    const unit &u = ((const unit *)j.units)[blockIdx.x / parts];
    const tsri_kv_gpu_item &item = j.items[u.object];
    bool good = true;

    if (!u.good)
        return;
    for (int t = part * SOME; t < min(u.tokens, (part + 1) * SOME); t++) {
        if (!is_token_wanted(item, u.first + t))
            continue;
        uint8_t *to = find_token(j, item, u.number, u.first + t);
        if (j.method == TURBOQUANT && !u.plane)
            put_turned(j, u, t, to, x, good);
        else
            put_token(j, u, t, to, good);
    }
    if (!good)
        atomicCAS(item.status, TSR_OK, TSR_E_CORRUPT);
}

/* Before the units' parts are found. */
extern "C" cudaError_t tsri_kv_gpu_rank(const job *j, cudaStream_t stream)
{
    const unsigned tiles = (unsigned)(j->objects * j->tiles);

    if (j->rank)
        rank_tokens<false><<<tiles, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_rank_given(const job *j, cudaStream_t stream)
{
    const unsigned tiles = (unsigned)(j->objects * j->tiles);

    if (j->rank)
        rank_tokens<true><<<tiles, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_method(const job *j, cudaStream_t stream)
{
    const int tile = j->tile < j->tokens ? j->tile : j->tokens;
    const int parts = (tile + SOME - 1) / SOME;
    const size_t units = (size_t)j->objects * j->groups * j->tiles;

    if (units * parts > INT32_MAX)
        return cudaErrorInvalidValue;
    decode_units<<<(unsigned)(units * parts), THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}
