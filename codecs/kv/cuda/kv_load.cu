/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the cache and values of groups in scratch, whatever the shape: rotation,
 * means, scales, turned heads, the quantiser.  Where there is a matrix its factor
 * is in scratch instead of values. */
#include "codecs/kv/cuda/kv.cuh"

enum {
    THREADS = 256,
    BATCH = 8,              /* tokens whose loads are on their way at a time */
    PAIR_BATCH = 4,         /* the same of a thread that has two channels */
    SOME = 64,              /* tokens of a thread block */
    MOST_DIM = 2048
};

/* What a thread block has: channels of a plane, in some tokens. */
struct patch {
    int object, layer, plane, group, offset;    /* of the plane in the group */
    int first, channels;    /* channels of the plane */
    uint32_t row, rows;

    __device__ int number(const job &j) const { return layer * j.planes + plane; }
};

/* Channels that a thread block has: whole heads where they are turned; two for
 * each thread where heads are of 64 or 128 dims of 16 bits. */
static __host__ __device__ int width_of(const job &j, int plane)
{
    if (j.hadamard)
        return j.dim[plane] > THREADS ? j.dim[plane] : (int)THREADS;
    return j.head_strips ? 2 * THREADS : (int)THREADS;
}

static __host__ __device__ int parts_of(const job &j, int plane)
{
    const int width = width_of(j, plane);
    return plane < j.planes ? (j.channels[plane] + width - 1) / width : 0;
}

static __device__ patch find_patch(const job &j, size_t n)
{
    const int first = parts_of(j, 0), all = first + parts_of(j, 1);
    const int chunks = (j.tokens + SOME - 1) / SOME, part = (int)(n % all);
    patch p;

    n /= all;
    p.layer = (int)(n % j.layers);
    n /= j.layers;
    const uint32_t begin = (uint32_t)(n % chunks) * SOME;
    const uint32_t end = min(begin + SOME, (uint32_t)j.tokens);
    p.object = (int)(n / chunks);
    p.plane = part >= first;
    p.first = (p.plane ? part - first : part) * width_of(j, p.plane);
    p.channels = min(width_of(j, p.plane), j.channels[p.plane] - p.first);
    p.group = j.plane[p.number(j)].group;
    p.offset = j.plane[p.number(j)].offset;
    p.row = max(begin, j.object[p.object].sinks);
    p.rows = p.row < end ? end - p.row : 0;
    return p;
}

/* The same, without rows that a decoder does not want. */
static __device__ patch find_wanted(const job &j, size_t n)
{
    patch p = find_patch(j, n);
    const tsri_kv_gpu_item &item = j.items[p.object];
    const uint32_t end = min(p.row + p.rows, item.to);

    p.row = max(p.row, item.from);
    p.rows = p.row < end ? end - p.row : 0;
    return p;
}

static size_t count_patches(const job &j)
{
    return (size_t)j.objects * ((j.tokens + SOME - 1) / SOME) * j.layers *
        (parts_of(j, 0) + parts_of(j, 1));
}

/* Of the group's coefficient or value c in the row of a token. */
static __device__ int16_t *find_value(const job &j, const patch &p, uint32_t t,
                                      int c)
{
    const tsri_kv_gpu_group &g = j.group[p.group];
    return j.values + (g.pitch_before * j.objects + (size_t)p.object * g.pitch) *
        j.tokens + (size_t)t * g.pitch + c;
}

static __device__ float *find_coefficient(const job &j, const patch &p,
                                          uint32_t t, int c)
{
    return j.z + (find_value(j, p, t, c) - j.values);
}

static __device__ size_t factor_at(const job &j, const patch &p, uint32_t t, int c)
{
    const tsri_kv_gpu_group &g = j.group[p.group];
    return (g.values_before * j.objects + (size_t)p.object * g.values) *
        j.tokens + (size_t)t * g.values + c;
}

static __device__ float *find_factor(const job &j, const patch &p, uint32_t t,
                                     int c)
{
    return j.x + factor_at(j, p, t, c);
}

/* What token ids say of a channel, token by token: it is taken off first of all, or
 * put on last. */
struct words {
    const float *said;      /* of the first row; NULL: nothing */
    size_t pitch, all;      /* from row to row, from predictor to predictor */
    int predictors;
    float constant;

