/* SPDX-License-Identifier: BSD-2-Clause */
/* References to earlier tokens: which they are, and what is taken over from them,
 * in fixed point (docs/kv-format.md, 5.4 and 5.5).  A coefficient depends on the
 * same one of earlier tokens only: a thread has a coefficient and goes from token
 * to token, whatever the references are. */
#include "codecs/kv/cuda/kv.cuh"

enum {
    THREADS = 128,
    PLACES = 64, RUN = 12,      /* of matches, as codecs/kv/match.c */
    BOUNDED = 1 << 23,
    BATCH = 8                   /* tokens whose values are loaded at a time */
};

/* ---- token ids ---- */

/* Id of token t in a section of the object. */
static __device__ int32_t stored_id(const uint8_t *section, int bits, uint32_t t)
{
    const uint64_t first = (uint64_t)t * bits;
    const int skip = (int)(first % 8);
    uint64_t v = 0;

    for (int i = 0; 8 * i < skip + bits; i++)
        v |= (uint64_t)section[first / 8 + i] << 8 * i;
    return (int32_t)(v >> skip & ((1u << bits) - 1));
}

static __global__ __launch_bounds__(THREADS) void unpack_ids(job j, uint32_t parts)
{
    const int i = blockIdx.x / parts;
    const uint32_t t = blockIdx.x % parts * THREADS + threadIdx.x;
    const object &o = j.object[i];

    if (!o.good || !o.ids || !(o.flags & HAS_IDS) || t >= (uint32_t)j.tokens)
        return;
    j.ids[(size_t)i * j.tokens + t] =
        stored_id(j.items[i].data + TSRI_KV_GPU_HEADER, o.id_bits, t);
}

/* ---- references ---- */

/* Tokens in common that end at s < t. */
static __device__ int run_of(const int32_t *ids, int s, int t)
{
    int run = 0;

    while (run < RUN && run <= s && ids[s - run] == ids[t - run])
        run++;
    return run;
}

static __device__ int class_of_run(int run)
{
    return run < 4 ? run : run < 6 ? 4 : run < 9 ? 5 : run < 12 ? 6 : 7;
}

/* The best of the last matches of t; -1: none.  n operations at most. */
static __device__ int find_match(const int32_t *ids, int sinks, int t, int *cls)
{
    int best = -1, longest = 0, places = 0;

    for (int s = t - 1; s >= sinks && places < PLACES && longest < RUN; s--) {
        if (ids[s] != ids[t])
            continue;
        const int run = run_of(ids, s, t);
        places++;
        if (run > longest) {
            longest = run;
            best = s;
        }
    }
    *cls = class_of_run(longest);
    return best;
}

/* A thread has a token. */
static __global__ __launch_bounds__(THREADS) void find_references(job j,
                                                                  uint32_t parts)
{
    const int i = blockIdx.x / parts;
    const int t = (int)(blockIdx.x % parts) * THREADS + (int)threadIdx.x;
    const object &o = j.object[i];
    int ref = -1, cls = 0;

    if (!o.good || t >= j.tokens)
        return;
    if (o.flags & CHAINED && j.reference == REFERS_TO_MATCH) {
        ref = find_match(o.ids, (int)o.sinks, t, &cls);
    } else if (o.flags & CHAINED) {
        if (j.reference == REFERS_TO_PREVIOUS)
            ref = t - 1;
        else if (t % j.anchor)
            ref = t - t % j.anchor;
        ref = ref < (int)o.sinks ? -1 : ref;
        cls = ref >= 0;
    }
    j.ref[(size_t)i * j.tokens + t] = ref;
    j.match[(size_t)i * j.tokens + t] = (uint8_t)min(cls, j.class_rows - 1);
}

/* ---- coefficients ---- */

/* A coefficient of an object, from token to token. */
struct chain {
    const job &j;
    const object &o;
    int i;                      /* the object */
    const int32_t *ref;
    const uint8_t *match;
    int32_t *fixed;
    const int8_t *rho;
    size_t pitch, columns, at;  /* at: of token 0, in arrays like values */
    float unit;

