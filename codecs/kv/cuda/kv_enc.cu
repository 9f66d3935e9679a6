/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache to segments, without a profile.  A sample of the cache gives the
 * centres; all of it, the classes and, where they are small, the values, a byte
 * each.  These are read twice: for the sums that lanes start from, and, last
 * token first, for the words.  All but the centres is for heads of 16-bit numbers
 * and one level; kv_put.cu has the rest. */
#include "codecs/kv/cuda/rows.cuh"

enum {
    WARPS = 8, THREADS = WARPS * WARP,
    RESIDENT = 4,           /* thread blocks of a multiprocessor, wanted */
    SAMPLES = 32,           /* of a channel, for its centre */
    MOST_BYTE = 127
};

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

static __device__ int16_t centre_at(const job &j, int plane, float v[SAMPLES])
{
    sort(v);
    const float m = __fmul_rn(v[SAMPLES / 2 - 1], j.quarter[plane]);
    return (int16_t)round_value(fminf(fmaxf(m, -MOST_VALUE - 1), MOST_VALUE));
}

/* Token of the i-th sample: of those without boost, which come first, or where
 * all have one, of all. */
static __device__ uint32_t sample_token(const job &j, int object, uint32_t i)
{
    const uint32_t sinks = j.object[object].sinks;
    const uint32_t plain = (uint32_t)(j.tokens - j.recent);
    const uint32_t end = plain > sinks ? plain : (uint32_t)j.tokens;

    if (j.sample)
        return j.sample[object * SAMPLES + i];
    return sinks + (uint32_t)((uint64_t)i * (end - sinks) / SAMPLES);
}

static __host__ __device__ int strips_of(int channels)
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
#pragma unroll
    for (uint32_t i = 0; i < SAMPLES; i++)
        v[i] = load_value(j, j.items[p.object], p,
                          sample_token(j, p.object, i), p.channel,
                          finite);
    j.centre[p.coefficient(j)] = centre_at(j, p.plane, v);
}

/* Heads of 2 or 4 strips of 16-bit numbers: a warp has the dims i and i +
 * dim / 2 of 32 pairs.  Each lane finds the place of a sample. */
template <int HEAD>
static __global__ __launch_bounds__(THREADS) void centres_of_heads(job j)
{
    enum { PARTS = HEAD / 2 };
    const int lane = threadIdx.x % WARP, first = j.heads[0] * PARTS;
    const int all = first + (j.planes > 1 ? j.heads[1] * PARTS : 0);
    size_t n = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    const int part = (int)(n % all);
    const bool bf16 = j.dtype == TSR_KV_BF16;
    float a[SAMPLES], b[SAMPLES];
    place p = {};

    n /= all;
    p.plane = part >= first;
    p.layer = (int)(n % j.layers);
    p.object = (int)(n / j.layers);
    if (p.object >= j.objects || !j.object[p.object].good ||
        !has_rows(j, j.object[p.object]))
        return;
    const int head = (p.plane ? part - first : part) / PARTS, i0 = part % PARTS;
    const unsigned long long at = (unsigned long long)(
        find_token(j, j.items[p.object], p.group(j), sample_token(j, p.object, lane)) +
        head * j.head_stride + i0 * 2 * WARP);
#pragma unroll
    for (int i = 0; i < SAMPLES; i++) {
        const uint16_t *x = (const uint16_t *)__shfl_sync(ALL, at, i) + lane;
        a[i] = half_value(bf16, __ldg(x));
        b[i] = half_value(bf16, __ldg(x + PARTS * WARP));
    }
    if (j.layout && !p.plane) {
        const float2 *cs = j.angles + (size_t)p.object * j.tokens * j.pairs +
                           i0 * WARP + lane;
#pragma unroll
        for (int i = 0; i < SAMPLES; i++)
            take_off(a[i], b[i], __ldg(cs + (size_t)sample_token(j, p.object, i) *
                                       j.pairs));
    }
    p.channel = (head * HEAD + i0) * WARP + lane;
    int16_t *to = j.centre + p.coefficient(j);
    to[0] = centre_at(j, p.plane, a);
    to[PARTS * WARP] = centre_at(j, p.plane, b);
}

