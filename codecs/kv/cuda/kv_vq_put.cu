/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of vq made from the cache, indices packed: how long they are follows from the
 * shape.  A thread looks for the words nearest to some tokens' channels of a group, in
 * sums of the order that vq/codebook.h lays down. */
#include "codecs/kv/cuda/put.cuh"

enum { TOKENS = 4, WORDS = 4 };

/* A stage's indices in a unit: a form where they are codes, then numbers of `digits`
 * indices each. */
struct packing {
    int form, digits, bits, rest;   /* rest: bits of the last number, if it is short */
    size_t n, whole;                /* indices; numbers that are not short */
    size_t bytes;
};

static __device__ packing packing_of(const books &b, int tokens)
{
    const bool codes = b.entries <= 256;
    packing p = {};

    p.form = codes;
    p.digits = codes ? 1 : b.digits;
    p.bits = codes ? 32 - __clz(b.entries - 1) : b.bits;
    p.n = (size_t)tokens * b.groups;
    p.whole = p.n / p.digits;
    p.rest = p.n % p.digits ? b.rest_bits[p.n % p.digits] : 0;
    p.bytes = p.form + (p.whole * p.bits + p.rest + 7) / 8;
    return p;
}

static __global__ __launch_bounds__(THREADS) void size_vq(job j, size_t units)
{
    const size_t n = (size_t)blockIdx.x * THREADS + threadIdx.x;
    unit u = {};

    if (n >= units)
        return;
    find_unit(j, n, u);
    const books &b = j.books[u.number];
    j.segment_size[n] = (uint32_t)(b.stages * packing_of(b, u.tokens).bytes);
}

/* ---- search ---- */

/* Some tokens of a group, each `THREADS` behind the one before; those beyond the
 * tile's are its last one again. */
struct vectors {
    float *left;            /* [channels of the group][tokens] */
    int token[TOKENS], pitch;
};

/* The word of a stage that has the least |c|^2 - 2 c.x, the first of several. */
static __device__ void find_words(const vectors &v, const float *word,
                                  const float *norm, int entries, int dims,
                                  int best[TOKENS])
{
    float least[TOKENS];

    for (int i = 0; i < TOKENS; i++) {
        least[i] = INFINITY;
        best[i] = 0;
    }
    for (int first = 0; first < entries; first += WORDS) {
        const int count = min((int)WORDS, entries - first);
        float dot[WORDS][TOKENS] = {};
        for (int d = 0; d < dims; d++)
#pragma unroll
            for (int w = 0; w < WORDS; w++) {
                const float c = word[(size_t)(first + min(w, count - 1)) * dims + d];
#pragma unroll
                for (int i = 0; i < TOKENS; i++)
                    dot[w][i] = __fadd_rn(dot[w][i], __fmul_rn(
                        c, v.left[(size_t)d * v.pitch + v.token[i]]));
            }
#pragma unroll
        for (int w = 0; w < WORDS; w++)
#pragma unroll
            for (int i = 0; i < TOKENS; i++) {
                const float score = w < count
                    ? __fsub_rn(norm[first + w], __fmul_rn(2, dot[w][i])) : INFINITY;
                if (score < least[i]) {
                    least[i] = score;
                    best[i] = first + w;
                }
            }
    }
}

/* Group g of tokens from `first` on: indices of all stages. */
static __device__ void search(const job &j, const unit &u, int g, int first,
                              float *left, uint16_t *index, bool &good)
{
    const books &b = j.books[u.number];
    const int dims = b.dims, t = first + (int)threadIdx.x;
    vectors v = { left + (size_t)g * dims * u.tokens, {}, u.tokens };
    place p = {};

    p.object = u.object;
    p.layer = u.layer;
    p.plane = u.plane;
    if (t >= u.tokens)
        return;
    for (int i = 0; i < TOKENS; i++) {
        v.token[i] = t + i * THREADS < u.tokens ? t + i * THREADS : t;
        for (int d = 0; d < dims; d++)
            v.left[(size_t)d * v.pitch + v.token[i]] =
                load_value(j, j.items[u.object], p, (uint32_t)(u.first + v.token[i]),
                           g * dims + d, good);
    }
    for (int s = 0; s < b.stages; s++) {
        const size_t words = ((size_t)s * b.groups + g) * b.entries;
        int best[TOKENS];
        find_words(v, b.at + words * dims, b.norm + words, b.entries, dims, best);
        for (int i = 0; i < TOKENS && t + i * THREADS < u.tokens; i++) {
            const float *word = b.at + (words + best[i]) * dims;
            index[((size_t)s * u.tokens + v.token[i]) * b.groups + g] =
                (uint16_t)best[i];
            for (int d = 0; d < dims; d++) {
                float *x = v.left + (size_t)d * v.pitch + v.token[i];
                *x = __fsub_rn(*x, word[d]);
            }
        }
    }
}