    __device__ words(const job &j, const patch &p, int in_group)
        : said(NULL), pitch(0), all(0), predictors(0), constant(0)
    {
        const tsri_kv_gpu_group &g = j.group[p.group];

        if (!j.said || !j.object[p.object].ids || !g.words)
            return;
        said = j.said + factor_at(j, p, p.row, in_group);
        pitch = g.values;
        all = j.all_values * j.objects * j.tokens;
        predictors = j.predictors;
        constant = __ldg(g.words + (size_t)predictors * j.hidden * g.values +
                         in_group);
    }
    __device__ float off(float v, uint32_t row) const
    {
        if (!said)
            return v;
        v = __fsub_rn(v, constant);
        for (int i = 0; i < predictors; i++)
            v = __fsub_rn(v, __ldg(said + i * all + row * pitch));
        return v;
    }
    __device__ float on(float v, uint32_t row) const
    {
        if (!said)
            return v;
        v = __fadd_rn(v, constant);
        for (int i = 0; i < predictors; i++)
            v = __fadd_rn(v, __ldg(said + i * all + row * pitch));
        return v;
    }
};

/* A channel, and the other one of its pair. */
struct channel {
    int d, other, pair;         /* pair -1: none */
    ptrdiff_t own, partner;     /* from a token's address */
    int in_group, partner_in_group;

    __device__ channel(const job &j, const patch &p, int c)
    {
        const int dim = j.dim[p.plane], size = element_bytes(j.dtype);
        const ptrdiff_t head = (c / dim) * j.head_stride;

        d = other = c % dim;
        pair = pair_of(j, p.plane, d, &other);
        own = head + d * size;
        partner = head + other * size;
        in_group = p.offset + c;
        partner_in_group = in_group - d + other;
    }
    __device__ float2 angle(const job &j, const patch &p, uint32_t t) const
    {
        return __ldg(j.angles + ((size_t)p.object * j.tokens + t) * j.pairs + pair);
    }
};

template <bool HALF>
static __device__ float load_as(const job &j, const uint8_t *p)
{
    if (HALF)
        return half_value(j.dtype == TSR_KV_BF16, __ldg((const uint16_t *)p));
    return load_element(j.dtype, p);
}

/* ---- encoder ---- */

/* Where what becomes of a channel goes, token by token. */
struct target {
    int object;
    float *x;               /* NULL: values */
    int16_t *q;             /* NULL: coefficients that are not coded */
    size_t pitch;
    float inverse, mean, scale;
    bool has_scale;
    uint32_t magnitude;     /* of level 0 */

    __device__ target(const job &j, const patch &p, int c, int in_group)
        : object(p.object), x(NULL), q(NULL), inverse(j.inverse[p.plane]),
          mean(0), scale(1), has_scale(false), magnitude(0)
    {
        const tsri_kv_gpu_group &g = j.group[p.group];

        if (g.forward)
            x = find_factor(j, p, p.row, in_group);
        else if (in_group < g.coefs && j.z)
            x = find_coefficient(j, p, p.row, in_group);
        else if (in_group < g.coefs)
            q = find_value(j, p, p.row, in_group);
        pitch = g.forward ? g.values : g.pitch;
        if (j.profiled) {
            mean = g.mean[in_group];
            has_scale = g.scale;
            scale = has_scale ? g.scale[in_group] : 1;
            return;
        }
        const place at = { p.object, p.layer, p.plane };
        mean = centre_of(j, at, c);
    }
    __device__ float with_scale(float v) const
    {
        return has_scale ? __fmul_rn(v, scale) : v;
    }
    /* Writes the value of a token; false where there is none. */
    __device__ bool put(const job &j, float v, uint32_t t)
    {
        if (x) {
            *x = v;
            x += pitch;
            return true;
        }
        if (!q)
            return true;
        const int boost = boost_at(j, object, t);
        v = __fmul_rn(v, scaled(inverse, boost));
        const int value = is_value(v) ? round_value(v) : 0;
        if (!j.profiled)
            magnitude += (uint32_t)abs(coarsen(value, j.levels - 1)) >> boost;
        *q = (int16_t)value;
        q += pitch;
        return is_value(v);
    }
};