/* ---- values of segments ---- */

/* Segments of whole heads of HEAD strips: a lane's coefficients of some tokens,
 * in registers.  Tokens are fetched in batches, so that many loads are on their
 * way at a time. */
template <int STRIPS, int HEAD>
struct source {
    enum { BATCH = STRIPS == 4 ? 2 : 1 };
    token_walk walk;
    const float2 *cs;
    ptrdiff_t first;
    float m[STRIPS];
    uint16_t raw[BATCH][STRIPS];
    float2 angle[BATCH][HEAD / 2];
    uint32_t left;          /* tokens not yet fetched */
    bool turned;

    __device__ source(const job &j, const place &p)
        : walk(j, p.object, p.group(j), p.row), left(p.rows),
          turned(j.layout && !p.plane)
    {
        const int lane = threadIdx.x % WARP;

        first = (ptrdiff_t)(p.channel / WARP / HEAD) * j.head_stride + 2 * lane;
        cs = j.angles + ((size_t)p.object * j.tokens + p.row) * j.pairs + lane;
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            m[s] = centre_of(j, p, s * WARP + lane);
    }

    /* The next BATCH tokens, or those there are. */
    __device__ void fetch(const job &j)
    {
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const uint8_t *at = walk.at + first;
            if (!left)
                break;
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                if (s && s % HEAD == 0)
                    at += j.head_stride;
                raw[b][s] = __ldg((const uint16_t *)(at + s % HEAD * 2 * WARP));
            }
#pragma unroll
            for (int s = 0; turned && s < HEAD / 2; s++)
                angle[b][s] = __ldg(cs + s * WARP);
            cs += j.pairs;
            if (--left)
                walk.next(j);
        }
    }

    /* Of a token of the batch: steps from the centre. */
    __device__ void values(int b, bool bf16, float inverse, float v[STRIPS]) const
    {
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            v[s] = half_value(bf16, raw[b][s]);
#pragma unroll
        for (int s = 0; turned && s < STRIPS; s++)
            if (s % HEAD < HEAD / 2)
                take_off(v[s], v[s + HEAD / 2], angle[b][s % (HEAD / 2)]);
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            v[s] = __fmul_rn(__fsub_rn(v[s], m[s]), inverse);
    }
};

/* ---- first pass: magnitudes; values ---- */

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

/* Takes a coefficient's sum over the rows of a tile. */
static __device__ void add_magnitudes(const job &j, const place &p, int c,
                                      uint32_t magnitude)
{
    const size_t at = p.coefficient(j) + c;

    if (j.tiles == 1)
        j.cls[at] = (uint8_t)find_class(j.tables.border, magnitude, p.rows);
    else
        atomicAdd(&j.sum[at], (unsigned long long)magnitude);
}

static __global__ __launch_bounds__(THREADS) void classes(job j)
{
    const size_t each = (size_t)j.layers * j.layer_channels;
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < each * j.objects && has_rows(j, j.object[i / each]))
        j.cls[i] = (uint8_t)find_class(j.tables.border, j.sum[i],
                                       j.tokens - j.object[i / each].sinks);
}

/* 255 for each byte that is negative, else 0. */
static __device__ uint32_t signs_of_bytes(uint32_t w)
{
    uint32_t signs;
    asm("prmt.b32 %0, %1, 0, 0xba98;" : "=r"(signs) : "r"(w));
    return signs;
}

/* Values as bytes: four strips of a lane to a word, each magnitude doubled and
 * its sign in the lowest bit, as symbols are. */
static __device__ uint32_t pack_values(const float v[4])
{
    uint32_t b[4];

#pragma unroll
    for (int s = 0; s < 4; s++)     /* the low byte of a sum is the value's */
        b[s] = __float_as_uint(__fadd_rn(v[s], ROUNDER));
    const uint32_t w = __byte_perm(__byte_perm(b[0], b[1], 0x0040),
                                   __byte_perm(b[2], b[3], 0x0040), 0x5410);
    return (w << 1 & 0xfefefefe) ^ signs_of_bytes(w);
}