static __device__ float *left_of(const job &j, size_t n)
{
    return (float *)(j.unit_room + n * j.unit_bytes);
}

static __device__ uint16_t *index_of(const job &j, const unit &u, size_t n)
{
    return (uint16_t *)(left_of(j, n) + u.values());
}

static __global__ __launch_bounds__(THREADS) void search_words(job j, int parts)
{
    const size_t n = blockIdx.x / parts;
    unit u = {};
    bool good = true;

    find_unit(j, n, u);
    if (!j.object[u.object].good)
        return;
    const int groups = j.books[u.number].groups;
    const int sets = (u.tokens + TOKENS * THREADS - 1) / (TOKENS * THREADS);
    for (int i = (int)(blockIdx.x % parts); i < groups * sets; i += parts)
        search(j, u, i / sets, i % sets * TOKENS * THREADS, left_of(j, n),
               index_of(j, u, n), good);
    if (!good)
        refuse(j, u.object);
}

/* ---- indices ---- */

/* Eight numbers are whole bytes. */
static __device__ void put_eight(const packing &p, const books &b,
                                 const uint16_t *index, size_t first, uint8_t *to)
{
    const size_t numbers = p.whole + (p.rest > 0);
    uint64_t bits = 0;
    int have = 0;

    for (size_t i = first; i < min(first + 8, numbers); i++) {
        const size_t at = i * p.digits, end = min(at + p.digits, p.n);
        uint64_t v = 0;
        for (size_t k = end; k > at; k--)
            v = v * b.entries + index[k - 1];
        for (int left = i < p.whole ? p.bits : p.rest; left > 0; left -= 16) {
            bits |= (v & 0xffff) << have;
            have += min(left, 16);
            v >>= 16;
            for (; have >= 8; have -= 8, bits >>= 8)
                *to++ = (uint8_t)bits;
        }
    }
    if (have)
        *to = (uint8_t)bits;
}

static __global__ __launch_bounds__(THREADS) void put_indices(job j, int parts)
{
    const size_t n = blockIdx.x / parts;
    const int part = (int)(blockIdx.x % parts);
    unit u = {};

    find_unit(j, n, u);
    if (!j.object[u.object].good)
        return;
    const books &b = j.books[u.number];
    const packing p = packing_of(b, u.tokens);
    uint8_t *to = j.items[u.object].data +
        j.unit_at[u.object * ((size_t)j.groups * j.tiles + 1) +
                  (size_t)u.number * j.tiles + u.tile];
    for (int s = 0; s < b.stages; s++, to += p.bytes) {
        if (p.form && !part && !threadIdx.x)
            *to = PACKED;
        for (size_t i = 8 * ((size_t)part * THREADS + threadIdx.x);
             i < p.whole + (p.rest > 0); i += 8 * (size_t)parts * THREADS)
            put_eight(p, b, index_of(j, u, n) + s * p.n, i,
                      to + p.form + i / 8 * p.bits);
    }
}

/* ---- launch ---- */

extern "C" size_t tsri_kv_gpu_vq_bytes(const job *j)
{
    const size_t tokens = most_tokens(j);

    return (4 * tokens * most_channels(j) + 2 * tokens * j->indices + 15) / 16 * 16;
}

extern "C" cudaError_t tsri_kv_gpu_size_vq(const job *j, cudaStream_t stream)
{
    const size_t units = count_units(j), blocks = (units + THREADS - 1) / THREADS;

    if (blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    size_vq<<<(unsigned)blocks, THREADS, 0, stream>>>(*j, units);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_put_vq(const job *j, cudaStream_t stream)
{
    const unsigned units = (unsigned)count_units(j);
    const int parts = count_parts(j);

    if (!parts)
        return cudaErrorInvalidValue;
    search_words<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    put_indices<<<units * parts, THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}