    __device__ chain(const job &job_, int object_, const tsri_kv_gpu_group &g, int c)
        : j(job_), o(job_.object[object_]), i(object_)
    {
        ref = j.ref + (size_t)i * j.tokens;
        match = j.match + (size_t)i * j.tokens;
        pitch = g.pitch;
        columns = g.columns;
        at = (g.pitch_before * j.objects + (size_t)i * pitch) * j.tokens + c;
        fixed = j.fixed + at;
        rho = g.rho ? g.rho + c : NULL;
        unit = scaled(o.step[0], -6);
    }
    __device__ int32_t carry(uint32_t t) const
    {
        const int32_t from = ref[t];

        return rho && from >= 0
            ? (rho[match[t] * columns] * fixed[from * pitch] + 32) >> 6 : 0;
    }
    __device__ void keep(uint32_t t, int q0, int boost, int32_t carried) const
    {
        const int32_t v = (q0 * 64 >> boost) + carried;
        fixed[t * pitch] = max(min(v, (int32_t)BOUNDED), -(int32_t)BOUNDED);
    }
};

/* Values of a coefficient to what they stand for. */
static __device__ void restore(const chain &k)
{
    const job &j = k.j;
    const uint8_t *data = j.items[k.i].data;
    const int16_t *values = j.values + k.at;
    const float step = level_step(k.o.step[0], k.o.used);
    const uint32_t end = j.items[k.i].to, shown = first_shown(j, j.items[k.i]);
    float *z = j.z + k.at;

    for (uint32_t first = k.o.sinks; first < end; first += BATCH) {
        int16_t q[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++)
            q[b] = first + b < end ? values[(first + b) * k.pitch] : 0;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const uint32_t t = first + b;
            if (t >= end)
                break;
            const int boost = boost_of(j, k.o, data, t);
            const int32_t carry = k.carry(t);
            k.keep(t, t < shown ? q[b] : coarsen(q[b], k.o.used - 1), boost, carry);
            z[t * k.pitch] = __fadd_rn(__fmul_rn((float)q[b], scaled(step, -boost)),
                                       __fmul_rn((float)carry, k.unit));
        }
    }
}

/* A coefficient quantised; false where a value is none. */
static __device__ bool quantise(const chain &k)
{
    const job &j = k.j;
    int16_t *values = j.values + k.at;
    const float *z = j.z + k.at;
    bool good = true;

    for (uint32_t first = k.o.sinks; first < (uint32_t)j.tokens; first += BATCH) {
        float x[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++)
            x[b] = first + b < (uint32_t)j.tokens ? __ldg(z + (first + b) * k.pitch)
                                                  : 0;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const uint32_t t = first + b;
            if (t >= (uint32_t)j.tokens)
                break;
            const int boost = boost_at(j, k.i, t);
            const int32_t carry = k.carry(t);
            const float v = __fmul_rn(__fsub_rn(x[b],
                                                __fmul_rn((float)carry, k.unit)),
                                      scaled(j.inverse[0], boost));
            const int q = is_value(v) ? round_value(v) : 0;
            good &= is_value(v);
            values[t * k.pitch] = (int16_t)q;
            k.keep(t, coarsen(q, j.levels - 1), boost, carry);
        }
    }
    return good;
}

/* A thread has a coefficient of a group of an object. */
template <bool BACK>
static __global__ __launch_bounds__(THREADS) void carry_over(job j, int parts)
{
    const int n = blockIdx.x / parts;
    const int i = n / j.groups;
    const tsri_kv_gpu_group &g = j.group[n % j.groups];
    const int c = (int)(blockIdx.x % parts) * THREADS + (int)threadIdx.x;

    if (!j.object[i].good || c >= g.coefs)
        return;
    const chain k(j, i, g, c);
    if (BACK)
        restore(k);
    else if (!quantise(k))
        refuse(j, i);
}

/* ---- launch ---- */

extern "C" cudaError_t tsri_kv_gpu_refer(const job *j, cudaStream_t stream)
{
    const uint32_t parts = ((uint32_t)j->tokens + THREADS - 1) / THREADS;
    const size_t grid = (size_t)j->objects * parts;

    if (grid > INT32_MAX)
        return cudaErrorInvalidValue;
    if (j->ids)
        unpack_ids<<<(unsigned)grid, THREADS, 0, stream>>>(*j, parts);
    if (j->ref)
        find_references<<<(unsigned)grid, THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}

template <bool BACK>
static cudaError_t launch(const job *j, cudaStream_t stream)
{
    const int parts = (j->most_coefs + THREADS - 1) / THREADS;
    const size_t grid = (size_t)j->objects * j->groups * parts;

    if (grid > INT32_MAX)
        return cudaErrorInvalidValue;
    if (grid)
        carry_over<BACK><<<(unsigned)grid, THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_carry_back(const job *j, cudaStream_t stream)
{
    return launch<true>(j, stream);
}

extern "C" cudaError_t tsri_kv_gpu_carry_on(const job *j, cudaStream_t stream)
{
    return launch<false>(j, stream);
}