/* Where the values of a lane of a segment are; each token has WARP * STRIPS / 4
 * words of bytes, or twice as many of 16 bits. */
template <int WORDS>
static __device__ uint32_t *packed_of(const job &j, const place &p)
{
    return j.packed + p.number(j) * min(j.tile, j.tokens) * (j.span / 2) +
        threadIdx.x % WARP * WORDS;
}

/* Values of a segment to bytes, and their magnitudes; false where they are too
 * large for that. */
template <int STRIPS, int HEAD>
static __device__ bool measure_bytes(const job &j, const place &p,
                                     float magnitude[STRIPS])
{
    enum { WORDS = STRIPS / 4, BATCH = source<STRIPS, HEAD>::BATCH };
    const bool bf16 = j.dtype == TSR_KV_BF16;
    const float inverse = j.inverse[p.plane];
    uint32_t *out = packed_of<WORDS>(j, p);
    source<STRIPS, HEAD> in(j, p);
    bool small = true;

#pragma unroll
    for (int s = 0; s < STRIPS; s++)
        magnitude[s] = 0;
#pragma unroll 1
    for (uint32_t i = 0; i < p.rows; i += BATCH) {
        in.fetch(j);
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            float v[STRIPS];
            if (i + b >= p.rows)
                break;
            in.values(b, bf16, inverse, v);
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                const float r = __fsub_rn(__fadd_rn(v[s], ROUNDER), ROUNDER);
                small &= fabsf(v[s]) < MOST_BYTE + .5f;
                magnitude[s] = __fadd_rn(magnitude[s], fabsf(r));
            }
#pragma unroll
            for (int s = 0; s < WORDS; s++)
                out[s] = pack_values(v + 4 * s);
            out += WARP * WORDS;
        }
    }
    return __all_sync(ALL, small);
}

/* Values of any size, boosted ones too; false where one cannot be coded. */
template <int STRIPS, int HEAD>
static __device__ bool measure_wide(const job &j, const place &p,
                                    uint32_t magnitude[STRIPS])
{
    enum { WORDS = STRIPS / 2, BATCH = source<STRIPS, HEAD>::BATCH };
    const bool bf16 = j.dtype == TSR_KV_BF16;
    uint32_t *out = packed_of<WORDS>(j, p);
    source<STRIPS, HEAD> in(j, p);
    bool good = true;

#pragma unroll
    for (int s = 0; s < STRIPS; s++)
        magnitude[s] = 0;
#pragma unroll 1
    for (uint32_t i = 0; i < p.rows; i += BATCH) {
        in.fetch(j);
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            float v[STRIPS];
            int q[STRIPS];
            if (i + b >= p.rows)
                break;
            const int boost = boost_at(j, p.row + i + b);
            in.values(b, bf16, scaled(j.inverse[p.plane], boost), v);
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                good &= is_value(v[s]);
                q[s] = round_value(v[s]);
                magnitude[s] += (uint32_t)abs(q[s]) >> boost;
            }
#pragma unroll
            for (int s = 0; s < WORDS; s++)
                out[s] = __byte_perm(q[2 * s], q[2 * s + 1], 0x5410);
            out += WARP * WORDS;
        }
    }
    return __all_sync(ALL, good);
}

template <int STRIPS, int HEAD>
static __device__ void measure_heads(const job &j, const place &p)
{
    const int lane = threadIdx.x % WARP;
    uint32_t whole[STRIPS];
    float magnitude[STRIPS];
    bool bytes = !boost_at(j, p.row + p.rows - 1);

    if (bytes)
        bytes = measure_bytes<STRIPS, HEAD>(j, p, magnitude);
    if (bytes) {
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            whole[s] = (uint32_t)magnitude[s];
    } else if (!measure_wide<STRIPS, HEAD>(j, p, whole)) {
        refuse(j, p.object);
    }
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
        add_magnitudes(j, p, s * WARP + lane, whole[s]);
    if (!lane)
        j.wide[p.number(j)] = !bytes;
}

