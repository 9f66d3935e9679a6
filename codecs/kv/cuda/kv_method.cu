/* SPDX-License-Identifier: BSD-2-Clause */
/* Published methods whose codes are packed (plain=1), straight to the cache: a
 * thread has a value.  docs/kv-format.md section 6 is the format; the parts of a
 * unit have sizes that follow from its shape. */
#include "codecs/kv/cuda/kv.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP, SOME = 16, MOST_DIM = 2048 };
enum { CACHEGEN = 1, KIVI = 2, ZIPCACHE = 5, MIKV = 6, TURBOQUANT = 7, FP8 = 8 };
enum { AS_IT_IS = 255, PACKED = 0, MOST_OCTAVES = 7, CLASSES = 1 };  /* forms */

/* What is left of a unit; whatever is wrong with it stays. */
struct reader {
    const uint8_t *at, *end;
    int32_t error;

    __device__ const uint8_t *take(size_t n)
    {
        if (n > (size_t)(end - at)) {
            error = error ? error : TSR_E_CORRUPT;
            return at;
        }
        at += n;
        return at - n;
    }
    /* A form that there are kernels for, or another one. */
    __device__ void form(int wanted, int least, int most)
    {
        if (at == end || (*at != wanted && (*at < least || *at > most)))
            error = error ? error : TSR_E_CORRUPT;
        else if (*at != wanted)
            error = error ? error : TSR_E_UNSUPPORTED;
        take(1);
    }
    __device__ const uint8_t *elements(size_t bytes)
    {
        form(AS_IT_IS, 0, MOST_OCTAVES);
        return take(bytes);
    }
    __device__ const uint8_t *codes(size_t n, int bits)
    {
        form(PACKED, CLASSES, CLASSES);
        const size_t all = n * bits, bytes = (all + 7) / 8;
        const uint8_t *p = take(bytes);
        if (!error && all % 8 && p[bytes - 1] >> all % 8)
            error = TSR_E_CORRUPT;
        return p;
    }
};

static __device__ uint32_t code_at(const uint8_t *codes, size_t i, int bits)
{
    const size_t first = i * bits;
    const uint8_t *p = codes + first / 8;
    const int skip = (int)(first % 8);
    const uint32_t v = p[0] | (skip + bits > 8 ? p[1] << 8 : 0);

    return v >> skip & ((1u << bits) - 1);
}

/* An element at any address. */
static __device__ float value_at(int dtype, const uint8_t *p)
{
    alignas(4) uint8_t v[4];

    for (int i = 0; i < element_bytes(dtype); i++)
        v[i] = p[i];
    return load_element(dtype, v);
}

/* Groups with a scale and a minimum. */
struct grid {
    int tokens, channels, segment, token_group, channel_group, bits;
    const uint8_t *half, *code;

    __device__ int groups() const      /* of a segment */
    {
        return (segment + channel_group - 1) / channel_group;
    }
    __device__ int row() const         /* groups of a row of them */
    {
        return channels / segment * groups();
    }
    __device__ void get(reader &in)
    {
        if (!tokens)
            return;
        const size_t rows = (tokens + token_group - 1) / token_group;
        half = in.elements(4 * rows * row());
        code = in.codes((size_t)tokens * channels, bits);
    }
    __device__ float value(int t, int c, bool &finite) const
    {
        const int group = c / segment * groups() + c % segment / channel_group;
        const uint8_t *p = half + 4 * ((size_t)(t / token_group) * row() + group);
        const float scale = value_at(TSR_KV_F16, p);
        const float base = value_at(TSR_KV_F16, p + 2);
        const uint32_t q = code_at(code, (size_t)t * channels + c, bits);

        finite &= is_finite(scale) & is_finite(base);
        return __fadd_rn(__fmul_rn((float)q, scale), base);
    }
};

/* A tile of a plane, and where its parts are. */
struct unit {
    int object, number, layer, plane, tile; /* number: of the plane */
    int first, tokens, channels, dim, bits;
    int dtype;              /* of the source */
    const uint8_t *part, *code;     /* numbers of tokens, heads or channels */
    grid g[2];              /* of tokens that are salient, that are not */
    int bins, f8;           /* cachegen; fp8's type */

    __device__ size_t values() const { return (size_t)tokens * channels; }
};

static __device__ int bins_of(const job &j, int layer, int plane)
{
    /* Layers below `first` have `fine` bins, the others `coarse`. */
    const int level = j.param[0];
    const int first = level == 3 ? 0 : level == 4 ? 20 : plane ? 2 :
                      level == 1 ? 20 : 10;
    const int fine = level == 1 ? 16 : 32;
    const int coarse = level == 1 ? 12 : level == 3 ? 32 : 16;

    if (j.param[1])
        return j.param[1];
    return (level == 0 && j.layers < 10) || layer < first ? fine : coarse;
}