/* Takes the sum over some rows; all of them are not yet known. */
static __device__ void add_magnitude(const job &j, const patch &p, int in_group,
                                     uint32_t magnitude)
{
    if (!j.profiled)
        atomicAdd(&j.sum[p.object * j.all_values +
                         j.group[p.group].values_before + in_group],
                  (unsigned long long)magnitude);
}

/* A thread has a channel. */
template <bool HALF, bool WORDS>
static __global__ __launch_bounds__(THREADS) void load_rows(job j)
{
    const patch p = find_patch(j, blockIdx.x);
    const int c = p.first + (int)threadIdx.x;
    bool good = true;

    if (!j.object[p.object].good || !p.rows || (int)threadIdx.x >= p.channels)
        return;
    const channel at(j, p, c);
    target to(j, p, c, at.in_group);
    const words text(j, p, at.in_group);
    token_walk walk(j, p.object, p.number(j), p.row);
    for (uint32_t i = 0; i < p.rows; i += BATCH) {
        const uint32_t n = min(p.rows - i, (uint32_t)BATCH);
        float v[BATCH], w[BATCH];
        float2 cs[BATCH];
#pragma unroll
        for (uint32_t b = 0; b < BATCH; b++) {
            if (b >= n)
                break;
            v[b] = load_as<HALF>(j, walk.at + at.own);
            if (at.pair >= 0) {
                w[b] = load_as<HALF>(j, walk.at + at.partner);
                cs[b] = at.angle(j, p, p.row + i + b);
            }
            if (i + b + 1 < p.rows)
                walk.next(j);
        }
#pragma unroll
        for (uint32_t b = 0; b < BATCH; b++) {
            if (b >= n)
                break;
            good &= is_finite(v[b]);
            if (at.pair >= 0) {
                if (at.d < at.other)
                    take_off(v[b], w[b], cs[b]);
                else
                    take_off(w[b], v[b], cs[b]);
            }
            if (WORDS)
                v[b] = text.off(v[b], i + b);
            good &= to.put(j, to.with_scale(__fsub_rn(v[b], to.mean)), p.row + i + b);
        }
    }
    add_magnitude(j, p, at.in_group, to.magnitude);
    if (!good)
        refuse(j, p.object);
}

/* A thread has the channels d and d + dim / 2 of a head of 64 or 128 dims, which a
 * rotation turns together if there is one. */
template <bool WORDS>
static __global__ __launch_bounds__(THREADS) void load_pairs(job j)
{
    const patch p = find_patch(j, blockIdx.x);
    const bool bf16 = j.dtype == TSR_KV_BF16, turned = j.layout && !p.plane;
    const int half = j.dim[p.plane] / 2;
    const int k = p.first / 2 + (int)threadIdx.x, c = k / half * 2 * half + k % half;
    bool good = true;

    if (!j.object[p.object].good || !p.rows || 2 * (int)threadIdx.x >= p.channels)
        return;
    target to(j, p, c, p.offset + c), other(j, p, c + half, p.offset + c + half);
    const words text(j, p, p.offset + c), rest(j, p, p.offset + c + half);
    token_walk walk(j, p.object, p.number(j), p.row);
    const ptrdiff_t own = k / half * j.head_stride + k % half * 2;
    const float2 *cs = j.angles + ((size_t)p.object * j.tokens + p.row) * j.pairs +
                       k % half;
    for (uint32_t i = 0; i < p.rows; i += PAIR_BATCH) {
        const uint32_t n = min(p.rows - i, (uint32_t)PAIR_BATCH);
        uint16_t v[PAIR_BATCH], w[PAIR_BATCH];
        float2 angle[PAIR_BATCH];
#pragma unroll
        for (uint32_t b = 0; b < PAIR_BATCH; b++) {
            if (b >= n)
                break;
            const uint16_t *at = (const uint16_t *)(walk.at + own);
            v[b] = __ldg(at);
            w[b] = __ldg(at + half);
            if (turned)
                angle[b] = __ldg(cs);
            cs += j.pairs;
            if (i + b + 1 < p.rows)
                walk.next(j);
        }
#pragma unroll
        for (uint32_t b = 0; b < PAIR_BATCH; b++) {
            if (b >= n)
                break;
            float x = half_value(bf16, v[b]), y = half_value(bf16, w[b]);
            good &= is_finite(x) & is_finite(y);
            if (turned)
                take_off(x, y, angle[b]);
            if (WORDS) {
                x = text.off(x, i + b);
                y = rest.off(y, i + b);
            }
            x = to.with_scale(__fsub_rn(x, to.mean));
            y = other.with_scale(__fsub_rn(y, other.mean));
            good &= to.put(j, x, p.row + i + b);
            good &= other.put(j, y, p.row + i + b);
        }
    }
    add_magnitude(j, p, p.offset + c, to.magnitude);
    add_magnitude(j, p, p.offset + c + half, other.magnitude);
    if (!good)
        refuse(j, p.object);
}