/* A warp has a segment. */
template <int STRIPS, int HEAD>
static __global__ __launch_bounds__(THREADS, RESIDENT)
void measure(job j, size_t segments)
{
    const size_t n = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;

    if (n >= segments)
        return;
    const place p = find_place(j, n);
    if (!j.object[p.object].good || !p.rows)
        return;
    measure_heads<STRIPS, HEAD>(j, p);
}

/* ---- second pass ---- */

static __device__ coding find_coding(const job &j, const place &p, int c, int boost)
{
    return coding_of(j.tables, class_of(j.cls[p.coefficient(j) + c], boost));
}

template <int STRIPS>
struct codings {
    coding k[STRIPS];
    uint32_t bound[STRIPS / 4], below[STRIPS / 4];  /* see plain(), a byte a
                                                       strip */
    uint32_t any_low;               /* a bit a strip */

    __device__ void set(const job &j, const place &p, int boost)
    {
        any_low = 0;
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            k[s] = find_coding(j, p, s * WARP + threadIdx.x % WARP, boost);
            any_low |= __any_sync(ALL, k[s].low) ? 1u << s : 0;
            if (s % 4 == 0)
                bound[s / 4] = below[s / 4] = 0;
            const int last = 2 * first_escape(k[s]) - 2;
            bound[s / 4] |= (uint32_t)max((last < 128 ? 127 : 255) - last, 0)
                            << s % 4 * 8;
            below[s / 4] |= last < 128 ? 128u << s % 4 * 8 : 0;
        }
    }
    /* Are there surely no escapes?  A byte has twice the magnitude, or 1 less; to
     * be over the last one that is none (below 128, or not), its low bits must
     * be over that one's, or (and) its high bit set. */
    __device__ bool plain(const uint32_t w[STRIPS / 4]) const
    {
        uint32_t over = 0;
#pragma unroll
        for (int i = 0; i < STRIPS / 4; i++) {
            const uint32_t low = (w[i] & 0x7f7f7f7f) + bound[i];
            over |= (low & w[i]) | (below[i] & (low | w[i]));
        }
        return __all_sync(ALL, !(over & 0x80808080));
    }
};

static __device__ uint32_t byte_of(const uint32_t *w, int s)
{
    return w[s / 4] >> s % 4 * 8 & 255;
}

/* A lane's sum with a token's symbols, bytes without escapes and raw bits. */
template <int STRIPS>
static __device__ uint32_t add_bytes(uint32_t sum, const uint32_t w[STRIPS / 4])
{
    enum : uint32_t {
        K2 = FACTOR * FACTOR & 0xffff, K3 = K2 * FACTOR & 0xffff,
        K4 = K3 * FACTOR & 0xffff,
        LOWS = (K3 & 255) | (K2 & 255) << 8 | (FACTOR & 255) << 16 | 1u << 24,
        HIGHS = K3 >> 8 | K2 >> 8 << 8 | FACTOR >> 8 << 16
    };
#pragma unroll
    for (int i = 0; i < STRIPS / 4; i++)
        sum = __dp4a(w[i], (uint32_t)LOWS, sum * K4) +
              (__dp4a(w[i], (uint32_t)HIGHS, 0u) << 8);
    return sum;
}

/* The words of a segment's tokens one after another, forward or back; loaded one
 * token ahead. */
template <int WORDS>
struct word_walk {
    const uint32_t *at;
    ptrdiff_t step;
    uint32_t left;          /* not yet loaded */
    uint32_t next[WORDS];

    __device__ word_walk(const uint32_t *begin, uint32_t tokens, bool back)
        : step(back ? -WARP * WORDS : WARP * WORDS), left(tokens)
    {
        at = back ? begin + (ptrdiff_t)(tokens - 1) * WARP * WORDS : begin;
        load();
    }
    __device__ void load()
    {
        if (!left)
            return;
#pragma unroll
        for (int i = 0; i < WORDS; i++)
            next[i] = __ldcs(at + i);
        at += step;
        left--;
    }
    __device__ void take(uint32_t w[WORDS])
    {
#pragma unroll
        for (int i = 0; i < WORDS; i++)
            w[i] = next[i];
        load();
    }
};