/* Tokens of the tile that are quantised. */
static __device__ int kivi_tokens(const job &j, const unit &u)
{
    const int r = j.param[2];
    const int kept = !r ? 0 : !u.plane ? j.tokens % r : min(r, j.tokens);
    return min(max(j.tokens - kept - u.first, 0), u.tokens);
}

static __device__ bool is_separable(const job &j, const unit &u)
{
    return j.method == MIKV || u.plane;
}

static __device__ void get_classes(const job &j, unit &u, reader &in)
{
    const int salient = j.salient[(size_t)u.object * j.tiles + u.tile];
    const int width = j.method == MIKV ? u.dim : u.channels;

    if (is_separable(j, u))
        u.part = in.elements(2 * (size_t)u.channels);
    for (int k = 0; k < 2; k++) {
        const int n = k ? u.tokens - salient : salient;
        u.g[k] = is_separable(j, u)
            ? grid{ n, u.channels, width, 1, width, j.param[k] }
            : grid{ n, u.channels, width, u.tokens, 1, j.param[k] };
        u.g[k].get(in);
    }
}

/* Finds the parts; what is wrong. */
static __device__ int32_t get_parts(const job &j, unit &u, reader in)
{
    const size_t element = element_bytes(u.dtype);
    int rest;

    switch (j.method) {
    case FP8:
        u.f8 = j.param[0] == 4 ? TSR_KV_E4M3 : TSR_KV_E5M2;
        u.part = in.elements(u.values());
        break;
    case CACHEGEN:
        u.bins = bins_of(j, u.layer, u.plane);
        u.bits = 32 - __clz(2 * (u.bins / 2 - 1));
        u.part = in.take(u.tokens * element);
        u.code = in.codes(u.values(), u.bits);
        break;
    case KIVI:
        u.g[0] = grid{ kivi_tokens(j, u), u.channels, u.dim,
                       u.plane ? 1 : j.param[1], u.plane ? j.param[1] : 1,
                       j.param[0] };
        rest = u.tokens - u.g[0].tokens;
        u.part = in.take((size_t)rest * u.channels * element);
        u.g[0].get(in);
        break;
    case TURBOQUANT:
        u.bits = j.param[u.plane];
        u.g[0] = grid{ u.tokens, u.channels, u.dim, 1, u.dim, u.bits };
        if (u.plane) {
            u.g[0].get(in);
        } else {
            u.part = in.elements(2 * u.values() / u.dim);
            u.code = in.codes(u.values(), u.bits);
        }
        break;
    default:
        get_classes(j, u, in);
    }
    return in.error ? in.error : in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

/* The value of token t of the tile, channel c; good says no where its numbers are
 * none. */
static __device__ float value_of(const job &j, const unit &u, int t, int c,
                                 bool &good)
{
    float v, s;
    int q, m, k;

    switch (j.method) {
    case FP8:
        v = load_element(u.f8, u.part + (size_t)t * u.channels + c);
        good &= is_finite(v);
        return v;
    case CACHEGEN:
        q = (int)code_at(u.code, (size_t)t * u.channels + c, u.bits);
        m = u.bins / 2 - 1;
        s = value_at(u.dtype, u.part + t * element_bytes(u.dtype));
        good &= is_finite(s) & (q <= 2 * m);
        return __fmul_rn(__fdiv_rn((float)(q - m), (float)m), s);
    case KIVI:
        if (t < u.g[0].tokens)
            return u.g[0].value(t, c, good);
        v = value_at(u.dtype, u.part + ((size_t)(t - u.g[0].tokens) * u.channels +
                                        c) * element_bytes(u.dtype));
        good &= is_finite(v);
        return v;
    case TURBOQUANT:
        return u.g[0].value(t, c, good);
    default:
        m = j.rank[(size_t)u.object * j.tokens + u.first + t];
        k = m < 0;          /* of the others, counted from -1 down */
        v = u.g[k].value(k ? -1 - m : m, c, good);
        if (!is_separable(j, u))
            return v;
        s = value_at(TSR_KV_F16, u.part + 2 * c);
        good &= is_finite(s);
        return __fmul_rn(v, s);
    }
}

/* ---- turned keys ---- */

/* Of the normal distribution, those above 0: of 2, 3 and 4 bits. */
static __device__ float level_above(int bits, int i)
{
    static const float level[] = {
        0.452780f, 1.510418f,
        0.245094f, 0.756005f, 1.343909f, 2.151946f,
        0.128395f, 0.388048f, 0.656759f, 0.942340f,
        1.256231f, 1.618046f, 2.069017f, 2.732589f
    };
    return level[(1 << (bits - 1)) - 2 + i];
}

static __device__ bool is_negative(const job &j, int layer, int d)
{
    uint64_t z = (uint64_t)j.param[2] + 1337ull * layer +
                 (d / 64 + 1) * 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return z >> d % 64 & 1;
}

/* Channels first .. first + n - 1 of token t, whole heads, into x; by a thread
 * block. */
static __device__ void turn_keys(const job &j, const unit &u, int t, int first,
                                 int n, float *x, bool &good)
{
    const int half = 1 << (u.bits - 1);

    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int q = (int)code_at(u.code, (size_t)t * u.channels + first + i,
                                   u.bits);
        x[i] = q < half ? -level_above(u.bits, half - 1 - q)
                        : level_above(u.bits, q - half);
    }
    for (int h = 1; h < u.dim; h *= 2) {
        __syncthreads();
        for (int i = threadIdx.x; i < n / 2; i += THREADS) {
            const int a = i / h * 2 * h + i % h;
            const float v = x[a], w = x[a + h];
            x[a] = __fadd_rn(v, w);
            x[a + h] = __fsub_rn(v, w);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int d = i % u.dim, heads = u.channels / u.dim;
        const float length = value_at(TSR_KV_F16, u.part + 2 *
                                      ((size_t)t * heads + (first + i) / u.dim));
        good &= is_finite(length);
        x[i] = __fmul_rn(x[i], __fdiv_rn(is_negative(j, u.layer, d) ? -length
                                                                    : length,
                                         (float)u.dim));
    }
}

/* ---- kernels ---- */

/* By a thread block: each token's place among those of its class; the others' are
 * -1 - place. */
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
        const bool is = t < n && (!o.boosts ||
                                  boost_of(j, o, j.items[i].data, first + t));
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

static __device__ void put(const job &j, const unit &u, uint8_t *token, int c,
                           float v)
{
    store_element(j.dtype, token + c / u.dim * j.head_stride +
                  c % u.dim * element_bytes(j.dtype), v);
}

/* A thread block has some tokens of a unit. */
static __global__ __launch_bounds__(THREADS) void decode_units(job j, int parts)
{
    __shared__ float x[MOST_DIM];
    const int n = blockIdx.x / parts;
    const int part = blockIdx.x % parts;
    bool good = true;
    unit u = {};

    u.tile = n % j.tiles;
    u.number = n / j.tiles % (j.layers * j.planes);
    u.object = n / j.tiles / (j.layers * j.planes);
    u.layer = u.number / j.planes;
    u.plane = u.number % j.planes;
    u.first = u.tile * j.tile;
    u.tokens = min(j.tile, j.tokens - u.first);
    u.channels = j.channels[u.plane];
    u.dim = j.dim[u.plane];
    const object &o = j.object[u.object];
    const tsri_kv_gpu_item &item = j.items[u.object];
    if (!o.good || !j.base[u.number])
        return;
    u.dtype = o.dtype;
    const uint64_t *at = j.unit_at +
        u.object * ((size_t)j.groups * j.tiles + 1) +
        (size_t)u.number * j.tiles + u.tile;
    const int32_t error = get_parts(j, u, reader{ item.data + at[0],
                                                  item.data + at[1], 0 });
    if (error) {
        if (!threadIdx.x)
            atomicCAS(item.status, TSR_OK, error);
        return;
    }
    const int width = max(u.dim, (int)THREADS) / u.dim * u.dim;
    for (int t = part * SOME; t < min(u.tokens, (part + 1) * SOME); t++) {
        uint8_t *to = find_token(j, item, u.number, u.first + t);
        if (j.method == TURBOQUANT && !u.plane) {
            for (int c = 0; c < u.channels; c += width) {
                const int some = min(width, u.channels - c);
                turn_keys(j, u, t, c, some, x, good);
                for (int i = threadIdx.x; i < some; i += THREADS)
                    put(j, u, to, c + i, x[i]);
                __syncthreads();
            }
        } else {
            for (int c = threadIdx.x; c < u.channels; c += THREADS)
                put(j, u, to, c, value_of(j, u, t, c, good));
        }
    }
    if (!good)
        atomicCAS(item.status, TSR_OK, TSR_E_CORRUPT);
}

extern "C" cudaError_t tsri_kv_gpu_method(const job *j, cudaStream_t stream)
{
    const int tile = j->tile < j->tokens ? j->tile : j->tokens;
    const int parts = (tile + SOME - 1) / SOME;
    const size_t units = (size_t)j->objects * j->groups * j->tiles;

    if (units * parts > INT32_MAX)
        return cudaErrorInvalidValue;
    if (j->rank)
        rank_tokens<<<(unsigned)(j->objects * j->tiles), THREADS, 0, stream>>>(*j);
    decode_units<<<(unsigned)(units * parts), THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}