/* Turns the heads of a token, of `channels` values. */
static __device__ void turn_heads(float *x, int channels, int dim, float factor)
{
    for (int h = 1; h < dim; h *= 2) {
        __syncthreads();
        for (int i = threadIdx.x; i < channels / 2; i += THREADS) {
            const int a = i / h * 2 * h + i % h;
            const float v = x[a], w = x[a + h];
            x[a] = __fadd_rn(v, w);
            x[a + h] = __fsub_rn(v, w);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < channels; i += THREADS)
        x[i] = __fmul_rn(x[i], factor);
    __syncthreads();
}

/* The same of heads that are turned; a token at a time. */
static __global__ __launch_bounds__(THREADS) void load_turned(job j)
{
    __shared__ float x[MOST_DIM];
    const patch p = find_patch(j, blockIdx.x);
    bool good = true;

    if (!j.object[p.object].good)
        return;
    for (uint32_t t = p.row; t < p.row + p.rows; t++) {
        patch one = p;
        one.row = t;
        place at = { p.object, p.layer, p.plane };
        for (int i = threadIdx.x; i < p.channels; i += THREADS) {
            const words text(j, one, p.offset + p.first + i);
            const float v = load_value(j, j.items[p.object], at, t, p.first + i,
                                       good);
            x[i] = __fsub_rn(text.off(v, 0),
                             j.group[p.group].mean[p.offset + p.first + i]);
        }
        turn_heads(x, p.channels, j.dim[p.plane], j.turn[p.plane]);
        for (int i = threadIdx.x; i < p.channels; i += THREADS) {
            target to(j, one, p.first + i, p.offset + p.first + i);
            good &= to.put(j, to.with_scale(x[i]), t);
        }
        __syncthreads();
    }
    if (!good)
        refuse(j, p.object);
}

/* ---- decoder ---- */

/* A channel's values before rotation. */
struct origin {
    const float *x;         /* NULL: values */
    const int16_t *q;       /* NULL: zeros */
    size_t pitch;
    float step, mean, scale;
    bool has_scale;

    __device__ origin(const job &j, const patch &p, int c, int in_group)
        : x(NULL), q(NULL), mean(0), scale(1), has_scale(false)
    {
        const object &o = j.object[p.object];
        const tsri_kv_gpu_group &g = j.group[p.group];
        int cls;

        if (g.inverse)
            x = find_factor(j, p, p.row, in_group);
        else if (in_group < g.coefs && j.z)
            x = find_coefficient(j, p, p.row, in_group);
        else if (in_group < g.coefs)
            q = find_value(j, p, p.row, in_group);
        pitch = g.inverse ? g.values : g.pitch;
        step = level_step(o.step[p.plane], o.used);
        if (j.profiled) {
            mean = g.mean[in_group];
            has_scale = g.unscale;
            scale = has_scale ? g.unscale[in_group] : 1;
            return;
        }
        const place at = { p.object, p.layer, p.plane };
        read_channel(j, at, c, &cls, &mean);
    }
    /* Before the mean: of the row after `row` rows. */
    __device__ float take(uint32_t row, int boost) const
    {
        const float v = x ? __ldg(x + row * pitch)
            : q ? __fmul_rn((float)__ldg(q + row * pitch), scaled(step, -boost))
                : 0;
        return has_scale ? __fmul_rn(v, scale) : v;
    }
    __device__ float value(uint32_t row, int boost) const
    {
        return __fadd_rn(take(row, boost), mean);
    }
    /* Of the first row, which the next one becomes. */
    __device__ float next(int boost)
    {
        const float v = value(0, boost);

        if (x)
            x += pitch;
        else if (q)
            q += pitch;
        return v;
    }
};

template <bool HALF>
static __device__ void store_as(const job &j, uint8_t *p, float v)
{
    if (HALF)
        *(uint16_t *)p = j.dtype == TSR_KV_BF16
            ? __bfloat16_as_ushort(__float2bfloat16_rn(v))
            : __half_as_ushort(__float2half_rn(v));
    else
        store_element(j.dtype, p, v);
}

template <bool HALF, bool WORDS>
static __global__ __launch_bounds__(THREADS) void store_rows(job j)
{
    const patch p = find_wanted(j, blockIdx.x);
    const int c = p.first + (int)threadIdx.x;
    const object &o = j.object[p.object];

    if (!o.good || !p.rows || (int)threadIdx.x >= p.channels ||
        !j.base[p.number(j)])
        return;
    const channel at(j, p, c);
    const origin own(j, p, c, at.in_group);
    const origin partner(j, p, c - at.d + at.other, at.partner_in_group);
    const words text(j, p, at.in_group), rest(j, p, at.partner_in_group);
    token_walk walk(j, p.object, p.number(j), p.row);
    for (uint32_t i = 0; i < p.rows; i += BATCH) {
        const uint32_t n = min(p.rows - i, (uint32_t)BATCH);
        float v[BATCH], w[BATCH];
        float2 cs[BATCH];
#pragma unroll
        for (uint32_t b = 0; b < BATCH; b++) {
            if (b >= n)
                break;
            const uint32_t t = p.row + i + b;
            const int boost = boost_of(j, o, j.items[p.object].data, t);
            v[b] = own.value(i + b, boost);
            if (WORDS)
                v[b] = text.on(v[b], i + b);
            if (at.pair >= 0) {
                w[b] = partner.value(i + b, boost);
                if (WORDS)
                    w[b] = rest.on(w[b], i + b);
                cs[b] = at.angle(j, p, t);
            }
        }
#pragma unroll
        for (uint32_t b = 0; b < BATCH; b++) {
            if (b >= n)
                break;
            if (at.pair >= 0) {
                if (at.d < at.other)
                    put_back(v[b], w[b], cs[b]);
                else
                    put_back(w[b], v[b], cs[b]);
            }
            store_as<HALF>(j, walk.at + at.own, v[b]);
            if (i + b + 1 < p.rows)
                walk.next(j);
        }
    }
}

/* The same for pairs, as in load_pairs(). */
template <bool WORDS>
static __global__ __launch_bounds__(THREADS) void store_pairs(job j)
{
    const patch p = find_wanted(j, blockIdx.x);
    const object &o = j.object[p.object];
    const bool bf16 = j.dtype == TSR_KV_BF16, turned = j.layout && !p.plane;
    const int half = j.dim[p.plane] / 2;
    const int k = p.first / 2 + (int)threadIdx.x, c = k / half * 2 * half + k % half;
    const uint8_t *data = j.items[p.object].data;
    const uint32_t boosts = o.boosts;

    if (!o.good || !p.rows || 2 * (int)threadIdx.x >= p.channels ||
        !j.base[p.number(j)])
        return;
    origin a(j, p, c, p.offset + c), b(j, p, c + half, p.offset + c + half);
    const words text(j, p, p.offset + c), rest(j, p, p.offset + c + half);
    token_walk walk(j, p.object, p.number(j), p.row);
    const ptrdiff_t own = k / half * j.head_stride + k % half * 2;
    const float2 *cs = j.angles + ((size_t)p.object * j.tokens + p.row) * j.pairs +
                       k % half;
    for (uint32_t i = 0; i < p.rows; i += PAIR_BATCH) {
        const uint32_t n = min(p.rows - i, (uint32_t)PAIR_BATCH);
        float v[PAIR_BATCH], w[PAIR_BATCH];
        float2 angle[PAIR_BATCH];
#pragma unroll
        for (uint32_t e = 0; e < PAIR_BATCH; e++) {
            const uint32_t t = p.row + i + e;
            if (e >= n)
                break;
            const int boost = boosts ? data[boosts + t / 2] >> t % 2 * 4 & 7 : 0;
            v[e] = a.next(boost);
            w[e] = b.next(boost);
            if (WORDS) {
                v[e] = text.on(v[e], i + e);
                w[e] = rest.on(w[e], i + e);
            }
            if (turned)
                angle[e] = __ldg(cs);
            cs += j.pairs;
        }
#pragma unroll
        for (uint32_t e = 0; e < PAIR_BATCH; e++) {
            if (e >= n)
                break;
            if (turned)
                put_back(v[e], w[e], angle[e]);
            uint16_t *at = (uint16_t *)(walk.at + own);
            at[0] = bf16 ? __bfloat16_as_ushort(__float2bfloat16_rn(v[e]))
                         : __half_as_ushort(__float2half_rn(v[e]));
            at[half] = bf16 ? __bfloat16_as_ushort(__float2bfloat16_rn(w[e]))
                            : __half_as_ushort(__float2half_rn(w[e]));
            if (i + e + 1 < p.rows)
                walk.next(j);
        }
    }
}

static __global__ __launch_bounds__(THREADS) void store_turned(job j)
{
    __shared__ float x[MOST_DIM];
    const patch p = find_wanted(j, blockIdx.x);
    const object &o = j.object[p.object];

    if (!o.good || !j.base[p.number(j)])
        return;
    for (uint32_t t = p.row; t < p.row + p.rows; t++) {
        const int boost = boost_of(j, o, j.items[p.object].data, t);
        uint8_t *to = find_token(j, j.items[p.object], p.number(j), t);
        for (int i = threadIdx.x; i < p.channels; i += THREADS) {
            const origin from(j, p, p.first + i, p.offset + p.first + i);
            x[i] = from.take(t - p.row, boost);
        }
        turn_heads(x, p.channels, j.dim[p.plane], j.turn[p.plane]);
        for (int i = threadIdx.x; i < p.channels; i += THREADS) {
            const int c = p.offset + p.first + i;
            x[i] = words(j, p, c).on(__fadd_rn(x[i], j.group[p.group].mean[c]),
                                     t - p.row);
        }
        __syncthreads();
        for (int i = threadIdx.x; i < p.channels; i += THREADS) {
            const channel at(j, p, p.first + i);
            float v = x[i], w = x[i - at.d + at.other];
            if (at.pair >= 0) {
                if (at.d < at.other)
                    put_back(v, w, at.angle(j, p, t));
                else
                    put_back(w, v, at.angle(j, p, t));
            }
            store_element(j.dtype, to + at.own, v);
        }
        __syncthreads();
    }
}

/* ---- launch ---- */

template <bool WORDS>
static cudaError_t launch_load(const job *j, unsigned patches, cudaStream_t stream)
{
    if (j->hadamard)
        load_turned<<<patches, THREADS, 0, stream>>>(*j);
    else if (j->head_strips)
        load_pairs<WORDS><<<patches, THREADS, 0, stream>>>(*j);
    else if (j->dtype <= TSR_KV_BF16)
        load_rows<true, WORDS><<<patches, THREADS, 0, stream>>>(*j);
    else
        load_rows<false, WORDS><<<patches, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_load(const job *j, cudaStream_t stream)
{
    const size_t patches = count_patches(*j);

    if (patches > INT32_MAX)
        return cudaErrorInvalidValue;
    return j->said ? launch_load<true>(j, (unsigned)patches, stream)
                   : launch_load<false>(j, (unsigned)patches, stream);
}

template <bool WORDS>
static cudaError_t launch_store(const job *j, unsigned patches, cudaStream_t stream)
{
    if (j->hadamard)
        store_turned<<<patches, THREADS, 0, stream>>>(*j);
    else if (j->head_strips)
        store_pairs<WORDS><<<patches, THREADS, 0, stream>>>(*j);
    else if (j->dtype <= TSR_KV_BF16)
        store_rows<true, WORDS><<<patches, THREADS, 0, stream>>>(*j);
    else
        store_rows<false, WORDS><<<patches, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_store(const job *j, cudaStream_t stream)
{
    const size_t patches = count_patches(*j);

    if (patches > INT32_MAX)
        return cudaErrorInvalidValue;
    return j->said ? launch_store<true>(j, (unsigned)patches, stream)
                   : launch_store<false>(j, (unsigned)patches, stream);
}