/* A lane's sum with all symbols of a segment of bytes. */
template <int STRIPS>
static __device__ uint32_t sum_bytes(const uint32_t *in, uint32_t rows,
                                     const codings<STRIPS> &k)
{
    word_walk<STRIPS / 4> walk(in, rows, false);
    uint32_t sum = 0;

#pragma unroll 1
    for (; rows; rows--) {
        uint32_t w[STRIPS / 4];
        walk.take(w);
        const bool plain = k.plain(w);
        if (plain && !k.any_low) {
            sum = add_bytes<STRIPS>(sum, w);
            continue;
        }
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            const int q = level_of(byte_of(w, s)), low = k.k[s].low;
            if (!plain) {
                sum = add_symbols(sum, symbols(q, k.k[s]), k.any_low >> s & 1, true);
            } else if (k.any_low >> s & 1) {
                const int shifted = q + (1 << low >> 1);
                sum = (sum * FACTOR + symbol_of(shifted >> low)) * FACTOR +
                      (shifted & ((1 << low) - 1));
            } else {
                sum = sum * FACTOR + byte_of(w, s);
            }
        }
    }
    return sum;
}

template <int STRIPS>
static __device__ void code_bytes(const job &j, const place &p, writer &w,
                                  const uint2 *code, uint32_t seed)
{
    enum { WORDS = STRIPS / 4 };
    const uint32_t before = lanes_before();
    const uint32_t *in = packed_of<WORDS>(j, p);
    codings<STRIPS> k;

    k.set(j, p, 0);
    const uint32_t sum = sum_bytes<STRIPS>(in, p.rows, k);
    w.x = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
    word_walk<WORDS> walk(in, p.rows, true);
#pragma unroll 1
    for (uint32_t i = p.rows; i; i--) {
        uint32_t v[WORDS];
        walk.take(v);
        const bool plain = k.plain(v);
        if (plain && !k.any_low) {
#pragma unroll
            for (int s = STRIPS; s-- > 0;)
                w.put<true>(code[k.k[s].table * STRIDE + byte_of(v, s)], before,
                            true);
            continue;
        }
        if (plain) {
#pragma unroll
            for (int s = STRIPS; s-- > 0;) {
                uint32_t first = byte_of(v, s);
                if (k.any_low >> s & 1) {
                    const int low = k.k[s].low;
                    const int shifted = level_of(first) + (1 << low >> 1);
                    w.put_uniform(shifted & ((1 << low) - 1), low, before, true);
                    first = symbol_of(shifted >> low);
                }
                w.put<true>(code[k.k[s].table * STRIDE + first], before, true);
            }
            continue;
        }
#pragma unroll
        for (int s = STRIPS; s-- > 0;) {
            const symbols y(level_of(byte_of(v, s)), k.k[s]);
            put_symbols(w, y, code[k.k[s].table * STRIDE + y.first], k.k[s].low,
                        k.any_low >> s & 1, before, true);
        }
    }
}

/* Values of 16 bits; once for the sums and once for the words. */
template <int STRIPS>
static __device__ void code_wide(const job &j, const place &p, writer &w,
                                 const uint2 *code, uint32_t seed)
{
    enum { WORDS = STRIPS / 2 };
    const uint32_t before = lanes_before();
    codings<STRIPS> k;
    uint32_t sum = 0;
    int boost = -1;

#pragma unroll 1
    for (int back = 0; back < 2; back++) {
        word_walk<WORDS> walk(packed_of<WORDS>(j, p), p.rows, back);
        w.x = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
#pragma unroll 1
        for (uint32_t i = 0; i < p.rows; i++) {
            const uint32_t t = back ? p.row + p.rows - 1 - i : p.row + i;
            uint32_t v[WORDS];
            walk.take(v);
            if (boost_at(j, t) != boost)
                k.set(j, p, boost = boost_at(j, t));
            if (!back) {
#pragma unroll
                for (int s = 0; s < STRIPS; s++)
                    sum = add_symbols(sum, symbols((int16_t)(v[s / 2] >> s % 2 * 16),
                                                   k.k[s]), k.any_low >> s & 1, true);
                continue;
            }
#pragma unroll
            for (int s = STRIPS; s-- > 0;) {
                const symbols y((int16_t)(v[s / 2] >> s % 2 * 16), k.k[s]);
                put_symbols(w, y, code[k.k[s].table * STRIDE + y.first], k.k[s].low,
                            k.any_low >> s & 1, before, true);
            }
        }
    }
}

template <int STRIPS, int HEAD>
static __global__ __launch_bounds__(THREADS, RESIDENT)
void code(job j, size_t segments)
{
    extern __shared__ __align__(16) uint2 records[];
    const size_t n = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;

    for (int i = threadIdx.x; i < j.tables.tables * STRIDE; i += THREADS)
        records[i] = __ldg((const uint2 *)j.tables.code + i);
    __syncthreads();
    if (n >= segments)
        return;
    const place p = find_place(j, n);
    if (!j.object[p.object].good || *j.items[p.object].status || !p.rows)
        return;
    writer w = { (uint16_t *)(j.slots + p.number(j) * j.slot),
                 (uint32_t)(j.slot / 2), 0 };
    if (j.wide[p.number(j)])
        code_wide<STRIPS>(j, p, w, records, p.seed(j));
    else
        code_bytes<STRIPS>(j, p, w, records, p.seed(j));
    const uint32_t size = finish(w, j.slot);
    if (threadIdx.x % WARP == 0)
        j.segment_size[p.number(j)] = size;
}

/* ---- launch ---- */

static unsigned blocks_of(size_t n, int each)
{
    return (unsigned)((n + each - 1) / each);
}

extern "C" cudaError_t tsri_kv_gpu_centres(const job *j, cudaStream_t stream)
{
    const size_t strips = (size_t)j->objects * j->layers *
        (strips_of(j->channels[0]) +
         (j->planes > 1 ? strips_of(j->channels[1]) : 0));

    if (strips > INT32_MAX)
        return cudaErrorInvalidValue;
    if (!j->head_strips)
        centres<<<blocks_of(strips, WARPS), THREADS, 0, stream>>>(*j);
    else if (j->head_strips == 4)
        centres_of_heads<4><<<blocks_of(strips / 2, WARPS), THREADS, 0, stream>>>(*j);
    else
        centres_of_heads<2><<<blocks_of(strips / 2, WARPS), THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_classes(const job *j, cudaStream_t stream)
{
    const size_t channels = (size_t)j->objects * j->layers * j->layer_channels;

    classes<<<blocks_of(channels, THREADS), THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

template <int STRIPS, int HEAD>
static cudaError_t launch(const job *j, cudaStream_t stream)
{
    const size_t segments = count_segments(*j);
    const unsigned grid = blocks_of(segments, WARPS);
    const size_t bytes = (size_t)j->tables.tables * STRIDE * sizeof(uint2);

    if (segments > INT32_MAX)
        return cudaErrorInvalidValue;
    measure<STRIPS, HEAD><<<grid, THREADS, 0, stream>>>(*j, segments);
    if (j->sum) {
        const cudaError_t error = tsri_kv_gpu_classes(j, stream);
        if (error)
            return error;
    }
    code<STRIPS, HEAD><<<grid, THREADS, bytes, stream>>>(*j, segments);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_encode(const job *j, cudaStream_t stream)
{
    if (j->strips == 8)
        return j->head_strips == 4 ? launch<8, 4>(j, stream)
                                   : launch<8, 2>(j, stream);
    return j->head_strips == 4 ? launch<4, 4>(j, stream)
                               : launch<4, 2>(j, stream);
}
